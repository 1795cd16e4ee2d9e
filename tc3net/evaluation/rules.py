"""The rules of the localization protocols, each specified down to its ties: which detections count, who finds whom.

Common to all: the score ranks the detections of a class over all videos; a class with instances but without detections
has AP 0; a class without instances has no AP and no part in the mean; a video without detections adds only missed
instances; every instance can be found once, so of several detections of it one is a true positive; exactly duplicated
instances are separate instances, each of which needs its own detection; exactly duplicated detections are separate
detections. The functions expect what `checks.py` has checked and selected: detections of classes without instances,
and in videos without ground truth, no longer occur.

A rule decides who finds whom, nothing else. Which thresholds there are, which average precision follows and which
videos are scored is stated as data by the `Protocol` that names the rule (`protocols.py`); the docstrings here specify
these too, since they are parts of what a source does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tc3net.common.names import counted
from tc3net.data.timebase import TimeBase
from tc3net.evaluation.matching import Intervals, Pairs, match_by_instance, match_by_score, pair_up, touches_any
from tc3net.intervals.columns import Detections, GroundTruth


@dataclass(frozen=True)
class Decisions:
    """What a rule decides about n ranked detections and m instances, at t thresholds.

    Attributes:
        order: [n] int64, positions of the ranked detections in the list that was given, the best-ranked first; what is
            not in it is removed.
        detections: n intervals in that order, by video, in the rule's unit (seconds, or whole segments).
        instances: m intervals in the order of annotation, by video, in the same unit.
        found: [t, n] int64, the instance that each detection found, -1 for none.
        ignored: [n] bool, counts as nothing where it found no instance; None: no detection does.
        strict: a match needs tIoU > threshold, not >=.
        spanning: how the union is computed, see `tc3net.evaluation.tiou`.
        notes: what a reader must know about these decisions; one line each.
    """

    order: np.ndarray
    detections: Intervals
    instances: Intervals
    found: np.ndarray
    ignored: np.ndarray | None = None
    strict: bool = False
    spanning: bool = False
    notes: tuple[str, ...] = ()


def match_reference(truth: GroundTruth, found: Detections, tious: np.ndarray, grid: TimeBase) -> Decisions:
    """The protocol "reference": the evaluator of the public 3C-Net code (`detectionMAP.py`).

    - Videos: those with at least one instance, of whatever class. Others are not scored (the caller removes them).
    - Time: instances, ambiguous intervals and detections are rounded to whole segments, halves to even, and cover the
      segments from start up to, not including, end. What becomes empty overlaps nothing: an instance stays a positive
      that cannot be found, a detection is a false positive, an ambiguous interval is without effect.
    - Ambiguous: a detection of any class that shares a segment with an ambiguous interval of its video is removed
      before ranking, even if it would have found an instance.
    - Ranking: by score, descending; of equal scores the earlier in the list comes first.
    - Matching: in that order each detection takes the unused instance of its video with the highest tIoU, if that is
      >= the threshold; of equal tIoUs the first annotated instance.
    - AP: interpolated.

    Two accidents of the public code are not reproduced: it returns 0 for all classes together as soon as one has no
    detection (here that class has AP 0), and its sort leaves the order of equal scores open. It also lists only six
    thresholds for THUMOS14, without 0.6.

    Args:
        truth: m checked instances.
        found: n selected detections.
        tious: [t] thresholds, in (0, 1].
        grid: the segment grid.
    """
    instances = Intervals(truth.video, grid.grid_index(truth.start_s), grid.grid_index(truth.end_s))
    detections = Intervals(found.video, grid.grid_index(found.start_s), grid.grid_index(found.end_s))
    ambiguous = Intervals(
        truth.ambiguous_video,
        grid.grid_index(truth.ambiguous_start_s),
        grid.grid_index(truth.ambiguous_end_s),
    )
    removed = touches_any(detections, ambiguous)
    order = np.argsort(-found.score, kind="stable")
    order = order[~removed[order]]
    ranked = detections.at(order)
    pairs = pairs_of_class(truth, found, instances, ranked, order, tious)

    notes = []
    if removed.any():
        notes.append(f"{counted(removed.sum(), 'detection')} removed for touching an ambiguous interval")
    empty = instances.end == instances.start
    if empty.any():
        notes.append(f"{counted(empty.sum(), 'instance')} empty on the segment grid: counted, but cannot be found")
    matched = match_by_score(pairs, tious, last_instance_wins=False)
    return Decisions(order, ranked, instances, matched, notes=tuple(notes))


def match_thumos14_kit(truth: GroundTruth, found: Detections, tious: np.ndarray, grid: TimeBase) -> Decisions:
    """The protocol "thumos14_kit": the official THUMOS14 evaluation kit, release of 2015 (`TH14evalDet_Updated.m`).

    - Videos: all of the ground truth; in those without instances every detection is a false positive.
    - Time: seconds. tIoU = intersection / (last end - first start); intervals of length 0 overlap nothing, so such an
      instance is a positive that cannot be found and such a detection a false positive.
    - Matching, per class and video: the instances, in annotation order, each take the free detection with the highest
      tIoU if that is > the threshold (strictly); of equal tIoUs the detection with the higher score, and of equal
      scores the earlier in the list.
    - Ambiguous: an unmatched detection of any class that intersects an ambiguous interval of its video (longer than a
      point) is neither a true nor a false positive. A matched one stays a true positive.
    - Ranking: by score, descending; of equal scores the earlier in the list comes first. (The kit's own order of equal
      scores in different videos follows the videos' names; list detections by video name to get it.)
    - AP: mean over the instances of the precision at each true positive, not interpolated.

    Args:
        truth: m checked instances.
        found: n selected detections.
        tious: [t] thresholds, in (0, 1].
        grid: not looked at.
    """
    del grid
    instances = Intervals(truth.video, truth.start_s, truth.end_s)
    detections = Intervals(found.video, found.start_s, found.end_s)
    excused = touches_any(detections, _ambiguous(truth))
    order = np.argsort(-found.score, kind="stable")
    ranked = detections.at(order)
    pairs = pairs_of_class(truth, found, instances, ranked, order, tious, spanning=True)

    notes = []
    if excused.any():
        notes.append(f"{counted(excused.sum(), 'detection')} touching an ambiguous interval: ignored where unmatched")
    return Decisions(
        order, ranked, instances, match_by_instance(pairs, tious),
        ignored=excused[order], strict=True, spanning=True, notes=tuple(notes),
    )  # fmt: skip


def match_activitynet(truth: GroundTruth, found: Detections, tious: np.ndarray, grid: TimeBase) -> Decisions:
    """The protocols "thumos14" and "activitynet": the ActivityNet toolkit (`eval_detection.py`).

    Numbers on THUMOS14 have come from it since about 2019, at tIoU 0.1 to 0.7; only the thresholds differ.

    - Videos: all of the ground truth; in those without instances every detection is a false positive.
    - Time: seconds. tIoU = intersection / (sum of the lengths - intersection). Intervals of length 0 overlap nothing;
      such an instance is a positive that cannot be found. (Of two such intervals the toolkit computes 0 / 0 and lets
      the NaN pass as a match.)
    - Ambiguous intervals: the toolkit knows none, and the ground truth file that public code for weakly-supervised
      localization on THUMOS14 gives it has no class Ambiguous; detections in them are false positives.
    - Ranking: by score, descending; of equal scores the *later* in the list comes first, as in a reversed sort. (The
      toolkit's sort is not stable: for long lists it leaves this open.)
    - Matching: in that order each detection takes the unused instance of its video with the highest tIoU, if that is
      >= the threshold; of equal tIoUs the *last* annotated instance.
    - AP: interpolated.

    Args:
        truth: m checked instances.
        found: n selected detections.
        tious: [t] thresholds, in (0, 1].
        grid: not looked at.
    """
    del grid
    instances = Intervals(truth.video, truth.start_s, truth.end_s)
    detections = Intervals(found.video, found.start_s, found.end_s)
    order = np.argsort(found.score, kind="stable")[::-1]
    ranked = detections.at(order)
    pairs = pairs_of_class(truth, found, instances, ranked, order, tious)

    notes = []
    if len(truth.ambiguous_video):
        unused = counted(len(truth.ambiguous_video), "ambiguous interval")
        notes.append(f"{unused} unused: detections there are false positives")
    matched = match_by_score(pairs, tious, last_instance_wins=True)
    return Decisions(order, ranked, instances, matched, notes=tuple(notes))


def _ambiguous(truth: GroundTruth) -> Intervals:
    """The ambiguous intervals in seconds, by video."""
    return Intervals(truth.ambiguous_video, truth.ambiguous_start_s, truth.ambiguous_end_s)


def pairs_of_class(
    truth: GroundTruth,
    found: Detections,
    instances: Intervals,
    ranked: Intervals,
    order: np.ndarray,
    tious: np.ndarray,
    *,
    spanning: bool = False,
) -> Pairs:
    """Pairs of the same video and class that reach the smallest threshold.

    Args:
        truth, found: for the classes.
        instances: [m], by video.
        ranked: [n], by video, best-ranked detection first.
        order: [n], positions of the ranked detections in `found`.
        tious: [t] thresholds.
        spanning: see `tiou`.
    """
    num_classes = len(truth.classes)
    return pair_up(
        ranked._replace(group=ranked.group * num_classes + found.label[order]),
        instances._replace(group=instances.group * num_classes + truth.label),
        spanning=spanning,
        at_least=float(tious.min()),
    )
