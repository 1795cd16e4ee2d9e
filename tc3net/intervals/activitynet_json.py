"""The JSON formats of the ActivityNet challenge, which most tools of the field read and write: detections, annotations.

Reading is strict where a silent choice would change a score: a repeated video, a missing key, a value that is no
finite number or an interval that ends before it starts is refused with file, video and entry. What is merely out of
scope (unknown videos and labels) is kept apart and reported with names.
"""

from __future__ import annotations

import difflib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tc3net
from tc3net.common.errors import UserError
from tc3net.common.files import write_json
from tc3net.intervals.columns import Detections, GroundTruth

WITHHELD_SUBSET = "testing"  # ActivityNet publishes no annotations of it
AMBIGUOUS = "Ambiguous"  # THUMOS14's name for intervals that are not scored
ANNOTATIONS = '{"database": {video: {"subset", "duration", "annotations": [{"label", "segment": [start, end]}]}}}'
_DETECTIONS = '{"results": {video: [{"label", "score", "segment": [start, end]}]}}'


def detections_dict(detections: Detections, classes: tuple[str, ...]) -> dict[str, Any]:
    """`{"version", "results": {video: [{"label", "score", "segment": [start s, end s]}]}, "external_data"}`.

    Every video of `detections.video_ids` is listed, also without detections; the best score comes first.

    Args:
        detections: seconds.
        classes: class names by id.
    """
    results: dict[str, list[dict[str, Any]]] = {video_id: [] for video_id in detections.video_ids}
    for i in (-detections.score).argsort(kind="stable"):
        results[detections.video_ids[detections.video[i]]].append(
            {
                "label": classes[detections.label[i]],
                "score": float(detections.score[i]),
                "segment": [float(detections.start_s[i]), float(detections.end_s[i])],
            }
        )
    return results_file(results)


def results_file(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A file of detections, `{"version", "results", "external_data"}`, around its `results`."""
    return {
        "version": f"tc3net {tc3net.__version__}",
        "results": results,
        "external_data": {"used": True, "details": "I3D features; times in seconds"},
    }


def save_detections(path: str | Path, detections: Detections, classes: tuple[str, ...]) -> None:
    """Writes `detections_dict` as JSON, atomically."""
    write_json(path, detections_dict(detections, classes))


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
    _, results = read_section(path, "results", f"detections {_DETECTIONS}")
    label_of = {name: number for number, name in enumerate(truth.classes)}
    video_of = {name: number for number, name in enumerate(truth.video_ids)}
    rows: list[tuple[int, int, float, float, float]] = []
    bad: list[str] = []
    unknown_labels: Counter[str] = Counter()
    unknown_videos: Counter[str] = Counter()
    for video, entries in results.items():
        if not isinstance(entries, list):
            raise UserError(f"{path}: video {video!r}: no list of detections found; expected {_DETECTIONS}.")
        for place, entry in enumerate(entries):
            problem = _problem(entry)
            if problem:
                bad.append(f"video {video!r}, detection {place}: {problem}")
            elif video not in video_of:
                unknown_videos[video] += 1
            elif entry["label"] not in label_of:
                unknown_labels[entry["label"]] += 1
            else:
                start_s, end_s = entry["segment"]
                row = (video_of[video], label_of[entry["label"]], float(start_s), float(end_s), float(entry["score"]))
                rows.append(row)
    if bad:
        raise UserError(
            f"{path}: {len(bad)} detections cannot be scored: {'; '.join(bad[:3])}{'; ...' if len(bad) > 3 else ''}. "
            f"Expected {_DETECTIONS} with finite numbers and start <= end (seconds). Correct or remove them."
        )
    if not rows and (unknown_labels or unknown_videos):
        raise UserError(
            f"{path}: no detection has a label and a video of the annotations. Its videos are {sorted(results)[:3]}, "
            f"the annotations have {sorted(video_of)[:3]}; its labels are {sorted(unknown_labels)[:3]}, the "
            f"annotations have {sorted(label_of)[:3]}. Use their names, and the right --subset."
        )
    columns = np.array(rows, np.float64).reshape(-1, 5).T
    found = Detections(truth.video_ids, columns[0].astype(np.int64), columns[1].astype(np.int64), *columns[2:])
    empty = tuple(video for video in truth.video_ids if not results.get(video))
    return LoadedDetections(found, dict(unknown_labels), dict(unknown_videos), empty)


def report_lines(loaded: LoadedDetections, classes: tuple[str, ...]) -> list[str]:
    """What a reader must know about a file of detections: one line each, with counts and the first names."""
    lines = []
    for label, number in sorted(loaded.unknown_labels.items()):
        near = difflib.get_close_matches(label, classes, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        lines.append(f"label {label!r} is unknown: {number} detections ignored{hint}")
    if loaded.unknown_videos:
        number, videos = sum(loaded.unknown_videos.values()), list(loaded.unknown_videos)
        lines.append(f"{number} detections in {len(videos)} videos without annotations ignored ({_some(videos)})")
    if loaded.empty_videos:
        names = _some(loaded.empty_videos)
        lines.append(f"{len(loaded.empty_videos)} annotated videos have no detections; instances missed ({names})")
    return lines


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _problem(entry: Any) -> str:
    """Why a detection cannot be scored; empty if it can."""
    if not isinstance(entry, dict):
        return f"is {entry!r}, not an object"
    missing = [key for key in ("label", "score", "segment") if key not in entry]
    if missing:
        return f"has no {' and no '.join(missing)}"
    if not isinstance(entry["label"], str):
        return f"label is {entry['label']!r}, not a class name"
    if not is_number(entry["score"]):
        return f"score is {entry['score']!r}, not a finite number"
    return segment_problem(entry["segment"])


def segment_problem(segment: Any) -> str:
    """Why a value is no interval [start s, end s]; empty if it is one."""
    if not isinstance(segment, list) or len(segment) != 2 or not all(is_number(value) for value in segment):
        return f"segment is {segment!r}, not [start, end] in seconds"
    return f"segment {segment!r} ends before it starts" if segment[1] < segment[0] else ""


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class _Object(dict[str, Any]):
    """A JSON object that remembers repeated keys: json.loads alone would silently keep the last of two videos."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def _read(path: str | Path, what: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_Object)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected {what}. Check the path.") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); expected {what}. Write the file again.") from None


