"""Every choice of a training run in one frozen dataclass, and what follows from it: checks, model, description."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tc3net.common.errors import UserError
from tc3net.common.extensions import loaded_extensions
from tc3net.data.sampling import InputConfig
from tc3net.data.schema import Manifest
from tc3net.detection import DetectionConfig, check_network
from tc3net.evaluation import find_protocol
from tc3net.losses import LossConfig, LossTerm
from tc3net.model import ModelConfig
from tc3net.model.heads import Head, check_heads, heads_as_dict
from tc3net.optimization.optimizers import OptimizerConfig, make_optimizer
from tc3net.optimization.schedules import ScheduleConfig, make_schedule
from tc3net.results.assessment import check_protocols, map_tag
from tc3net.runs.description import RunInfo, TrainingChoices
from tc3net.runs.provenance import dataset_checksum, start_record, versions
from tc3net.training.selection import SelectionConfig
from tc3net.training.tensorboard_log import SELECTION_TAG, RunCard, TensorBoardConfig, markdown_table
from tc3net.training.trainer import TrainerConfig
from tc3net.training.validation import HELD_OUT_TAG, describe_selection

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet

# Field of `Settings` -> the dataclass whose fields are its flags.
CONFIGS: dict[str, type] = {
    "inputs": InputConfig, "model": ModelConfig, "loss": LossConfig, "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig, "selection": SelectionConfig, "trainer": TrainerConfig, "detection": DetectionConfig,
    "tensorboard": TensorBoardConfig,
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Every choice of a training run; one that could not act, or cannot act together with another, is refused.

    Attributes:
        train_subset: subset to train on.
        test_subset: subset evaluated while training; empty: none.
        protocols: of those evaluations.
        inputs, model, loss, optimizer, schedule, selection, trainer, detection, tensorboard: see `CONFIGS`.
        terms: further loss terms, active or not.
        heads: further heads, active or not.

    Raises:
        UserError: as above, on creation.
    """

    train_subset: str
    test_subset: str
    protocols: tuple[str, ...]
    inputs: InputConfig = InputConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    selection: SelectionConfig = SelectionConfig()
    trainer: TrainerConfig = TrainerConfig()
    detection: DetectionConfig = DetectionConfig()
    tensorboard: TensorBoardConfig = TensorBoardConfig()
    terms: tuple[LossTerm, ...] = ()
    heads: tuple[Head, ...] = ()

    def __post_init__(self) -> None:
        check_protocols(self.protocols)
        self.optimizer.check_stack()
        if self.loss.beta > 0 and self.inputs.batches == "cropped":
            raise UserError(
                f"--beta={self.loss.beta} with --batches=cropped: the counting loss needs full-length batches and "
                "would never act. Set --beta=0, or --batches=alternate."
            )
        if self.loss.beta > 0 and self.loss.count_start_step >= self.trainer.iterations:
            raise UserError(
                f"--count_start_step={self.loss.count_start_step} with --iterations={self.trainer.iterations}: the "
                "counting loss would never act. Start it earlier, or set --beta=0."
            )
        check_heads(self.heads, self.terms)
        check_network(self.heads, self.detection)
        self.schedule.resolved_decay_steps(self.trainer.iterations)
        if self.optimizer.first_snapshot > self.trainer.iterations:
            raise UserError(
                f"SWA's first snapshot is due after step {self.optimizer.first_snapshot}, and "
                f"--iterations={self.trainer.iterations} end before. Give a lower --swa_start or --swa_period."
            )
        if self.trainer.early_stopping_patience and not (self.selection.holdout_fraction or self.test_subset):
            raise UserError(
                f"--early_stopping_patience={self.trainer.early_stopping_patience} with neither held-out videos nor a "
                "test subset to evaluate on. Give --holdout_fraction=0.1."
            )

    def check_data(self, dataset_dir: str, manifest: Manifest) -> None:
        """Raises UserError where the data set has nothing for a loss that is asked for."""
        if self.loss.beta > 0 and not manifest.counted_classes:
            raise UserError(
                f"{dataset_dir} knows no counts, so the counting loss would never act. Train with --beta=0, or convert "
                "the data with annotated instances."
            )

    def make_model(self, manifest: Manifest) -> ThreeCNet:
        """The compiled model; call inside the strategy's scope."""
        from tc3net.model import ThreeCNet

        model = ThreeCNet(len(manifest.classes), manifest.streams, self.model, seed=self.inputs.seed, heads=self.heads)
        config = self.optimizer
        rate = make_schedule(self.schedule, config.learning_rate, self.trainer.iterations)
        model.compile(
            make_optimizer(rate, config, model.trainable_variables),
            loss_config=self.loss,
            terms=self.terms,
            weight_decay=config.l2,
            clip_norm=config.clip_norm,
            ema_decay=config.ema_decay,
        )
        return model

    def selected_by(self, manifest: Manifest) -> tuple[str, str]:
        """What selects the best checkpoint, as a name and in words; empty where nothing is evaluated."""
        held_out = self.selection.holdout_fraction > 0
        if not held_out and not self.test_subset:
            return "", ""
        selection = self.selection.resolved(bool(manifest.counted_classes))
        return selection, describe_selection(selection, self.protocols[0], held_out, self.test_subset)

    def describe(self, manifest: Manifest) -> RunInfo:
        """The run's description, as far as it is known before training."""
        choices = TrainingChoices(
            inputs=self.inputs,
            loss=self.loss,
            optimizer=self.optimizer.acting(),
            schedule=self.schedule.acting(self.trainer.iterations),
            holdout_fraction=self.selection.holdout_fraction,
            selected_by=self.selected_by(manifest)[1],
            train_subset=self.train_subset,
            shards={name: [shard.sha256 for shard in info.shards] for name, info in manifest.splits.items()},
            terms={term.name: term.as_dict() for term in self.terms if term.active},
        )
        return RunInfo(
            dataset=manifest.title,
            classes=manifest.classes,
            streams=manifest.streams,
            time_base=manifest.time_base,
            rescaled_rows=manifest.rescaled_rows,
            extraction=manifest.extraction,
            model=self.model,
            detection=self.detection,
            training=choices,
            versions=versions(),
            dataset_checksum=dataset_checksum(manifest),
            starts=(start_record(),),
            test_subset=self.test_subset,
            extensions=loaded_extensions(),
            heads=heads_as_dict(self.heads),
        )

    def card(self, run: RunInfo, flags: Iterable[tuple[str, str, str]]) -> RunCard:
        """What TensorBoard shows of the run.

        Args:
            run: its description.
            flags: name, value, and default where that is another, of every flag.
        """
        training = run.training.as_dict()
        hparams: dict[str, Any] = {
            "dataset": run.dataset, **asdict(run.model), **training, "iterations": self.trainer.iterations
        }  # fmt: skip
        for name in ("shards", "terms"):
            hparams.pop(name, None)
        for kind, choices in (("term", run.training.terms), ("head", run.heads)):
            hparams.update({f"{kind}/{name}": str(values) for name, values in choices.items()})
        metrics = {}
        if run.training.selected_by:
            where = "" if self.test_subset else HELD_OUT_TAG
            main = map_tag(self.protocols[0], find_protocol(self.protocols[0]).main_tiou)
            metrics = {
                SELECTION_TAG: "selection",  # of what is said in the column selected_by: other runs share this heading
                f"{where}{main}": f"{where}{main.replace('/', ' ')}",
            }
        table = markdown_table(("flag", "value", "default, if another"), flags)
        return RunCard(texts={"dataset": run.dataset, "flags": table}, hparams=hparams, metrics=metrics)
