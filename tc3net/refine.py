"""Command: trains a second stage on the segments that a trained model finds in its own training videos.

    python -m tc3net.refine --flagfile=configs/demo.cfg --flagfile=configs/refine.cfg --dataset_dir=DATASET \\
        --first_run=RUN --run_dir=REFINED --rounds=2

Without --first_run the first stage is trained too, as REFINED/round0. All flags of tc3net.train are those of each
round; the detection flags also make the pseudo segments. REFINED/round1, REFINED/round2, ... are ordinary run folders,
the last one is what to evaluate. The same command again resumes an interrupted refinement, and more --rounds continue a
finished one. docs/refinement.md describes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from absl import flags

from tc3net import train
from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.data.sampling import check_divisible
from tc3net.detection import DetectionConfig
from tc3net.refinement.choice import PseudoConfig
from tc3net.refinement.rounds import Refinement, RoundsConfig, check_refinement, refine
from tc3net.runs.folder import CheckpointChoice
from tc3net.terminal.command import run_main
from tc3net.terminal.flagfiles import config_of
from tc3net.training.host_memory import keep_freed_memory
from tc3net.training.session import Place, open_videos
from tc3net.training.strategies import make_strategy

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags and those of the training command."""
    train.register_flags()
    flags.adopt_module_key_flags(train)
    for config in (RoundsConfig, PseudoConfig, CheckpointChoice):
        define_flags(config)
    flags.adopt_module_key_flags(config_module)


def main(argv: Sequence[str]) -> None:
    """Checks everything, then trains round after round."""
    del argv
    settings = train.read_settings()
    rounds, first = from_flags(RoundsConfig), None
    if rounds.first_detection:
        first = config_of(DetectionConfig, rounds.first_detection, "first_detection")
    refinement = Refinement(rounds, from_flags(CheckpointChoice), from_flags(PseudoConfig), first)
    keep_freed_memory()
    videos = open_videos(settings, FLAGS.dataset_dir)
    check_refinement(settings, refinement, FLAGS.run_dir, FLAGS.dataset_dir, videos)
    if settings.trainer.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(settings.trainer.strategy)
    check_divisible(settings.inputs.batch_size, strategy.num_replicas_in_sync)
    place = Place(FLAGS.dataset_dir, FLAGS.run_dir, train.replayable_flags(), train.shown_flags())
    stopped_by = refine(settings, refinement, videos.divided(settings), strategy, place)
    if stopped_by is not None:
        raise SystemExit(128 + stopped_by)


if __name__ == "__main__":
    run_main(main, register_flags)
