"""How long opening a subset takes, and how much memory, with `dataset.index` and without.

    python -m benchmarks.open_split --work_dir=/tmp/benchmark_open   # Linux

For each of --sizes so many small records are generated (about 0.7 kB each). Every way of opening runs in a process of
its own, from the page cache; seconds are of the CPU, user and system, so that other work on the machine does not count,
and the median of --repeats. The last line is one JSON object; by size:

index_s: `open_split` as it is, with the index that the conversion wrote.
frames_s: as it was before there was an index: the frame of every record is read.
rebuild_s: `open_split` where the index is absent, which it writes.
frames_over_index, rebuild_over_frames: ratios of these.
index_mb, frames_mb: memory at the peak above what the process had before it opened the subset.
index_bytes: size of the file.
"""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.convert import peak_rss_mb
from benchmarks.work_folder import work_folder
from tc3net.common.errors import UserError
from tc3net.common.files import sha256_of
from tc3net.data import schema
from tc3net.data.record_index import INDEX_NAME, write_index
from tc3net.data.split import Split, open_split
from tc3net.data.streams import RGB_FLOW, Streams
from tc3net.data.timebase import TimeBase
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
SUBSET = "training"
DIMS = 4


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("work_dir", None, "Folder for about 0.8 kB per record; emptied at the end.")
    flags.DEFINE_list("sizes", ["1000", "100000", "1000000"], "Numbers of records.")
    flags.DEFINE_integer("videos_per_shard", 64, "Records per shard.", lower_bound=8)
    flags.DEFINE_integer("repeats", 3, "Measurements of each time; the median is reported.", lower_bound=1)
    flags.DEFINE_string("measure", None, "Used by the command itself: what to measure in this process, as JSON.")


def frames_of_records(folder: Path) -> list[bytes]:
    """Records of 1 to 8 segments as they lie in a shard, with their checksums."""
    frames = []
    for segments in range(1, 9):
        rng = np.random.default_rng(segments)
        video = schema.VideoExample(
            video_id=f"video_{segments}", subset=SUBSET, labels=[0], counts=[1], counts_known=[True],
            features={name: rng.random((segments, DIMS), np.float32) for name in RGB_FLOW},
            instances_known=True, instance_start_s=[0.0], instance_end_s=[0.5], instance_label=[0],
            ambiguous_start_s=[], ambiguous_end_s=[], duration_s=segments * 16 / 25, time_base=TimeBase(),
        )  # fmt: skip
        path = folder / "one"
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(schema.encode(video))
        frames.append(path.read_bytes())
        path.unlink()
    return frames


