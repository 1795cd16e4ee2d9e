"""AutoLoc's head, contrast, loss and proposals in float64 NumPy, one video, segment and interval at a time.

Independent of tc3net: no shared code, no cumulative sums; integrals add up what an interval covers of each segment.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tests.support import detection_oracle
from tests.support.methods_oracle import convolution

Array = np.ndarray


def head(video: dict[str, Array], weights: dict[str, Array], anchors: Sequence[float], streams: Sequence[str]) -> Array:
    """[s, M, 2]."""
    rows = np.concatenate([video[f"features_{name}"] for name in streams], axis=1)
    for layer in range(1, 4):
        name = f"boundaries_layer{layer}"
        rows = convolution(rows, weights[f"{name}_kernel"], np.zeros(weights[f"{name}_offset"].shape))
        rows = np.array([(row - row.mean()) / np.sqrt(row.var() + 1e-5) for row in rows])
        rows = rows * weights[f"{name}_scale"] + weights[f"{name}_offset"]
        rows = np.where(rows > 0, rows, 0.1 * rows)
    moved = np.tanh(convolution(rows, weights["boundaries_last_kernel"], weights["boundaries_last_bias"]))
    found = np.zeros((len(rows), len(anchors), 2))
    for t in range(len(rows)):
        for m, anchor in enumerate(anchors):
            center = min(max(t + 0.5 + anchor * moved[t, m], 0.0), len(rows))
            width = anchor * np.exp(moved[t, len(anchors) + m])
            found[t, m] = max(center - width / 2, 0.0), min(center + width / 2, len(rows))
    return found


def integral(heat: Array, start: float, end: float) -> float:
    """Of the heat from start to end; 0 beyond the video."""
    return float(sum(h * max(0.0, min(end, t + 1) - max(start, t)) for t, h in enumerate(heat)))


def contrast(heat: Array, start: float, end: float) -> float:
    border = max((end - start) / 4, 1.0)
    around = integral(heat, start - border, start) + integral(heat, end, end + border)
    return 0.5 * (around / (2 * border) - integral(heat, start, end) / (end - start) + 1)


def contrast_gradient(heat: Array, start: float, end: float) -> tuple[float, float]:
    """dOIC/dstart, dOIC/dend by the rules of calculus: the derivative of an integral by its end is the integrand."""

    def at(x: float) -> float:
        return float(heat[int(x)]) if 0 <= x < len(heat) else 0.0

    width = end - start
    border = max(width / 4, 1.0)
    grows = 0.25 if width / 4 > 1 else 0.0  # d border / d width
    around = integral(heat, start - border, start) + integral(heat, end, end + border)
    inside = integral(heat, start, end)
    found = []
    for sign in (-1, 1):  # of d width by start, by end
        wider = sign * grows
        own = at(start) if sign < 0 else -at(end)
        edges = -(1.0 if sign < 0 else 0.0) * at(start - border) + (1.0 if sign > 0 else 0.0) * at(end + border)
        d_around = own + edges + wider * (at(start - border) + at(end + border))
        d_inside = -at(start) if sign < 0 else at(end)
        d_outer = d_around / (2 * border) - around * wider / (2 * border**2)
        d_inner = d_inside / width - inside * sign / width**2
        found.append(0.5 * (d_outer - d_inner))
    return found[0], found[1]


def heat_of(track: Array) -> Array:
    span = track.max() - track.min()
    return np.zeros_like(track) if span <= 1e-5 * np.abs(track).max() else (track - track.min()) / span


def overlap(a: Array, b: Array) -> float:
    common = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return common / (a[1] - a[0] + b[1] - b[0] - common)


def chosen(heat: Array, bounds: Array, limit: float = 0.1, shortest: float = 0.0) -> list[tuple[float, int, int]]:
    """(OIC, segment, anchor) of every segment that proposes an interval, the lowest OIC first; before NMS."""
    found = []
    for t in range(len(heat)):
        if heat[t] > limit:
            values = [contrast(heat, *span) if span[1] - span[0] >= shortest else 1.0 for span in bounds[t]]
            if min(values) < 0.7:
                found.append((min(values), t, int(np.argmin(values))))
    return sorted(found)


def thinned(heat: Array, bounds: Array) -> list[tuple[float, int, int]]:
    """`chosen` after NMS by tIoU 0.4."""
    kept: list[tuple[float, int, int]] = []
    for one in chosen(heat, bounds):
        if all(overlap(bounds[one[1], one[2]], bounds[t, m]) <= 0.4 for _, t, m in kept):
            kept.append(one)
    return kept


def loss(tcams: Sequence[Array], bounds: Sequence[Array], labels: Array) -> float:
    per_video = []
    for tcam, spans, y in zip(tcams, bounds, labels):
        kept = [value for j in np.flatnonzero(y) for value, _, _ in thinned(heat_of(tcam[:, j]), spans)]
        if kept:
            per_video.append(np.mean(kept))
    return float(np.mean(per_video)) if per_video else 0.0


def loss_gradient(tcams: Sequence[Array], bounds: Sequence[Array], labels: Array) -> list[Array]:
    """Of `loss` with respect to the boundaries of each video, as `contrast_gradient` has it."""
    found, videos = [np.zeros_like(spans) for spans in bounds], 0
    for tcam, spans, y, gradient in zip(tcams, bounds, labels, found):
        kept = [(j, t, m) for j in np.flatnonzero(y) for _, t, m in thinned(heat_of(tcam[:, j]), spans)]
        videos += bool(kept)
        for j, t, m in kept:
            gradient[t, m] += np.array(contrast_gradient(heat_of(tcam[:, j]), *spans[t, m])) / len(kept)
    return [gradient / max(videos, 1) for gradient in found]


def proposed(track: Array, bounds: Array, config: Any) -> Iterator[tuple[tuple[float, float], float, float]]:
    """The best interval of each segment above the threshold, its OIC, and how much worse the next best one is."""
    heat = heat_of(track)
    for t in np.flatnonzero(track > min(detection_oracle.etas(track, config))):
        values = np.array(
            [contrast(heat, a, b) if b - a >= config.min_segments else 1.0 for a, b in bounds[t].tolist()]
        )
        best = int(np.argmin(values))
        others = values[np.any(bounds[t] != bounds[t, best], axis=1)]
        yield tuple(bounds[t, best].tolist()), values[best], min(others, default=np.inf) - values[best]


def closest_tie(tcam: Array, bounds: Array, config: Any, divisor: int = 8) -> float:
    """`detection_oracle.closest_tie`, with the decisions between intervals and about each of them.

    The package sums heat in multiples of 2^-20: intervals whose contrasts differ by less are equally good.
    """
    gaps = [detection_oracle.closest_tie(tcam, config, divisor)]
    for column in tcam.T:
        kept = {}
        for span, oic, gap in proposed(detection_oracle.smoothed(column, config), bounds, config):
            gaps += [abs(oic - 0.7)]
            if oic < 0.7:
                gaps += [gap]
                kept[span] = oic
        pairs = itertools.combinations(kept, 2)
        gaps += [abs(kept[a] - kept[b]) for a, b in pairs if detection_oracle.tiou(a, b) > 0]
    return float(min(gaps))


def detections(tcam: Array, bounds: Array, config: Any, divisor: int = 8) -> list[tuple[int, float, float, float]]:
    """(class, start, end, score) of one video, in segments, by class, start, the longer first."""
    means = np.array([detection_oracle.top_k_mean(column, divisor, config.detection_top_k) for column in tcam.T])
    result = []
    for label in detection_oracle.detected(means, config):
        track = detection_oracle.smoothed(tcam[:, label], config)
        spans = {span: oic for span, oic, _ in proposed(track, bounds, config) if oic < 0.7}
        ordered = sorted(spans, key=lambda span: (span[0], -span[1]))
        by_class = {
            "top_k_mean": means[label],
            "probability": detection_oracle.probability(label, means, config),
            "log_probability": np.log(detection_oracle.probability(label, means, config)),
        }[config.score_class]
        scores = [1 - spans[span] + config.score_gamma * by_class for span in ordered]
        final = [(*span, score) for span, score in zip(ordered, scores)]
        if config.nms != "none":
            final = sorted(detection_oracle.suppressed(ordered, scores, config), key=lambda d: (d[0], -d[1]))
        result += [(label, *one) for one in final]
    return result
