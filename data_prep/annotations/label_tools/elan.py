"""ELAN's documents (.eaf), one of them or a folder: an annotation of a tier is an instance, its text the class.

An annotation without text has the name of its tier as class, for documents with a tier for each action. Annotations
that only refer to others have no times of their own and are left out.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from data_prep.annotations.label_tools.labelled import (
    LabelledVideo,
    all_are,
    annotation_set,
    attribute_number,
    files_of,
    read_xml,
    side_table,
    video_id_of,
)
from data_prep.annotations.records import AnnotationFormat, AnnotationSet, Instance, beginning_of
from tc3net.common.errors import Mistakes, UserError
from tc3net.common.names import counted

_EXPECTED = "a document of ELAN (.eaf, <ANNOTATION_DOCUMENT>)"
_MS = 1000


def read_elan(path: Path, subset: str | None = None) -> AnnotationSet:
    """Reads one document, or those of a folder.

    Args:
        path: the .eaf file, or the folder.
        subset: of videos that `videos.csv` beside them gives none.

    Raises:
        UserError: a document is damaged, or an annotation has no time.
    """
    files = files_of(path, ".eaf") if path.is_dir() else [path]
    mistakes, videos, left_out = Mistakes(path), [], 0
    for file in files:
        with mistakes.gathered():
            video, without_times = _read(file)
            videos.append(video)
            left_out += without_times
    mistakes.raise_if_any()
    notes = [f"{counted(left_out, 'annotation')} that refer to others left out"] if left_out else []
    return annotation_set(videos, path, side_table(path), subset, notes)


def _read(path: Path) -> tuple[LabelledVideo, int]:
    """The video, and the number of annotations without times of their own."""
    root = read_xml(path, "ANNOTATION_DOCUMENT", _EXPECTED)
    header, mistakes = root.find("HEADER"), Mistakes(path)
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise UserError(f"{path}: times in {units} found; expected milliseconds. Save it with a newer ELAN.")
    media = None if header is None else header.find("MEDIA_DESCRIPTOR")
    named = "" if media is None else media.get("MEDIA_URL") or media.get("RELATIVE_MEDIA_URL") or ""
    slots = _slots(root, str(path), mistakes)
    instances = [
        instance
        for tier in root.iter("TIER")
        for annotation in tier.iter("ALIGNABLE_ANNOTATION")
        if (instance := _instance(annotation, tier, slots, str(path), mistakes)) is not None
    ]
    mistakes.raise_if_any()
    without_times = sum(1 for _ in root.iter("REF_ANNOTATION"))
    instances.sort(key=lambda one: (one.start_s, one.end_s))
    return LabelledVideo(video_id_of(named) if named else path.stem, instances), without_times


def _slots(root: ET.Element, where: str, mistakes: Mistakes) -> dict[str, float | None]:
    """Time slot -> seconds; None where it was never aligned."""
    found: dict[str, float | None] = {}
    for slot in root.iter("TIME_SLOT"):
        value = None if slot.get("TIME_VALUE") is None else attribute_number(slot, "TIME_VALUE", where, mistakes)
        found[slot.get("TIME_SLOT_ID", "")] = None if value is None else value / _MS
    return found


def _instance(
    annotation: ET.Element, tier: ET.Element, slots: dict[str, float | None], where: str, mistakes: Mistakes
) -> Instance | None:
    name = annotation.get("ANNOTATION_ID")
    start_s, end_s = (slots.get(annotation.get(f"TIME_SLOT_REF{end}", "")) for end in (1, 2))
    if start_s is None or end_s is None:
        tier_name, missing = tier.get("TIER_ID"), "start" if start_s is None else "end"
        mistakes.add(
            f"{where}: annotation {name} of tier {tier_name!r} has no {missing}; expected both times. Align it in ELAN."
        )
        return None
    label = (annotation.findtext("ANNOTATION_VALUE") or "").strip() or (tier.get("TIER_ID") or "").strip()
    return Instance(start_s, end_s, label)


def _is_elan(path: Path) -> bool:
    return "<ANNOTATION_DOCUMENT" in beginning_of(path)


def _is_elan_folder(folder: Path) -> bool:
    return all_are(folder, ".eaf", _is_elan)


ELAN = AnnotationFormat("elan", "ELAN", _EXPECTED, _is_elan, read_elan, takes_subset=True)
ELAN_FOLDER = AnnotationFormat(
    "elan_folder", "ELAN, a document for each video", "a folder of documents of ELAN (.eaf), one for each video",
    _is_elan_folder, read_elan, takes_subset=True, is_folder=True,
)  # fmt: skip
