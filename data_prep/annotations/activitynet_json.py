"""ActivityNet's JSON format as annotations, and annotations as ActivityNet's JSON.

`tc3net.intervals.activitynet_json` has its structure, with the additions that let it carry what other data sets know.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from data_prep.annotations.records import (
    AnnotationFormat,
    AnnotationSet,
    Instance,
    VideoRecord,
    beginning_of,
    checked_classes,
)
from tc3net.common.errors import Mistakes
from tc3net.intervals.activitynet_json import (
    Interval,
    Labelled,
    VideoEntry,
    annotations_file,
    read_annotations_file,
    video_entry,
)
from tc3net.intervals.json_values import names


def read_activitynet_json(path: str | Path) -> AnnotationSet:
    """Reads an ActivityNet JSON file; videos keep the order of the file.

    A video has unknown instances when it has no "annotations" entry, or an empty one in the subset "testing"
    (ActivityNet withholds the annotations of that subset). Elsewhere an empty list says that nothing occurs in the
    video. A video without "duration" has an unknown one.

    Args:
        path: the file.

    Raises:
        UserError: the file is absent, is not JSON, or entries are missing or have the wrong form; says all of them.
    """
    # A repeated video, and times that cannot be, are reported by the validation with the other problems of a video.
    head, entries = read_annotations_file(path, judged_later=True)
    mistakes = Mistakes(path)
    videos = []
    for entry in entries:
        with mistakes.gathered():
            videos.append(_video(entry))
    mistakes.raise_if_any()
    if "classes" in head:
        classes = names(head["classes"], f'{path}: "classes"')
    else:
        classes = tuple(sorted(frozenset().union(*(video.present for video in videos))))
    return AnnotationSet(
        checked_classes(classes, path),
        tuple(videos),
        without_duration=frozenset(entry.video_id for entry in entries if entry.raw.get("duration") is None),
        classes_listed="classes" in head,
    )


def _video(entry: VideoEntry) -> VideoRecord:
    mistakes = Mistakes(entry.where)
    subset, duration_s = "", math.nan
    fps: float | None = None
    found: tuple[Labelled, ...] = ()
    ambiguous: tuple[Interval, ...] = ()
    labels: tuple[str, ...] | None = None
    with mistakes.gathered():
        subset = entry.subset()
    with mistakes.gathered():
        duration_s = math.nan if entry.raw.get("duration") is None else entry.duration_s()
    with mistakes.gathered():
        fps = entry.fps()
    with mistakes.gathered():
        found = entry.instances()
    with mistakes.gathered():
        ambiguous = entry.ambiguous()
    with mistakes.gathered():
        labels = entry.labels()
    mistakes.raise_if_any()
    instances = tuple(Instance(start_s, end_s, label) for label, start_s, end_s in found)
    return VideoRecord(
        video_id=entry.video_id,
        subset=subset,
        duration_s=duration_s,
        labels=tuple(dict.fromkeys(one.label for one in instances)) if labels is None else labels,
        instances=instances,
        instances_known=entry.instances_known(),
        ambiguous=ambiguous,
        fps=fps,
    )


def activitynet_dict(annotations: AnnotationSet, version: str, *, with_labels: bool) -> dict[str, Any]:
    """The annotations as a file that `read_activitynet_json` and `tc3net.intervals.annotations_json` read.

    An unknown duration is left out, and so are the annotations of a video that was not annotated in time.

    Args:
        annotations: any.
        version: who writes it.
        with_labels: whether class names at video level are written, also where the instances tell them.
    """
    database = {
        video.video_id: video_entry(
            video.subset,
            duration_s=video.duration_s if math.isfinite(video.duration_s) else None,
            labels=video.labels if with_labels and video.labels else None,
            instances=[(i.label, i.start_s, i.end_s) for i in video.instances] if video.instances_known else None,
            ambiguous=video.ambiguous,
            fps=video.fps,
        )
        for video in annotations.videos
    }
    return annotations_file(version, annotations.classes, database)


ACTIVITYNET_JSON = AnnotationFormat(
    name="activitynet_json",
    words="ActivityNet JSON",
    expected="ActivityNet JSON",
    recognises=lambda path: beginning_of(path).lstrip()[:1] in ("{", "["),
    read=lambda path, _: read_activitynet_json(path),
    is_general=True,  # any JSON
)
