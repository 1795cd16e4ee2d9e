"""How much a number would change with other videos of the same kind: percentile bootstrap over videos.

What is resampled: the videos that the protocol scores, with their instances and their detections; as many as there
are, with replacement, all with the same probability. A video that is drawn k times counts as k videos of that content;
the copies of a detection rank next to each other. Every number is computed from the resampled videos as from the
original ones; a class of which a resample holds no instance is left out of that resample's mean, and a resample
without any instance is left out altogether.

Not covered: other training runs, other classes. No detection is matched again: a video is matched on its own, so its
decisions stay, and only the sums over the ranking change. `average_precision_of_resamples` computes these exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tc3net.common.errors import UserError
from tc3net.evaluation.localization import Matches
from tc3net.evaluation.protocols import find_protocol

_RESAMPLES_AT_ONCE = 1000  # bounds the memory: resamples x true positives of a class


def check_resampling(resamples: int, confidence: float) -> None:
    """Raises UserError for fewer than 100 resamples, or a confidence outside (0, 1)."""
    if resamples < 100:
        raise UserError(f"--bootstrap={resamples}; expected 100 resamples or more (1000 is usual), or 0 for none.")
    if not 0 < confidence < 1:
        raise UserError(f"--confidence={confidence}; expected a fraction above 0 and below 1, such as 0.95.")


def draw(num_videos: int, resamples: int, seed: int) -> np.ndarray:
    """How often each video is drawn: [b, v] float64 whole numbers; every row sums to v. Same seed, same draws."""
    chosen = np.random.default_rng(seed).integers(num_videos, size=(resamples, num_videos))
    cells = np.arange(resamples)[:, np.newaxis] * num_videos + chosen
    return np.bincount(cells.ravel(), minlength=resamples * num_videos).reshape(resamples, num_videos).astype(float)


def mean_over_classes(ap: np.ndarray) -> np.ndarray:
    """[..., c] -> [...]: mean over the classes that are not NaN; NaN where all are."""
    known = ~np.isnan(ap)
    total = np.where(known, ap, 0.0).sum(axis=-1)
    number = known.sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def percentile_interval(samples: np.ndarray, confidence: float) -> np.ndarray:
    """[b, ...] -> [2, ...], the quantiles (1 - confidence) / 2 and (1 + confidence) / 2; NaN samples are left out."""
    tail = (1 - confidence) / 2
    everywhere_nan = np.isnan(samples).all(axis=0)
    safe = np.where(everywhere_nan, 0.0, samples)
    return np.where(everywhere_nan, np.nan, np.nanquantile(safe, [tail, 1 - tail], axis=0))


def average_precision_of_resamples(
    hits: np.ndarray,
    ignored: np.ndarray,
    owner: np.ndarray,
    weights: np.ndarray,
    positives: np.ndarray,
    *,
    interpolated: bool,
) -> np.ndarray:
    """AP of n ranked items of one class in every resample, exactly as if the copies stood in the list.

    k copies of a true positive raise the precision step by step, so the last one's is the envelope of all of them; the
    sum of their own precisions (T + 1) / (N + 1) ... (T + k) / (N + k) is k - (N - T) (H(N + k) - H(N)) with the
    harmonic numbers H.

    Args:
        hits: [t, n] bool, true positives per threshold; best-ranked first.
        ignored: [n] bool, counts as nothing where it is no hit.
        owner: [n] int64, video of each item.
        weights: [b, v] how often each video was drawn.
        positives: [b] positives of the class in each resample.
        interpolated: which average precision.

    Returns:
        [b, t] float64; NaN where there is no positive.
    """
    places = np.flatnonzero(hits.any(axis=0))  # [h], only here is a precision needed
    step = np.searchsorted(places, np.arange(hits.shape[1]))  # items up to and including the first place, the second...
    counted = np.flatnonzero((step < len(places)) & ~ignored)
    videos, owner_row = np.unique(owner, return_inverse=True)
    shape = (len(videos), len(places))
    cells = np.ravel_multi_index((owner_row[counted], step[counted]), shape)
    between = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(float)  # [v, h]
    total = np.cumsum(weights[:, videos] @ between, axis=1)  # [b, h]
    at_places = weights[:, owner[places]]  # [b, h]
    longest = int((total[:, -1:] + at_places.sum(axis=1, keepdims=True)).max(initial=0))
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, longest + 1))])
    result = np.full((len(weights), len(hits)), np.nan)
    valid = positives > 0
    for row, hit in enumerate(hits[:, places]):
        own = at_places[:, hit]  # [b, k]
        true = np.cumsum(own, axis=1)
        all_counted = total[:, hit] + np.cumsum(own * ignored[places[hit]], axis=1)
        if interpolated:
            precision = true / np.maximum(all_counted, 1)
            gained = own * np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        else:
            before = (all_counted - own).astype(np.int64)
            steps = harmonic[all_counted.astype(np.int64)] - harmonic[before]
            gained = own - (before - (true - own)) * steps
        result[valid, row] = gained.sum(axis=1)[valid] / positives[valid]
    return result


@dataclass(frozen=True)
class Bootstrap:
    """b resamples of a localization result with t thresholds and c scored classes; fractions from 0 to 1.

    Attributes:
        protocol, tious: as in the result.
        confidence, seed: what the intervals cover; where the draws came from.
        ap: [b, t, c]; NaN where a resample holds no instance of the class.
    """

    protocol: str
    tious: tuple[float, ...]
    confidence: float
    seed: int
    ap: np.ndarray

    @property
    def map(self) -> np.ndarray:
        """[b, t]."""
        return mean_over_classes(self.ap)

    @property
    def averages(self) -> dict[str, np.ndarray]:
        """[b] by name ("0.1:0.5")."""
        rows_of = find_protocol(self.protocol).average_rows(self.tious)
        return {name: self.map[:, rows].mean(axis=1) for name, rows in rows_of.items()}

    def map_interval(self) -> np.ndarray:
        """[2, t]."""
        return percentile_interval(self.map, self.confidence)

    def average_intervals(self) -> dict[str, tuple[float, float]]:
        """(low, high) by name."""
        intervals = {name: percentile_interval(values, self.confidence) for name, values in self.averages.items()}
        return {name: (float(low), float(high)) for name, (low, high) in intervals.items()}


def resampled_ap(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """AP per resample.

    Args:
        matches: decisions on all videos.
        weights: [b, k], how often each of the k scored videos was drawn.

    Returns:
        [b, t, c] float64; NaN where a resample holds no instance of the class.
    """
    full = np.zeros((len(weights), len(matches.video_ids)))
    full[:, matches.scored_videos] = weights
    ap = np.empty((len(weights), len(matches.tious), len(matches.scored_labels)))
    for first in range(0, len(weights), _RESAMPLES_AT_ONCE):
        part = full[first : first + _RESAMPLES_AT_ONCE]
        for c in matches.by_class():
            ap[first : first + _RESAMPLES_AT_ONCE, :, c.column] = average_precision_of_resamples(
                matches.found[:, c.detections] >= 0,
                matches.ignored[c.detections],
                matches.video[c.detections],
                part,
                part[:, matches.instance_video[c.instances]].sum(axis=1),
                interpolated=matches.interpolated,
            )
    return ap


def bootstrap(matches: Matches, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95) -> Bootstrap:
    """Resamples the videos of a localization result, see the head of this module.

    Args:
        matches: from `match_localization`.
        resamples: b.
        seed: of the draws.
        confidence: what share of the resamples an interval covers.

    Raises:
        UserError: fewer than 100 resamples, or a confidence outside (0, 1).
    """
    check_resampling(resamples, confidence)
    weights = draw(len(matches.scored_videos), resamples, seed)
    return Bootstrap(matches.protocol, matches.tious, confidence, seed, resampled_ap(matches, weights))


def resampled_classification(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Classification mAP per resample of the videos.

    Args:
        scores: [n, C] video-level scores.
        labels: [n, C], 0 or 1.
        weights: [b, n], how often each video was drawn.

    Returns:
        [b] float64.
    """
    ap = np.full((len(weights), labels.shape[1]), np.nan)
    for column in np.flatnonzero(labels.any(axis=0)):
        order = np.argsort(-scores[:, column], kind="stable")
        hits = labels[order, column].astype(bool)
        ap[:, column] = average_precision_of_resamples(
            hits[np.newaxis],
            np.zeros(len(order), bool),
            order,
            weights,
            weights @ labels[:, column].astype(float),
            interpolated=False,
        )[:, 0]
    return mean_over_classes(ap)
