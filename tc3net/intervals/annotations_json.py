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

from tc3net.common.errors import Mistakes, UserError
from tc3net.common.files import write_json
from tc3net.common.names import counted, require_different
from tc3net.common.storage import path_of
from tc3net.data.subset_names import find_subset
from tc3net.data.timebase import TimeBase
from tc3net.intervals.activitynet_json import (
    AMBIGUOUS,
    Interval,
    Labelled,
    VideoEntry,
    annotations_file,
    read_annotations_file,
    video_entry,
)
from tc3net.intervals.columns import AnnotatedVideos, GroundTruth
from tc3net.intervals.json_values import is_number, names


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
    chosen, subset_notes = _chosen(path, entries, subset)
    instances = _instances(path, entries)
    every_label = {label for found in instances.values() for label, _, _ in found}
    if "classes" in head:
        classes = _classes(path, head["classes"])
    else:
        classes = tuple(sorted(every_label - {AMBIGUOUS}))
        require_different(classes, "class", path)
    stray = sorted(every_label - set(classes) - {AMBIGUOUS})
    if stray:
        raise UserError(f'{path}: labels {stray[:3]} are not in its "classes"; expected all there. Add them.')
    known = [entry for entry in chosen if entry.instances_known()]
    truth = _truth_of(path, classes, known, instances)
    return AnnotatedVideos(
        dataset=str(head.get("dataset", path_of(path).name)),
        truth=truth,
        duration_s=np.array([_duration_s(entry) for entry in known]),
        time_bases=_time_bases(path, head),
        notes=(*subset_notes, *_notes(chosen, known, classes, instances)),
    )


def _chosen(
    path: str | Path, entries: Sequence[VideoEntry], subset: str | None
) -> tuple[list[VideoEntry], tuple[str, ...]]:
    """The videos of a subset, and what had to be assumed about its name."""
    subsets = sorted({str(entry.raw["subset"]).strip() for entry in entries if "subset" in entry.raw})
    if subset is None or not subsets:
        if not entries:
            raise UserError(f"{path}: no videos found; expected at least one. Check the path.")
        return list(entries), ()
    meant = find_subset(subset, subsets)
    chosen = [one for one in entries if "subset" in one.raw and str(one.raw["subset"]).strip() == meant]
    if not chosen:
        raise UserError(f"{path}: no videos of the subset {subset!r}; it has {subsets}. Choose one with --subset.")
    return chosen, () if meant == subset else (f"the subset {subset!r} is {meant!r} in the annotations",)


def _instances(path: str | Path, entries: Sequence[VideoEntry]) -> dict[str, tuple[Labelled, ...]]:
    """All instances by video; all mistakes of the file in one error."""
    mistakes = Mistakes(path)
    found: dict[str, tuple[Labelled, ...]] = {}
    for entry in entries:
        with mistakes.gathered():
            found[entry.video_id] = entry.instances()
    mistakes.raise_if_any()
    return found


def _notes(
    chosen: Sequence[VideoEntry],
    known: Sequence[VideoEntry],
    classes: tuple[str, ...],
    instances: Mapping[str, Sequence[Labelled]],
) -> list[str]:
    notes = []
    unknown = len(chosen) - len(known)
    if unknown:
        notes.append(f"{counted(unknown, 'video')} without annotations {'is' if unknown == 1 else 'are'} not scored")
    ambiguous = sum(label == AMBIGUOUS for entry in known for label, _, _ in instances[entry.video_id])
    if ambiguous and AMBIGUOUS not in classes:
        notes.append(f"label {AMBIGUOUS!r}: {counted(ambiguous, 'interval')} not scored")
    with_fps = sum(entry.raw.get("fps") is not None for entry in known)
    if with_fps:
        notes.append(f"fps of {counted(with_fps, 'video')} not used: times are seconds")
    return notes


def _duration_s(entry: VideoEntry) -> float:
    """NaN where the file does not tell it: nothing is scored by it."""
    return entry.duration_s() if is_number(entry.raw.get("duration")) else math.nan


def _truth_of(
    path: str | Path,
    classes: tuple[str, ...],
    known: Sequence[VideoEntry],
    found_in: Mapping[str, Sequence[Labelled]],
) -> GroundTruth:
    mistakes = Mistakes(path)
    instances: dict[str, list[Labelled]] = {}
    ambiguous: dict[str, list[Interval]] = {}
    scored = frozenset(classes)
    for entry in known:
        found = found_in[entry.video_id]
        instances[entry.video_id] = [one for one in found if one[0] in scored]
        not_scored = [(start_s, end_s) for label, start_s, end_s in found if label not in scored]
        with mistakes.gathered():
            ambiguous[entry.video_id] = [*not_scored, *entry.ambiguous()]
    mistakes.raise_if_any()
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
    require_different(classes, "class", path)
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

    Intervals that are not scored are among them, under the name "Ambiguous".

    Raises:
        UserError: no such file, or another format.
    """
    entries = read_annotations_file(path)[1]
    instances = _instances(path, entries)
    not_scored = {one.video_id: [(AMBIGUOUS, start_s, end_s) for start_s, end_s in one.ambiguous()] for one in entries}
    return {video_id: (*found, *not_scored[video_id]) for video_id, found in instances.items()}


def annotated_videos(
    instances: Mapping[str, Sequence[Labelled]],
    classes: tuple[str, ...],
    duration_s: Mapping[str, float],
    *,
    dataset: str,
) -> AnnotatedVideos | None:
    """Ground truth of some videos; None where nothing is known about any of them.

    Args:
        instances: by video, as `load_instances` gives them; those of other classes are left out, but for "Ambiguous",
            which is no class of these unless they list it.
        classes: class names by id.
        duration_s: durations of the videos, whose order the ground truth takes.
        dataset: title.
    """
    known = [video_id for video_id in duration_s if video_id in instances]
    if not known:
        return None
    scored = frozenset(classes)
    of_class = {video_id: [one for one in instances[video_id] if one[0] in scored] for video_id in known}
    ambiguous = {
        video_id: [(start_s, end_s) for label, start_s, end_s in instances[video_id] if label == AMBIGUOUS]
        for video_id in (() if AMBIGUOUS in scored else known)
    }
    truth = ground_truth(classes, of_class, ambiguous)
    return AnnotatedVideos(dataset, truth, np.array([duration_s[v] for v in known]))
