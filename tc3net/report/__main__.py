"""Command: one HTML page with the results, the errors and every video of an evaluation.

    python -m tc3net.report RUN
    python -m tc3net.report RUN/evaluation --output=first.html --videos=videos/

RUN is a run that was evaluated, or the folder of an evaluation. docs/report.md describes the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tc3net.common.errors import UsageError, UserError
from tc3net.common.storage import path_of
from tc3net.report.content import load_input
from tc3net.report.page import write_report
from tc3net.report.video_files import VideoFiles
from tc3net.report.videos import MOST_CLASSES
from tc3net.results.folder import evaluation_folder
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("output", None, "The page to write; default: report.html in the evaluation's folder.")
    flags.DEFINE_string("videos", None, "Folder with the video files, named after the videos; the page links to them.")
    flags.DEFINE_bool("embed_videos", False, "Put the video files into the page instead (for small ones).")
    flags.DEFINE_integer(
        "classes_per_video", MOST_CLASSES, "Classes shown per video: annotated ones first, then the most probable.",
        lower_bound=1,
    )  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Writes the page."""
    if len(argv) != 2:
        raise UsageError(f"Found {list(argv[1:])}; expected one folder, as in `python -m tc3net.report RUN`.")
    if FLAGS.embed_videos and not FLAGS.videos:
        raise UserError("--embed_videos needs --videos=FOLDER.")
    path = path_of(FLAGS.output or evaluation_folder(argv[1]) / "report.html")
    files = VideoFiles.in_folder(Path(FLAGS.videos), FLAGS.embed_videos) if FLAGS.videos else None
    write_report(path, load_input(argv[1]), files, FLAGS.classes_per_video)
    print(f"Written to {path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser")


if __name__ == "__main__":
    run_main(main, register_flags, positional="RUN")
