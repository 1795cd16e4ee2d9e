"""Video files, which are no features: recognised by name, so that whoever gives one is told what is missing."""

from __future__ import annotations

from pathlib import Path

VIDEO_SUFFIXES = (
    ".mp4", ".mkv", ".avi", ".webm", ".mov", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".ts", ".3gp", ".ogv",
)  # fmt: skip


def is_video(path: Path) -> bool:
    """Whether a file is a video by what its name ends in."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def extraction_needed(found: str) -> str:
    """What to tell somebody who gave videos in place of features.

    Args:
        found: what was given, in words.
    """
    return (
        f"{found} found; expected features. Features have to be extracted from videos first (rgb and flow, such as "
        "I3D's), and then given in its place: `python -m data_prep.extract --videos=... --output_dir=FEATURES`. "
        "`python -m tc3net.predict --video=...` does both."
    )
