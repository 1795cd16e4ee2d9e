"""Command: trains 3C-Net on a converted data set.

    python -m tc3net.train --flagfile=configs/demo.cfg --dataset_dir=DATASET --run_dir=RUN

Progress goes to the terminal, TensorBoard (`tensorboard --logdir RUN/tensorboard`) and RUN/metrics.jsonl. The same
command again resumes an interrupted run.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError
from tc3net.common.files import atomic_path
from tc3net.common.names import counted
from tc3net.data.holdout import divide
from tc3net.data.sampling import check_divisible
from tc3net.data.split import Split, open_split
from tc3net.evaluation import DEFAULT_PROTOCOL
from tc3net.losses.objective import ADDED
from tc3net.model.heads import HEADS
from tc3net.runs.description import RunInfo
from tc3net.runs.folder import check_run_dir, claim_run_dir
from tc3net.runs.lock import training_lock
from tc3net.terminal.command import run_main
from tc3net.training.host_memory import keep_freed_memory
from tc3net.training.settings import CONFIGS, Settings
from tc3net.training.strategies import is_chief, make_strategy
from tc3net.training.tensorboard_log import TensorBoardLog
from tc3net.training.trainer import Trainer
from tc3net.training.validation import Validation

FLAGS = flags.FLAGS


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
    for _config in (*CONFIGS.values(), *ADDED.values(), *HEADS.values()):
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


def shown_flags() -> list[tuple[str, str, str]]:
    """Name, value, and default where that is another, of every flag of this program."""

    def text(value: Any) -> str:
        return ",".join(value) if isinstance(value, list) else "" if value is None else str(value)

    return [
        (flag.name, text(flag.value), "" if flag.value == flag.default else text(flag.default)) for flag in own_flags()
    ]


def read_settings() -> Settings:
    """The flags as validated dataclasses.

    Raises:
        UserError: a value out of range, or a flag missing.
    """
    for name in ("dataset_dir", "run_dir"):
        if not getattr(FLAGS, name):
            raise UsageError(f"--{name} is missing. Give it on the command line or in the flagfile.")
    parts: dict[str, Any] = {name: from_flags(kind) for name, kind in CONFIGS.items()}
    return Settings(
        train_subset=FLAGS.train_subset,
        test_subset=FLAGS.test_subset,
        protocols=tuple(FLAGS.protocols),
        terms=tuple(from_flags(kind) for kind in ADDED.values()),
        heads=tuple(from_flags(kind) for kind in HEADS.values()),
        **parts,
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
    split = open_split(FLAGS.dataset_dir, settings.train_subset)
    test_split = open_split(FLAGS.dataset_dir, settings.test_subset) if settings.test_subset else None
    manifest = split.manifest
    settings.check_data(FLAGS.dataset_dir, manifest)
    if settings.trainer.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(settings.trainer.strategy)
    chief = is_chief(strategy)
    check_divisible(settings.inputs.batch_size, strategy.num_replicas_in_sync)
    held_out = None
    if settings.selection.holdout_fraction:
        split, held_out = divide(split, settings.selection.holdout_fraction, settings.inputs.seed)
    run = settings.describe(manifest)
    with contextlib.ExitStack() as held:
        if chief:
            check_run_dir(FLAGS.run_dir, run)  # before the lock leaves a file there
            held.enter_context(training_lock(FLAGS.run_dir))
            claim_run_dir(FLAGS.run_dir, run)
            with atomic_path(Path(FLAGS.run_dir) / "flags.cfg") as path:
                path.write_text(replayable_flags(), encoding="utf-8")
        stopped_by = train(settings, run, strategy, split, test_split, held_out)
    if stopped_by is not None:
        raise SystemExit(128 + stopped_by)


def train(
    settings: Settings,
    run: RunInfo,
    strategy: tf.distribute.Strategy,
    split: Split,
    test: Split | None,
    held_out: Split | None,
) -> signal.Signals | None:
    """Trains in the claimed run folder.

    Args:
        settings, run: the flags, and the run's description.
        strategy: of the devices.
        split: training videos.
        test: test subset, if it is watched.
        held_out: held-out training videos, if there are any.

    Returns:
        The signal that ended it early, see `Trainer.train`.
    """
    manifest, chief = split.manifest, is_chief(strategy)
    with strategy.scope():
        model = settings.make_model(manifest)
    selection, selected_by = settings.selected_by(manifest)
    evaluate = None
    if selection:
        evaluate = Validation(
            model, settings.detection, settings.protocols, test=test, held_out=held_out, selection=selection
        )
    if chief:
        print(
            f"{manifest.title}: {counted(split.num_videos, 'training video')}"
            f"{f' and {held_out.num_videos} held out' if held_out else ''}, {counted(len(manifest.classes), 'class')}, "
            f"streams {manifest.streams.words()}, {strategy.num_replicas_in_sync} device(s)",
            flush=True,
        )
    observers = []
    if chief and settings.tensorboard.tensorboard:
        card = settings.card(run, shown_flags())
        observers = [TensorBoardLog(FLAGS.run_dir, model, settings.detection, settings.tensorboard, card)]
    trainer = Trainer(model, strategy, settings.trainer, FLAGS.run_dir, evaluate, observers)
    stopped_by = trainer.train(split, settings.inputs)
    if chief:
        print_last_words(trainer.step, stopped_by, selected_by)
    return stopped_by


if __name__ == "__main__":
    run_main(main, register_flags)
