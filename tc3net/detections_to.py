"""Command: detections for people to check: subtitles for any player, or pre-annotations for Label Studio.

    python -m tc3net.detections_to --detections=detections.json --format=webvtt --output_dir=subtitles/
    python -m tc3net.detections_to --detections=detections.json --format=label_studio --fps=25 --output_dir=tasks/

webvtt and srt: OUTPUT_DIR/<video>.vtt or .srt, which players load beside the video of the same name. label_studio:
OUTPUT_DIR/tasks.json, to be imported into a project with a timeline; docs/label-tools.md shows the project, and the way
back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tc3net.common.errors import UsageError, UserError
from tc3net.common.files import atomic_path, write_json
from tc3net.common.names import counted
from tc3net.intervals.players import label_studio_tasks, read_shown, srt, webvtt
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
SUBTITLES = {"webvtt": (".vtt", webvtt), "srt": (".srt", srt)}
LABEL_STUDIO = "label_studio"
TASKS = "tasks.json"


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("detections", None, "Detections of evaluate, predict or any tool (ActivityNet JSON).")
    flags.DEFINE_enum("format", "webvtt", (*SUBTITLES, LABEL_STUDIO), "What to write.")
    flags.DEFINE_string("output_dir", None, "Folder of the files; those of the same names are replaced.")
    flags.DEFINE_float("min_score", 0.0, "Leave out detections with a lower score.")
    flags.DEFINE_integer("max_per_video", 20, "Most detections of a video, the best ones; 0: all.", lower_bound=0)
    flags.DEFINE_float("fps", None, "label_studio: frames per second, as in the project's <Video frameRate=...>.")
    flags.DEFINE_string("address", "{video}.mp4", "label_studio: where the project finds a video; {video} is its id.")
    flags.DEFINE_string("model_version", "tc3net", "label_studio: name of the predictions.")
    flags.DEFINE_string("control", "timeline", "label_studio: name of the project's <TimelineLabels>.")
    flags.DEFINE_string("media", "video", "label_studio: name of the project's <Video>.")


def main(argv: Sequence[str]) -> None:
    """Writes the files that the flags name."""
    del argv
    for name in ("detections", "output_dir"):
        if not FLAGS[name].value:
            raise UsageError(f"--{name} is missing.")
    if FLAGS.format == LABEL_STUDIO and not (FLAGS.fps and FLAGS.fps > 0):
        raise UsageError("--fps is missing: Label Studio counts frames; expected those of the project's <Video> tag.")
    found, folder = read_shown(FLAGS.detections, FLAGS.min_score, FLAGS.max_per_video), Path(FLAGS.output_dir)
    number = counted(sum(map(len, found.values())), "detection")
    if FLAGS.format == LABEL_STUDIO:
        names = {"control": FLAGS.control, "media": FLAGS.media}
        write_json(folder / TASKS, label_studio_tasks(found, FLAGS.fps, FLAGS.address, FLAGS.model_version, **names))
        print(f"{number} in {counted(len(found), 'video')}\nWritten to {folder / TASKS}")
        return
    unsafe = [name for name in found if Path(name).name != name or name in (".", "..")]
    if unsafe:
        raise UserError(f"{FLAGS.detections}: video {unsafe[0]!r} is no file name; expected one, for its subtitles.")
    ending, text_of = SUBTITLES[FLAGS.format]
    for video_id, shown in found.items():
        with atomic_path(folder / f"{video_id}{ending}") as path:
            path.write_text(text_of(shown), encoding="utf-8")
    print(f"{number} in {counted(len(found), 'video')}\nWritten to {folder}: a {ending} file for each video")


if __name__ == "__main__":
    run_main(main, register_flags)
