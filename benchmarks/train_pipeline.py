"""Whether the input keeps up with training.

    python -m benchmarks.train_pipeline --work_dir=/tmp/benchmark_pipeline

Random features of THUMOS14's lengths are written as shards, in float32 and in float16, and 3C-Net trains on them (all
losses, 101 classes). Steps on batches from disk (the page cache, after the first epoch) take turns with steps on one
batch that is held in memory; both have 32 videos, cropped at 750 segments, so that they cost nearly the same: speeds
are compared in segments per second. The last line is one JSON object:

disk_over_memory: speed from disk over speed from memory; by storage dtype, and the smaller of the two.
host_over_memory, device_over_memory: the same with --cache=host and --cache=device (float32).
input_wait_share: part of the time from disk in which the loop waited for a batch (float32).
peak_rss_mb: largest resident memory of the process until the end of the measurements from disk.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.batches import random_batch, thumos14_lengths
from benchmarks.convert import peak_rss_mb
from benchmarks.work_folder import work_folder
from tc3net import __version__
from tc3net.common.files import sha256_of
from tc3net.data import schema
from tc3net.data.cache import TrainingSource
from tc3net.data.pipeline import InputConfig
from tc3net.data.split import open_split
from tc3net.data.streams import RGB_FLOW, Streams
from tc3net.data.timebase import TimeBase
from tc3net.model import ThreeCNet
from tc3net.terminal.command import run_main
from tc3net.training.host_memory import keep_freed_memory

FLAGS = flags.FLAGS
SUBSET = "validation"


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("work_dir", None, "Folder for the shards; emptied at the end.")
    flags.DEFINE_integer("feature_dim", 1024, "D of one stream.")
    flags.DEFINE_integer("num_classes", 101, "C.")
    flags.DEFINE_integer("videos", 96, "Videos on disk: 0.26 GB per 100 in float32.")
    flags.DEFINE_integer("steps", 3, "Steps per measurement.")
    flags.DEFINE_integer("repeats", 5, "Measurements of each speed, in turn; the median of the ratios is reported.")


def write_shards(folder: Path, dtype: str, videos: int, feature_dim: int, num_classes: int) -> None:
    """A data set of random features: one shard and its manifest.

    Args:
        folder: made here.
        dtype: of the features.
        videos: how many, of THUMOS14's lengths.
        feature_dim: D of each of two streams.
        num_classes: C.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    classes = tuple(f"Class{index:03d}" for index in range(num_classes))
    name, lengths = f"{SUBSET}.tfrecord", thumos14_lengths(videos)
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for index, length in enumerate(lengths):
            features = dict(zip(RGB_FLOW, rng.random((2, length, feature_dim), np.float32).astype(dtype)))
            writer.write(
                schema.encode(
                    schema.VideoExample(
                        video_id=f"video{index}", subset=SUBSET, features=features,
                        labels=[index % num_classes], counts=[3], counts_known=[True], instances_known=True,
                        instance_start_s=[0.0] * 3, instance_end_s=[1.0] * 3,
                        instance_label=[index % num_classes] * 3, ambiguous_start_s=[], ambiguous_end_s=[],
                        duration_s=length * 16 / 25, time_base=TimeBase(),
                    )
                )
            )  # fmt: skip
    shard = schema.Shard(name, len(lengths), (folder / name).stat().st_size, sha256_of(folder / name))
    schema.save_manifest(
        folder,
        schema.Manifest(
            name="Benchmark", classes=classes, counted_classes=classes, streams=Streams.pair(feature_dim),
            feature_dtype=dtype, time_base=TimeBase(),
            splits={SUBSET: schema.SplitInfo(len(lengths), int(lengths.sum()), (shard,))},
        ),
    )  # fmt: skip


def make_loop(step: Callable[[Any], dict[str, tf.Tensor]], batches: Iterator[Any]) -> Callable[[], tuple[float, float]]:
    """A function that trains a few steps and gives segments per second and the share of time spent waiting."""

    def measure() -> tuple[float, float]:
        segments, waited_s, started = 0.0, 0.0, time.perf_counter()
        for _ in range(FLAGS.steps):
            asked = time.perf_counter()
            batch = next(batches)
            waited_s += time.perf_counter() - asked
            segments += float(step(batch)["segments"])
        seconds = time.perf_counter() - started
        return segments / seconds, waited_s / seconds

    return measure


def measure(folder: Path, cache: str) -> dict[str, float]:
    """Medians over the repeats: speeds, their ratio, waiting share."""
    split = open_split(folder, SUBSET)
    config = InputConfig(batch_size=32, crop_segments=750, batches="cropped")
    source = TrainingSource(split, config, cache, tf.distribute.get_strategy())
    model = ThreeCNet(FLAGS.num_classes, FLAGS.feature_dim)
    model.compile()
    fill = source.fill
    step = tf.function(lambda batch: model.update(fill(batch)))
    stored = make_loop(step, iter(source.batches(0, 1)))
    held = tf.function(model.update)
    in_memory = random_batch(
        thumos14_lengths(32, 750), feature_dim=FLAGS.feature_dim, num_classes=FLAGS.num_classes, full_length=False
    )
    memory = make_loop(held, iter(lambda: in_memory, None))
    for warm_up in (stored, memory):
        warm_up()
    pairs = [(stored(), memory()) for _ in range(FLAGS.repeats)]
    return {
        "ratio": statistics.median(one[0] / other[0] for one, other in pairs),
        "segments_per_s": statistics.median(one[0] for one, _ in pairs),
        "wait": statistics.median(one[1] for one, _ in pairs),
    }


def run(work: Path) -> dict[str, Any]:
    """All measurements."""
    found = {}
    for dtype, cache in (("float32", "none"), ("float16", "none"), ("float32", "host"), ("float32", "device")):
        folder = work / dtype
        if not folder.exists():
            write_shards(folder, dtype, FLAGS.videos, FLAGS.feature_dim, FLAGS.num_classes)
        found[dtype, cache] = measure(folder, cache)
        rates = found[dtype, cache]
        print(f"{dtype}, --cache={cache}: {rates['segments_per_s']:.0f} segments/s, ", end="")
        print(f"{rates['ratio']:.3f} of the speed from memory, {100 * rates['wait']:.1f} % waiting", flush=True)
        if cache == "none":
            peak = peak_rss_mb()
    by_dtype = {dtype: round(found[dtype, "none"]["ratio"], 3) for dtype in ("float32", "float16")}
    return {
        "version": __version__,
        "cpus": os.cpu_count(),
        "disk_over_memory": min(by_dtype.values()),
        "disk_over_memory_by_dtype": by_dtype,
        "host_over_memory": round(found["float32", "host"]["ratio"], 3),
        "device_over_memory": round(found["float32", "device"]["ratio"], 3),
        "input_wait_share": round(found["float32", "none"]["wait"], 4),
        "segments_per_s": round(found["float32", "none"]["segments_per_s"]),
        "peak_rss_mb": round(peak),
    }


def main(argv: Sequence[str]) -> None:
    """Measures everything and prints the result."""
    del argv
    keep_freed_memory()
    with work_folder(FLAGS.work_dir) as work:
        result = run(work)
    print(json.dumps(result))


if __name__ == "__main__":
    run_main(main, register_flags)
