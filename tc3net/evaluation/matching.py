"""Which detection finds which instance: overlaps of all pairs at once, and the two greedy rules of the protocols.

Positions and lengths are in whatever unit the caller uses (seconds, or whole segments on the reference grid). The
overlaps are computed for all pairs of a class without a Python loop; the greedy rules, whose steps depend on each
other, loop only over the pairs that reach the smallest threshold. What to do with the matches is not decided here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Intervals(NamedTuple):
    """n intervals: `video` [n] int64, `start` and `end` [n], in one unit, with end >= start."""

    video: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def at(self, index: np.ndarray) -> Intervals:
        """The intervals at `index` (positions or a bool mask), in that order."""
        return Intervals(self.video[index], self.start[index], self.end[index])


class Pairs(NamedTuple):
    """p pairs of a detection and an instance in the same video, with their overlap.

    Attributes:
        detection: [p] int64, position of the detection; the order of detections is the order in which they are ranked.
        instance: [p] int64, position of the instance; the order of instances is the order of annotation.
        tiou: [p] float64, 0 to 1.
        num_detections, num_instances: how many there are, also counting those in no pair.
    """

    detection: np.ndarray
    instance: np.ndarray
    tiou: np.ndarray
    num_detections: int
    num_instances: int


def intersection(start_a: np.ndarray, end_a: np.ndarray, start_b: np.ndarray, end_b: np.ndarray) -> np.ndarray:
    """Length of the common part of a and b; 0 where they only touch or are apart.

    Args:
        start_a, end_a, start_b, end_b: broadcastable arrays in one unit.

    Returns:
        float64, the broadcast shape, in that unit.
    """
    common = np.minimum(end_a, end_b) - np.maximum(start_a, start_b)
    return np.asarray(np.maximum(common, 0), np.float64)


def tiou(
    start_a: np.ndarray, end_a: np.ndarray, start_b: np.ndarray, end_b: np.ndarray, *, spanning: bool = False
) -> np.ndarray:
    """Temporal intersection over union; 0 where the intersection is empty, also for two intervals of length 0.

    Args:
        start_a, end_a, start_b, end_b: broadcastable arrays in one unit, end >= start.
        spanning: the union is computed as last end minus first start (the THUMOS14 kit) instead of as the sum of the
            lengths minus the intersection (the ActivityNet toolkit). Wherever the intervals intersect the two are
            equal up to rounding, which decides when an overlap lies exactly on a threshold.

    Returns:
        float64, the broadcast shape, 0 to 1.
    """
    common = intersection(start_a, end_a, start_b, end_b)
    if spanning:
        union = np.maximum(end_a, end_b) - np.minimum(start_a, start_b)
    else:
        union = (end_a - start_a) + (end_b - start_b) - common
    overlap = np.zeros(common.shape)
    np.divide(common, union, out=overlap, where=common > 0)
    return overlap


def pairs_in_same_video(video_a: np.ndarray, video_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (a, b) with equal video.

    Args:
        video_a: [n] int64.
        video_b: [m] int64.

    Returns:
        Two [p] int64 arrays, positions in `video_a` and in `video_b`; sorted by a, then by b.
    """
    by_video = np.argsort(video_b, kind="stable")
    sorted_b = video_b[by_video]
    first = np.searchsorted(sorted_b, video_a, side="left")
    count = np.searchsorted(sorted_b, video_a, side="right") - first
    index_a = np.repeat(np.arange(len(video_a)), count)
    # Within the run of each a the positions in sorted_b are first, first + 1, ...
    before_run = np.cumsum(count) - count
    position = np.arange(len(index_a)) + np.repeat(first - before_run, count)
    return index_a, by_video[position]


def pair_up(detections: Intervals, instances: Intervals, *, spanning: bool = False) -> Pairs:
    """All pairs of a detection and an instance that share a video (the caller passes one class).

    Args:
        detections: n intervals, in the order in which they are ranked.
        instances: m intervals in the same unit, in the order of annotation.
        spanning: see `tiou`.
    """
    d, i = pairs_in_same_video(detections.video, instances.video)
    overlap = tiou(
        detections.start[d], detections.end[d], instances.start[i], instances.end[i], spanning=spanning
    )  # [p]
    return Pairs(d, i, overlap, len(detections.video), len(instances.video))


