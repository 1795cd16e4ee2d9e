"""Crops in files of their own: <video>__0.npy to <video>__9.npy are one video."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from data_prep.features.kinds.container import Location

_CROP = re.compile(r"(?P<id>.+)__(?P<crop>\d{1,2})")


def merged_crops(found: Mapping[str, Location], annotated: Collection[str]) -> dict[str, Location]:
    """One location per video, where names number the crops from 0.

    They do not where a numbered name is itself that of an annotated video; nor, where no annotations tell, unless every
    video has the same crops.

    Args:
        found: name -> location.
        annotated: ids of the annotated videos; empty where they are not known.
    """
    groups: dict[str, dict[int, Location]] = {}
    others: dict[str, Location] = {}
    for name, location in found.items():
        match = _CROP.fullmatch(name)
        if match:
            groups.setdefault(match["id"], {})[int(match["crop"])] = location
        else:
            others[name] = location
    crops = max(map(len, groups.values()), default=0)
    complete = [set(group) == set(range(crops)) for group in groups.values()]
    if crops < 2 or not any(complete) or others.keys() & groups.keys():
        return dict(found)
    if any(name in annotated for name in found if name not in others) or (not annotated and not all(complete)):
        return dict(found)
    merged = {}
    for video_id, group in groups.items():
        ordered = [group[number] for number in sorted(group)]
        merged[video_id] = replace(ordered[0], crops=tuple(location.path for location in ordered))
    return {**others, **merged}
