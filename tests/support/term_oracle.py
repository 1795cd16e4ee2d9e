"""Loss terms of other methods in float64 NumPy, video by video, with loops; nothing is shared with tc3net."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def softmax(values: Array) -> Array:
    exponent = np.exp(values - values.max())
    return exponent / exponent.sum()


def cosine_distance(u: Array, v: Array) -> float:
    lengths = np.linalg.norm(u) * np.linalg.norm(v)
    return 1.0 - (float(u @ v) / lengths if lengths > 0 else 0.0)


def co_activity(features: Sequence[Array], tcams: Sequence[Array], labels: Array, margin: float = 0.5) -> float:
    """W-TALC's co-activity similarity, the mean over unordered pairs of videos and their common classes."""
    losses = []
    for j in range(labels.shape[1]):
        for m, n in itertools.combinations(np.flatnonzero(labels[:, j]), 2):
            (high_m, low_m), (high_n, low_n) = (_activity(features[v], tcams[v][:, j]) for v in (m, n))
            together = cosine_distance(high_m, high_n)
            losses.append(
                0.5 * max(0.0, together - cosine_distance(high_m, low_n) + margin)
                + 0.5 * max(0.0, together - cosine_distance(low_m, high_n) + margin)
            )
    return float(np.mean(losses)) if losses else 0.0


def _activity(x: Array, track: Array) -> tuple[Array, Array]:
    a = softmax(track)
    return a @ x, ((1 - a) / max(len(x) - 1, 1)) @ x


def _erode(mask: Array, width: int) -> Array:
    """Window of t - ⌊w/2⌋ ... ; beyond the ends nothing is set."""
    first = -(width // 2)
    inside = [
        all(0 <= t + i < len(mask) and mask[t + i] for i in range(first, first + width)) for t in range(len(mask))
    ]
    return np.array(inside)


def _dilate(mask: Array, width: int) -> Array:
    """Every set segment sets the window around it that `_erode` reads."""
    out = np.zeros(len(mask), bool)
    for t in np.flatnonzero(mask):
        for i in range(-(width // 2), -(width // 2) + width):
            if 0 <= t + i < len(mask):
                out[t + i] = True
    return out


def snippet_sets(actionness: Array, easy_divisor: int = 5, hard_divisor: int = 20) -> tuple[list[int], ...]:
    """Easy action, easy background, hard action, hard background of one video."""
    s = len(actionness)
    by_rank = sorted(range(s), key=lambda t: (-actionness[t], t))
    easy, hard = max(s // easy_divisor, 1), max(s // hard_divisor, 1)
    active = actionness > np.median(actionness)
    inside = _erode(active, 3) & ~_erode(active, 6)
    outside = _dilate(active, 6) & ~_dilate(active, 3)
    return (
        by_rank[:easy],
        by_rank[s - easy :],
        [t for t in by_rank if inside[t]][:hard],
        [t for t in by_rank if outside[t]][:hard],
    )


def _nce(x: Array, query: list[int], key: list[int], negatives: list[int]) -> float:
    def unit(v: Array) -> Array:
        return v / np.linalg.norm(v)

    if not query:
        return 0.0
    q, k = unit(x[query].mean(axis=0)), unit(x[key].mean(axis=0))
    positive = math.exp(q @ k / 0.07)
    return -math.log(positive / (positive + sum(math.exp(q @ unit(x[n]) / 0.07) for n in negatives)))


def snippet_contrast(features: Sequence[Array], tcams: Sequence[Array], labels: Array) -> float:
    """CoLA's loss, the mean over labelled videos."""
    losses = []
    for x, tcam, label in zip(features, tcams, labels):
        if label.sum() > 0:
            action, background, hard_action, hard_background = snippet_sets(np.maximum(tcam, 0).sum(axis=1))
            losses.append(_nce(x, hard_action, action, background) + _nce(x, hard_background, background, action))
    return float(np.mean(losses)) if losses else 0.0


def _by_magnitude(x: Array) -> tuple[list[int], list[int]]:
    by_rank = sorted(range(len(x)), key=lambda t: (-float(np.linalg.norm(x[t])), t))
    return by_rank[: max(len(x) // 9, 1)], by_rank[len(x) - max(len(x) // 4, 1) :]


def feature_magnitude(features: Sequence[Array], labels: Array, margin: float) -> float:
    """UM's L_um, the mean over labelled videos of two segments at least."""
    losses = []
    for x, label in zip(features, labels):
        if label.sum() > 0 and len(x) > 1:
            action, background = (np.linalg.norm(x[chosen].mean(axis=0)) for chosen in _by_magnitude(x))
            losses.append((max(0.0, margin - action) + background) ** 2)
    return float(np.mean(losses)) if losses else 0.0


def uniform_background(features: Sequence[Array], tcams: Sequence[Array], labels: Array) -> float:
    """UM's L_be, the mean over labelled videos of two segments at least."""
    losses = []
    for x, tcam, label in zip(features, tcams, labels):
        if label.sum() > 0 and len(x) > 1:
            p = softmax(tcam[_by_magnitude(x)[1]].mean(axis=0))
            y = 1 / len(p)
            losses.append(float(np.mean([-(y * math.log(q) + (1 - y) * math.log(1 - q)) for q in p])))
    return float(np.mean(losses)) if losses else 0.0
