"""Command: trains 3C-Net on a converted data set.

    python -m tc3net.train --flagfile=configs/demo.cfg --dataset_dir=DATASET --run_dir=RUN

Progress goes to the terminal, TensorBoard (`tensorboard --logdir RUN/tensorboard`) and RUN/metrics.jsonl. The same
command again resumes an interrupted run.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from absl import flags

from tc3net.common import config as config_module
from tc3net.common.command import run_main
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path
from tc3net.data.holdout import divide
from tc3net.data.pipeline import InputConfig
from tc3net.data.sampling import check_divisible
from tc3net.data.schema import Manifest
from tc3net.data.split import open_split
from tc3net.detection import DetectionConfig
from tc3net.evaluation import DEFAULT_PROTOCOL
from tc3net.losses import LossConfig
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import OptimizerConfig, make_optimizer
from tc3net.optimization.schedules import ScheduleConfig, make_schedule
from tc3net.results.assessment import check_protocols
from tc3net.runs.folder import RunInfo, claim_run_dir
from tc3net.runs.provenance import dataset_checksum, start_record, versions
from tc3net.training.host_memory import keep_freed_memory
from tc3net.training.selection import SelectionConfig
from tc3net.training.strategies import is_chief, make_strategy
from tc3net.training.tensorboard_log import SELECTION_TAG, RunCard, TensorBoardConfig, TensorBoardLog, markdown_table
from tc3net.training.trainer import Trainer, TrainerConfig
from tc3net.training.validation import HELD_OUT_TAG, Validation, describe_selection

FLAGS = flags.FLAGS
CONFIGS = (
    InputConfig, ModelConfig, LossConfig, OptimizerConfig, ScheduleConfig, SelectionConfig, TrainerConfig,
    DetectionConfig, TensorBoardConfig,
)  # fmt: skip


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("dataset_dir", None, "Folder written by `python -m data_prep.convert`.")
    flags.DEFINE_string("run_dir", None, "Folder of this run: checkpoints, logs, settings.")
    flags.DEFINE_string(
        "train_subset", "validation", "Subset to train on (THUMOS14: validation; ActivityNet: training)."
    )
    flags.DEFINE_string(
        "test_subset", "test", "Subset to evaluate on while training (ActivityNet: validation); '' switches that off."
    )
    flags.DEFINE_list(
        "protocols", [DEFAULT_PROTOCOL], "Evaluation protocols; the first decides which checkpoint is best."
    )
    for _config in CONFIGS:
        define_flags(_config)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def own_flags() -> list[flags.Flag]:
    """Every flag of this program, without those of its libraries."""
    return [
        flag
        for module, module_flags in sorted(FLAGS.flags_by_module_dict().items())
        if module.startswith("tc3net") or module.endswith("train.py")
        for flag in module_flags
    ]


def replayable_flags() -> str:
    """Every flag of this program as `--name=value` lines."""
    return "".join(f"{line}\n" for flag in own_flags() if (line := flag.serialize()))


class Settings(NamedTuple):
    """Every choice of a training run."""

    inputs: InputConfig
    model: ModelConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    selection: SelectionConfig
    trainer: TrainerConfig
    detection: DetectionConfig
    tensorboard: TensorBoardConfig


def read_settings() -> Settings:
    """The flags as validated dataclasses.

    Raises:
        UserError: a value out of range, or a flag missing.
    """
    for name in ("dataset_dir", "run_dir"):
        if not getattr(FLAGS, name):
            raise UserError(f"--{name} is missing. Give it on the command line or in the flagfile.")
    check_protocols(FLAGS.protocols)
    settings = Settings(
        from_flags(InputConfig),
        from_flags(ModelConfig),
        from_flags(LossConfig),
        from_flags(OptimizerConfig),
        from_flags(ScheduleConfig),
        from_flags(SelectionConfig),
        from_flags(TrainerConfig),
        from_flags(DetectionConfig),
        from_flags(TensorBoardConfig),
    )
    if settings.loss.beta > 0 and settings.inputs.batches == "cropped":
        raise UserError(
            f"--beta={settings.loss.beta} with --batches=cropped: the counting loss needs full-length batches and "
            "would never act. Set --beta=0, or --batches=alternate."
        )
    if settings.loss.beta > 0 and settings.loss.count_start_step >= settings.trainer.iterations:
        raise UserError(
            f"--count_start_step={settings.loss.count_start_step} with --iterations={settings.trainer.iterations}: the "
            "counting loss would never act. Start it earlier, or set --beta=0."
        )
    settings.schedule.resolved_decay_steps(settings.trainer.iterations)
    if settings.optimizer.first_snapshot > settings.trainer.iterations:
        raise UserError(
            f"SWA's first snapshot is due after step {settings.optimizer.first_snapshot}, and "
            f"--iterations={settings.trainer.iterations} end before. Give a lower --swa_start or --swa_period."
        )
    watched = settings.selection.holdout_fraction or FLAGS.test_subset
    if settings.trainer.early_stopping_patience and not watched:
        raise UserError(
            f"--early_stopping_patience={settings.trainer.early_stopping_patience} with neither held-out videos nor a "
            "test subset to evaluate on. Give --holdout_fraction=0.1."
        )
    return settings


def selection_of(settings: Settings, manifest: Manifest) -> tuple[str, str]:
    """What selects the best checkpoint, as a name and in words; empty where nothing is evaluated."""
    held_out = settings.selection.holdout_fraction > 0
    if not held_out and not FLAGS.test_subset:
        return "", ""
    selection = settings.selection.resolved(bool(manifest.counted_classes))
    return selection, describe_selection(selection, FLAGS.protocols[0], held_out, FLAGS.test_subset)


def describe_run(settings: Settings, manifest: Manifest) -> RunInfo:
    """The run's description, as far as it is known before training."""
    choices = {
        **asdict(settings.inputs),
        **asdict(settings.loss),
        **settings.optimizer.resolved(),
        **settings.schedule.resolved(settings.trainer.iterations),
        "holdout_fraction": settings.selection.holdout_fraction,
        "selected_by": selection_of(settings, manifest)[1],
    }
    shards = {name: [shard.sha256 for shard in info.shards] for name, info in manifest.splits.items()}
    return RunInfo(
        dataset=manifest.title,
        classes=manifest.classes,
        feature_dim=manifest.feature_dim,
        time_base=manifest.time_base,
        model=settings.model,
        detection=settings.detection,
        training={**choices, "train_subset": FLAGS.train_subset, "shards": shards},
        versions=versions(),
        dataset_checksum=dataset_checksum(manifest),
        starts=(start_record(),),
    )


