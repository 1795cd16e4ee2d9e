"""Which instances are found well: scores and miss rates by length, coverage and crowding, as in DETAD (ECCV 2018).

Three characteristics of an instance: its *length* in seconds, its *coverage* (length over the video's duration), and
the number of *instances* of its class in its video. Bucket edges are the protocol's: DETAD's, for the data set that the
protocol was made for. A bucket holds values above its lower edge up to and including its upper one; the first also
holds its lower edge (instances of length 0), the last is open (instances that end after their video).

- mAP_N of a bucket: the class's instances in the bucket are the positives; detections that found another instance of
  the class are taken out, all false positives stay. AP is DETAD's normalized one with N = instances / classes of the
  whole ground truth, whatever the protocol's own AP is, so that buckets of different size can be compared. Mean over
  the classes with instances in the bucket.
- Miss rate of a bucket: the share of its instances that no detection found, however low its score, over all classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tc3net.evaluation.average_precision import normalized_average_precision
from tc3net.evaluation.localization import Matches
from tc3net.evaluation.protocols import find_protocol
from tc3net.intervals.columns import GroundTruth

_FIVE, _FOUR = ("XS", "S", "M", "L", "XL"), ("XS", "S", "M", "L")
_UNITS = {
    "length": "length [s]",
    "coverage": "length / video duration [%]",
    "instances": "instances of the class in the video",
}


@dataclass(frozen=True)
class Sensitivity:
    """One characteristic with b buckets, at t thresholds.

    Attributes:
        name: "length", "coverage" or "instances".
        unit: what it measures, for an axis.
        buckets: names, from small to large.
        ranges: their values in words ("3 to 6").
        bucket: [m] int64, the bucket of each instance; -1 where the value is unknown (no duration).
        num_instances: [b] int64.
        map_n: [t, b] float64; NaN for a bucket without instances.
        miss_rate: [t, b] float64; NaN for a bucket without instances.
    """

    name: str
    unit: str
    buckets: tuple[str, ...]
    ranges: tuple[str, ...]
    bucket: np.ndarray
    num_instances: np.ndarray
    map_n: np.ndarray
    miss_rate: np.ndarray


@dataclass(frozen=True)
class SensitivityAnalysis:
    """All characteristics, and the values over all instances that they compare with: [t] float64 each."""

    protocol: str
    tious: tuple[float, ...]
    map_n: np.ndarray
    miss_rate: np.ndarray
    characteristics: tuple[Sensitivity, ...]


def characteristic_values(truth: GroundTruth, duration_s: np.ndarray) -> dict[str, np.ndarray]:
    """[m] float64 by characteristic.

    Args:
        truth: m instances in V videos.
        duration_s: [V] seconds; NaN where unknown.
    """
    length_s = truth.end_s - truth.start_s
    key = truth.video * len(truth.classes) + truth.label
    _, group, count = np.unique(key, return_inverse=True, return_counts=True)
    return {
        "length": length_s,
        "coverage": length_s / np.asarray(duration_s, np.float64)[truth.video],
        "instances": count[group].astype(np.float64),
    }


def analyse_sensitivity(matches: Matches, truth: GroundTruth, duration_s: np.ndarray) -> SensitivityAnalysis:
    """mAP_N and miss rates by length, coverage and number of instances, see the head of this module.

    Args:
        matches: from `match_localization` with the same ground truth.
        truth: m instances.
        duration_s: [V] seconds by video of the ground truth; NaN where unknown.
    """
    missed = matches.missed
    everything = np.zeros(len(truth), np.int64)
    overall, overall_missed = _by_bucket(matches, missed, everything, 1)
    characteristics = []
    for name, values in characteristic_values(truth, duration_s).items():
        edges = find_protocol(matches.protocol).edges[name]
        known = np.isfinite(values)
        bucket = np.where(known, np.searchsorted(edges, np.where(known, values, 0), side="left"), -1)
        number = len(edges) + 1
        map_n, miss_rate = _by_bucket(matches, missed, bucket, number)
        characteristics.append(
            Sensitivity(
                name=name,
                unit=_UNITS[name],
                buckets=_FIVE if number == len(_FIVE) else _FOUR,
                ranges=_ranges(name, edges),
                bucket=bucket,
                num_instances=np.bincount(bucket[known], minlength=number),
                map_n=map_n,
                miss_rate=miss_rate,
            )
        )
    return SensitivityAnalysis(
        matches.protocol, matches.tious, overall[:, 0], overall_missed[:, 0], tuple(characteristics)
    )


def _by_bucket(matches: Matches, missed: np.ndarray, bucket: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """mAP_N and miss rate of every bucket: [t, number] each."""
    ap = np.full((len(matches.tious), number, len(matches.scored_labels)), np.nan)
    standard = len(bucket) / len(matches.scored_labels)
    for c in matches.by_class():
        found = matches.found[:, c.detections]
        found_bucket = np.where(found >= 0, bucket[found], -2)  # [t, n]; -2: found nothing
        for b in np.unique(bucket[c.instances][bucket[c.instances] >= 0]):
            hits = found_bucket == b
            elsewhere = (found >= 0) & ~hits
            ap[:, b, c.column] = normalized_average_precision(
                hits,
                int((bucket[c.instances] == b).sum()),
                standard,
                elsewhere | matches.ignored[c.detections],
            )
    with_instances = ~np.isnan(ap[0])  # [number, c]
    map_n = np.full((len(matches.tious), number), np.nan)
    for b in np.flatnonzero(with_instances.any(axis=1)):
        map_n[:, b] = ap[:, b, with_instances[b]].mean(axis=1)
    miss_rate = np.full((len(matches.tious), number), np.nan)
    for b in np.unique(bucket[bucket >= 0]):
        miss_rate[:, b] = missed[:, bucket == b].mean(axis=1)
    return map_n, miss_rate


def _ranges(name: str, edges: tuple[float, ...]) -> tuple[str, ...]:
    """The buckets' values in words; coverage in percent."""
    shown = [f"{100 * edge:g}" if name == "coverage" else f"{edge:g}" for edge in edges]
    if name == "instances":  # whole numbers
        lows = [int(edge) + 1 for edge in edges[:-1]]
        return (shown[0], *(f"{low} to {high}" for low, high in zip(lows, shown[1:])), f"over {shown[-1]}")
    return (f"to {shown[0]}", *(f"{a} to {b}" for a, b in zip(shown, shown[1:])), f"over {shown[-1]}")
