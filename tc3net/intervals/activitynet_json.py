"""ActivityNet's JSON, which most tools of the field read and write: its structure is read and written here alone.

Annotations are `{"database": {video: {...}}}`, detections `{"results": {video: [...]}}`. Additions let a file carry
what other data sets know, each ignored by other tools: top-level "classes" (fixes the class ids; without it they follow
the sorted labels), "time_base" and "dataset", and per video "labels" (video-level class names, where they are more than
those of the instances) and "ambiguous" (a list of [start, end] that are not scored).

Times, durations and scores may be text, if it is a plain number, as in the THUMOS14 file that most code for
weakly-supervised localization brings along, and the file may begin with a byte order mark. Blanks around names are no
part of them. "fps" (or "frame", the number of frames) of a video is kept for the features; times are seconds anyway.
Reading is strict where a silent choice would change a result, and names file, video and entry. What a file means, as
columns or as records, is decided by its readers: `annotations_json`, `detections_json`, and the conversion.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import tc3net
from tc3net.common.errors import Mistakes, UserError
from tc3net.common.files import encoding_of
from tc3net.common.storage import path_of
from tc3net.intervals.json_values import as_float, names, segment_problem

WITHHELD_SUBSET = "testing"  # ActivityNet publishes no annotations of it
AMBIGUOUS = "Ambiguous"  # THUMOS14's name for intervals that are not scored
ANNOTATIONS = '{"database": {video: {"subset", "duration", "annotations": [{"label", "segment": [start, end]}]}}}'
DETECTIONS = '{"results": {video: [{"label", "score", "segment": [start, end]}]}}'

Labelled = tuple[str, float, float]  # class name, start s, end s
Interval = tuple[float, float]  # start s, end s
Part = TypeVar("Part")


# Writing -------------------------------------------------------------------------------------------------------------


def annotations_file(
    version: str,
    classes: Iterable[str],
    database: Mapping[str, dict[str, Any]],
    *,
    dataset: str | None = None,
    time_base: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A file of annotations around its videos.

    Args:
        version: who wrote it.
        classes: class names in the order of their ids.
        database: video id -> `video_entry`.
        dataset: title of the data set.
        time_base: of all videos.
    """
    parts = {"version": version, "dataset": dataset, "classes": list(classes), "time_base": time_base}
    return {**{name: part for name, part in parts.items() if part is not None}, "database": database}


def video_entry(
    subset: str,
    *,
    duration_s: float | None = None,
    labels: Iterable[str] | None = None,
    instances: Iterable[Labelled] | None = None,
    ambiguous: Sequence[Interval] = (),
    fps: float | None = None,
    duration_last: bool = False,
) -> dict[str, Any]:
    """One video of a file of annotations.

    Args:
        subset: its split.
        duration_s: left out where unknown.
        labels: class names at video level; left out where the instances tell them.
        instances: left out where the video is not annotated in time.
        ambiguous: intervals that are not scored.
        fps: of its features; left out where unknown.
        duration_last: the duration after the instances, as in the files beside an evaluation.
    """
    duration = {} if duration_s is None else {"duration": duration_s}
    entry: dict[str, Any] = {"subset": subset, **({} if duration_last else duration)}
    if fps is not None:
        entry["fps"] = fps
    if labels is not None:
        entry["labels"] = list(labels)
    if instances is not None:
        entry["annotations"] = [{"label": label, "segment": [start, end]} for label, start, end in instances]
    if duration_last:
        entry.update(duration)
    if ambiguous:
        entry["ambiguous"] = [list(interval) for interval in ambiguous]
    return entry


def detection_entry(label: str, score: float, start_s: float, end_s: float) -> dict[str, Any]:
    """One detection of a file of detections."""
    return {"label": label, "score": score, "segment": [start_s, end_s]}


def results_file(results: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A file of detections around its videos: video id -> a list of `detection_entry`, best first."""
    return {
        "version": f"tc3net {tc3net.__version__}",
        "results": results,
        "external_data": {"used": True, "details": "I3D features; times in seconds"},
    }


# Reading -------------------------------------------------------------------------------------------------------------


class _Object(dict[str, Any]):
    """A JSON object that remembers repeated keys: json.loads alone would silently keep the last of two videos."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs if len(self) < len(pairs) else None

    def in_file_order(self) -> list[tuple[str, Any]]:
        return list(self.items()) if self.pairs is None else self.pairs


def read_section(
    path: str | Path, key: str, what: str, *, repeated: bool = False
) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """A JSON file that is an object, and the videos in the object under `key` in it, in the order of the file.

    Args:
        path: the file.
        key: "database" or "results".
        what: what the file should be, for messages.
        repeated: whether a video may be listed twice; then both are given.

    Raises:
        UserError: no such file, another format, or a video that is listed twice.
    """
    try:
        raw = json.loads(path_of(path).read_text(encoding=encoding_of(path)), object_pairs_hook=_Object)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected {what}. Check the path.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); expected {what}. Write the file again.") from None
    section = raw.get(key) if isinstance(raw, _Object) else None
    if not isinstance(section, _Object):
        raise UserError(f'{path}: no object "{key}" found; expected {what}. Check the path.')
    videos = [(video_id.strip(), value) for video_id, value in section.in_file_order()]
    if len(videos) > len({video_id for video_id, _ in videos}) and not repeated:
        twice = [video_id for video_id, count in Counter(video_id for video_id, _ in videos).items() if count > 1]
        raise UserError(f'{path}: "{key}" lists {twice[:3]} more than once; expected once. Merge the lists.')
    return raw, videos


