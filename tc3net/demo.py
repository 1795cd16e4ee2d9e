"""The main job end to end on simulated data: `make demo`, or `python -m tc3net.demo --output_dir=demo_output`.

It runs the commands that a user would type, shows each of them, and ends with what came out and what to type next. The
output folder is made anew each time; a folder that this demo did not make is never touched.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from tc3net.common.errors import UserError
from tc3net.terminal.command import run_main
from tc3net.terminal.interrupt import STATUS
from tc3net.training.metrics_log import read_metrics

FLAGS = flags.FLAGS
MARKER = "made-by-tc3net-demo.txt"
CONFIG = "demo.cfg"  # found by name, wherever the demo runs


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("output_dir", "demo_output", "Folder for everything the demo makes; replaced if it exists.")


def clear_output(folder: Path) -> None:
    """Makes the output folder, empty; refuses to empty one that the demo did not make.

    Raises:
        UserError: the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise UserError(f"{folder} exists and was not made by this demo. Give another --output_dir, or remove it.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("Made by python -m tc3net.demo, which replaces this folder.\n", encoding="utf-8")


def commands(folder: Path, video: str) -> list[list[str]]:
    """The main job, as arguments of `python -m`."""
    raw, dataset, run = folder / "raw", folder / "dataset", folder / "run"
    streams = [f"--{name}={raw / 'features' / name / video}.npy" for name in ("rgb", "flow")]
    return [
        ["data_prep.synthetic", f"--output_dir={raw}"],
        [
            "data_prep.convert",
            f"--annotations={raw / 'annotations.json'}",
            f"--features={raw / 'features'}",
            f"--output_dir={dataset}",
            "--name=demo",
        ],
        ["tc3net.train", f"--flagfile={CONFIG}", f"--dataset_dir={dataset}", f"--run_dir={run}"],
        ["tc3net.evaluate", f"--run_dir={run}", f"--dataset_dir={dataset}", "--protocols=thumos14,reference"],
        ["tc3net.report", str(run)],
        [
            "tc3net.predict",
            f"--run_dir={run}",
            *streams,
            f"--annotations={raw / 'annotations.json'}",
            f"--output_dir={folder / 'prediction'}",
        ],
        ["tc3net.export", f"--run_dir={run}", f"--export_dir={folder / 'export'}"],
    ]


def run_command(arguments: list[str]) -> None:
    """Shows and runs one command.

    Raises:
        UserError: it failed; its own message stands above.
    """
    print(f"\n$ python -m {shlex.join(arguments)}", flush=True)
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    child = subprocess.Popen([sys.executable, "-m", *arguments], env=environment)
    try:
        status = child.wait()
    except KeyboardInterrupt:  # the command got it too, and may have something to save
        status = child.wait() or -signal.SIGINT
    if status == -signal.SIGINT:
        raise KeyboardInterrupt
    if status == STATUS:
        raise SystemExit(STATUS)  # the command has said so
    if status:
        raise UserError(f"{arguments[0]} failed with status {status}; its message stands above.")


def closing_screen(folder: Path, video: str, seconds: float) -> str:
    """What came out, where it lies, and what to type next."""
    run = folder / "run"
    evaluations = [entry["evaluation"] for entry in read_metrics(run) if "evaluation" in entry]
    trained = json.loads((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))

    def line(name: str, values: dict[str, Any]) -> str:
        tious = (0.1, 0.3, 0.5, 0.7)
        cells = "".join(f"{100 * values[f'thumos14/mAP@{tiou:.2f}']:9.1f}" for tiou in tious)
        return (
            f"  {name:12s}{cells}{100 * values['thumos14/mAP@0.1:0.7']:11.1f}{100 * values['classification/mAP']:17.1f}"
        )

    lines = [
        f"Done in {seconds:.0f} s. Results on SIMULATED data (protocol thumos14, %):",
        "",
        "  mAP at tIoU       0.1      0.3      0.5      0.7    0.1:0.7   classification",
        line("untrained", evaluations[0]),
        line("trained", evaluations[-1]),
        "",
        f"  checkpoint    {trained['source']}",
        f"  TensorBoard   {run / 'tensorboard'}",
        f"  detections    {run / 'evaluation' / 'detections.json'}",
        f"  report        {run / 'evaluation' / 'report.html'}   (open it in a browser)",
        f"  timeline      {folder / 'prediction' / video}.png",
        f"  SavedModel    {folder / 'export' / 'tc3net' / '1'}",
        "",
        "Next:",
        f"  tensorboard --logdir {run / 'tensorboard'}",
        f"  python -m tc3net.evaluate --scores={run / 'evaluation' / 'raw_scores.npz'} --protocols=activitynet",
        "  python -m data_prep.convert --help      your own features and labels; see README.md",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Runs the demo."""
    del argv
    folder, video = Path(FLAGS.output_dir), "video_test_0000002"
    started = time.monotonic()
    clear_output(folder)
    for arguments in commands(folder, video):
        run_command(arguments)
    print(f"\n{'=' * 79}\n{closing_screen(folder, video, time.monotonic() - started)}", flush=True)


if __name__ == "__main__":
    run_main(main, register_flags)