def read_section(path: str | Path, key: str, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A JSON file that is an object, and the object of videos under `key` in it.

    Raises:
        UserError: no such file, another format, or a video that is listed twice.
    """
    raw = _read(path, what)
    videos = raw.get(key) if isinstance(raw, _Object) else None
    if not isinstance(videos, _Object):
        raise UserError(f'{path}: no object "{key}" found; expected {what}.')
    if videos.repeated:
        raise UserError(f'{path}: "{key}" lists {videos.repeated[:3]} more than once; expected once. Merge the lists.')
    return raw, videos


def load_instances(path: str | Path) -> dict[str, list[tuple[str, float, float]]]:
    """Annotated instances by video: (class name, start s, end s), of all subsets.

    Raises:
        UserError: no such file, or another format.
    """
    _, database = read_section(path, "database", f"annotations {ANNOTATIONS}")
    return {video: list(instances_of(path, video, entry)) for video, entry in database.items()}


def instances_of(path: str | Path, video: str, entry: Any) -> Iterator[tuple[str, float, float]]:
    """(class name, start s, end s) of one video of a file.

    Raises:
        UserError: an entry is no instance; says which.
    """
    annotations = entry.get("annotations", []) if isinstance(entry, dict) else None
    if not isinstance(annotations, list):
        raise UserError(f"{path}: video {video!r}: no list of annotations found; expected {ANNOTATIONS}.")
    for place, item in enumerate(annotations):
        label = item.get("label") if isinstance(item, dict) else None
        problem = segment_problem(item.get("segment")) if isinstance(label, str) else "has no label text"
        if not isinstance(label, str) or problem:
            raise UserError(
                f"{path}: video {video!r}, annotation {place}: {problem}; expected {ANNOTATIONS}. Correct it."
            )
        yield label, float(item["segment"][0]), float(item["segment"][1])
