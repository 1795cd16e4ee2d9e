"""Detections in ActivityNet's JSON: written as columns tell them, and read from whichever tool wrote them.

What cannot be scored is refused; what is merely out of scope (unknown videos and labels) is kept apart and reported
with names.
"""

from __future__ import annotations

import difflib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path
from tc3net.common.names import counted, some_names
from tc3net.intervals.activitynet_json import (
    DETECTIONS,
    detection_entry,
    read_section,
    results_file,
)
from tc3net.intervals.columns import Detections, GroundTruth
from tc3net.intervals.json_values import detection_problem
from tc3net.intervals.similar_ids import CommonDifference, common_difference

_IN_MEMORY = 1 << 24  # bytes of a file that is being written


def results_dict(detections: Detections, classes: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """`{video: [{"label", "score", "segment": [start s, end s]}]}`, the part "results" of a file of detections.

    Every video of `detections.video_ids` is listed, also without detections; the best score comes first.

    Args:
        detections: seconds.
        classes: class names by id.
    """
    results: dict[str, list[dict[str, Any]]] = {video_id: [] for video_id in detections.video_ids}
    for i in (-detections.score).argsort(kind="stable"):
        results[detections.video_ids[detections.video[i]]].append(
            detection_entry(
                classes[detections.label[i]],
                float(detections.score[i]),
                float(detections.start_s[i]),
                float(detections.end_s[i]),
            )
        )
    return results


def save_results(path: str | Path, parts: Iterable[Mapping[str, list[dict[str, Any]]]]) -> None:
    """Writes one file of detections, atomically, as `write_json` would write all parts together.

    One part is in memory at a time, of what is written already 16 MB at most; until all of it is there, the rest is in
    a temporary file without a name, which nobody finds if the process is killed.

    Args:
        path: the file.
        parts: what `results_dict` makes, in the order of the file; no video twice.
    """
    before, after = json.dumps(results_file({}), indent=1).split('"results": {}')
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as results:
        for part in parts:
            for video_id, found in part.items():
                entry = json.dumps({video_id: found}, indent=1, allow_nan=False)[2:-2]  # without the outer braces
                separator = ",\n " if results.tell() else "\n "
                results.write((separator + entry.replace("\n", "\n ")).encode())
        closing = "\n }" if results.tell() else "}"
        results.seek(0)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(f'{before}"results": {{'.encode())
            shutil.copyfileobj(results, file)
            file.write(f"{closing}{after}\n".encode())


def save_detections(path: str | Path, detections: Detections, classes: tuple[str, ...]) -> None:
    """Writes a file of detections, atomically; see `results_dict`."""
    save_results(path, [results_dict(detections, classes)])


@dataclass(frozen=True)
class LoadedDetections:
    """The detections of a file, and what could not be scored.

    Attributes:
        detections: those with a known label in a known video, in the order of the file; `video` indexes the ground
            truth's videos.
        unknown_labels: number of detections left out by label that the ground truth does not have.
        unknown_videos: number of detections left out by video that the ground truth does not have.
        empty_videos: annotated videos without any detection: their instances count as missed.
    """

    detections: Detections
    unknown_labels: dict[str, int]
    unknown_videos: dict[str, int]
    empty_videos: tuple[str, ...]


def load_detections(path: str | Path, truth: GroundTruth) -> LoadedDetections:
    """Reads detections in the ActivityNet submission format, whoever wrote them.

    Args:
        path: `{"results": {video: [{"label", "score", "segment": [start s, end s]}]}}`; other keys are not read.
        truth: classes and videos to recognise.

    Raises:
        UserError: no such file, another format, a repeated video, or entries that cannot be scored (a key missing, a
            score or time that is no finite number, an end before its start); no detection has a known label and video.
    """
    _, results = read_section(path, "results", f"detections {DETECTIONS}")
    label_of = {name: number for number, name in enumerate(truth.classes)}
    video_of = {name: number for number, name in enumerate(truth.video_ids)}
    rows: list[tuple[int, int, float, float, float]] = []
    bad: list[str] = []
    unknown_labels: Counter[str] = Counter()
    unknown_videos: Counter[str] = Counter()
    for video, entries in results:
        if not isinstance(entries, list):
            raise UserError(f"{path}: video {video!r}: no list of detections found; expected {DETECTIONS}.")
        for place, entry in enumerate(entries):
            problem = detection_problem(entry)
            if problem:
                bad.append(f"video {video!r}, detection {place}: {problem}")
            elif video not in video_of:
                unknown_videos[video] += 1
            elif entry["label"].strip() not in label_of:
                unknown_labels[entry["label"].strip()] += 1
            else:
                start_s, end_s = entry["segment"]
                row = (
                    video_of[video],
                    label_of[entry["label"].strip()],
                    float(start_s),
                    float(end_s),
                    float(entry["score"]),
                )
                rows.append(row)
    if bad:
        shown = "; ".join(bad[:3]) + ("; ..." if len(bad) > 3 else "")
        raise UserError(
            f"{path}: {counted(len(bad), 'detection')} cannot be scored: {shown}. "
            f"Expected {DETECTIONS} with finite numbers and start <= end (seconds). Correct or remove them."
        )
    if not rows and (unknown_labels or unknown_videos):
        same = common_difference(sorted(set(video_of) - set(dict(results))), list(unknown_videos), "detections")
        hint = f" {_would_have(same)}." if same else ""
        raise UserError(
            f"{path}: no detection has a label and a video of the annotations. Its videos are "
            f"{sorted(dict(results))[:3]}, the annotations have {sorted(video_of)[:3]}; its labels are "
            f"{sorted(unknown_labels)[:3]}, the annotations have {sorted(label_of)[:3]}. Use their names, and the "
            f"right --subset.{hint}"
        )
    columns = np.array(rows, np.float64).reshape(-1, 5).T
    found = Detections(truth.video_ids, columns[0].astype(np.int64), columns[1].astype(np.int64), *columns[2:])
    with_some = {video for video, entries in results if entries}
    empty = tuple(video for video in truth.video_ids if video not in with_some)
    return LoadedDetections(found, dict(unknown_labels), dict(unknown_videos), empty)


def _would_have(found: CommonDifference) -> str:
    """ "3 annotated videos would have detections but for the prefix 'v_' of the detections ('a', 'v_a')"."""
    mine, theirs = found.example
    videos = counted(found.number, "annotated video")
    return f"{videos} would have detections but for {found.words} ({mine!r} in the annotations, {theirs!r} there)"


def report_lines(loaded: LoadedDetections, classes: tuple[str, ...]) -> list[str]:
    """What a reader must know about a file of detections: one line each, with counts and the first names."""
    lines = []
    for label, number in sorted(loaded.unknown_labels.items()):
        near = difflib.get_close_matches(label, classes, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        lines.append(f"label {label!r} is unknown: {counted(number, 'detection')} ignored{hint}")
    if loaded.unknown_videos:
        number, videos = sum(loaded.unknown_videos.values()), list(loaded.unknown_videos)
        where = f"{counted(len(videos), 'video')} without annotations ignored ({some_names(videos)})"
        lines.append(f"{counted(number, 'detection')} in {where}")
    found = common_difference(loaded.empty_videos, list(loaded.unknown_videos), "detections")
    if found is not None and 2 * found.number > len(loaded.empty_videos):
        lines.append(_would_have(found))
    if loaded.empty_videos:
        names = some_names(loaded.empty_videos)
        number = len(loaded.empty_videos)
        verb = "has" if number == 1 else "have"
        lines.append(f"{counted(number, 'annotated video')} {verb} no detections; instances missed ({names})")
    return lines