def write_dataset(folder: Path, records: int, videos_per_shard: int) -> None:
    """A data set of so many records, with its manifest and index; shards repeat the same few records."""
    folder.mkdir()
    frames = frames_of_records(folder)
    of_shard = [frames[number % 8] for number in range(videos_per_shard)]
    count = -(-records // videos_per_shard)
    shards: list[schema.Shard] = []
    checksums: dict[int, str] = {}
    for number in range(count):
        held = min(videos_per_shard, records - number * videos_per_shard)
        path = folder / f"{SUBSET}-{number:05d}-of-{count:05d}.tfrecord"
        content = b"".join(of_shard[:held])
        path.write_bytes(content)
        if held not in checksums:
            checksums[held] = sha256_of(path)
        shards.append(schema.Shard(path.name, held, len(content), checksums[held]))
    segments = sum(1 + number % videos_per_shard % 8 for number in range(records))
    manifest = schema.Manifest(
        "Benchmark", ("Jump",), ("Jump",), Streams.pair(DIMS), "float32", TimeBase(),
        {SUBSET: schema.SplitInfo(records, segments, tuple(shards))},
    )  # fmt: skip
    schema.save_manifest(folder, manifest)
    write_index(folder, manifest)


def open_by_frames(dataset_dir: Path) -> Split:
    """`open_split` as it was before there was an index."""
    manifest = schema.load_manifest(dataset_dir)
    paths, shard, offset = [], [], []
    for number, info in enumerate(manifest.splits[SUBSET].shards):
        path = dataset_dir / info.file
        assert path.is_file() and path.stat().st_size == info.bytes
        offsets: list[int] = []
        with path.open("rb") as file:
            position = 0
            while position < info.bytes:
                end = position + 16 + struct.unpack("<Q", file.read(12)[:8])[0]
                assert end <= info.bytes
                offsets.append(position)
                file.seek(end)
                position = end
        assert len(offsets) == info.videos
        paths.append(str(path))
        shard += [number] * len(offsets)
        offset += offsets
    return Split(manifest, SUBSET, tuple(paths), np.asarray(shard, np.int64), np.asarray(offset, np.int64))


def without_index(dataset_dir: Path) -> Split:
    """`open_split` where there is no index."""
    (dataset_dir / INDEX_NAME).unlink()
    return open_split(dataset_dir, SUBSET)


WAYS: dict[str, Callable[[Path], Split]] = {
    "index": lambda folder: open_split(folder, SUBSET),
    "frames": open_by_frames,
    "rebuild": without_index,
}


def measure(dataset_dir: Path, way: str, repeats: int) -> None:
    """Opens the subset in one of `WAYS`, and prints seconds, megabytes, and what tells whether the ways agree."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the memory begins anew
    before_mb, seconds = peak_rss_mb(), []
    split = WAYS[way](dataset_dir)
    mb = peak_rss_mb() - before_mb
    for _ in range(repeats):
        del split
        start = time.process_time()
        split = WAYS[way](dataset_dir)
        seconds.append(time.process_time() - start)
    found = [split.num_videos, int(split.offset.sum()), int(split.shard.sum())]
    print(json.dumps({"seconds": statistics.median(seconds), "mb": mb, "found": found}))


def measured(dataset_dir: Path, way: str, repeats: int) -> dict[str, Any]:
    """Runs `measure` in a new process."""
    chosen = json.dumps({"dataset_dir": str(dataset_dir), "way": way, "repeats": repeats})
    command = [sys.executable, "-m", "benchmarks.open_split", f"--measure={chosen}"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"opening {dataset_dir} by {way} failed:\n{result.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


def measure_size(work: Path, records: int, videos_per_shard: int, repeats: int) -> dict[str, float]:
    """All ways for one number of records."""
    folder = work / str(records)
    start = time.perf_counter()
    write_dataset(folder, records, videos_per_shard)
    print(f"{records} records generated in {time.perf_counter() - start:.1f} s", flush=True)
    by_way = {way: measured(folder, way, repeats) for way in WAYS}
    if len({tuple(result["found"]) for result in by_way.values()}) != 1:
        raise UserError(f"{folder}: the ways of opening it disagree: {by_way}")
    seconds = {way: result["seconds"] for way, result in by_way.items()}
    return {
        **{f"{way}_s": round(value, 4) for way, value in seconds.items()},
        "frames_over_index": round(seconds["frames"] / seconds["index"], 1),
        "rebuild_over_frames": round(seconds["rebuild"] / seconds["frames"], 2),
        **{f"{way}_mb": round(by_way[way]["mb"], 1) for way in ("index", "frames")},
        "index_bytes": os.path.getsize(folder / INDEX_NAME),
    }


def main(argv: Sequence[str]) -> None:
    """Measures all sizes; or one way of opening, in a process of its own."""
    del argv
    if FLAGS.measure:
        chosen = json.loads(FLAGS.measure)
        measure(Path(chosen["dataset_dir"]), chosen["way"], chosen["repeats"])
        return
    with work_folder(FLAGS.work_dir) as work:
        results = {}
        for size in map(int, FLAGS.sizes):
            results[str(size)] = measure_size(work, size, FLAGS.videos_per_shard, FLAGS.repeats)
            print(size, results[str(size)], flush=True)
        print(json.dumps(results))


if __name__ == "__main__":
    run_main(main, register_flags)
