"""Finds video ids that a person reads as the same one: the usual reason why features and annotations do not meet."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class CommonDifference:
    """In what most ids of one side differ from those of the other.

    Attributes:
        words: the difference ("case", "the prefix 'v_' of the features").
        number: ids that would be found without it.
        example: an id, and the one that is meant.
    """

    words: str
    number: int
    example: tuple[str, str]


_SAMPLE = 50  # ids whose affixes are looked for among all others


def common_difference(
    annotated: Sequence[str], others: Sequence[str], side: str = "features"
) -> CommonDifference | None:
    """The difference that explains the most ids, among spelling (`simplified`) and a prefix or suffix on one side.

    Args:
        annotated: ids of annotations without a counterpart.
        others: ids on the other side without one.
        side: what is on the other side, in words.
    """
    mine, theirs = ({simplified(name): name for name in names} for names in (annotated, others))
    candidates: Counter[tuple[bool, str, str]] = Counter()
    for short, long, on_other_side in ((mine, theirs, True), (theirs, mine, False)):
        for name in list(short)[:_SAMPLE]:
            candidates.update((on_other_side, other[: -len(name)], "") for other in long if _ends(other, name))
            candidates.update((on_other_side, "", other[len(name) :]) for other in long if _begins(other, name))
    found = [_matches(mine, theirs, (True, "", ""), side)]
    found += [_matches(mine, theirs, candidate, side) for candidate, _ in candidates.most_common(3)]
    best = max(found, key=lambda one: one.number if one else 0)
    return best if best and best.number else None


def _ends(other: str, name: str) -> bool:
    return bool(name) and len(other) > len(name) and other.endswith(name)


def _begins(other: str, name: str) -> bool:
    return bool(name) and len(other) > len(name) and other.startswith(name)


def _matches(
    mine: dict[str, str], theirs: dict[str, str], candidate: tuple[bool, str, str], side: str
) -> CommonDifference | None:
    on_other_side, prefix, suffix = candidate
    short, long = (mine, theirs) if on_other_side else (theirs, mine)
    pairs = [(short[name], long[prefix + name + suffix]) for name in short if prefix + name + suffix in long]
    if not pairs:
        return None
    first, second = pairs[0] if on_other_side else pairs[0][::-1]
    if prefix or suffix:
        # As it is written: the simplified one has lost its case.
        longer, shorter = (second, first) if on_other_side else (first, second)
        extra = len(longer) - len(shorter)
        written = (longer[:extra] if prefix else longer[len(longer) - extra :]) if extra > 0 else prefix or suffix
        whose = side if on_other_side else "annotations"
        words = f"the {'prefix' if prefix else 'suffix'} {written!r} of the {whose}"
    else:
        words = difference(first, second)
    return CommonDifference(words, len(pairs), (first, second))
