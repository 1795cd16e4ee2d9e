"""What every protocol asks of its input: finite numbers, known classes, and only detections that can be scored.

A value that would silently change a score is refused here with the video's name; detections that a protocol does not
look at are left out and counted in a note, so that no result is produced from less data than the reader believes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.names import counted
from tc3net.intervals.columns import Detections, GroundTruth


def check_ground_truth(truth: GroundTruth) -> None:
    """Refuses ground truth that cannot be scored against.

    Raises:
        UserError: no instances; a video listed twice; a class id out of range; a time that is not finite, or an end
            before its start, in an instance or an ambiguous interval.
    """
    if len(truth) == 0:
        raise UserError(
            f"The ground truth of {len(truth.video_ids)} videos has no instances; expected at least one. "
            "Evaluate a split with annotated instances."
        )
    if len(set(truth.video_ids)) < len(truth.video_ids):
        twice = next(name for name in truth.video_ids if truth.video_ids.count(name) > 1)
        raise UserError(f"Video {twice} is listed twice in the ground truth; expected once. Merge its annotations.")
    _check_labels(truth.label, truth.video, truth.video_ids, len(truth.classes), "instance")
    _check_times(truth.start_s, truth.end_s, truth.video, truth.video_ids, "instance")
    _check_times(
        truth.ambiguous_start_s, truth.ambiguous_end_s, truth.ambiguous_video, truth.video_ids, "ambiguous interval"
    )


def check_detections(found: Detections, num_classes: int) -> None:
    """Refuses detections that cannot be ranked or matched, also in videos that will not be scored.

    Raises:
        UserError: a class id out of range; a score or time that is not finite; an end before its start.
    """
    _check_labels(found.label, found.video, found.video_ids, num_classes, "detection")
    _check_times(found.start_s, found.end_s, found.video, found.video_ids, "detection")
    unusable = np.flatnonzero(~np.isfinite(found.score))
    if len(unusable):
        first = unusable[0]
        raise UserError(
            f"Video {found.video_ids[found.video[first]]}: a detection has score {found.score[first]}; expected a "
            "finite number. Look for NaN or Inf in the class scores it was made from."
        )


def scored_detections(
    truth: GroundTruth, found: Detections, *, annotated_videos_only: bool
) -> tuple[Detections, np.ndarray, tuple[str, ...]]:
    """The detections that a protocol looks at, in their original order, with videos numbered as in the ground truth.

    Left out are detections in videos without ground truth, then (on request) in videos without instances, then of
    classes that no instance has.

    Args:
        truth: checked ground truth.
        found: n checked detections.
        annotated_videos_only: leave out the videos that are listed in the ground truth but have no instances.

    Returns:
        The detections, their positions in `found` [int64], and one note, with names, for each of these reasons that
        applied.
    """
    number_of = {name: number for number, name in enumerate(truth.video_ids)}
    renumbered = np.array([number_of.get(name, -1) for name in found.video_ids], np.int64)
    video = renumbered[found.video]  # [n], -1 where unknown
    left = np.ones(len(found), bool)
    notes: list[str] = []

    unknown = video < 0
    if unknown.any():
        names = [found.video_ids[number] for number in np.unique(found.video[unknown])]
        where = f"{counted(len(names), 'video')} without ground truth ignored ({some(names)})"
        notes.append(f"{counted(unknown.sum(), 'detection')} in {where}")
        left &= ~unknown

    if annotated_videos_only:
        bare = left & ~np.isin(video, truth.video)
        if bare.any():
            names = [truth.video_ids[number] for number in np.unique(video[bare])]
            where = f"{counted(len(names), 'video')} without instances ignored ({some(names)})"
            notes.append(f"{counted(bare.sum(), 'detection')} in {where}")
            left &= ~bare

    absent = left & ~np.isin(found.label, truth.label)
    if absent.any():
        names = [truth.classes[label] for label in np.unique(found.label[absent])]
        what = f"{counted(len(names), 'class')} without instances ignored ({some(names)})"
        notes.append(f"{counted(absent.sum(), 'detection')} of {what}")
        left &= ~absent

    scored = Detections(
        video_ids=truth.video_ids,
        video=video[left],
        label=found.label[left],
        start_s=found.start_s[left],
        end_s=found.end_s[left],
        score=found.score[left],
    )
    return scored, np.flatnonzero(left), tuple(notes)


def _check_labels(
    label: np.ndarray, video: np.ndarray, video_ids: tuple[str, ...], num_classes: int, what: str
) -> None:
    """Refuses class ids outside 0..num_classes - 1."""
    outside = np.flatnonzero((label < 0) | (label >= num_classes))
    if len(outside):
        first = outside[0]
        raise UserError(
            f"Video {video_ids[video[first]]}: {what} of class id {label[first]}; expected 0 to {num_classes - 1}. "
            "Use the class list of the ground truth for both."
        )


def _check_times(
    start_s: np.ndarray, end_s: np.ndarray, video: np.ndarray, video_ids: tuple[str, ...], what: str
) -> None:
    """Refuses times that are not finite, and intervals that end before they start."""
    wrong = np.flatnonzero(~(np.isfinite(start_s) & np.isfinite(end_s) & (end_s >= start_s)))
    if len(wrong):
        first = wrong[0]
        raise UserError(
            f"Video {video_ids[video[first]]}: {what} from {start_s[first]} s to {end_s[first]} s; expected finite "
            "times with start <= end. Correct or remove it."
        )


def some(names: Sequence[str], most: int = 3) -> str:
    """The names, for notes, or the first ones of many: "a, b", "a, b, c and 5 more"."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
