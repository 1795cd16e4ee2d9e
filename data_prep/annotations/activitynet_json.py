"""ActivityNet's JSON format: one object per video under "database", with duration, subset and labelled segments.

Three optional additions let the format carry what other data sets know: a top-level "classes" list (fixes the class
ids; without it they follow the sorted labels), and per video "labels" (video-level class names, where they are more
than the classes of the instances) and "ambiguous" (a list of [start, end] that are not scored).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_prep.annotations import (
    AnnotationFormat,
    AnnotationSet,
    Instance,
    VideoRecord,
    beginning_of,
    checked_classes,
)
from tc3net.common.errors import UserError

WITHHELD_SUBSET = "testing"
_EXPECTED = 'expected ActivityNet JSON: {"database": {id: {"subset", "duration", "annotations": [...]}}}'


class _Object(dict[str, Any]):
    """A JSON object that remembers repeated keys: json.loads alone would silently keep the last of two videos."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def read_activitynet_json(path: str | Path) -> AnnotationSet:
    """Reads an ActivityNet JSON file; videos keep the order of the file.

    A video has unknown instances when it has no "annotations" entry, or an empty one in the subset "testing"
    (ActivityNet withholds the annotations of that subset). Elsewhere an empty list says that nothing occurs in the
    video.

    Args:
        path: the file.

    Raises:
        UserError: the file is absent, is not JSON, or an entry is missing or has the wrong form.
    """
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_Object)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {_EXPECTED}. Check --annotations.") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); {_EXPECTED}. Write the file again.") from None
    database = raw.get("database") if isinstance(raw, _Object) else None
    if not isinstance(database, _Object):
        raise UserError(f'{path}: no "database" object found; {_EXPECTED}. Check --annotations.')
    videos = tuple(_video(video_id, entry, f"{path}: video {video_id!r}") for video_id, entry in database.pairs)
    if "classes" in raw:
        classes = _names(raw["classes"], f'{path}: "classes"')
    else:
        classes = tuple(sorted(frozenset().union(*(video.present for video in videos))))
    return AnnotationSet(checked_classes(classes, path), videos)


def _video(video_id: str, entry: Any, where: str) -> VideoRecord:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: found {type(entry).__name__}; {_EXPECTED}. Correct the entry.")
    for key, kind in (("subset", str), ("duration", (int, float))):
        if key not in entry or not isinstance(entry[key], kind) or isinstance(entry[key], bool):
            expected = "text" if key == "subset" else "a number of seconds"
            raise UserError(f'{where}: "{key}" is {entry.get(key)!r}; expected {expected}. Correct the entry.')
    annotations = entry.get("annotations", [])
    if not isinstance(annotations, list):
        raise UserError(f'{where}: "annotations" is not a list; {_EXPECTED}. Correct the entry.')
    instances = tuple(_instance(item, f"{where}: annotation {index}") for index, item in enumerate(annotations))
    ambiguous = entry.get("ambiguous", [])
    if not isinstance(ambiguous, list):
        raise UserError(f'{where}: "ambiguous" is not a list; expected [[start, end], ...] in seconds. Correct it.')
    seen_labels = tuple(dict.fromkeys(instance.label for instance in instances))
    return VideoRecord(
        video_id=video_id,
        subset=entry["subset"],
        duration_s=float(entry["duration"]),
        labels=_names(entry["labels"], f'{where}: "labels"') if "labels" in entry else seen_labels,
        instances=instances,
        instances_known="annotations" in entry and (bool(instances) or entry["subset"] != WITHHELD_SUBSET),
        ambiguous=tuple(_interval(item, f"{where}: ambiguous interval {i}") for i, item in enumerate(ambiguous)),
    )


def _instance(item: Any, where: str) -> Instance:
    if not isinstance(item, dict) or not isinstance(item.get("label"), str):
        raise UserError(
            f'{where}: no "label" text found; expected {{"label": ..., "segment": [start, end]}}. Correct it.'
        )
    start_s, end_s = _interval(item.get("segment"), where)
    return Instance(start_s, end_s, item["label"])


def _interval(value: Any, where: str) -> tuple[float, float]:
    # NaN and Infinity are numbers to Python's JSON reader; the validation reports them with the video's other problems.
    numeric = isinstance(value, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    if not numeric or len(value) != 2:
        raise UserError(f"{where}: found {value!r}; expected [start, end] in seconds. Correct the entry.")
    return float(value[0]), float(value[1])


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{where} is {value!r}; expected a list of class names. Correct the file.")
    return tuple(value)


ACTIVITYNET_JSON = AnnotationFormat(
    name="activitynet_json",
    words="ActivityNet JSON",
    expected="ActivityNet JSON",
    recognises=lambda path: beginning_of(path).lstrip()[:1] in ("{", "["),
    read=lambda path, _: read_activitynet_json(path),
)
