"""Ground truth in ActivityNet's JSON: what any tool can be scored against, without a converted data set.

`activitynet_json` has the format. Of its additions, "time_base" is the segment grid of the protocol reference and
"dataset" a title. The label "Ambiguous", as in THUMOS14 files of other tools, means the same as the addition
"ambiguous", unless "classes" lists it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.files import write_json
from tc3net.data.timebase import TimeBase
from tc3net.intervals.activitynet_json import (
    AMBIGUOUS,
    Interval,
    Labelled,
    VideoEntry,
    annotations_file,
    is_number,
    names,
    read_annotations_file,
    video_entry,
)
from tc3net.intervals.columns import AnnotatedVideos, GroundTruth


def annotations_dict(annotated: AnnotatedVideos, subset: str) -> dict[str, Any]:
    """The ground truth as a file of annotations; `load_annotations` reads the same back.

    Args:
        annotated: the ground truth.
        subset: written as every video's "subset".
    """
    truth = annotated.truth
    instances: dict[str, list[Labelled]] = {video_id: [] for video_id in truth.video_ids}
    ambiguous: dict[str, list[Interval]] = {video_id: [] for video_id in truth.video_ids}
    for video, label, *times in zip(truth.video, truth.label, truth.start_s.tolist(), truth.end_s.tolist()):
        instances[truth.video_ids[video]].append((truth.classes[label], *times))
    for video, *times in zip(truth.ambiguous_video, truth.ambiguous_start_s.tolist(), truth.ambiguous_end_s.tolist()):
        ambiguous[truth.video_ids[video]].append((times[0], times[1]))
    database = {
        video_id: video_entry(
            subset,
            duration_s=None if np.isnan(duration_s) else duration_s,
            instances=instances[video_id],
            ambiguous=ambiguous[video_id],
            duration_last=True,
        )
        for video_id, duration_s in zip(truth.video_ids, annotated.duration_s.tolist())
    }
    bases = [vars(base) for base in annotated.time_bases]
    return annotations_file(
        "tc3net", truth.classes, database, dataset=annotated.dataset, time_base=bases[0] if len(bases) == 1 else None
    )


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
    head, entries = read_annotations_file(path)
    subsets = sorted({str(entry.raw["subset"]) for entry in entries if "subset" in entry.raw})
    chosen = [one for one in entries if subset is None or not subsets or one.raw.get("subset") == subset]
    if not chosen:
        raise UserError(f"{path}: no videos of the subset {subset!r}; it has {subsets}. Choose one with --subset.")
    every_label = {label for entry in entries for label, _, _ in entry.instances()}
    classes = _classes(path, head["classes"]) if "classes" in head else tuple(sorted(every_label - {AMBIGUOUS}))
    stray = sorted(every_label - set(classes) - {AMBIGUOUS})
    if stray:
        raise UserError(f'{path}: labels {stray[:3]} are not in its "classes"; expected all there. Add them.')
    known = [entry for entry in chosen if entry.instances_known()]
    unknown = len(chosen) - len(known)
    return AnnotatedVideos(
        dataset=str(head.get("dataset", Path(path).name)),
        truth=_truth_of(classes, known),
        duration_s=np.array([_duration_s(entry) for entry in known]),
        time_bases=_time_bases(path, head),
        notes=(f"{unknown} videos without annotations are not scored",) if unknown else (),
    )


def _duration_s(entry: VideoEntry) -> float:
    """NaN where the file does not tell it: nothing is scored by it."""
    return entry.duration_s() if is_number(entry.raw.get("duration")) else math.nan


def _truth_of(classes: tuple[str, ...], known: Sequence[VideoEntry]) -> GroundTruth:
    instances: dict[str, list[Labelled]] = {}
    ambiguous: dict[str, list[Interval]] = {}
    scored = frozenset(classes)
    for entry in known:
        found = entry.instances()
        instances[entry.video_id] = [one for one in found if one[0] in scored]
        not_scored = [(start_s, end_s) for label, start_s, end_s in found if label not in scored]
        ambiguous[entry.video_id] = [*not_scored, *entry.ambiguous()]
    return ground_truth(classes, instances, ambiguous)


def ground_truth(
    classes: tuple[str, ...],
    instances: Mapping[str, Sequence[Labelled]],
    ambiguous: Mapping[str, Sequence[Interval]] | None = None,
) -> GroundTruth:
    """Instances as columns.

    Args:
        classes: class names by id.
        instances: by video, of these classes; every video is one of the ground truth's.
        ambiguous: intervals that are not scored, by video.
    """
    id_of = {name: number for number, name in enumerate(classes)}
    number_of = {video_id: number for number, video_id in enumerate(instances)}
    rows = [(number_of[v], id_of[label], s, e) for v, found in instances.items() for label, s, e in found]
    ambiguous_rows = [(number_of[v], s, e) for v, found in (ambiguous or {}).items() for s, e in found]
    video, label, start_s, end_s = np.array(rows, np.float64).reshape(-1, 4).T
    ambiguous_video, ambiguous_start_s, ambiguous_end_s = np.array(ambiguous_rows, np.float64).reshape(-1, 3).T
    return GroundTruth(
        classes=classes,
        video_ids=tuple(instances),
        video=video.astype(np.int64),
        label=label.astype(np.int64),
        start_s=start_s,
        end_s=end_s,
        ambiguous_video=ambiguous_video.astype(np.int64),
        ambiguous_start_s=ambiguous_start_s,
        ambiguous_end_s=ambiguous_end_s,
    )


def _classes(path: str | Path, value: Any) -> tuple[str, ...]:
    classes = names(value, f'{path}: "classes"')
    if len(set(classes)) < len(classes):
        raise UserError(f'{path}: "classes" is {value!r}; expected a list of different class names. Correct it.')
    return classes


def _time_bases(path: str | Path, head: Mapping[str, Any]) -> tuple[TimeBase, ...]:
    if "time_base" not in head:
        return ()
    try:
        return (TimeBase(**head["time_base"]),)
    except TypeError:
        raise UserError(
            f'{path}: "time_base" is {head["time_base"]!r}; expected {vars(TimeBase())}. Correct or remove it.'
        ) from None


def load_instances(path: str | Path) -> dict[str, tuple[Labelled, ...]]:
    """Annotated instances by video: (class name, start s, end s), of all subsets.

    Raises:
        UserError: no such file, or another format.
    """
    return {entry.video_id: entry.instances() for entry in read_annotations_file(path)[1]}


def annotated_videos(
    instances: Mapping[str, Sequence[Labelled]],
    classes: tuple[str, ...],
    duration_s: Mapping[str, float],
    *,
    dataset: str,
) -> AnnotatedVideos | None:
    """Ground truth of some videos; None where nothing is known about any of them.

    Args:
        instances: by video, as `load_instances` gives them; those of other classes are left out.
        classes: class names by id.
        duration_s: durations of the videos, whose order the ground truth takes.
        dataset: title.
    """
    known = [video_id for video_id in duration_s if video_id in instances]
    if not known:
        return None
    scored = frozenset(classes)
    of_class = {video_id: [one for one in instances[video_id] if one[0] in scored] for video_id in known}
    return AnnotatedVideos(dataset, ground_truth(classes, of_class), np.array([duration_s[v] for v in known]))