def run_card(settings: Settings, run: RunInfo) -> RunCard:
    """What TensorBoard shows of the run's description."""

    def text(value: Any) -> str:
        return ",".join(value) if isinstance(value, list) else "" if value is None else str(value)

    rows = [
        (flag.name, text(flag.value), "" if flag.value == flag.default else text(flag.default)) for flag in own_flags()
    ]
    hparams = {"dataset": run.dataset, **asdict(run.model), **run.training, "iterations": settings.trainer.iterations}
    del hparams["shards"]
    metrics = {}
    if run.training["selected_by"]:
        where = "" if FLAGS.test_subset else HELD_OUT_TAG
        metrics = {
            SELECTION_TAG: "selection",  # of what is said in the column selected_by: other runs share this heading
            f"{where}{FLAGS.protocols[0]}/mAP@0.50": f"{where}{FLAGS.protocols[0]} mAP@0.50",
        }
    return RunCard(
        texts={"dataset": run.dataset, "flags": markdown_table(("flag", "value", "default, if another"), rows)},
        hparams=hparams,
        metrics=metrics,
    )


def compile_model(model: ThreeCNet, settings: Settings) -> None:
    """Compiles the model as the settings say; call inside the strategy's scope."""
    config = settings.optimizer
    rate = make_schedule(settings.schedule, config.learning_rate, settings.trainer.iterations)
    model.compile(
        make_optimizer(rate, config, model.trainable_variables),
        loss_config=settings.loss,
        weight_decay=config.l2,
        clip_norm=config.clip_norm,
        ema_decay=config.ema_decay,
    )


def print_last_words(step: int, stopped_by: signal.Signals | None, selected_by: str) -> None:
    """Says how the run ended, and what to do next."""
    if stopped_by is not None:
        print(
            f"Stopped by {stopped_by.name} after step {step}; everything is saved in {FLAGS.run_dir}. "
            "The same command resumes the run."
        )
        return
    if selected_by:
        print(f"{FLAGS.run_dir}/best holds the checkpoint selected by {selected_by}.")
    print(
        f"Finished. Evaluate with: python -m tc3net.evaluate --run_dir={FLAGS.run_dir} "
        f"--dataset_dir={FLAGS.dataset_dir} --subset={FLAGS.test_subset or FLAGS.train_subset}"
        f"{' --checkpoint=best' if FLAGS.holdout_fraction else ''}"
    )


def main(argv: Sequence[str]) -> None:
    """Checks everything, then trains."""
    del argv
    settings = read_settings()
    keep_freed_memory()
    split = open_split(FLAGS.dataset_dir, FLAGS.train_subset)
    test_split = open_split(FLAGS.dataset_dir, FLAGS.test_subset) if FLAGS.test_subset else None
    manifest = split.manifest
    if settings.loss.beta > 0 and not manifest.counted_classes:
        raise UserError(
            f"{FLAGS.dataset_dir} knows no counts, so the counting loss would never act. Train with --beta=0, or "
            "convert the data with annotated instances."
        )
    if settings.trainer.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(settings.trainer.strategy)
    replicas, chief = strategy.num_replicas_in_sync, is_chief(strategy)
    check_divisible(settings.inputs.batch_size, replicas)
    held_out = None
    if settings.selection.holdout_fraction:
        split, held_out = divide(split, settings.selection.holdout_fraction, settings.inputs.seed)
    run = describe_run(settings, manifest)
    if chief:
        claim_run_dir(FLAGS.run_dir, run)
        with atomic_path(Path(FLAGS.run_dir) / "flags.cfg") as path:
            path.write_text(replayable_flags(), encoding="utf-8")

    with strategy.scope():
        model = ThreeCNet(len(manifest.classes), manifest.feature_dim, settings.model, seed=settings.inputs.seed)
        compile_model(model, settings)
    selection, selected_by = selection_of(settings, manifest)
    evaluate = None
    if selection:
        evaluate = Validation(
            model, settings.detection, FLAGS.protocols, test=test_split, held_out=held_out, selection=selection
        )
    if chief:
        print(
            f"{manifest.title}: {split.num_videos} training videos"
            f"{f' and {held_out.num_videos} held out' if held_out else ''}, {len(manifest.classes)} classes, "
            f"{manifest.feature_dim} features per stream, {replicas} device(s)",
            flush=True,
        )
    observers = []
    if chief and settings.tensorboard.tensorboard:
        card = run_card(settings, run)
        observers = [TensorBoardLog(FLAGS.run_dir, model, settings.detection, settings.tensorboard, card)]
    trainer = Trainer(model, strategy, settings.trainer, FLAGS.run_dir, evaluate, observers)
    stopped_by = trainer.train(split, settings.inputs)
    if chief:
        print_last_words(trainer.step, stopped_by, selected_by)
    if stopped_by is not None:
        raise SystemExit(128 + stopped_by)


if __name__ == "__main__":
    run_main(main, register_flags)
