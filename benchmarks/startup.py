"""How soon every command answers: help, a misspelt flag, and input that is refused.

    python -m benchmarks.startup

Each is a process of its own, as a user starts it, in an empty folder; --repeats of them, the fastest counts, since what
else the machine does only adds to it. The last line is one JSON object:

help_s, mistake_s, refused_s: seconds by command, from the start to the end of the process.
cpu_s: seconds of CPU time of --help, which depend less on what else the machine does.
tensorflow_s: a process that imports TensorFlow, for comparison.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tc3net.terminal.command import run_main
from tc3net.terminal.console import COMMANDS

FLAGS = flags.FLAGS
GOAL_S = 0.7
ROOT = Path(__file__).resolve().parents[1]
# Input that is not there. demo has none.
REFUSED = {
    "inspect": ["nowhere.csv"],
    "convert": ["--annotations=nowhere.csv", "--features=nowhere", "--output_dir=out", "--name=x"],
    "extract": ["--videos=nowhere", "--output_dir=out"],
    "weights": ["--network=i3d_rgb", "--from=nowhere.npz", "--cache_dir=cache"],
    "synthetic": ["--output_dir=out", "--annotations=nowhere.json"],
    "to-json": ["--annotations=nowhere.csv", "--output=out.json"],
    "convert-beam": ["--annotations=nowhere", "--features=x", "--output_dir=out", "--name=x", "--num_workers=2"],
    "train": ["--flagfile=thumos14.cfg", "--dataset_dir=nowhere", "--run_dir=out"],
    "evaluate": ["--run_dir=nowhere", "--dataset_dir=nowhere"],
    "tune": ["--run_dir=nowhere", "--dataset_dir=nowhere", "--output_dir=out"],
    "ablate": ["--flagfile=ablation.cfg", "--dataset_dir=nowhere", "--output_dir=out"],
    "report": ["nowhere"],
    "predict": ["--run_dir=nowhere", "--features=nowhere.npy", "--output_dir=out"],
    "detections-to": ["--detections=nowhere.json", "--output_dir=out"],
    "predict-beam": ["--run_dir=nowhere", "--dataset_dir=nowhere", "--output_dir=out"],
    "export": ["--run_dir=nowhere", "--export_dir=out"],
    "client": ["--address=localhost:1", "--features=nowhere.npy", "--attempts=1", "--transport=rest"],
}  # fmt: skip


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_integer("repeats", 3, "How often each is started.", lower_bound=1)


def fastest(arguments: Sequence[str], folder: str) -> tuple[float, float, int]:
    """Seconds from start to end and of CPU time, each of the fastest of several processes, and the exit status."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # The first start compiles our modules, as a user's first one does, and the others find them compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    found, status = [], 0
    for _ in range(FLAGS.repeats):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append((seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
        status = done.returncode
    return min(wall for wall, _ in found), min(cpu for _, cpu in found), status


def main(argv: Sequence[str]) -> None:
    """Times every command, prints a table and the JSON."""
    del argv
    result: dict[str, dict[str, float]] = {name: {} for name in ("help_s", "mistake_s", "refused_s", "cpu_s")}
    print(f"{'command':<14}{'help':>8}{'mistake':>9}{'refused':>9}{'CPU':>8}   seconds; goal {GOAL_S}")
    with tempfile.TemporaryDirectory() as folder:
        for name, command in COMMANDS.items():
            kinds = {"help_s": (["--help"], 0), "mistake_s": (["--hepl"], 2)}
            if name in REFUSED:
                kinds["refused_s"] = (REFUSED[name], 1)
            for kind, (arguments, expected) in kinds.items():
                wall_s, cpu_s, status = fastest(["-m", command.module, *arguments], folder)
                assert status == expected, f"{name} {arguments}: status {status}, expected {expected}"
                result[kind][name] = round(wall_s, 3)
                if kind == "help_s":
                    result["cpu_s"][name] = round(cpu_s, 3)
            cells = "".join(f"{result[kind].get(name, float('nan')):9.2f}" for kind in result)
            print(f"{name:<13}{cells}", flush=True)
        tensorflow_s = round(fastest(["-c", "import tensorflow"], folder)[0], 3)
    print(json.dumps({**result, "tensorflow_s": tensorflow_s}))


if __name__ == "__main__":
    run_main(main, register_flags)
