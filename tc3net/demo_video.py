"""From video files to a page that plays detections, with the real I3D network: `make demo-video`.

    python -m tc3net.demo_video --output_dir=demo_video_output
    python -m tc3net.demo_video --video=match.mp4

It fetches I3D's weights, writes short videos of a moving ball, prints what the published network sees in one of them
(or in your video), extracts features, trains a small model on them, and predicts. The model knows three motions of a
ball and nothing else: of the generated video it finds the motions, of your video its detections mean nothing, and the
screen says so. The output folder is made anew each time.
"""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from tc3net.common.errors import UserError
from tc3net.common.files import read_json
from tc3net.demo import clear_output, run_command
from tc3net.prediction.video_copies import write_clip
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
CONFIG = Path("configs") / "demo_video.cfg"
SHOWN = "moving_ball_1"  # the generated video that is predicted
_NUM_TRAIN = 12
# A quarter of the pixels that I3D was trained with, and of the time: enough for a ball.
_SMALL = ("--short_side=128", "--size=112")


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string(
        "output_dir", "demo_video_output", "Folder for everything the demo makes; replaced if it exists."
    )
    flags.DEFINE_string("video", None, "A video of yours, to be looked at as well.")
    flags.DEFINE_float("max_seconds", 20.0, "Of --video, so many seconds from its beginning.", lower_bound=1.0)
    flags.DEFINE_bool("open_page", True, "Open the page in a browser, where there is a display.")
    flags.DEFINE_string("backbone", None, "module:function in place of I3D, to try the demo without its weights.")


def commands(folder: Path, shown: Path, backbone: str | None) -> list[list[str]]:
    """The main job, as arguments of `python -m`.

    Args:
        folder: of the demo.
        shown: the video that Kinetics' classes are printed of, and that is predicted.
        backbone: network in place of I3D.
    """
    features, dataset, run = folder / "features", folder / "dataset", folder / "run"
    network = [f"--backbone={backbone}"] if backbone else ["--streams=rgb", *_SMALL]
    films = [folder / "videos" / f"{SHOWN}.mp4", *([shown] if shown.stem != SHOWN else [])]
    look = ["data_prep.extract", f"--videos={shown}", f"--output_dir={folder / 'features_224'}", "--streams=rgb"]
    return [
        ["data_prep.synthetic_videos", f"--output_dir={folder}", f"--num_train={_NUM_TRAIN}"],
        *([] if backbone else [["data_prep.weights", "--network=i3d_rgb"], [*look, "--kinetics_classes=3"]]),
        ["data_prep.extract", f"--videos={folder / 'videos'}", f"--output_dir={features}", *network],
        [
            "data_prep.convert",
            f"--annotations={folder / 'annotations.json'}",
            f"--features={features}",
            f"--time_base_file={features}",
            "--streams=rgb",
            f"--output_dir={dataset}",
            "--name=generated videos of a moving ball",
        ],
        ["tc3net.train", f"--flagfile={CONFIG}", f"--dataset_dir={dataset}", f"--run_dir={run}", "--notensorboard"],
        [
            "tc3net.predict",
            f"--run_dir={run}",
            f"--video={','.join(map(str, films))}",
            f"--features_dir={features}",
            f"--annotations={folder / 'annotations.json'}",
            f"--output_dir={folder / 'prediction'}",
            "--clips",
        ],
    ]


def found_lines(instances: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> list[str]:
    """Of each instance the best-overlapping detection of its class, in words.

    Args:
        instances: of a video, as annotations.json has them.
        found: its detections, as detections.json has them.
    """
    lines = [f"  {'class':10s} {'true':>17s} {'detected':>17s}   tIoU"]
    for instance in instances:
        label, (start_s, end_s) = instance["label"], instance["segment"]
        best, where = 0.0, "nothing"
        for one in found:
            a, b = one["segment"]
            overlap = max(0.0, min(b, end_s) - max(a, start_s))
            tiou = overlap / (max(b, end_s) - min(a, start_s)) if overlap else 0.0
            if one["label"] == label and tiou > best:
                best, where = tiou, f"{a:.1f} to {b:.1f} s"
        lines.append(f"  {label:10s} {f'{start_s:.1f} to {end_s:.1f} s':>17s} {where:>17s}   {best:.2f}")
    return lines


def closing_screen(folder: Path, own: Path | None, seconds: float) -> str:
    """What came out, what it means, and where the page is."""
    page = folder / "prediction" / "report.html"
    results = read_json(folder / "prediction" / "detections.json", "detections")["results"]
    instances = read_json(folder / "annotations.json", "annotations")["database"][SHOWN]["annotations"]
    lines = [
        f"Done in {seconds:.0f} s. The model was trained on {_NUM_TRAIN} videos of a ball that were made up. It",
        "was told which motions each of them shows, and how often, but not when. In one that it had not seen:",
        "",
        *found_lines(instances, results.get(SHOWN, [])),
        "",
    ]
    if own is not None:
        lines += [
            f"In {own.name} it finds {len(results.get(own.stem, []))} detections, which MEAN NOTHING to it.",
            "What the published network sees in it stands above (Kinetics' classes). For detections in such videos,",
            "train on features of your own: docs/own-videos.md.",
            "",
        ]
    return "\n".join(
        [
            *lines,
            f"  page    {page}   (click on a detection: the video plays it)",
            f"  clips   {folder / 'prediction' / 'clips'}",
            "",
            "Next:",
            "  source .venv/bin/activate",
            "  python -m data_prep.extract --help      your own videos; see docs/own-videos.md",
        ]
    )


def has_display() -> bool:
    """Whether a browser could show something."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def own_video(folder: Path, video: str | None, most_s: float) -> Path | None:
    """The beginning of the user's video, cut out and written into the folder.

    Raises:
        UserError: it cannot be decoded.
    """
    if video is None:
        return None
    path, target = Path(video), folder / "own" / f"{Path(video).stem}.mp4"
    if path.stem == SHOWN:
        raise UserError(f"--video={video}: a name that a video of the demo has found; expected another. Rename it.")
    print(f"The first {most_s:g} s of {path} (--max_seconds)", flush=True)
    write_clip(path, 0.0, most_s, target)
    return target


def main(argv: Sequence[str]) -> None:
    """Runs the demo."""
    del argv
    if not CONFIG.is_file():
        raise UserError(f"{CONFIG} not found. Run the demo from the top folder of a tc3net checkout.")
    folder, started = Path(FLAGS.output_dir), time.monotonic()
    clear_output(folder)
    own = own_video(folder, FLAGS.video, FLAGS.max_seconds)
    shown = own or folder / "videos" / f"{SHOWN}.mp4"
    for arguments in commands(folder, shown, FLAGS.backbone):
        run_command(arguments)
    print(f"\n{'=' * 79}\n{closing_screen(folder, own, time.monotonic() - started)}", flush=True)
    page = (folder / "prediction" / "report.html").resolve()
    if FLAGS.open_page and has_display():
        webbrowser.open(page.as_uri())


if __name__ == "__main__":
    run_main(main, register_flags)
