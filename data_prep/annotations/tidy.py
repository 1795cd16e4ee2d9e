"""What is done to annotations of every format once they are read: class list, ambiguous intervals, spelling, subsets.

One place, so that a label means the same in a table, in a JSON file and in a folder of arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.annotations.records import AnnotationSet, VideoRecord, checked_classes, read_class_list
from tc3net.common.errors import Mistakes, UserError
from tc3net.common.names import counted, require_different
from tc3net.data.subset_names import find_subset
from tc3net.intervals.activitynet_json import AMBIGUOUS


def tidied(annotations: AnnotationSet, path: str | Path, class_list: str | Path | None = None) -> AnnotationSet:
    """Annotations as everything after them expects them.

    The label "Ambiguous" (THUMOS14's, which files of other tools carry as if it were a class) becomes intervals that
    are not scored, as in `tc3net.intervals.annotations_json`, unless a list of classes names it.

    Args:
        annotations: as the format reads them.
        path: where they came from, for messages.
        class_list: file with the class names in the order of their ids; None: the annotations' own.

    Raises:
        UserError: no class is left, or names of classes or subsets differ only in case or blanks.
    """
    if class_list is not None:
        classes = read_class_list(class_list)
        annotations = replace(annotations, classes=classes, classes_listed=True)
    if not (annotations.classes_listed and AMBIGUOUS in annotations.classes):
        annotations = _without_ambiguous_class(annotations, path)
    if not annotations.classes:
        raise UserError(
            f"{path}: no classes found, since no video has a label; expected at least one. Add labels, or name the "
            "classes with --class_list=FILE, a name per line."
        )
    mistakes = Mistakes(path)
    labels = sorted(frozenset().union(*(video.present for video in annotations.videos)))
    with mistakes.gathered():
        where = path if class_list is None else f"{path} and {class_list}"
        require_different([*annotations.classes, *labels], "class", where)
    with mistakes.gathered():
        require_different([video.subset for video in annotations.videos], "subset", path)
    mistakes.raise_if_any()
    return annotations


def _without_ambiguous_class(annotations: AnnotationSet, path: str | Path) -> AnnotationSet:
    number = sum(item.label == AMBIGUOUS for video in annotations.videos for item in video.instances)
    classes = tuple(name for name in annotations.classes if name != AMBIGUOUS)
    if AMBIGUOUS not in frozenset(annotations.classes).union(*(video.present for video in annotations.videos)):
        return annotations
    return replace(
        annotations,
        classes=checked_classes(classes, path),
        videos=tuple(map(_without_ambiguous, annotations.videos)),
        notes=(*annotations.notes, f"label {AMBIGUOUS!r}: {counted(number, 'interval')} not scored, no class"),
    )


def _without_ambiguous(video: VideoRecord) -> VideoRecord:
    intervals = tuple((item.start_s, item.end_s) for item in video.instances if item.label == AMBIGUOUS)
    if AMBIGUOUS not in video.present and AMBIGUOUS not in (video.counts or {}):
        return video
    counts = video.counts
    return replace(
        video,
        labels=tuple(name for name in video.labels if name != AMBIGUOUS),
        instances=tuple(item for item in video.instances if item.label != AMBIGUOUS),
        ambiguous=(*intervals, *video.ambiguous),
        counts=None if counts is None else {name: count for name, count in counts.items() if name != AMBIGUOUS},
    )


def choose_subsets(
    annotations: AnnotationSet, asked: Sequence[str], path: str | Path
) -> tuple[AnnotationSet, tuple[str, ...], frozenset[str]]:
    """The videos of some subsets; the classes stay those of all videos, and so do their ids.

    Args:
        annotations: of all subsets.
        asked: their names, or usual synonyms; none for all subsets.
        path: where the annotations came from, for messages.

    Returns:
        The annotations, what was chosen (a line, or none), and the ids of the videos that are in no chosen subset.

    Raises:
        UserError: there is no such subset.
    """
    if not asked:
        return annotations, (), frozenset()
    there = sorted({video.subset for video in annotations.videos})
    meant = {name: find_subset(name, there) for name in asked}
    absent = [name for name, subset in meant.items() if subset is None]
    if absent:
        raise UserError(
            f"{path}: no videos of the subset{'s' * (len(absent) > 1)} {', '.join(map(repr, absent))} found; expected "
            f"some of {', '.join(map(repr, there))}. Correct --subsets."
        )
    chosen = frozenset(meant.values())
    videos = tuple(video for video in annotations.videos if video.subset in chosen)
    numbers = Counter(video.subset for video in videos)
    words = ", ".join(
        f"{counted(numbers[subset], 'video')} of {subset}" + (f" (asked for as {name!r})" if name != subset else "")
        for name, subset in meant.items()
        if subset is not None
    )
    left_out = sorted(set(there) - chosen)
    line = f"subsets:     {words}" + (f"; {', '.join(left_out)} left out" if left_out else "")
    kept = {video.video_id for video in videos}
    others = frozenset(video.video_id for video in annotations.videos) - kept
    return (
        replace(annotations, videos=videos, without_duration=annotations.without_duration & kept),
        (line,),
        others,
    )
