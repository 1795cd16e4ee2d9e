"""CVAT's export "CVAT for video 1.1" (or "for images"): an XML file for each video, one of them or a folder.

A track is an instance for each run of frames in which its object is visible (`outside="0"`); the label is the class.
Tags of consecutive frames are an instance too. CVAT writes frames and not their rate: `videos.csv` beside the files has
it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

from data_prep.annotations.label_tools.labelled import (
    LabelledVideo,
    SideTable,
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
from tc3net.data.timebase import frame_start_s

_EXPECTED = 'an export of CVAT ("CVAT for video 1.1", <annotations> with <meta>)'
Runs = list[tuple[str, int, int]]  # class, first frame, frame after the last


def read_cvat(path: Path, subset: str | None = None) -> AnnotationSet:
    """Reads one export, or those of a folder.

    Args:
        path: the XML file, or the folder.
        subset: of videos that `videos.csv` gives none.

    Raises:
        UserError: a file is damaged or of several videos, or the frames per second are not known.
    """
    files = files_of(path, ".xml") if path.is_dir() else [path]
    table, mistakes, videos = side_table(path), Mistakes(path), []
    for file in files:
        with mistakes.gathered():
            videos.append(_read(file, table))
    mistakes.raise_if_any()
    return annotation_set(videos, path, table, subset)


def _read(path: Path, table: SideTable) -> LabelledVideo:
    root = read_xml(path, "annotations", _EXPECTED)
    head = next((found for name in ("task", "job") if (found := root.find(f"meta/{name}")) is not None), None)
    if head is None:
        raise UserError(f"{path}: no task or job in its <meta> found; expected those of one video. Export each task.")
    source = root.findtext("meta/source") or head.findtext("source") or head.findtext("name") or path.stem
    video_id, mistakes = video_id_of(source), Mistakes(path)
    last = int(head.findtext("stop_frame") or _size(head) - 1)
    step = int((head.findtext("frame_filter") or "step=1").rpartition("=")[2] or 1)
    runs = _tracks(root, str(path), last, mistakes) + _tags(root, str(path), step, mistakes)
    mistakes.raise_if_any()
    if not runs:
        return LabelledVideo(video_id)
    fps = table.require_fps(video_id, None, str(path))
    instances = [Instance(frame_start_s(first, fps), frame_start_s(end, fps), label) for label, first, end in runs]
    instances.sort(key=lambda one: (one.start_s, one.end_s))
    duration_s = frame_start_s(max(_size(head), last + 1), fps) if _size(head) else None
    return LabelledVideo(video_id, instances, (), duration_s)


def _size(head: ET.Element) -> int:
    text = head.findtext("size") or "0"
    return int(text) if text.strip().isdigit() else 0


def _tracks(root: ET.Element, where: str, last: int, mistakes: Mistakes) -> Runs:
    runs: Runs = []
    for track in root.iter("track"):
        label = (track.get("label") or "").strip()
        begun: int | None = None
        frame = -1
        for shape in track:
            number = attribute_number(shape, "frame", f"{where}: track {track.get('id')}", mistakes)
            if number is None:
                continue
            frame, is_outside = int(number), shape.get("outside") == "1"
            if is_outside and begun is not None:
                runs.append((label, begun, frame))
                begun = None
            elif not is_outside and begun is None:
                begun = frame
        if begun is not None:  # visible to the end
            runs.append((label, begun, max(last, frame) + 1))
    return runs


def _tags(root: ET.Element, where: str, step: int, mistakes: Mistakes) -> Runs:
    frames: dict[str, set[int]] = defaultdict(set)
    for image in root.iter("image"):
        for tag in image.findall("tag"):
            number = attribute_number(image, "id", where, mistakes)
            if number is not None:
                frames[(tag.get("label") or "").strip()].add(int(number))
    for tag in root.findall("tag"):
        number = attribute_number(tag, "frame", where, mistakes)
        if number is not None:
            frames[(tag.get("label") or "").strip()].add(int(number))
    runs: Runs = []
    for label, numbers in frames.items():
        ordered = sorted(numbers)
        begun = ordered[0]
        for frame, following in zip(ordered, [*ordered[1:], None]):
            if following is None or following > frame + step:
                runs.append((label, begun, frame + step))
                begun = following if following is not None else begun
    return runs


def _is_cvat(path: Path) -> bool:
    begins = beginning_of(path)
    return begins.lstrip().startswith("<") and "<annotations>" in begins and "<meta>" in begins


def _is_cvat_folder(folder: Path) -> bool:
    return all_are(folder, ".xml", _is_cvat)


CVAT = AnnotationFormat("cvat", "CVAT", _EXPECTED, _is_cvat, read_cvat, takes_subset=True)
CVAT_FOLDER = AnnotationFormat(
    "cvat_folder", "CVAT, a file for each video", "a folder of exports of CVAT (.xml), one for each video",
    _is_cvat_folder, read_cvat, takes_subset=True, is_folder=True,
)  # fmt: skip
