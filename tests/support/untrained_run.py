"""A run folder of random weights: for what needs a model, whatever it has learnt."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.runs.description import RunInfo
from tc3net.runs.folder import save_run
from tests.support.data import CLASSES, FEATURE_DIM


def save_checkpoint(folder: Path, step: int, seed: int) -> None:
    """A checkpoint of random weights, whose averages are others."""
    raw, averaged = (ThreeCNet(len(CLASSES), FEATURE_DIM, seed=s) for s in (seed, seed + 1))
    checkpoint = tf.train.Checkpoint(network=raw.named_variables(), averages=averaged.network_variables())
    checkpoint.write(str(folder / f"step-{step}"))
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "step-{step}"\n')


def save_untrained_run(folder: Path) -> Path:
    """A run folder with a last and a best checkpoint, for data sets as `tests.support.data` writes them."""
    run = RunInfo("d", CLASSES, Streams.pair(FEATURE_DIM), TimeBase(), ModelConfig(), DetectionConfig())
    save_run(folder, run)
    save_checkpoint(folder / "checkpoints", 4, seed=1)
    save_checkpoint(folder / "best", 2, seed=3)
    return folder
