"""The numbers that describe a data set: totals per subset, class balance, histograms, and how features fit the time.

They are computed from small facts per video, whether these come from raw inputs or from a converted data set.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.annotations import VideoRecord
from data_prep.checks.spans import is_interval
from tc3net.data.timebase import TimeBase

QUANTILES = {"min": 0.0, "5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95, "max": 1.0}
WORST_LISTED = 20
_BINS = 24
# Bin edges of the time mismatch in seconds: fine where small differences are normal, coarse where none should be.
_MISMATCH_EDGES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 1e4, 1e5)


@dataclass(frozen=True)
class VideoFacts:
    """What the report needs to know about one video.

    Attributes:
        record: its annotation.
        counts: the instance counts that are known, per class.
        num_segments: feature rows; None when no usable features are at hand.
        time_base: how rows relate to seconds.
        duration_stated: whether the duration is known from elsewhere than the features.
    """

    record: VideoRecord
    counts: Mapping[str, int]
    num_segments: int | None
    time_base: TimeBase
    duration_stated: bool = True

    @property
    def duration_s(self) -> float | None:
        """The stated duration; None when it is not a positive number."""
        duration_s = self.record.duration_s
        return duration_s if math.isfinite(duration_s) and duration_s > 0 else None

    @property
    def features_s(self) -> float | None:
        """Seconds that the features cover; None without features."""
        return None if self.num_segments is None else self.time_base.duration_s(self.num_segments)


def describe(videos: Sequence[VideoFacts], classes: Sequence[str]) -> dict[str, Any]:
    """All numbers, ready for JSON.

    Args:
        videos: facts about all videos.
        classes: class names in the order of their ids.

    Returns:
        "total" and "subsets" (see `_totals`), "classes" (class -> subset -> videos, instances), "lengths" (see
        `_lengths`), and "time_base" (see `_time_base`; None when no video has both features and a duration
        that is not theirs).
    """
    subsets = list(dict.fromkeys(video.record.subset for video in videos))
    members = {name: [video for video in videos if video.record.subset == name] for name in subsets}
    return {
        "total": _totals(videos),
        "subsets": {name: _totals(members[name]) for name in subsets},
        "classes": _class_balance(members, classes),
        "lengths": _lengths(members),
        "time_base": _time_base(videos),
    }


def _totals(videos: Sequence[VideoFacts]) -> dict[str, Any]:
    """Sums over videos; "annotated": videos with known instances, "counts": pairs of video and class with a count."""
    return {
        "videos": len(videos),
        "annotated": sum(video.record.instances_known for video in videos),
        "with_features": sum(video.num_segments is not None for video in videos),
        "segments": sum(video.num_segments or 0 for video in videos),
        "hours": sum(video.duration_s or 0.0 for video in videos) / 3600,
        "without_duration": sum(video.duration_s is None for video in videos),
        "instances": sum(len(video.record.instances) for video in videos),
        "ambiguous": sum(len(video.record.ambiguous) for video in videos),
        "classes": len({name for video in videos for name in video.record.present}),
        "labels": sum(len(video.record.present) for video in videos),
        "counts": sum(len(video.counts) for video in videos),
    }


def _class_balance(members: Mapping[str, Sequence[VideoFacts]], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    labelled = {name: Counter(c for video in group for c in video.record.present) for name, group in members.items()}
    instances = {
        name: Counter(item.label for video in group for item in video.record.instances)
        for name, group in members.items()
    }
    # Classes that the list lacks are an error of their own; leaving them out here would hide how many there are.
    known = set(classes)
    names = [*classes, *sorted({name for counter in labelled.values() for name in counter if name not in known})]
    return {
        name: {subset: {"videos": labelled[subset][name], "instances": instances[subset][name]} for subset in members}
        for name in names
    }


def _lengths(members: Mapping[str, Sequence[VideoFacts]]) -> dict[str, Any]:
    """Quantity -> {"unit", "edges", "histogram": subset -> counts, "quantiles": subset -> values}; only those known."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {
        ("video duration", "s"): {
            name: [video.duration_s for video in group if video.duration_s is not None]
            for name, group in members.items()
        },
        ("video length", "segments"): {
            name: [float(video.num_segments) for video in group if video.num_segments is not None]
            for name, group in members.items()
        },
        ("instance length", "s"): {
            name: [
                item.end_s - item.start_s
                for video in group
                for item in video.record.instances
                if is_interval(item.start_s, item.end_s)
            ]
            for name, group in members.items()
        },
        ("instances per annotated video", ""): {
            name: [float(len(video.record.instances)) for video in group if video.record.instances_known]
            for name, group in members.items()
        },
    }
    described = {}
    for (quantity, unit), per_subset in values.items():
        everything = np.array([value for group in per_subset.values() for value in group])
        if len(everything):
            edges = _edges(everything, whole=unit != "s")
            described[quantity] = {
                "unit": unit,
                "edges": edges.tolist(),
                "histogram": {name: _histogram(group, edges) for name, group in per_subset.items()},
                "quantiles": {name: quantiles(group) for name, group in per_subset.items() if group},
            }
    return described