@dataclass(frozen=True)
class VideoEntry:
    """One video of a file of annotations; its parts are checked when they are asked for, so that nobody stumbles over
    what he does not use.

    Attributes:
        video_id: the video.
        raw: the entry.
        where: file and video, for messages.
        impossible: whether intervals are given that are not finite or end before they start.
    """

    video_id: str
    raw: Mapping[str, Any]
    where: str
    impossible: bool = False

    def subset(self) -> str:
        """The split.

        Raises:
            UserError: there is none, or it is no text.
        """
        if not isinstance(self.raw.get("subset"), str):
            raise self._unless("subset", "text")
        return str(self.raw["subset"]).strip()

    def duration_s(self) -> float:
        """The duration; may be NaN or infinite.

        Raises:
            UserError: there is none, or it is no number.
        """
        number = as_float(self.raw.get("duration"))
        if number is None:
            raise self._unless("duration", "a number of seconds")
        return number

    def fps(self) -> float | None:
        """Frames per second, as "fps" or as "frame" (how many) over "duration"; None where the entry has neither.

        Raises:
            UserError: it is no positive number.
        """
        if self.raw.get("fps") is not None:
            fps = as_float(self.raw["fps"])
            if fps is None or not (fps > 0 and math.isfinite(fps)):
                raise self._unless("fps", "a positive number")
            return fps
        frames, duration_s = as_float(self.raw.get("frame")), as_float(self.raw.get("duration"))
        fps = frames / duration_s if frames and duration_s else 0.0
        return fps if fps > 0 and math.isfinite(fps) else None

    def _unless(self, key: str, expected: str) -> UserError:
        return UserError(f'{self.where}: "{key}" is {self.raw.get(key)!r}; expected {expected}. Correct the entry.')

    def labels(self) -> tuple[str, ...] | None:
        """Class names at video level; None where the instances have to tell them.

        Raises:
            UserError: it is no list of texts.
        """
        return names(self.raw["labels"], f'{self.where}: "labels"') if "labels" in self.raw else None

    def instances(self) -> tuple[Labelled, ...]:
        """The annotated instances; none where the video is not annotated in time.

        Raises:
            UserError: entries are no instances; says which.
        """
        items = enumerate(self._list("annotations"))
        return self._all([partial(self._instance, place, item) for place, item in items])

    def instances_known(self) -> bool:
        """Whether the video is annotated in time; then no instances mean that nothing occurs.

        It is not when it has no "annotations" entry, or an empty one in the subset whose annotations are withheld.
        """
        withheld = self.raw.get("subset") == WITHHELD_SUBSET
        return "annotations" in self.raw and (bool(self.raw["annotations"]) or not withheld)

    def ambiguous(self) -> tuple[Interval, ...]:
        """Intervals that are not scored.

        Raises:
            UserError: entries are no intervals; says which.
        """
        items = enumerate(self._list("ambiguous"))
        return self._all([partial(self._interval, item, f"ambiguous interval {place}") for place, item in items])

    def _all(self, parts: Sequence[Callable[[], Part]]) -> tuple[Part, ...]:
        mistakes = Mistakes(self.where)
        found = []
        for part in parts:
            with mistakes.gathered():
                found.append(part())
        mistakes.raise_if_any()
        return tuple(found)

    def _list(self, key: str) -> list[Any]:
        items = self.raw.get(key, [])
        if not isinstance(items, list):
            expected = ANNOTATIONS if key == "annotations" else "[[start, end], ...] in seconds"
            raise UserError(f'{self.where}: "{key}" is not a list; expected {expected}. Correct the entry.')
        return items

    def _instance(self, place: int, item: Any) -> Labelled:
        what = f"annotation {place}"
        label = item.get("label") if isinstance(item, dict) else None
        if not isinstance(label, str):
            raise UserError(f"{self.where}: {what}: has no label text; expected {ANNOTATIONS}. Correct it.")
        return (label.strip(), *self._interval(item.get("segment"), what))

    def _interval(self, value: Any, what: str) -> Interval:
        problem = segment_problem(value, possible=not self.impossible)
        if problem:
            raise UserError(f"{self.where}: {what}: {problem}; expected {ANNOTATIONS}. Correct it.")
        return float(value[0]), float(value[1])


def read_annotations_file(path: str | Path, *, judged_later: bool = False) -> tuple[dict[str, Any], list[VideoEntry]]:
    """A file of annotations: its top level, and its videos in the order of the file.

    Args:
        path: the file.
        judged_later: whether repeated videos and impossible intervals are given as they are, since the caller reports
            them with everything else that is wrong with a video.

    Raises:
        UserError: no such file, another format, a video that is no object; and what `judged_later` would let pass.
    """
    head, videos = read_section(path, "database", f"annotations {ANNOTATIONS}", repeated=judged_later)
    mistakes = Mistakes(path)
    entries = []
    for video_id, raw in videos:
        where = f"{path}: video {video_id!r}"
        if isinstance(raw, dict):
            entries.append(VideoEntry(video_id, raw, where, judged_later))
        else:
            mistakes.add(f"{where}: found {type(raw).__name__}; expected {ANNOTATIONS}. Correct the entry.")
    mistakes.raise_if_any()
    return head, entries
