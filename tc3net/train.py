"""Command: trains 3C-Net on a converted data set.

    python -m tc3net.train --flagfile=configs/demo.cfg --dataset_dir=DATASET --run_dir=RUN

Progress goes to the terminal, TensorBoard (`tensorboard --logdir RUN/tensorboard`) and RUN/metrics.jsonl. The same
command again resumes an interrupted run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError
from tc3net.data.sampling import check_divisible
from tc3net.evaluation import DEFAULT_PROTOCOL
from tc3net.losses.objective import ADDED
from tc3net.model.heads import HEADS
from tc3net.terminal.command import run_main
from tc3net.training.host_memory import keep_freed_memory
from tc3net.training.session import Place, open_videos, train_run
from tc3net.training.settings import CONFIGS, Settings
from tc3net.training.strategies import make_strategy

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("dataset_dir", None, "Folder written by `python -m data_prep.convert`.")
    flags.DEFINE_string("run_dir", None, "Folder (or gs://...) of this run: checkpoints, logs, settings.")
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


def main(argv: Sequence[str]) -> None:
    """Checks everything, then trains."""
    del argv
    settings = read_settings()
    keep_freed_memory()
    videos = open_videos(settings, FLAGS.dataset_dir)
    if settings.trainer.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(settings.trainer.strategy)
    place = Place(FLAGS.dataset_dir, FLAGS.run_dir, replayable_flags(), shown_flags())
    check_divisible(settings.inputs.batch_size, strategy.num_replicas_in_sync)
    stopped_by = train_run(settings, videos.divided(settings), strategy, place)
    if stopped_by is not None:
        raise SystemExit(128 + stopped_by)


if __name__ == "__main__":
    run_main(main, register_flags)
