"""Finds video ids that a person reads as the same one: the usual reason why features and annotations do not meet."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

# Endings that people leave on an id; others ("v1.2") may be part of a name.
_ENDING = re.compile(r"\.(mp4|m4v|avi|mkv|mov|webm|mpe?g|flv|wmv|npy|npz|h5|hdf5)$", re.IGNORECASE)
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")

_SIMPLIFICATIONS: dict[str, Callable[[str], str]] = {
    "Unicode form": lambda text: unicodedata.normalize("NFKC", text),
    "case": str.casefold,
    "whitespace": lambda text: "".join(text.split()),
    "file ending": lambda text: _ENDING.sub("", text),
    "leading zeros": lambda text: _LEADING_ZEROS.sub("", text),
}


def simplified(video_id: str, *, keep: str = "") -> str:
    """The id without Unicode variants, case, whitespace, file ending and leading zeros: equal for similar ids.

    Args:
        video_id: the id.
        keep: one of these that is kept, for finding out whether it matters.
    """
    for what, simplify in _SIMPLIFICATIONS.items():
        if what != keep:
            video_id = simplify(video_id)
    return video_id


def difference(first: str, second: str) -> str:
    """In what two similar ids differ, in words ("case", "case and leading zeros")."""
    matters = [what for what in _SIMPLIFICATIONS if simplified(first, keep=what) != simplified(second, keep=what)]
    return " and ".join(matters) or "spelling"


def similar_ids(video_ids: Iterable[str]) -> dict[str, list[str]]:
    """The other ids that read like an id.

    Args:
        video_ids: ids; repetitions are ignored.

    Returns:
        Id -> the others, in order, for the ids that have any.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for video_id in dict.fromkeys(video_ids):
        groups[simplified(video_id)].append(video_id)
    return {
        video_id: [other for other in group if other != video_id]
        for group in groups.values()
        if len(group) > 1
        for video_id in group
    }
