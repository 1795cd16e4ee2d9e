"""Which of two sets of detections is better, and whether other videos could turn that round: a paired bootstrap.

Both are computed on the same resamples of the videos (see `bootstrap`), so what makes a video hard for both cancels
out, and the interval of the difference is narrower than the two intervals would suggest. Not covered: chance in
training. Two runs that differ in their seed alone can differ "significantly" on these videos; train several.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tc3net.common.errors import UserError
from tc3net.evaluation.checks import some
from tc3net.evaluation.classification import classification_map
from tc3net.evaluation.localization import LocalizationResult, Matches, localization_result
from tc3net.evaluation.protocols import find_protocol
from tc3net.evaluation.resampling import (
    check_resampling,
    draw,
    mean_over_classes,
    percentile_interval,
    resampled_ap,
    resampled_classification,
)
from tc3net.intervals.columns import GroundTruth


@dataclass(frozen=True)
class Difference:
    """First minus second, as fractions from -1 to 1; arrays of one shape.

    Attributes:
        value: on the videos as they are.
        low, high: ends of the interval over the resamples.
        opposite: share of the resamples in which the difference is 0 or has the other sign; 1 where `value` is 0.
            Small means that the sign does not hang on a few videos. It is no p-value of a test, but read like a
            one-sided one.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    opposite: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Two results under one protocol at t thresholds, over c classes.

    Attributes:
        first, second: the two results.
        confidence, resamples, seed: of the bootstrap.
        ap: difference [t, c], over the resamples that hold an instance of the class.
        map: difference [t].
        averages: differences by name ("0.1:0.5").
    """

    first: LocalizationResult
    second: LocalizationResult
    confidence: float
    resamples: int
    seed: int
    ap: Difference
    map: Difference
    averages: dict[str, Difference]


@dataclass(frozen=True)
class ClassificationComparison:
    """Classification mAP of both, and the difference."""

    first: float
    second: float
    difference: Difference


def check_same_truth(first: GroundTruth, second: GroundTruth, names: tuple[str, str]) -> None:
    """Raises UserError unless both have the same classes and videos with the same instances in the same order.

    Args:
        first, second: ground truths; videos and classes may be listed in different orders.
        names: what to call them.
    """
    for what, a, b in (
        ("classes", first.classes, second.classes),
        ("annotated videos", first.video_ids, second.video_ids),
    ):
        only_a, only_b = sorted(set(a) - set(b)), sorted(set(b) - set(a))
        if only_a or only_b:
            found = [f"only in {name}: {some(only)}" for name, only in zip(names, (only_a, only_b)) if only]
            raise UserError(
                f"{names[0]} and {names[1]} were evaluated on different {what}: {'; '.join(found)}. A difference can "
                "only be computed on the same ones. Evaluate both on the same subset of the same data set."
            )
    of_first, of_second = _by_video(first), _by_video(second)
    different = [name for name in first.video_ids if of_first[name] != of_second[name]]
    if different:
        raise UserError(
            f"{names[0]} and {names[1]} have different annotations for {len(different)} videos ({some(different)}). "
            "Evaluate both on the same version of the annotations."
        )


def _by_video(truth: GroundTruth) -> dict[str, list[tuple[str, float, float]]]:
    """(class name, start s, end s) of instances, then of ambiguous intervals, by video."""
    rows: dict[str, list[tuple[str, float, float]]] = {name: [] for name in truth.video_ids}
    for video, label, start_s, end_s in zip(truth.video, truth.label, truth.start_s, truth.end_s):
        rows[truth.video_ids[video]].append((truth.classes[label], float(start_s), float(end_s)))
    for video, start_s, end_s in zip(truth.ambiguous_video, truth.ambiguous_start_s, truth.ambiguous_end_s):
        rows[truth.video_ids[video]].append(("", float(start_s), float(end_s)))
    return rows


def compare(
    first: Matches, second: Matches, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Comparison:
    """Differences between two sets of detections, first minus second.

    Args:
        first, second: decisions of one protocol, at the same thresholds, on the same ground truth.
        resamples, seed, confidence: of the paired bootstrap.

    Raises:
        UserError: different protocols, thresholds, videos or instances; see also `bootstrap`.
    """
    check_resampling(resamples, confidence)
    same = all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("video_ids", "classes", "instance_video", "instance_label", "instance_start", "instance_end")
    )
    if (first.protocol, first.tious) != (second.protocol, second.tious) or not same:
        raise UserError(
            f"The two results ({first.protocol}, {len(first.instance_video)} instances; {second.protocol}, "
            f"{len(second.instance_video)} instances) are not of one protocol, thresholds and ground truth. "
            "Match both against the same ground truth."
        )
    weights = draw(len(first.scored_videos), resamples, seed)
    results = localization_result(first), localization_result(second)
    samples = resampled_ap(first, weights) - resampled_ap(second, weights)  # [b, t, c]
    ap = results[0].ap - results[1].ap
    map_samples = mean_over_classes(samples)
    averages = {
        name: _difference(ap.mean(axis=1)[rows].mean(), map_samples[:, rows].mean(axis=1), confidence)
        for name, rows in find_protocol(first.protocol).average_rows(first.tious).items()
    }
    return Comparison(
        first=results[0],
        second=results[1],
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        ap=_difference(ap, samples, confidence),
        map=_difference(ap.mean(axis=1), map_samples, confidence),
        averages=averages,
    )


def compare_classification(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, *, resamples: int, seed: int, confidence: float
) -> ClassificationComparison:
    """Difference in classification mAP, with a paired bootstrap over the videos.

    Args:
        first, second: [n, C] video-level scores of the same videos.
        labels: [n, C], 0 or 1.
        resamples, seed, confidence: of the bootstrap.
    """
    check_resampling(resamples, confidence)
    maps = classification_map(first, labels).map, classification_map(second, labels).map
    weights = draw(len(labels), resamples, seed)
    a, b = (resampled_classification(scores, labels, weights) for scores in (first, second))
    return ClassificationComparison(*maps, _difference(np.asarray(maps[0] - maps[1]), a - b, confidence))


def _difference(value: np.ndarray, samples: np.ndarray, confidence: float) -> Difference:
    """`value` [...] and its resamples [b, ...], NaN where a resample has none."""
    low, high = percentile_interval(samples, confidence)
    known = ~np.isnan(samples)
    kept_sign = known & (np.sign(np.where(known, samples, 0)) * np.sign(value) > 0)
    opposite = 1 - kept_sign.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return Difference(np.asarray(value), low, high, opposite)
