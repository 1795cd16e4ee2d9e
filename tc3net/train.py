"""Command: trains 3C-Net on a converted data set.

    python -m tc3net.train --flagfile=configs/demo.cfg --dataset_dir=DATASET --run_dir=RUN

Progress goes to the terminal, TensorBoard (`tensorboard --logdir RUN/tensorboard`) and RUN/metrics.jsonl. The same
command again resumes an interrupted run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from absl import flags

from tc3net import config as config_module
from tc3net.assess import assess, check_protocols
from tc3net.config import define_flags, from_flags
from tc3net.detection import DetectionConfig
from tc3net.errors import UserError, run_main
from tc3net.files import atomic_path
from tc3net.inference import Scorer, score_videos
from tc3net.input_pipeline import InputConfig, Split, check_divisible, open_split
from tc3net.losses import LossConfig
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimizers import OptimizerConfig, make_optimizer
from tc3net.runs import RunInfo, claim_run_dir, versions
from tc3net.schema import Manifest
from tc3net.trainer import Evaluation, Trainer, TrainerConfig, make_strategy

FLAGS = flags.FLAGS
CONFIGS = (InputConfig, ModelConfig, LossConfig, OptimizerConfig, TrainerConfig, DetectionConfig)


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
    flags.DEFINE_list("protocols", ["reference"], "Evaluation protocols; the first decides which checkpoint is best.")
    for _config in CONFIGS:
        define_flags(_config)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def make_evaluator(
    model: ThreeCNet, split: Split, detection: DetectionConfig, protocols: Sequence[str], divisor: int
) -> Callable[[], Evaluation]:
    """A function that evaluates the model as it is now.

    Args:
        model: shared with the trainer.
        split: videos to evaluate on.
        detection: detection choices.
        protocols: names; the first selects.
        divisor: of top-k.
    """
    scorer = Scorer(model, divisor)

    def evaluate() -> Evaluation:
        scores = score_videos(scorer, split)
        assessment = assess(scores, detection, protocols)
        return Evaluation(assessment.scalars(), assessment.selection(), assessment.summary())

    return evaluate


def replayable_flags() -> str:
    """Every flag of this program as `--name=value` lines."""
    key_flags = FLAGS.flags_by_module_dict()
    return "".join(
        f"{line}\n"
        for module, module_flags in sorted(key_flags.items())
        if module.startswith("tc3net") or module.endswith("train.py")
        for flag in module_flags
        if (line := flag.serialize())
    )


class Settings(NamedTuple):
    """Every choice of a training run."""

    inputs: InputConfig
    model: ModelConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    detection: DetectionConfig


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
        from_flags(TrainerConfig),
        from_flags(DetectionConfig),
    )
    if settings.loss.beta > 0 and settings.inputs.batches == "cropped":
        raise UserError(
            f"--beta={settings.loss.beta} with --batches=cropped: the counting loss needs full-length batches and "
            "would never act. Set --beta=0, or --batches=alternate."
        )
    return settings


def describe_run(settings: Settings, manifest: Manifest) -> RunInfo:
    """The run's description, as far as it is known before training."""
    choices = {**asdict(settings.inputs), **asdict(settings.loss), **asdict(settings.optimizer)}
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
    )


def main(argv: Sequence[str]) -> None:
    """Checks everything, then trains."""
    del argv
    settings = read_settings()
    split = open_split(FLAGS.dataset_dir, FLAGS.train_subset)
    test_split = open_split(FLAGS.dataset_dir, FLAGS.test_subset) if FLAGS.test_subset else None
    manifest = split.manifest
    if settings.loss.beta > 0 and not manifest.counted_classes:
        raise UserError(
            f"{FLAGS.dataset_dir} knows no counts, so the counting loss would never act. Train with --beta=0, or "
            "convert the data with annotated instances."
        )
    strategy = make_strategy(settings.trainer.strategy)
    replicas = strategy.num_replicas_in_sync
    check_divisible(settings.inputs.batch_size, replicas)
    claim_run_dir(FLAGS.run_dir, describe_run(settings, manifest))
    with atomic_path(Path(FLAGS.run_dir) / "flags.cfg") as path:
        path.write_text(replayable_flags(), encoding="utf-8")

    with strategy.scope():
        model = ThreeCNet(len(manifest.classes), manifest.feature_dim, settings.model, seed=settings.inputs.seed)
        model.compile(
            make_optimizer(settings.optimizer.learning_rate),
            loss_config=settings.loss,
            weight_decay=settings.optimizer.weight_decay,
        )
    evaluate = None
    if test_split is not None:
        evaluate = make_evaluator(model, test_split, settings.detection, FLAGS.protocols, settings.loss.top_k_divisor)
    print(
        f"{manifest.title}: {split.num_videos} training videos, {len(manifest.classes)} classes, "
        f"{manifest.feature_dim} features per stream, {replicas} device(s)",
        flush=True,
    )
    Trainer(model, strategy, settings.trainer, FLAGS.run_dir, evaluate).train(split, settings.inputs)
    print(
        f"Finished. Evaluate with: python -m tc3net.evaluate --run_dir={FLAGS.run_dir} "
        f"--dataset_dir={FLAGS.dataset_dir} --subset={FLAGS.test_subset or FLAGS.train_subset}"
    )


if __name__ == "__main__":
    register_flags()
    run_main(main)
