"""How fast the conversion and the training input are, and how much memory the conversion takes.

    python -m benchmarks.convert --work_dir=/tmp/benchmark_convert   # Linux

Random features of 1, 4 and 16 times --megabytes are converted, each in a process of its own, from one file per video
and stream and from one object array. The last line is one JSON object:

convert_over_copy: the converter's bytes per second over those of a plain copy of the same feature files. Both wait
    until their output is on the disk; the median over --repeats of the ratio between neighbours in time.
convert_in_memory_over_copy: the same without waiting for the disk on either side.
read_over_raw: feature bytes per second that the training pipeline delivers, over bytes per second of reading the
    shards block by block. Both read from the page cache.
read_over_raw_disk: the same from the disk, as with data sets larger than memory: the page cache is told to forget the
    shards before each measurement.
peak_rss_mb, peak_rss_mb_object_array: largest resident memory of the converting process.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks.work_folder import work_folder
from tc3net.common.errors import UserError
from tc3net.terminal.command import run_main
from tc3net.training.host_memory import keep_freed_memory

FLAGS = flags.FLAGS
SCALES = (1, 4, 16)
_WARM_UP_BATCHES, _MEASURED_BATCHES = 6, 24
SEGMENTS, DIMS = 256, 1024  # one video: 2 MiB of float32, near the mean of THUMOS14
SUBSET = "training"


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("work_dir", None, "Folder for about 60 times --megabytes; emptied at the end.")
    flags.DEFINE_integer("megabytes", 16, "Features at scale 1, in MiB.")
    flags.DEFINE_integer("repeats", 3, "Measurements of each throughput; the median is reported.")
    flags.DEFINE_integer("num_workers", 1, "Processes of the converter.")
    flags.DEFINE_string("feature_dtype", "float32", "Storage dtype.")
    flags.DEFINE_string("measure", None, "Used by the command itself: options of one conversion, as JSON.")


def make_inputs(folder: Path, videos: int) -> None:
    """Random features of so many videos in both layouts, with annotations for each."""
    names = [f"video{index:05d}" for index in range(videos)]
    database = {
        name: {
            "subset": SUBSET,
            "duration": SEGMENTS * 16 / 25,
            "annotations": [{"label": f"Class{index % 20:02d}", "segment": [1.0, 5.0]}],
        }
        for index, name in enumerate(names)
    }
    rng = np.random.default_rng(0)
    for stream in ("rgb", "flow"):
        (folder / "features" / stream).mkdir(parents=True)
    joint = np.empty(videos, np.object_)
    for row, name in enumerate(names):
        joint[row] = rng.random((SEGMENTS, 2 * DIMS), np.float32)
        for stream, values in zip(("rgb", "flow"), np.split(joint[row], 2, axis=1)):
            np.save(folder / "features" / stream / f"{name}.npy", values)
    np.save(folder / "joint.npy", joint)
    (folder / "annotations.json").write_text(json.dumps({"database": database}), encoding="utf-8")


def measure_conversion(options: dict[str, Any]) -> None:
    """Converts in this process and prints seconds and peak memory; the time to start Python and TensorFlow is not in.

    Without `wait_for_disk` fsync does nothing in this process, which is otherwise the converter as it is.
    """
    from data_prep.conversion.pipeline import ConvertOptions, convert
    from data_prep.inputs.options import InputOptions

    inputs = InputOptions(options["annotations"], options["features"])
    if not options["wait_for_disk"]:
        os.fsync = lambda fd: None
    start = time.perf_counter()
    convert(
        ConvertOptions(
            inputs,
            options["output_dir"],
            "Benchmark",
            feature_dtype=options["feature_dtype"],
            num_workers=options["num_workers"],
        )
    )
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_rss_mb": peak_rss_mb()}))


def peak_rss_mb() -> float:
    """Largest resident memory of this process in MiB; worker processes have their own.

    Not getrusage's: Linux hands that down from the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def run_conversion(folder: Path, layout: str, output_dir: Path, *, wait_for_disk: bool = True) -> dict[str, float]:
    """Runs `measure_conversion` in a new process."""
    options = {
        "annotations": str(folder / "annotations.json"),
        "features": str(folder / layout),
        "output_dir": str(output_dir),
        "feature_dtype": FLAGS.feature_dtype,
        "num_workers": FLAGS.num_workers,
        "wait_for_disk": wait_for_disk,
    }
    shutil.rmtree(output_dir, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.convert", f"--measure={json.dumps(options)}"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"the conversion of {folder / layout} failed:\n{result.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def copy_seconds(source: Path, target: Path, *, wait_for_disk: bool) -> float:
    """Seconds to copy all files of a folder, one after the other."""
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        if wait_for_disk:
            with open(copy, "rb") as written:
                os.fsync(written.fileno())
    return time.perf_counter() - start


def bytes_in(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def convert_and_copy(source: Path, work: Path, *, wait_for_disk: bool) -> dict[str, float]:
    """Medians over the repeats: MB/s of the input's bytes for both, and the ratio."""
    megabytes = bytes_in(source / "features") / 1e6
    copies, conversions = [], []
    for _ in range(FLAGS.repeats):
        copies.append(megabytes / copy_seconds(source / "features", work / "copy", wait_for_disk=wait_for_disk))
        measured = run_conversion(source, "features", work / "converted", wait_for_disk=wait_for_disk)
        conversions.append(megabytes / measured["seconds"])
        peak = measured["peak_rss_mb"]
    return {
        "copy": statistics.median(copies),
        "convert": statistics.median(conversions),
        "ratio": statistics.median(ours / plain for ours, plain in zip(conversions, copies)),
        "peak_rss_mb": peak,
    }


def raw_rate(dataset: Path) -> float:
    """MB/s of reading all shards block by block."""
    buffer = bytearray(1 << 20)
    start = time.perf_counter()
    total = 0
    for path in sorted(dataset.glob("*.tfrecord")):
        with open(path, "rb", buffering=0) as file:
            total += sum(iter(lambda file=file: file.readinto(buffer), 0))  # type: ignore[misc]
    return total / 1e6 / (time.perf_counter() - start)


def forget(dataset: Path) -> None:
    """Drops the shards from the page cache; they are on the disk already."""
    for path in dataset.glob("*.tfrecord"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def make_pipeline(dataset: Path) -> Callable[[bool], float]:
    """A function that measures MB/s of stored feature bytes that the training pipeline delivers.

    Its argument: one epoch from the start, as after `forget`; otherwise 24 batches of a pipeline that runs already.
    """
    import tensorflow as tf

    from tc3net.data.pipeline import InputConfig, training_batches
    from tc3net.data.split import open_split

    split = open_split(dataset, SUBSET)
    config = InputConfig(batch_size=min(32, split.num_videos), batches="full")
    steps = max(1, split.num_videos // config.batch_size)
    itemsize = np.dtype(split.manifest.feature_dtype).itemsize
    batches = training_batches(split, config)
    next(iter(batches))

    def rate(from_start: bool) -> float:
        # Always a new iterator: what an old one read ahead while something else was measured would not be counted.
        iterator = iter(batches)
        for _ in range(0 if from_start else _WARM_UP_BATCHES):
            next(iterator)
        start, values = time.perf_counter(), 0
        for _ in range(steps if from_start else _MEASURED_BATCHES):
            values += int(tf.size(next(iterator)["features"].flat_values))
        return values * itemsize / 1e6 / (time.perf_counter() - start)

    return rate


def measure_reading(dataset: Path) -> dict[str, float]:
    """Medians of both rates and of their ratio, from the page cache and from the disk."""
    keep_freed_memory()  # as tc3net.train does
    pipeline_rate = make_pipeline(dataset)
    found = {}
    for where, suffix in (("memory", ""), ("disk", "_disk")):
        pairs = []
        for _ in range(max(3, FLAGS.repeats)):
            rates = []
            from_start = bool(suffix)
            for measure in (functools.partial(pipeline_rate, from_start), functools.partial(raw_rate, dataset)):
                if suffix:
                    forget(dataset)
                rates.append(measure())
            pairs.append(rates)
        pipeline, raw = (statistics.median(side) for side in zip(*pairs))
        print(f"reading from {where}: raw {raw:.0f} MB/s, training pipeline {pipeline:.0f} MB/s", flush=True)
        found[f"read_over_raw{suffix}"] = round(statistics.median(ours / plain for ours, plain in pairs), 3)
        found[f"pipeline_mb_per_s{suffix}"], found[f"raw_mb_per_s{suffix}"] = round(pipeline), round(raw)
    return found


def run(work: Path) -> dict[str, Any]:
    """All measurements."""
    from tc3net import __version__

    peaks: dict[str, dict[str, float]] = {"features": {}, "joint.npy": {}}
    for scale in SCALES:
        source = work / f"inputs_{scale}x"
        make_inputs(source, max(1, FLAGS.megabytes * scale * (1 << 20) // (SEGMENTS * DIMS * 2 * 4)))
        for layout, of_layout in peaks.items():
            measured = run_conversion(source, layout, work / "converted")
            of_layout[f"{scale}x"] = round(measured["peak_rss_mb"], 1)
            print(f"{scale}x, {layout}: {measured['seconds']:.2f} s, {measured['peak_rss_mb']:.0f} MB", flush=True)
    on_disk = convert_and_copy(source, work, wait_for_disk=True)
    in_memory = convert_and_copy(source, work, wait_for_disk=False)
    for what, rates in (("on the disk", on_disk), ("in the page cache", in_memory)):
        print(f"{what}: copy {rates['copy']:.0f} MB/s, convert {rates['convert']:.0f} MB/s", flush=True)
    reading = measure_reading(work / "converted")
    return {
        "version": __version__,
        "cpus": os.cpu_count(),
        "num_workers": FLAGS.num_workers,
        "feature_dtype": FLAGS.feature_dtype,
        "megabytes_at_16x": round(bytes_in(source / "features") / 1e6),
        "convert_over_copy": round(on_disk["ratio"], 3),
        "convert_in_memory_over_copy": round(in_memory["ratio"], 3),
        "convert_mb_per_s": round(on_disk["convert"]),
        "copy_mb_per_s": round(on_disk["copy"]),
        **reading,
        "peak_rss_mb": peaks["features"],
        "peak_rss_mb_object_array": peaks["joint.npy"],
    }


def main(argv: Sequence[str]) -> None:
    """Measures everything and prints the result."""
    del argv
    if FLAGS.measure:
        measure_conversion(json.loads(FLAGS.measure))
        return
    with work_folder(FLAGS.work_dir) as work:
        result = run(work)
    print(json.dumps(result))


if __name__ == "__main__":
    run_main(main, register_flags)
