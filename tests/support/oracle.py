"""3C-Net's equations in float64 NumPy, one video and one class at a time, as the paper writes them.

Independent of tc3net: no shared code, no ragged tensors, loops instead of segment reductions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def softmax(values: Array, axis: int) -> Array:
    exponent = np.exp(values - values.max(axis=axis, keepdims=True))
    return exponent / exponent.sum(axis=axis, keepdims=True)


def top_k_mean(tcam: Array, divisor: int = 8, rounding: str = "ceil") -> Array:
    """r(j) of Sec. 3.2 for one video [s, C] -> [C]."""
    length = len(tcam)
    k = math.ceil(length / divisor) if rounding == "ceil" else max(length // divisor, 1)
    return np.sort(tcam, axis=0)[::-1][:k].mean(axis=0)


def classification(tcams: Sequence[Array], labels: Array, divisor: int = 8) -> float:
    """L_cls of one T-CAM, Eq. 2: the mean over labelled videos."""
    losses = []
    for tcam, label in zip(tcams, labels):
        if label.sum() > 0:
            p = softmax(top_k_mean(tcam, divisor), axis=0)
            q = label / label.sum()
            losses.append(-(q * np.log(p)).sum())
    return float(np.mean(losses)) if losses else 0.0


def attention(tcam: Array, axis: str) -> Array:
    """a(t, j), Eq. 4 [s, C]."""
    return softmax(tcam, axis=0 if axis == "time" else 1)


def aggregate(features: Array, tcam: Array, j: int, axis: str, threshold: str) -> Array:
    """f(j), Eq. 5 [D]."""
    weights = attention(tcam, axis)[:, j].copy()
    limit = np.median(weights) if threshold == "median" else weights.mean()
    weights[weights < limit] = 0.0
    return (weights[:, None] * features).sum(axis=0) / weights.sum()


def center(
    features: Sequence[Array],
    tcams: Sequence[Array],
    labels: Array,
    centers: Array,
    *,
    axis: str = "time",
    threshold: str = "median",
    normalization: str = "videos",
    multi_label: bool = True,
) -> tuple[float, Array]:
    """L_center of one stream (Eq. 6) and Δc (Eq. 7)."""
    total, pairs, videos = 0.0, 0, 0
    numerator, count = np.zeros_like(centers), np.zeros(len(centers))
    for x, tcam, label in zip(features, tcams, labels):
        present = np.flatnonzero(label)
        if len(present) == 0 or (len(present) > 1 and not multi_label):
            continue
        videos += 1
        for j in present:
            f = aggregate(x, tcam, j, axis, threshold)
            total += ((f - centers[j]) ** 2).sum()
            numerator[j] += centers[j] - f
            count[j] += 1
            pairs += 1
    delta = numerator / (1.0 + count)[:, None]
    if pairs == 0:
        return 0.0, delta
    return total / (videos if normalization == "videos" else pairs**2), delta


def counting(
    tcams: Sequence[Array],
    counts: Array,
    known: Array,
    full_length: Array,
    *,
    axis: str = "time",
    positives: str = "all",
    error: str = "relative",
) -> tuple[float, float]:
    """L_count+ and L_count- (without lambda), Eq. 9 and 10."""
    positive, negative, videos = 0.0, 0.0, 0
    for tcam, count, is_known, is_full in zip(tcams, counts, known, full_length):
        if not is_full or not is_known.any():
            continue
        videos += 1
        m = (attention(tcam, axis) * tcam).sum(axis=0)
        for j in np.flatnonzero(is_known):
            if count[j] > 0 and (positives == "all" or count[j] < len(tcam)):
                positive += abs(m[j] - count[j]) / (count[j] if error == "relative" else 1.0)
            else:
                negative += abs(m[j])
    return (positive / videos, negative / videos) if videos else (0.0, 0.0)


def gaussian(tcam: Array, sigma: float) -> Array:
    """Weighted means over the segments at most ⌈3 sigma⌉ away; [s, C]."""
    if sigma == 0:
        return tcam
    out, reach = np.zeros(tcam.shape), math.ceil(3 * sigma)
    for t in range(len(tcam)):
        near = [u for u in range(len(tcam)) if abs(u - t) <= reach]
        weights = np.array([math.exp(-0.5 * ((u - t) / sigma) ** 2) for u in near])
        out[t] = (weights[:, None] * tcam[near]).sum(axis=0) / weights.sum()
    return out


def threshold_and_range(tcam: Array) -> tuple[Array, Array]:
    """Midpoint above the mean, and range, of each class over time [C]."""
    top, bottom = tcam.max(axis=0), tcam.min(axis=0)
    return (top + bottom) / 2 - tcam.mean(axis=0), np.maximum(top - bottom, 1e-3)


def instances(
    tcam: Array,
    estimator: str,
    *,
    temperature: float = 0.1,
    smoothing: float = 0.0,
    length: int = 5,
    frozen: tuple[Array, Array] | None = None,
    counts: Array | None = None,
    reach: Array | None = None,
) -> Array:
    """Estimated number of instances of each class in one video [s, C] -> [C].

    `frozen` replaces threshold and range, and `reach` what `length` 0 makes of the annotated `counts` [C].
    """
    smooth = gaussian(tcam, smoothing)
    eta, span = frozen or threshold_and_range(smooth)
    logit = (smooth - smooth.mean(axis=0) - eta) / (temperature * span)
    p = 1 / (1 + np.exp(-logit))
    total = np.zeros(tcam.shape[1])
    for t in range(len(tcam)):
        before = p[t - 1] if t else np.zeros_like(total)
        if estimator == "edges":
            total += np.maximum(p[t] - before, 0)
        elif estimator == "runs":
            total += p[t] * (1 - before)
        elif estimator == "mass":
            total += p[t] / length
        else:
            far = np.full(total.shape, length // 2) if length else own_reach(p, counts) if reach is None else reach
            for j in range(len(total)):
                window = range(max(t - far[j], 0), min(t + far[j] + 1, len(tcam)))
                total[j] += p[t, j] * np.exp(logit[t, j]) / sum(np.exp(logit[u, j]) for u in window)
    return total


def own_reach(p: Array, counts: Array) -> Array:
    """[C], segments to each side: one and a half instances, whose length is the time above the threshold of each."""
    length = 1.5 * p.sum(axis=0) / np.maximum(counts, 1)
    return np.clip(np.round((length - 1) / 2), 1, 32).astype(int)


def temporal_filter(tcam: Array, kernel: Array, dilation: int = 2) -> Array:
    """Depthwise temporal convolution of one video [s, C], zero padding (Sec. 4.1)."""
    out = np.zeros_like(tcam)
    half = len(kernel) // 2
    for t in range(len(tcam)):
        for tap in range(len(kernel)):
            source = t + dilation * (tap - half)
            if 0 <= source < len(tcam):
                out[t] += kernel[tap] * tcam[source]
    return out


def forward(
    features: Array, weights: dict[str, Array], relu: bool = True, streams: Sequence[str] = ("rgb", "flow")
) -> dict[str, Array]:
    """The network of Fig. 2 on one video [s, ΣD]; weights by the names of ThreeCNet.named_variables()."""
    out: dict[str, Array] = {}
    done = 0
    for stream in streams:
        dim = len(weights[f"{stream}_fc1_kernel"])
        x = features[:, done : done + dim]
        done += dim
        for layer in ("fc1", "fc2"):
            x = np.maximum(x @ weights[f"{stream}_{layer}_kernel"] + weights[f"{stream}_{layer}_bias"], 0.0)
        out[f"features_{stream}"] = x
        out[f"tcam_{stream}"] = x @ weights[f"{stream}_classifier_kernel"] + weights[f"{stream}_classifier_bias"]
    fused = sum(weights[f"fusion_weight_{stream}"] * out[f"tcam_{stream}"] for stream in streams)
    if "fusion_temporal_kernel" in weights:
        fused = temporal_filter(fused, weights["fusion_temporal_kernel"])
        fused = np.maximum(fused, 0.0) if relu else fused
    out["tcam_fused"] = fused
    return out


def total_loss(
    batch: dict[str, Any], weights: dict[str, Array], config: Any, streams: Sequence[str] = ("rgb", "flow")
) -> float:
    """Eq. 1 of a batch: `videos` (list of [s, ΣD]), `labels`, `counts`, `counts_known`, `full_length`."""
    outputs = [forward(video, weights, streams=streams) for video in batch["videos"]]
    loss = 0.0
    several = config.classification_tcams == "all" and len(streams) > 1  # else it would be counted twice
    for name in (*streams, "fused") if several else ("fused",):
        loss += classification([o[f"tcam_{name}"] for o in outputs], batch["labels"], config.top_k_divisor)
    for name in streams if config.center_streams == "all" else config.center_streams.split(","):
        value, _ = center(
            [o[f"features_{name}"] for o in outputs],
            [o[f"tcam_{name}"] for o in outputs],
            batch["labels"],
            weights[f"centers_{name}"],
            axis=config.attention_axis,
            threshold=config.attention_threshold,
            normalization=config.center_normalization,
        )
        loss += config.alpha * value
    positive, negative = counting(
        [o["tcam_fused"] for o in outputs],
        batch["counts"],
        batch["counts_known"],
        batch["full_length"],
        axis=config.attention_axis,
        positives=config.count_positives,
        error=config.count_error,
    )
    return loss + config.beta * (positive + config.count_negative_weight * negative)


def numerical_gradient(function: Any, at: Array, step: float = 1e-6) -> Array:
    """Central differences of a scalar function of a float64 array."""
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        original = at[index]
        at[index] = original + step
        above = function()
        at[index] = original - step
        below = function()
        at[index] = original
        gradient[index] = (above - below) / (2 * step)
    return gradient


def relative_error(found: Any, expected: Any) -> float:
    """Largest deviation relative to the largest expected magnitude."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))
