"""A small conversion: raw inputs of three videos, and the records that come out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from data_prep.conversion.pipeline import ConvertOptions
from data_prep.inputs.options import InputOptions
from tc3net.data import schema

VIDEOS = {
    "v1": {
        "subset": "training",
        "duration": 6.4,
        "labels": ["Jump", "Swim"],
        "annotations": [
            {"label": "Run", "segment": [0.1, 1.30000001]},
            {"label": "Run", "segment": [0.1, 1.30000001]},
            {"label": "Run", "segment": [3, 3.5]},
            {"label": "Jump", "segment": [2, 2]},
        ],
    },
    "v2": {"subset": "training", "duration": 5.0, "labels": ["Jump"]},
    "v3": {"subset": "test", "duration": 6.4, "annotations": [], "ambiguous": [[1.1, 2.2]]},
}


def write_inputs(folder: Path, videos: dict = VIDEOS, **extra) -> ConvertOptions:
    """JSON annotations and per-video features of 10 segments and 2 dims each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.json").write_text(json.dumps({"database": videos, **extra}))
    for number, stream in enumerate(("rgb", "flow")):
        (folder / "features" / stream).mkdir(parents=True, exist_ok=True)
        for name in videos:
            values = np.random.default_rng([number, len(name), ord(name[-1])]).random((10, 2), np.float32)
            np.save(folder / "features" / stream / f"{name}.npy", values)
    return ConvertOptions(InputOptions(folder / "a.json", folder / "features"), folder / "out", "Tiny")


def read_split(folder: Path, subset: str) -> list[dict]:
    manifest = schema.load_manifest(folder)
    files = [str(folder / shard.file) for shard in manifest.splits[subset].shards]
    examples = []
    for serialized in tf.data.TFRecordDataset(files):
        parsed = {key: value.numpy() for key, value in schema.parse(serialized, manifest.streams.names).items()}
        for stream, dim in manifest.streams.sizes:
            raw = parsed[f"features/{stream}"]
            parsed[stream] = schema.decode_features(raw, dtype=manifest.feature_dtype, feature_dim=dim).numpy()
        examples.append(parsed)
    return examples
