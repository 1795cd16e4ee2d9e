"""How many instances are covered when labels are ignored: average recall against the average number of proposals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tc3net.evaluation.checks import check_detections, check_ground_truth
from tc3net.evaluation.matching import Intervals, pair_up
from tc3net.intervals.columns import Detections, GroundTruth


@dataclass(frozen=True)
class AverageRecall:
    """AR@AN; fractions from 0 to 1.

    Attributes:
        tious: t thresholds.
        proposals_per_video: [100] float64, AN asked for.
        recall: [t, 100] float64.
        available: proposals per video that there are; beyond it the curve is flat.
    """

    tious: tuple[float, ...]
    proposals_per_video: np.ndarray
    recall: np.ndarray
    available: float

    @property
    def average(self) -> np.ndarray:
        """[100]: mean over the thresholds."""
        return np.asarray(self.recall.mean(axis=0))

    def at(self, number: float) -> float:
        """AR at the average number of proposals that is nearest to `number`."""
        return float(self.average[np.abs(self.proposals_per_video - number).argmin()])

    @property
    def area(self) -> float:
        """Area under AR over AN by the trapezoidal rule, from the first AN to the last, over the last AN."""
        steps, heights = np.diff(self.proposals_per_video), (self.average[1:] + self.average[:-1]) / 2
        return float((steps * heights).sum() / self.proposals_per_video[-1])


def average_recall(truth: GroundTruth, found: Detections, *, most: float = 100.0) -> AverageRecall:
    """AR@AN of the ActivityNet proposal task (`eval_proposal.py`): detections are proposals, their labels are ignored.

    - Videos: those with at least one instance; detections in others are left out. (The toolkit counts those too when
      it computes the ratio below.)
    - Ranking: within each video by score, descending; of equal scores the later in the list comes first. Detections
      of one interval under two labels are two proposals.
    - AN: at an average of a proposals per video each video contributes the same share of its own proposals:
      min(⌊n_v r⌋, n_v) of its n_v, with r = a · videos / proposals. The curve has 100 points, a = most / 100 to
      `most`; the lists are cut to a = `most` first, and shares are taken of what remains, as in the toolkit.
    - Covered: an instance with tIoU >= threshold to at least one of these proposals, in seconds. A proposal may cover
      several instances, and an instance of length 0 is never covered.
    - Recall: covered instances over all instances of all classes; AR is its mean over the thresholds 0.5:0.05:0.95.

    Args:
        truth: m instances.
        found: n detections.
        most: largest average number of proposals.

    Raises:
        UserError: as `match_localization`.
    """
    tious = np.linspace(0.5, 0.95, 10)
    check_ground_truth(truth)
    check_detections(found, len(truth.classes))
    videos, instance_video = np.unique(truth.video, return_inverse=True)
    row_of = {truth.video_ids[video]: row for row, video in enumerate(videos)}
    video = np.array([row_of.get(name, -1) for name in found.video_ids], np.int64)[found.video]
    order = np.argsort(found.score, kind="stable")[::-1]
    order = order[video[order] >= 0]
    order = order[np.argsort(video[order], kind="stable")]  # by video, then by rank
    count = np.bincount(video[order], minlength=len(videos))  # [v]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)

    pairs = pair_up(
        Intervals(video[order], found.start_s[order], found.end_s[order]),
        Intervals(instance_video, truth.start_s, truth.end_s),
        at_least=float(tious.min()),
    )
    kept, shares = _kept(count, most)  # [v, 100]
    recall = np.zeros((len(tious), shares))
    for row, threshold in enumerate(tious):
        near = pairs.tiou >= threshold
        first = np.full(len(instance_video), np.iinfo(np.int64).max)  # [m], rank of the first proposal that covers it
        np.minimum.at(first, pairs.instance[near], rank[pairs.detection[near]])
        recall[row] = (first[:, np.newaxis] < kept[instance_video]).mean(axis=0)
    asked = np.arange(1, shares + 1) / shares * most
    return AverageRecall(tuple(tious.tolist()), asked, recall, float(count.sum() / len(videos)))


def _kept(count: np.ndarray, most: float, shares: int = 100) -> tuple[np.ndarray, int]:
    """How many of its proposals each video contributes: [v, shares] int64, in the toolkit's order of operations."""
    total = count.sum()
    if not total:
        return np.zeros((len(count), shares), np.int64), shares
    cut = np.minimum((count * (most * float(len(count)) / total)).astype(np.int64), count)
    if not cut.sum():
        return np.zeros((len(count), shares), np.int64), shares
    share = np.arange(1, shares + 1) / 100.0 * (most * float(len(count)) / cut.sum())
    return np.minimum((cut[:, np.newaxis] * share).astype(np.int64), cut[:, np.newaxis]), shares
