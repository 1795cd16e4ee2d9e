"""One video as a `tf.train.Example`, and a group of them as a TFRecord file: what all ways of converting share."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data_prep.annotations import VideoRecord
from data_prep.checks.counts import count_instances
from data_prep.checks.spans import visible_end_s
from data_prep.conversion.workers import named
from data_prep.features import FeatureReader
from data_prep.features.read_ahead import ReadAhead
from data_prep.output.folders import sync
from tc3net.common.errors import UserError, plain_message
from tc3net.common.files import sha256_of
from tc3net.data.schema import Manifest, VideoExample, encode
from tc3net.data.timebase import TimeBase


def to_example(
    record: VideoRecord,
    rgb: np.ndarray,
    flow: np.ndarray,
    *,
    classes: Sequence[str],
    counted_classes: Sequence[str],
    feature_dtype: str,
    time_base: TimeBase,
) -> VideoExample:
    """Joins annotation and features of one video.

    Args:
        record: the annotation; its classes must be in `classes`.
        rgb, flow: [s, D] features.
        classes: class names in the order of their ids.
        counted_classes: classes whose instances are annotated.
        feature_dtype: dtype to store the features in.
        time_base: how rows relate to seconds.

    Returns:
        The Example; instances keep the order of the annotation, labels are ascending.
    """
    class_ids = {name: index for index, name in enumerate(classes)}
    labels = sorted(class_ids[name] for name in record.present)
    end_s = visible_end_s(record, time_base.duration_s(len(rgb)))
    counts = count_instances(record, frozenset(counted_classes), end_s)
    return VideoExample(
        video_id=record.video_id,
        subset=record.subset,
        rgb=rgb.astype(feature_dtype, copy=False),
        flow=flow.astype(feature_dtype, copy=False),
        labels=labels,
        counts=[counts.get(classes[label], 0) for label in labels],
        counts_known=[classes[label] in counts for label in labels],
        instances_known=record.instances_known,
        instance_start_s=[item.start_s for item in record.instances],
        instance_end_s=[item.end_s for item in record.instances],
        instance_label=[class_ids[item.label] for item in record.instances],
        ambiguous_start_s=[start_s for start_s, _ in record.ambiguous],
        ambiguous_end_s=[end_s for _, end_s in record.ambiguous],
        duration_s=record.duration_s,
        time_base=time_base,
    )


@dataclass(frozen=True)
class Rounding:
    """What storing values in another dtype cost.

    Attributes:
        largest_relative_error: the largest |stored - x| / |x| over all values x whose magnitude is at least the
            storage dtype's smallest normal number; 0.0 when every value is stored exactly.
        underflowed_values: number of smaller values, other than 0, that are not stored exactly. Their absolute error
            is at most half the smallest subnormal number (float16: 2^-25), their relative error has no bound below 1.
    """

    largest_relative_error: float = 0.0
    underflowed_values: int = 0

    def merged(self, other: Rounding) -> Rounding:
        """The cost of both together."""
        return Rounding(
            max(self.largest_relative_error, other.largest_relative_error),
            self.underflowed_values + other.underflowed_values,
        )


def rounding_of(values: np.ndarray, stored: np.ndarray) -> Rounding:
    """Compares values with what is stored of them.

    Args:
        values: floating point, finite, any shape.
        stored: the same shape, in the storage dtype.
    """
    if np.can_cast(values.dtype, stored.dtype, "safe"):
        return Rounding()
    difference = stored.astype(values.dtype)
    difference -= values
    np.abs(difference, out=difference)
    magnitude = np.abs(values)
    normal = magnitude >= np.finfo(stored.dtype).tiny
    underflowed = np.count_nonzero(difference[~normal])
    np.divide(difference, magnitude, out=difference, where=normal)
    return Rounding(float(np.max(difference, initial=0.0, where=normal)), int(underflowed))


@dataclass(frozen=True)
class WrittenShard:
    """What is known about a shard once it is on the disk."""

    videos: int
    segments: int
    bytes: int
    sha256: str
    rounding: Rounding


class Expected(NamedTuple):
    """What the check of a video found, and what must still hold when it is written."""

    record: VideoRecord
    time_base: TimeBase
    num_segments: int


def serialize_video(expected: Expected, reader: FeatureReader, manifest: Manifest) -> tuple[bytes, Rounding]:
    """One video as it is stored: the function that every way of converting runs for every video.

    Args:
        expected: the video, and what the check found.
        reader: its features.
        manifest: classes, counted classes, feature dims and dtype.

    Returns:
        The serialized Example, and the cost of its storage dtype.

    Raises:
        UserError: the features have become unreadable, or are not those that were checked; the message names the video.
    """
    record = expected.record
    changed = "Convert again once nothing else writes the feature files."
    with named(record.video_id):
        rgb, flow = reader.read(record.video_id)
    if rgb.shape != (expected.num_segments, manifest.feature_dim):
        raise UserError(
            f"video {record.video_id!r}: features of shape {list(rgb.shape)} found; expected "
            f"{[expected.num_segments, manifest.feature_dim]}, as when they were checked. {changed}"
        )
    example = to_example(
        record,
        rgb,
        flow,
        classes=manifest.classes,
        counted_classes=manifest.counted_classes,
        feature_dtype=manifest.feature_dtype,
        time_base=expected.time_base,
    )
    rounding = rounding_of(rgb, example.rgb).merged(rounding_of(flow, example.flow))
    if not np.isfinite(rounding.largest_relative_error):
        raise UserError(
            f"video {record.video_id!r}: a value does not fit {manifest.feature_dtype}; expected the values that were "
            f"checked. {changed}"
        )
    return encode(example), rounding


def write_shard(
    path: Path,
    videos: Sequence[Expected],
    reader: FeatureReader,
    manifest: Manifest,
) -> WrittenShard:
    """Writes one TFRecord file and waits until it is on the disk; memory holds two videos besides what the reader
    holds.

    Args:
        path: the file to create.
        videos: what to write, in order.
        reader: their features.
        manifest: see `serialize_video`.

    Raises:
        OSError: the file cannot be written.
        UserError: see `serialize_video`.
    """
    rounding = Rounding()
    try:
        video_ids = [video.record.video_id for video in videos]
        with tf.io.TFRecordWriter(str(path)) as writer, ReadAhead(reader, video_ids) as ahead:
            for video in videos:
                serialized, of_video = serialize_video(video, ahead, manifest)
                writer.write(serialized)
                rounding = rounding.merged(of_video)
    except tf.errors.OpError as error:
        raise OSError(f"{path.name}: {plain_message(error)}") from None
    with ThreadPoolExecutor(1) as waiting:
        synced = waiting.submit(sync, path)
        sha256 = sha256_of(path)  # while the disk works
        synced.result()
    segments = sum(video.num_segments for video in videos)
    return WrittenShard(len(videos), segments, path.stat().st_size, sha256, rounding)
