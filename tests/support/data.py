"""A small data set on disk, written straight through the schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tc3net.common.files import sha256_of
from tc3net.data import schema
from tc3net.data.record_index import write_index
from tc3net.data.streams import RGB_FLOW, Streams
from tc3net.data.timebase import TimeBase

CLASSES = ("Jump", "Run", "Throw")
FEATURE_DIM = 4


def make_video(index: int, subset: str, num_segments: int) -> schema.VideoExample:
    """A video whose features tell which segment of which video they are."""
    rng = np.random.default_rng([index, num_segments])
    labels = sorted({index % 3, (index * index) % 3}) if index % 7 else []
    instance_label = [label for label in labels for _ in range(1 + index % 3)]
    starts = np.sort(rng.random(len(instance_label))) * num_segments * 0.5
    features = rng.random((2, num_segments, FEATURE_DIM)).astype(np.float32)
    features[0, :, 0], features[0, :, 1] = index, np.arange(num_segments)
    return schema.VideoExample(
        video_id=f"video_{subset}_{index:03d}",
        subset=subset,
        features=dict(zip(RGB_FLOW, features)),
        labels=labels,
        counts=[1 + index % 3] * len(labels),
        counts_known=[True] * len(labels),
        instances_known=True,
        instance_start_s=list(starts),
        instance_end_s=list(starts + 1.3),
        instance_label=instance_label,
        ambiguous_start_s=[0.1] if index == 2 else [],
        ambiguous_end_s=[0.4] if index == 2 else [],
        duration_s=num_segments * 16 / 25,
        time_base=TimeBase(),
    )


def write_dataset(folder: Path, splits: dict[str, Sequence[schema.VideoExample]], videos_per_shard: int = 4) -> Path:
    """Writes shards, manifest and index straight through the schema, without data_prep."""
    folder.mkdir(parents=True, exist_ok=True)
    infos = {}
    for subset, videos in splits.items():
        groups = [videos[i : i + videos_per_shard] for i in range(0, len(videos), videos_per_shard)]
        shards = []
        for number, group in enumerate(groups):
            path = folder / f"{subset}-{number:05d}-of-{len(groups):05d}.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for video in group:
                    writer.write(schema.encode(video))
            shards.append(schema.Shard(path.name, len(group), path.stat().st_size, sha256_of(path)))
        infos[subset] = schema.SplitInfo(
            len(videos), sum(len(next(iter(v.features.values()))) for v in videos), tuple(shards)
        )
    first = next(iter(splits.values()))[0]
    manifest = schema.Manifest(
        name="test data",
        classes=CLASSES,
        counted_classes=CLASSES[:2],
        streams=Streams.of({name: values.shape[1] for name, values in first.features.items()}),
        feature_dtype=next(iter(first.features.values())).dtype.name,
        time_base=TimeBase(),
        splits=infos,
    )
    schema.save_manifest(folder, manifest)
    write_index(folder, manifest)
    return folder
