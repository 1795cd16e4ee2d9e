"""A small model and its service, for the tests of what is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.data.schema import VideoExample, encode
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.export import export
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.model.heads import Head
from tc3net.runs.description import RunInfo
from tc3net.saved_model.signatures import Batching, Service

CLASSES, DIM, MOST = 3, 4, 6
RUN = RunInfo(
    dataset="d",
    classes=("a", "b", "ç"),
    streams=Streams.pair(DIM),
    time_base=TimeBase(fps=30.0, frames_per_segment=16, stride_frames=8),
    model=ModelConfig(temporal_conv=True, temporal_conv_relu=False),
    detection=DetectionConfig(),
)


def make_model(heads: tuple[Head, ...] = ()) -> ThreeCNet:
    model = ThreeCNet(CLASSES, DIM, RUN.model, seed=2, heads=heads)
    rng = np.random.default_rng(0)
    for variable in model.named_variables().values():
        variable.assign(rng.normal(size=variable.shape))
    return model


def service(model: ThreeCNet, config: DetectionConfig = RUN.detection, batching: Batching = Batching()) -> Service:
    return Service(model, RUN.classes, RUN.time_base, config, max_detections=MOST, batching=batching)


def export_model(folder: Path) -> Path:
    """Exports the next version; its folder."""
    return export(service(make_model()), RUN, folder)


def padded_features(lengths: list[int], fill: float = 0.0, rows: int | None = None, seed: int = 1) -> np.ndarray:
    """[B, T, 2D]; rows beyond each length hold `fill`."""
    rng = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths) if rows is None else rows, 2 * DIM)
    features = rng.normal(size=shape).astype(np.float32)
    for row, length in zip(features, lengths):
        row[length:] = fill
    return features


def example_of(features: np.ndarray, base: TimeBase = RUN.time_base, dtype: str = "float32", **changed: Any) -> bytes:
    """A record as data_prep writes it, of features [s, 2D]."""
    stored = features.astype(dtype)
    fields: dict[str, Any] = {
        "video_id": "v", "subset": "s", "features": RUN.streams.split(stored), "labels": [0], "counts": [1],
        "counts_known": [True], "instances_known": True, "instance_start_s": [0.0], "instance_end_s": [1.0],
        "instance_label": [0], "ambiguous_start_s": [], "ambiguous_end_s": [], "duration_s": 1.0, "time_base": base,
    }  # fmt: skip
    return encode(VideoExample(**{**fields, **changed}))


def call(loaded: Any, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
    """One request; a NumPy array or list per input."""
    outputs = loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in outputs.items()}
