"""Command: any annotation format as one ActivityNet JSON file, to score detections without converting features.

    python -m data_prep.to_json --annotations=PATH --output=annotations.json
    python -m tc3net.evaluate --detections=detections.json --annotations=annotations.json --subset=test

Annotations are written as they are, without the checks of the conversion.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from data_prep.annotations import format_names, read_annotations
from data_prep.annotations.activitynet_json import activitynet_dict
from tc3net.common.errors import UsageError
from tc3net.common.files import write_json
from tc3net.common.names import counted
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("annotations", None, "File or folder in any format that the conversion reads.")
    flags.DEFINE_enum("annotation_format", "auto", format_names(), "Its format, where it is not recognised.")
    flags.DEFINE_string("subset", None, "Subset of all videos, for tables without that column.")
    flags.DEFINE_string("output", None, "JSON file to write.")


def main(argv: Sequence[str]) -> None:
    """Reads, writes, says what was found."""
    del argv
    for name in ("annotations", "output"):
        if not getattr(FLAGS, name):
            raise UsageError(f"--{name} is missing.")
    annotations, format_name = read_annotations(FLAGS.annotations, FLAGS.annotation_format, FLAGS.subset)
    write_json(FLAGS.output, activitynet_dict(annotations, "tc3net", with_labels=True))
    subsets = sorted({video.subset for video in annotations.videos})
    known = sum(video.instances_known for video in annotations.videos)
    print(
        f"{format_name}: {counted(len(annotations.videos), 'video')} ({known} annotated in time), "
        f"{counted(len(annotations.classes), 'class')}, subsets {', '.join(subsets)}"
    )
    print(f"Written to {FLAGS.output}")


if __name__ == "__main__":
    run_main(main, register_flags)
