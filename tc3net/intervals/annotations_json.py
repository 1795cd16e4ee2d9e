"""Ground truth in the ActivityNet annotation format: what any tool can be scored against, without a converted data set.

Four optional additions carry what other data sets know, each ignored by other tools: top-level "classes" (fixes the
class ids; without it they follow the sorted labels), "time_base" (the segment grid of the protocol reference) and
"dataset" (a title), and per video "ambiguous" (a list of [start, end] that are not scored). The label "Ambiguous", as
in THUMOS14 files of other tools, means the same, unless "classes" lists it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.files import write_json
from tc3net.data.timebase import TimeBase
from tc3net.intervals.activitynet_json import (
    AMBIGUOUS,
    ANNOTATIONS,
    WITHHELD_SUBSET,
    instances_of,
    is_number,
    read_section,
    segment_problem,
)
from tc3net.intervals.columns import AnnotatedVideos, GroundTruth

_WHAT = f"annotations {ANNOTATIONS}"


def annotations_dict(annotated: AnnotatedVideos, subset: str) -> dict[str, Any]:
    """`{"version", "dataset", "classes", "time_base", "database"}`; `load_annotations` reads the same back.

    Args:
        annotated: the ground truth.
        subset: written as every video's "subset".
    """
    truth = annotated.truth
    database: dict[str, Any] = {}
    for video_id, duration_s in zip(truth.video_ids, annotated.duration_s.tolist()):
        entry: dict[str, Any] = {"subset": subset, "annotations": []}
        database[video_id] = {**entry, "duration": duration_s} if duration_s == duration_s else entry
    for video, label, start_s, end_s in zip(truth.video, truth.label, truth.start_s.tolist(), truth.end_s.tolist()):
        item = {"label": truth.classes[label], "segment": [start_s, end_s]}
        database[truth.video_ids[video]]["annotations"].append(item)
    for video, start_s, end_s in zip(
        truth.ambiguous_video, truth.ambiguous_start_s.tolist(), truth.ambiguous_end_s.tolist()
    ):
        database[truth.video_ids[video]].setdefault("ambiguous", []).append([start_s, end_s])
    written = {"version": "tc3net", "dataset": annotated.dataset, "classes": list(truth.classes)}
    bases = [vars(base) for base in annotated.time_bases]
    return {**written, **({"time_base": bases[0]} if len(bases) == 1 else {}), "database": database}


def save_annotations(path: str | Path, annotated: AnnotatedVideos, subset: str) -> None:
    """Writes `annotations_dict` as JSON, atomically."""
    write_json(path, annotations_dict(annotated, subset))


def load_annotations(path: str | Path, subset: str | None) -> AnnotatedVideos:
    """Reads ground truth.

    A video has unknown instances, and is not scored, when it has no "annotations" entry, or an empty one in the
    subset "testing" (ActivityNet withholds these). Elsewhere an empty list says that nothing occurs in the video. A
    video without "duration" has an unknown one.

    Args:
        path: the file.
        subset: which videos; None takes all, and so does a file in which no video has a "subset".

    Raises:
        UserError: no such file or another format; no videos of that subset; an entry that is no instance; a label
            that "classes" does not have.
    """
    raw, database = read_section(path, "database", _WHAT)
    for video, entry in database.items():
        if not isinstance(entry, dict):
            raise UserError(f"{path}: video {video!r}: found {type(entry).__name__}; expected {ANNOTATIONS}.")
    subsets = sorted({str(entry["subset"]) for entry in database.values() if "subset" in entry})
    chosen = {v: e for v, e in database.items() if subset is None or not subsets or e.get("subset") == subset}
    if not chosen:
        raise UserError(f"{path}: no videos of the subset {subset!r}; it has {subsets}. Choose one with --subset.")
    known = {
        video: entry
        for video, entry in chosen.items()
        if "annotations" in entry and (entry["annotations"] or entry.get("subset") != WITHHELD_SUBSET)
    }
    return _annotated(path, raw, database, known, len(chosen) - len(known))


def _annotated(
    path: str | Path, raw: dict[str, Any], database: dict[str, Any], known: dict[str, Any], unknown: int
) -> AnnotatedVideos:
    """Columns of the known videos."""
    every_label = {label for video, entry in database.items() for label, _, _ in instances_of(path, video, entry)}
    classes = _classes(path, raw["classes"]) if "classes" in raw else tuple(sorted(every_label - {AMBIGUOUS}))
    id_of = {name: number for number, name in enumerate(classes)}
    stray = sorted(every_label - set(id_of) - {AMBIGUOUS})
    if stray:
        raise UserError(f'{path}: labels {stray[:3]} are not in its "classes"; expected all there. Add them.')
    instances: list[tuple[int, int, float, float]] = []
    ambiguous: list[tuple[int, float, float]] = []
    for number, (video, entry) in enumerate(known.items()):
        for label, start_s, end_s in instances_of(path, video, entry):
            if label in id_of:
                instances.append((number, id_of[label], start_s, end_s))
            else:
                ambiguous.append((number, start_s, end_s))
        for place, interval in enumerate(entry.get("ambiguous", [])):
            problem = segment_problem(interval)
            if problem:
                raise UserError(f"{path}: video {video!r}, ambiguous interval {place}: {problem}. Correct it.")
            ambiguous.append((number, float(interval[0]), float(interval[1])))
    columns = np.array(instances, np.float64).reshape(-1, 4).T
    ambiguous_columns = np.array(ambiguous, np.float64).reshape(-1, 3).T
    truth = GroundTruth(
        classes=classes,
        video_ids=tuple(known),
        video=columns[0].astype(np.int64),
        label=columns[1].astype(np.int64),
        start_s=columns[2],
        end_s=columns[3],
        ambiguous_video=ambiguous_columns[0].astype(np.int64),
        ambiguous_start_s=ambiguous_columns[1],
        ambiguous_end_s=ambiguous_columns[2],
    )
    durations = [entry.get("duration") for entry in known.values()]
    notes = [f"{unknown} videos without annotations are not scored"] if unknown else []
    return AnnotatedVideos(
        dataset=str(raw.get("dataset", Path(path).name)),
        truth=truth,
        duration_s=np.array([float(d) if is_number(d) else np.nan for d in durations]),
        time_bases=_time_bases(path, raw),
        notes=tuple(notes),
    )


def _classes(path: str | Path, value: Any) -> tuple[str, ...]:
    texts = isinstance(value, list) and all(isinstance(name, str) for name in value)
    if not texts or len(set(value)) < len(value):
        raise UserError(f'{path}: "classes" is {value!r}; expected a list of different class names. Correct it.')
    return tuple(value)


def _time_bases(path: str | Path, raw: dict[str, Any]) -> tuple[TimeBase, ...]:
    if "time_base" not in raw:
        return ()
    try:
        return (TimeBase(**raw["time_base"]),)
    except TypeError:
        raise UserError(
            f'{path}: "time_base" is {raw["time_base"]!r}; expected {vars(TimeBase())}. Correct or remove it.'
        ) from None
