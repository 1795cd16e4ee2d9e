"""Which detection finds which instance: overlaps of all pairs at once, and the two greedy rules of the protocols.

Positions and lengths are in whatever unit the caller uses (seconds, or whole segments on the reference grid). The
overlaps are computed for all pairs of all classes without a Python loop; the greedy rules, whose steps depend on each
other, loop once, for all thresholds together, over the pairs that reach the smallest one. What to do with the matches
is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Intervals(NamedTuple):
    """n intervals: `group` [n] int64, `start` and `end` [n], in one unit, with end >= start.

    Only intervals of one group meet: the group is the video, or stands for a video and a class.
    """

    group: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def at(self, index: np.ndarray) -> Intervals:
        """The intervals at `index` (positions or a bool mask), in that order."""
        return Intervals(self.group[index], self.start[index], self.end[index])


class Pairs(NamedTuple):
    """p pairs of a detection and an instance of one group, with their overlap.

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


_PAIRS_AT_ONCE = 1 << 22  # bounds the memory of pair_up(): about 50 bytes a pair


def pairs_in_same_group(group_a: np.ndarray, group_b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All (a, b) with equal group, in blocks of bounded size.

    Args:
        group_a: [n] int64.
        group_b: [m] int64.

    Yields:
        Two [p] int64 arrays, positions in `group_a` and in `group_b`; sorted by a, then by b, also over the blocks.
    """
    by_group = np.argsort(group_b, kind="stable")
    sorted_b = group_b[by_group]
    first = np.searchsorted(sorted_b, group_a, side="left")
    count = np.searchsorted(sorted_b, group_a, side="right") - first
    total = np.cumsum(count)
    full = np.arange(_PAIRS_AT_ONCE, count.sum(), _PAIRS_AT_ONCE)
    cuts = [0, *np.searchsorted(total, full).tolist(), len(group_a)]
    for begin, end in zip(cuts, cuts[1:]):
        index_a = np.repeat(np.arange(begin, end), count[begin:end])
        # Within the run of each a the positions in sorted_b are first, first + 1, ...
        before_run = np.cumsum(count[begin:end]) - count[begin:end]
        position = np.arange(len(index_a)) + np.repeat(first[begin:end] - before_run, count[begin:end])
        yield index_a, by_group[position]


def pair_up(detections: Intervals, instances: Intervals, *, spanning: bool = False, at_least: float = 0.0) -> Pairs:
    """All pairs of a detection and an instance that share a group.

    Args:
        detections: n intervals, in the order in which they are ranked.
        instances: m intervals in the same unit, in the order of annotation.
        spanning: see `tiou`.
        at_least: pairs with a smaller tIoU are left out.
    """
    blocks = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for d, i in pairs_in_same_group(detections.group, instances.group):
        overlap = tiou(
            detections.start[d], detections.end[d], instances.start[i], instances.end[i], spanning=spanning
        )  # [p]
        near = overlap >= at_least
        blocks.append((d[near], i[near], overlap[near]))
    detection, instance, overlaps = (np.concatenate(column) for column in zip(*blocks))
    return Pairs(detection, instance, overlaps, len(detections.group), len(instances.group))


def touches_any(intervals: Intervals, others: Intervals) -> np.ndarray:
    """Which of the n `intervals` share more than a point with one of `others` in the same group.

    Returns:
        [n] bool.
    """
    touched = np.zeros(len(intervals.group), bool)
    for a, b in pairs_in_same_group(intervals.group, others.group):
        common = intersection(intervals.start[a], intervals.end[a], others.start[b], others.end[b])
        touched[a[common > 0]] = True
    return touched


def match_by_score(pairs: Pairs, tious: np.ndarray, *, last_instance_wins: bool) -> np.ndarray:
    """Detections choose: each, in order, takes the unused instance of its group with the highest tIoU >= threshold.

    This is the rule of the ActivityNet toolkit and of the public 3C-Net evaluator. A detection whose best instance is
    used up takes the next best one that still reaches the threshold. Of two instances with equal tIoU (exact
    duplicates in the annotations, for one) the one that is annotated last or first is taken.

    Args:
        pairs: p pairs of n detections and m instances.
        tious: [t] thresholds, above 0.
        last_instance_wins: True as the ActivityNet toolkit does, False as the public 3C-Net evaluator does.

    Returns:
        [t, n] int64, the instance that each detection found, -1 for none.
    """
    instance_rank = -pairs.instance if last_instance_wins else pairs.instance
    level = np.searchsorted(np.sort(tious), pairs.tiou, side="right")  # thresholds that are <= tIoU
    keep = np.flatnonzero(level)
    keep = keep[np.lexsort((instance_rank[keep], -pairs.tiou[keep], pairs.detection[keep]))]
    return _found(pairs, keep, pairs.detection[keep], pairs.instance[keep], level[keep], np.asarray(tious))


def match_by_instance(pairs: Pairs, tious: np.ndarray) -> np.ndarray:
    """Instances choose: each, in annotation order, takes the free detection of its group with the highest tIoU.

    This is the rule of the THUMOS14 kit. The instance takes nothing unless that tIoU exceeds the threshold *strictly*.
    Of two free detections with equal tIoU the one that ranks higher is taken. The score plays no other role, so a
    detection with a high score can lose its instance to a worse one that overlaps more.

    Args:
        pairs: p pairs of n detections and m instances.
        tious: [t] thresholds, above 0.

    Returns:
        [t, n] int64, the instance that each detection found, -1 for none.
    """
    level = np.searchsorted(np.sort(tious), pairs.tiou, side="left")  # thresholds that are < tIoU
    keep = np.flatnonzero(level)
    keep = keep[np.lexsort((pairs.detection[keep], -pairs.tiou[keep], pairs.instance[keep]))]
    return _found(pairs, keep, pairs.instance[keep], pairs.detection[keep], level[keep], np.asarray(tious))


def _found(
    pairs: Pairs, keep: np.ndarray, chooser: np.ndarray, choice: np.ndarray, level: np.ndarray, tious: np.ndarray
) -> np.ndarray:
    """Goes down the list of pairs once and makes, per threshold, each pair whose two sides are still free there.

    Args:
        pairs: all pairs.
        keep: [k] positions in `pairs`, sorted by chooser and then from its best to its worst choice, so that the
            first free one is the best free one. The order is the same for every threshold.
        chooser, choice: [k] the two sides of those pairs.
        level: [k] how many thresholds the pair reaches (the lowest ones).
        tious: [t] thresholds.

    Returns:
        [t, n] int64, instance per detection, -1 for none.
    """
    reached = [(1 << count) - 1 for count in range(len(tious) + 1)]  # bit i stands for the i-th lowest threshold
    served: dict[int, int] = {}
    taken: dict[int, int] = {}
    made: list[tuple[int, int]] = []
    for position, a, b, count in zip(keep.tolist(), chooser.tolist(), choice.tolist(), level.tolist()):
        free = reached[count] & ~(served.get(a, 0) | taken.get(b, 0))
        if free:
            served[a] = served.get(a, 0) | free
            taken[b] = taken.get(b, 0) | free
            made.append((position, free))
    found = np.full((len(tious), pairs.num_detections), -1, np.int64)
    for bit, row in enumerate(np.argsort(tious, kind="stable")):
        chosen = [position for position, free in made if free >> bit & 1]
        found[row, pairs.detection[chosen]] = pairs.instance[chosen]
    return found
