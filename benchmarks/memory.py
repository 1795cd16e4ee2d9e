"""Whether memory grows with the number of videos: converting, opening, training and scoring, each in its own process.

    python -m benchmarks.memory --work_dir=/tmp/benchmark_memory     # Linux

Small videos of one length, half of them to train on and half to test, are made --videos times each of --scales. The
stages are the commands as a user types them; `open` is `open_split` alone, `evaluate` also keeps every video's T-CAM in
raw_scores.npz. The last line is one JSON object:

peak_mb: by stage and scale, the largest resident memory of the process.
ratio: by stage, that of the largest scale over that of the smallest (goal: at most 1.1).
bytes_per_video: by stage, by how much the peak of the largest scale exceeds that of the smallest, for each video more.
seconds: by stage and scale.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.work_folder import work_folder
from tc3net.common.errors import UserError
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
ROOT = Path(__file__).resolve().parents[1]
SEGMENTS, DIMS, CLASSES = 24, 8, 5
TRAIN, TEST = "validation", "test"
# What a process runs; at its end it writes down its peak. (What getrusage says includes that of this process.)
PEAK = """
import atexit, runpy, sys
from pathlib import Path
told = Path(sys.argv.pop(1))
atexit.register(lambda: told.write_text(Path("/proc/self/status").read_text(), encoding="utf-8"))
"""
COMMAND = PEAK + "del sys.argv[0]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
OPEN = PEAK + f"from tc3net.data.split import open_split\nassert open_split(sys.argv[1], {TRAIN!r}).num_videos"
STAGES = ("convert", "open", "train", "score", "evaluate")


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("work_dir", None, "Folder for about 15 kB per video; emptied at the end.")
    flags.DEFINE_integer("videos", 100, "Videos at scale 1.", lower_bound=2 * CLASSES)
    flags.DEFINE_list("scales", ["1", "10", "100"], "Multiples of --videos.")
    flags.DEFINE_integer("iterations", 40, "Training steps.", lower_bound=1)


def make_inputs(folder: Path, videos: int) -> None:
    """Random features of so many videos, and annotations of them."""
    database = {}
    for stream in ("rgb", "flow"):
        (folder / "features" / stream).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(videos):
        name = f"video_{number:07d}"
        start_s = number % 7 + 0.5
        database[name] = {
            "subset": (TRAIN, TEST)[number % 2],
            "duration": SEGMENTS * 16 / 25,
            "annotations": [{"label": f"Class{number // 2 % CLASSES}", "segment": [start_s, start_s + 3]}],
        }
        for stream in ("rgb", "flow"):
            np.save(folder / "features" / stream / f"{name}.npy", rng.random((SEGMENTS, DIMS), np.float32))
    (folder / "annotations.json").write_text(json.dumps({"database": database}), encoding="utf-8")


def peak_mb(code: str, arguments: Sequence[str], told: Path) -> float:
    """Runs `COMMAND` or `OPEN`; the largest resident memory of its process in MiB.

    Raises:
        UserError: it failed.
    """
    command = [sys.executable, "-c", code, str(told), *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    status = told.read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) / 1024


def stages_of(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """What is run, by `STAGES`."""
    raw = [f"--annotations={folder / 'annotations.json'}", f"--features={folder / 'features'}"]
    data, run = f"--dataset_dir={folder / 'dataset'}", f"--run_dir={folder / 'run'}"
    steps = [f"--iterations={FLAGS.iterations}", "--eval_every=0", "--notensorboard", "--test_subset="]
    converted, scored, evaluated = (f"--output_dir={folder / name}" for name in ("dataset", "scored", "evaluated"))
    return {
        "convert": (COMMAND, ["data_prep.convert", *raw, converted, "--name=Benchmark"]),
        "open": (OPEN, [str(folder / "dataset")]),
        "train": (COMMAND, ["tc3net.train", data, run, *steps, "--log_every=20"]),
        "score": (COMMAND, ["tc3net.predict", run, data, f"--subset={TEST}", scored]),
        "evaluate": (COMMAND, ["tc3net.evaluate", run, data, evaluated]),
    }


def main(argv: Sequence[str]) -> None:
    """Measures every stage at every scale."""
    del argv
    scales = sorted(map(int, FLAGS.scales))
    peaks: dict[str, dict[str, float]] = {stage: {} for stage in STAGES}
    seconds: dict[str, dict[str, float]] = {stage: {} for stage in STAGES}
    with work_folder(FLAGS.work_dir) as work:
        for scale in scales:
            folder = work / f"{scale}x"
            make_inputs(folder, FLAGS.videos * scale)
            for stage, (code, arguments) in stages_of(folder).items():
                start = time.perf_counter()
                peaks[stage][f"{scale}x"] = round(peak_mb(code, arguments, folder / f"{stage}.status"), 1)
                seconds[stage][f"{scale}x"] = round(time.perf_counter() - start, 1)
                print(f"{scale}x {stage}: {peaks[stage][f'{scale}x']} MB, {seconds[stage][f'{scale}x']} s", flush=True)
    first, last = f"{scales[0]}x", f"{scales[-1]}x"
    more = FLAGS.videos * (scales[-1] - scales[0])
    result = {
        "peak_mb": peaks,
        "ratio": {stage: round(of[last] / of[first], 3) for stage, of in peaks.items()},
        "bytes_per_video": {stage: round((of[last] - of[first]) * 2**20 / max(1, more)) for stage, of in peaks.items()},
        "seconds": seconds,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    run_main(main, register_flags)