def _edges(values: np.ndarray, *, whole: bool) -> np.ndarray:
    """Bin edges, evenly spaced on a logarithmic scale; zeros and below fall into the first bin.

    Args:
        values: [n] all values.
        whole: the values are whole numbers; then edges lie half-way between them, and no bin is empty of numbers.
    """
    positive = values[values > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 1.0)
    if whole:
        starts = [low]
        growth = (high / low) ** (1 / _BINS)
        while starts[-1] <= high:
            # Rounded up, so that bins never become narrower again: that would look like a dip in the data.
            starts.append(max(starts[-1] + 1, math.ceil(starts[-1] * growth)))
        edges = np.array(starts) - 0.5
        return np.concatenate([[-0.5], edges]) if (values < low).any() else edges
    edges = np.geomspace(low, high, _BINS + 1) if high > low else np.array([low / 1.1, high * 1.1])
    edges[0], edges[-1] = min(low, edges[0]), max(high, edges[-1])  # geomspace may miss the ends by rounding
    return np.concatenate([[0.0], edges]) if (values < low).any() else edges


def _histogram(values: Sequence[float], edges: np.ndarray) -> list[int]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return [int(count) for count in counts]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Quantiles and mean of at least one value."""
    array = np.asarray(values, np.float64)
    result = {name: float(np.quantile(array, q)) for name, q in QUANTILES.items()}
    return {**result, "mean": float(array.mean())}


def _edges_up_to(reach_s: float) -> list[float]:
    """The edges above 0 that are needed to hold a difference of this size; the last bin holds whatever is larger."""
    inside = sum(edge < reach_s for edge in _MISMATCH_EDGES_S)
    return list(_MISMATCH_EDGES_S[: inside + 1])


def _time_base(videos: Sequence[VideoFacts]) -> dict[str, Any] | None:
    """How far the seconds that the features cover are from the stated durations.

    Returns:
        "videos"; quantiles of "difference_s" (features - duration) and of "ratio" (features / duration); the histogram
        of the differences; the "worst" videos, by difference. None when no video has both
        from different sources.
    """
    rows: list[dict[str, Any]] = [
        {
            "video": video.record.video_id,
            "subset": video.record.subset,
            "segments": video.num_segments,
            "features_s": video.features_s,
            "duration_s": video.duration_s,
            "difference_s": video.features_s - video.duration_s,
            "ratio": video.features_s / video.duration_s,
            "fps": video.time_base.fps,
            "stride_frames": video.time_base.stride_frames,
        }
        for video in videos
        if video.features_s is not None and video.duration_s is not None and video.duration_stated
    ]
    if not rows:
        return None
    differences = [float(row["difference_s"]) for row in rows]
    below, above = _edges_up_to(-min(differences)), _edges_up_to(max(differences))
    edges = np.array([*(-edge for edge in reversed(below)), 0.0, *above])
    return {
        "videos": len(rows),
        "difference_s": quantiles(differences),
        "ratio": quantiles([float(row["ratio"]) for row in rows]),
        "edges": edges.tolist(),
        "histogram": _histogram(differences, edges),
        "worst": sorted(rows, key=lambda row: -abs(float(row["difference_s"])))[:WORST_LISTED],
    }
