"""Command: short generated videos of a ball with three motions, and their annotations; to try the way from video files.

    python -m data_prep.synthetic_videos --output_dir=OUT

OUT/videos/*.mp4 and OUT/annotations.json (ActivityNet format): subset validation to train on, test to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from data_prep.simulation.moving_patterns import draw_patterns, write_pattern
from tc3net.common.errors import UserError
from tc3net.common.files import write_json
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("output_dir", None, "Folder for videos and annotations.")
    flags.DEFINE_integer("num_train", 12, "Videos to train on, two motions in each.", lower_bound=1)
    flags.DEFINE_integer("num_test", 1, "Videos to look at, three motions in each.", lower_bound=1)
    flags.DEFINE_integer("seed", 1, "The same seed gives the same videos.")


def main(argv: Sequence[str]) -> None:
    """Writes the videos, and their annotations last."""
    del argv
    if not FLAGS.output_dir:
        raise UserError("--output_dir is not set; expected a folder. Add --output_dir=...")
    folder, database = Path(FLAGS.output_dir), {}
    train = [f"train_{number:02d}" for number in range(FLAGS.num_train)]
    test = [f"moving_ball_{number + 1}" for number in range(FLAGS.num_test)]
    patterns = [*draw_patterns(train, FLAGS.seed), *draw_patterns(test, FLAGS.seed + 1, instances=3)]
    for pattern in patterns:
        write_pattern(folder / "videos" / f"{pattern.video_id}.mp4", pattern)
        database[pattern.video_id] = {
            "subset": "test" if pattern.video_id in test else "validation",
            "duration": pattern.duration_s,
            "annotations": [{"label": label, "segment": [start, end]} for label, start, end in pattern.instances],
        }
    write_json(folder / "annotations.json", {"database": database})
    print(f"Written to {folder}: {len(patterns)} videos, {sum(p.duration_s for p in patterns):.0f} s, annotations.json")


if __name__ == "__main__":
    run_main(main, define_flags)
