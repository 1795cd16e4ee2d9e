"""Writes checked videos as TFRecord shards and the manifest that describes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from data_prep.annotations import VideoRecord
from data_prep.features import FeatureReader
from data_prep.validate import video_end_s
from tc3net.files import sha256_of
from tc3net.schema import Manifest, Shard, SplitInfo, VideoExample, encode, save_manifest
from tc3net.timebase import TimeBase


def count_instances(record: VideoRecord, counted_classes: frozenset[str], end_s: float) -> dict[str, int]:
    """The instance counts that are known, per class that occurs.

    Explicit counts are taken as they are. Otherwise the instances are counted: exact duplicates once, and not at all
    instances of zero length or that start after the end of the video. These are slips of an annotator, and an
    inflated count would teach the model a number that cannot be seen.

    Args:
        record: the annotation of one video.
        counted_classes: classes whose instances the data set annotates.
        end_s: second at which the video ends.

    Returns:
        Class name -> count >= 1. A class of `record.present` that is missing here has an unknown count: it occurs,
        but no (valid) instance says how often.
    """
    if record.counts is not None:
        counts = dict(record.counts)
    elif record.instances_known:
        visible = (item for item in set(record.instances) if item.start_s < min(item.end_s, end_s))
        counts = dict(Counter(item.label for item in visible))
    else:
        counts = {}
    return {label: count for label, count in counts.items() if count > 0 and label in counted_classes}


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
    end_s = video_end_s(record, time_base.duration_s(len(rgb)))
    counts = count_instances(record, frozenset(counted_classes), end_s)
    return VideoExample(
        video_id=record.video_id,
        subset=record.subset,
        rgb=rgb.astype(feature_dtype),
        flow=flow.astype(feature_dtype),
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


def write_dataset(
    folder: Path, manifest: Manifest, records: Sequence[VideoRecord], reader: FeatureReader, videos_per_shard: int
) -> Manifest:
    """Writes all shards and `dataset.json`; memory holds one video besides what the reader holds.

    Args:
        folder: an empty folder.
        manifest: everything but the splits.
        records: the videos to write; their order is kept within each subset.
        reader: their features.
        videos_per_shard: videos per file; the last file of a subset may hold fewer.

    Returns:
        The manifest with its splits.

    Raises:
        OSError: a file cannot be written.
        UserError: a video's features have become unreadable.
    """
    splits: dict[str, SplitInfo] = {}
    with tqdm(total=len(records), desc="writing", unit="video") as progress:
        for subset in dict.fromkeys(record.subset for record in records):
            members = [record for record in records if record.subset == subset]
            groups = [members[i : i + videos_per_shard] for i in range(0, len(members), videos_per_shard)]
            shards, segments = [], 0
            for index, group in enumerate(groups):
                path = folder / f"{subset}-{index:05d}-of-{len(groups):05d}.tfrecord"
                segments += _write_shard(path, manifest, group, reader, progress)
                shards.append(Shard(path.name, len(group), path.stat().st_size, sha256_of(path)))
            splits[subset] = SplitInfo(len(members), segments, tuple(shards))
    complete = replace(manifest, splits=splits)
    save_manifest(folder, complete)
    return complete


def _write_shard(
    path: Path, manifest: Manifest, records: Sequence[VideoRecord], reader: FeatureReader, progress: tqdm[None]
) -> int:
    segments = 0
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                rgb, flow = reader.read(record.video_id)
                example = to_example(
                    record,
                    rgb,
                    flow,
                    classes=manifest.classes,
                    counted_classes=manifest.counted_classes,
                    feature_dtype=manifest.feature_dtype,
                    time_base=manifest.time_base,
                )
                writer.write(encode(example))
                segments += len(rgb)
                progress.update()
    except tf.errors.OpError as error:
        raise OSError(f"{path.name}: {error.message}") from None
    return segments
