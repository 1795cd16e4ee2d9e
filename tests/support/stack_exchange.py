"""What one stack leaves for the other: data set, checkpoint, losses, scores. The other's interpreter runs this file.

python stack_exchange.py WRITE_FOLDER READ_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.stack import NAME
from tc3net.data.pipeline import InputConfig, evaluation_batches, training_batches
from tc3net.data.split import open_split
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import OptimizerConfig, make_optimizer
from tc3net.runs.checkpoints import CheckpointFolder
from tc3net.runs.description import RunInfo
from tc3net.runs.folder import load_model, save_run
from tests.support.data import CLASSES, FEATURE_DIM, make_video, write_dataset

STEPS = 3
CONFIG = ModelConfig(dropout=0.0, temporal_conv=True)
LENGTHS = (3, 40, 9, 17, 8, 25, 12, 30)


def make_model() -> ThreeCNet:
    """With weights from NumPy by name, so that no stack's initializer takes part; everything in the loss."""
    config = OptimizerConfig(
        optimizer="sgd", weight_decay=0.1, weight_decay_mode="decoupled", clip_norm=1.0, ema_decay=0.9
    )
    model = ThreeCNet(len(CLASSES), FEATURE_DIM, CONFIG)
    model.compile(
        make_optimizer(0.05, config, model.trainable_variables),
        weight_decay=config.l2,
        clip_norm=config.clip_norm,
        ema_decay=config.ema_decay,
    )
    rng = np.random.default_rng(7)
    for name, variable in sorted(model.named_variables().items()):
        variable.assign(rng.normal(scale=0.5, size=variable.shape).astype(np.float32))
        if model.average is not None and name in model.average.variables:
            model.average.variables[name].assign(variable.read_value())
    return model


def trained(dataset_dir: Path) -> tuple[ThreeCNet, list[dict[str, float]]]:
    """The model after a few steps, and what each of them reported."""
    model, reports = make_model(), []
    inputs = InputConfig(batch_size=4, crop_segments=8, seed=3)
    for batch in training_batches(open_split(dataset_dir, "validation"), inputs).take(STEPS):
        reports.append({name: float(value) for name, value in model.update(batch).items()})
    return model, reports


def scores(run_dir: Path, dataset_dir: Path) -> dict[str, list[float]]:
    """Fused T-CAMs of all test videos by the run's averaged and by its plain weights."""
    found = {}
    for weights in ("averaged", "raw"):
        model, _, _ = load_model(run_dir, "last", weights)
        batches = evaluation_batches(open_split(dataset_dir, "test"))
        tcams = [model(batch["features"])["tcam_fused"].flat_values.numpy() for batch in batches]
        found[weights] = np.concatenate(tcams).ravel().tolist()
    return found


def resumed(run_dir: Path) -> str:
    """What a resume of the run says; empty where it goes on."""
    try:
        CheckpointFolder(run_dir / "checkpoints", make_model(), keep=1).restore_latest()
    except UserError as error:
        return str(error)
    return ""


def report(losses: list[dict[str, float]], folder: Path) -> dict[str, Any]:
    """What this stack makes of the files in a folder."""
    run = folder / "run"
    return {"stack": NAME, "losses": losses, "scores": scores(run, folder / "dataset"), "resumed": resumed(run)}


def write(folder: Path) -> None:
    """Data set, run folder, and a report of what this stack computes from them."""
    videos = {s: [make_video(i, s, n) for i, n in enumerate(LENGTHS)] for s in ("validation", "test")}
    write_dataset(folder / "dataset", videos)
    model, losses = trained(folder / "dataset")
    CheckpointFolder(folder / "run" / "checkpoints", model, keep=1).save(STEPS, notes=["note"])
    run = RunInfo("test data", CLASSES, Streams.pair(FEATURE_DIM), TimeBase(), CONFIG, DetectionConfig())
    save_run(folder / "run", run)
    (folder / "report.json").write_text(json.dumps(report(losses, folder)), encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """The same report, computed by this stack from another's files."""
    return report(trained(folder / "dataset")[1], folder)


if __name__ == "__main__":
    tf.get_logger().setLevel("ERROR")
    write_to, read_from = Path(sys.argv[1]), Path(sys.argv[2])
    write(write_to)
    (read_from / "read_by_other.json").write_text(json.dumps(read(read_from)), encoding="utf-8")
