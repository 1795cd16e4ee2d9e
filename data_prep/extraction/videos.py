"""The video files that a user names, and one part of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data_prep.features.kinds.videos import is_video
from tc3net.common.errors import UserError
from tc3net.data.parts import Part


def list_videos(place: str | Path, flag: str = "--videos") -> dict[str, Path]:
    """Video id, the name without its ending, -> file; in the order of the ids.

    Args:
        place: a video file of whatever ending, or a folder with videos, also in sub-folders.
        flag: where the user named it.

    Raises:
        UserError: nothing is there, or two files have the same name.
    """
    place = Path(place)
    if place.is_file():
        return {place.stem: place}
    if not place.is_dir():
        raise UserError(f"{place}: no such file or folder; expected videos. Check {flag}.")
    found: dict[str, Path] = {}
    hidden = [path for path in place.rglob("*") if path.name.startswith(".")]
    for path in sorted(set(place.rglob("*")) - set(hidden)):
        if path.is_file() and is_video(path):
            other = found.setdefault(path.stem, path)
            if other != path:
                raise UserError(f"{other} and {path} found; expected one file for video {path.stem!r}. Move one away.")
    if not found:
        endings = sorted({path.suffix for path in place.rglob("*") if path.is_file()})
        raise UserError(
            f"{place}: no videos there (endings: {', '.join(endings) or 'no files'}); expected .mp4, .mkv, .avi and "
            f"the like. Check {flag}."
        )
    return dict(sorted(found.items()))


def videos_of_part(videos: Mapping[str, Path], part: Part) -> dict[str, Path]:
    """The videos of one part of the work, in their order."""
    names = list(videos)
    return {names[place]: videos[names[place]] for place in part.videos(len(names))}