def touches_any(intervals: Intervals, others: Intervals) -> np.ndarray:
    """Which of the n `intervals` share more than a point with one of `others` in the same video.

    Returns:
        [n] bool.
    """
    a, b = pairs_in_same_video(intervals.video, others.video)
    common = intersection(intervals.start[a], intervals.end[a], others.start[b], others.end[b])
    touched = np.zeros(len(intervals.video), bool)
    touched[a[common > 0]] = True
    return touched


def match_by_score(pairs: Pairs, tious: np.ndarray, *, last_instance_wins: bool) -> np.ndarray:
    """Detections choose: each, in order, takes the unused instance of its video with the highest tIoU >= threshold.

    This is the rule of the ActivityNet toolkit and of the public 3C-Net evaluator. A detection whose best instance is
    used up takes the next best one that still reaches the threshold. Of two instances with equal tIoU (exact
    duplicates in the annotations, for one) the one that is annotated last or first is taken.

    Args:
        pairs: p pairs of n detections and m instances.
        tious: [t] thresholds, above 0.
        last_instance_wins: True as the ActivityNet toolkit does, False as the public 3C-Net evaluator does.

    Returns:
        [t, n] bool, the true positives.
    """
    tious = np.asarray(tious, np.float64)
    instance_rank = -pairs.instance if last_instance_wins else pairs.instance
    keep = np.flatnonzero(pairs.tiou >= tious.min())
    keep = keep[np.lexsort((instance_rank[keep], -pairs.tiou[keep], pairs.detection[keep]))]
    detection, instance, overlap = pairs.detection[keep], pairs.instance[keep], pairs.tiou[keep]
    flags = np.zeros((len(tious), pairs.num_detections), bool)
    for row, threshold in zip(flags, tious):
        near = overlap >= threshold
        chosen = _take_first_free(detection[near], instance[near], pairs.num_detections, pairs.num_instances)
        row[detection[near][chosen]] = True
    return flags


def match_by_instance(pairs: Pairs, tious: np.ndarray) -> np.ndarray:
    """Instances choose: each, in annotation order, takes the free detection of its video with the highest tIoU.

    This is the rule of the THUMOS14 kit. The instance takes nothing unless that tIoU exceeds the threshold *strictly*.
    Of two free detections with equal tIoU the one that ranks higher is taken. The score plays no other role, so a
    detection with a high score can lose its instance to a worse one that overlaps more.

    Args:
        pairs: p pairs of n detections and m instances.
        tious: [t] thresholds, above 0.

    Returns:
        [t, n] bool, the true positives.
    """
    tious = np.asarray(tious, np.float64)
    keep = np.flatnonzero(pairs.tiou > tious.min())
    keep = keep[np.lexsort((pairs.detection[keep], -pairs.tiou[keep], pairs.instance[keep]))]
    detection, instance, overlap = pairs.detection[keep], pairs.instance[keep], pairs.tiou[keep]
    flags = np.zeros((len(tious), pairs.num_detections), bool)
    for row, threshold in zip(flags, tious):
        near = overlap > threshold
        chosen = _take_first_free(instance[near], detection[near], pairs.num_instances, pairs.num_detections)
        row[detection[near][chosen]] = True
    return flags


def _take_first_free(chooser: np.ndarray, choice: np.ndarray, num_choosers: int, num_choices: int) -> list[int]:
    """Positions of the pairs that are made when, going down the list, both sides of a pair are still free.

    Pairs are sorted by chooser and then from its best to its worst choice, so the first free one is the best free one.
    """
    served, taken, made = bytearray(num_choosers), bytearray(num_choices), []
    for position, (a, b) in enumerate(zip(chooser.tolist(), choice.tolist())):
        if not served[a] and not taken[b]:
            served[a] = taken[b] = 1
            made.append(position)
    return made
