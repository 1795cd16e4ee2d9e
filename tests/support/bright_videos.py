"""Videos of which some segments are bright, the run of a model trained on them, and what follows from a video alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.commands import TRAIN, command
from tests.support.video_files import write_video

TOY = "tests.support.toy_backbone:means"
CLASSES = ("Light", "Shade")
_LEVELS = {"Light": 230, "Shade": 10, None: 110}
# Segments of each video; the last one is the test video.
PLACES = [
    {"Light": (2, 3)},
    {"Shade": (5, 6)},
    {"Light": (7, 8)},
    {"Shade": (1, 2)},
    {"Light": (3, 4), "Shade": (8, 9)},
]
NUM_SEGMENTS = 12


def write_bright_videos(folder: Path) -> None:
    """folder/videos/v0.mp4, ..., and folder/labels.csv."""
    (folder / "videos").mkdir(parents=True)
    lines = ["video,start_s,end_s,class,subset"]
    for number, places in enumerate(PLACES):
        frames = []
        for segment in range(NUM_SEGMENTS):
            label = next((name for name, (first, last) in places.items() if first <= segment <= last), None)
            frames += [np.full((48, 64, 3), _LEVELS[label] + number, np.uint8)] * 16
        write_video(folder / "videos" / f"v{number}.mp4", frames)
        subset = "test" if number == len(PLACES) - 1 else "validation"
        for label, (first, last) in places.items():
            lines.append(f"v{number},{first * 0.64:.2f},{(last + 1) * 0.64:.2f},{label},{subset}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def make_run(folder: Path) -> None:
    """folder/features, folder/dataset and folder/run, by the commands of docs/own-videos.md."""
    write_bright_videos(folder)
    features = f"--features={folder / 'features'}"
    command(
        "data_prep.extract", f"--videos={folder / 'videos'}", f"--output_dir={folder / 'features'}", f"--backbone={TOY}"
    )
    command(
        "data_prep.convert", f"--annotations={folder / 'labels.csv'}", features, "--streams=rgb", "--name=bright",
        f"--time_base_file={folder / 'features'}", f"--output_dir={folder / 'dataset'}",
    )  # fmt: skip
    command(
        *TRAIN, f"--dataset_dir={folder / 'dataset'}", f"--run_dir={folder / 'run'}", "--batch_size=2", "--eval_every=0"
    )
