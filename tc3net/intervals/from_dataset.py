"""Ground truth of a converted data set, as columns; records are its source, here and where a model scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.data import schema
from tc3net.data.split import open_split, readable
from tc3net.data.timebase import TimeBase
from tc3net.intervals.columns import AnnotatedVideos, GroundTruth
from tc3net.ops.tracing import as_written

_TIME_BASE = {"fps": float, "frames_per_segment": int, "stride_frames": int}


def ground_truth_of(classes: tuple[str, ...], records: Mapping[str, Sequence[Any]]) -> GroundTruth:
    """The instances of those videos that have temporal annotation.

    Args:
        classes: class names of the data set.
        records: columns of the record schema, one value (or list) per video: `id` (bytes), `instances_known`,
            `instances/start|end|label`, `ambiguous/start|end`.
    """
    known = [i for i, flag in enumerate(records["instances_known"]) if flag]

    def column(name: str, dtype: Any) -> np.ndarray:
        parts = [np.asarray(records[name][i], dtype) for i in known]
        return np.concatenate(parts) if parts else np.zeros(0, dtype)

    def owners(name: str) -> np.ndarray:
        return np.repeat(np.arange(len(known)), [len(records[name][i]) for i in known]).astype(np.int64)

    return GroundTruth(
        classes=classes,
        video_ids=tuple(records["id"][i].decode() for i in known),
        video=owners("instances/label"),
        label=column("instances/label", np.int64),
        start_s=column("instances/start", np.float64),
        end_s=column("instances/end", np.float64),
        ambiguous_video=owners("ambiguous/start"),
        ambiguous_start_s=column("ambiguous/start", np.float64),
        ambiguous_end_s=column("ambiguous/end", np.float64),
    )


def read_annotated_videos(dataset_dir: str | Path, subset: str) -> AnnotatedVideos:
    """Ground truth of a converted data set; the records are read (and their checksums verified), features not decoded.

    Args:
        dataset_dir: folder written by `python -m data_prep.convert`.
        subset: split name.

    Raises:
        UserError: unknown subset, or a damaged record.
    """
    split = open_split(dataset_dir, subset)

    def without_features(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return {key: value for key, value in schema.parse(serialized).items() if key != "features/dtype"}

    stored = tf.data.TFRecordDataset(list(split.paths))
    read = stored.map(as_written(without_features), num_parallel_calls=tf.data.AUTOTUNE)
    records: dict[str, list[Any]] = {}
    for record in readable(read, split):
        for name, value in record.items():
            records.setdefault(name, []).append(value.numpy())
    bases = set(zip(*(map(kind, records[name]) for name, kind in _TIME_BASE.items())))
    known = np.asarray(records["instances_known"], bool)
    return AnnotatedVideos(
        dataset=split.manifest.title,
        truth=ground_truth_of(split.manifest.classes, records),
        duration_s=np.asarray(records["duration"], np.float64)[known],
        time_bases=tuple(TimeBase(*base) for base in sorted(bases)),
    )
