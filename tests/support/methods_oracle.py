"""Losses and heads of other methods in float64 NumPy, one video and one segment at a time, as docs/methods.md has them.

Independent of tc3net: no shared code, no ragged tensors. A video is a dict of what the network says about it:
`tcam_<name>` [s, C], `background_<name>` and `attention_<name>` [s, 1], `pooled_<name>` [C].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tests.support.oracle import softmax, top_k_mean

Array = np.ndarray
Video = dict[str, Array]
STREAMS = ("rgb", "flow")
TCAMS = (*STREAMS, "fused")


def cross_entropy(scores: Array, labels: Array) -> float:
    """Of one video: softmax of scores [K] and l1-normalised labels [K]."""
    return float(-(labels / labels.sum() * np.log(softmax(scores, axis=0))).sum())


def with_background(video: Video, name: str) -> Array:
    return np.concatenate([video[f"tcam_{name}"], video[f"background_{name}"]], axis=1)


def suppressed(scores: Array, attention: Array) -> Array:
    """Segment by segment."""
    return np.array([a * (row - row.min()) + row.min() for row, a in zip(scores, attention[:, 0])])


def labelled_mean(videos: Sequence[Video], labels: Array, loss) -> float:
    values = [sum(loss(video, name, y) for name in TCAMS) for video, y in zip(videos, labels) if y.any()]
    return float(np.mean(values)) if values else 0.0


def background(videos: Sequence[Video], labels: Array, divisor: int = 8) -> float:
    def loss(video: Video, name: str, y: Array) -> float:
        return cross_entropy(top_k_mean(with_background(video, name), divisor), np.append(y, 1))

    return labelled_mean(videos, labels, loss)


def suppressed_loss(videos: Sequence[Video], labels: Array, divisor: int = 8) -> float:
    def loss(video: Video, name: str, y: Array) -> float:
        scores = suppressed(with_background(video, name), video[f"attention_{name}"])
        return cross_entropy(top_k_mean(scores, divisor), np.append(y, 0))

    return labelled_mean(videos, labels, loss)


def hard_suppressed(videos: Sequence[Video], labels: Array, divisor: int = 8) -> float:
    def loss(video: Video, name: str, y: Array) -> float:
        scores, a = with_background(video, name), video[f"attention_{name}"]
        mask = (a < a.min() + 0.2 * (a.max() - a.min())).astype(float)
        hard = cross_entropy(top_k_mean(suppressed(scores, mask), divisor), np.append(y, 1))
        return hard + cross_entropy(top_k_mean(suppressed(scores, mask * a), divisor), np.append(y, 0))

    return labelled_mean(videos, labels, loss)


def guide(videos: Sequence[Video]) -> float:
    def of(video: Video, name: str) -> float:
        p = softmax(with_background(video, name), axis=1)[:, -1]
        return float(np.mean(np.abs(1 - video[f"attention_{name}"][:, 0] - p)))

    return float(np.mean([sum(of(video, name) for name in TCAMS) for video in videos]))


def sparsity(videos: Sequence[Video], over: str) -> float:
    reduce = np.mean if over == "mean" else np.sum
    return float(np.mean([sum(reduce(video[f"attention_{name}"]) for name in STREAMS) for video in videos]))


def mutual(videos: Sequence[Video], teachers: Sequence[Video]) -> float:
    """`teachers`: the same videos, whose attention is held fixed."""

    def of(video: Video, teacher: Video) -> float:
        a, b = (f"attention_{name}" for name in STREAMS)
        return float(np.mean((video[a] - teacher[b]) ** 2) / 2 + np.mean((video[b] - teacher[a]) ** 2) / 2)

    return float(np.mean([of(video, teacher) for video, teacher in zip(videos, teachers)]))


def pooled_softmax(videos: Sequence[Video], labels: Array) -> float:
    return labelled_mean(videos, labels, lambda video, name, y: cross_entropy(video[f"pooled_{name}"], y))


def pooled_sigmoid(videos: Sequence[Video], labels: Array) -> float:
    def loss(video: Video, name: str, y: Array) -> float:
        p = 1 / (1 + np.exp(-video[f"pooled_{name}"]))
        return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))

    return labelled_mean(videos, labels, loss)


def evidential(videos: Sequence[Video], labels: Array) -> float:
    def loss(video: Video, name: str, y: Array) -> float:
        a = video[f"attention_{name}"]
        scores = suppressed(with_background(video, name), a)[:, :-1]
        top = np.argsort(a[:, 0])[::-1][: max(len(a) // 9, 1)]
        alpha = np.exp(np.clip(scores[top], -10, 10)).mean(axis=0) + 1
        return float((y * (math.log(alpha.sum()) - np.log(alpha))).sum())

    return labelled_mean(videos, labels, loss)


# Heads ---------------------------------------------------------------------------------------------------------------


def convolution(rows: Array, kernel: Array, bias: Array) -> Array:
    """Over time, zero beyond the video: [s, D], [taps, D, W] -> [s, W]."""
    half = len(kernel) // 2
    out = np.tile(bias, (len(rows), 1))
    for t in range(len(rows)):
        for tap in range(len(kernel)):
            if 0 <= t + tap - half < len(rows):
                out[t] += rows[t + tap - half] @ kernel[tap]
    return out


def attention(video: Video, weights: dict[str, Array], kind: str) -> Video:
    found = {}
    for stream in STREAMS:
        rows, layers = video[f"features_{stream}"], 3 if kind == "conv" else 2
        for layer in range(1, layers + 1):
            name = f"attention_{stream}_layer{layer}"
            rows = convolution(rows, weights[f"{name}_kernel"], weights[f"{name}_bias"])
            if layer < layers:
                rows = np.where(rows > 0, rows, rows * (0.2 if kind == "conv" else 0.0))
        found[f"attention_{stream}"] = 1 / (1 + np.exp(-rows))
    return {**found, "attention_fused": (found["attention_rgb"] + found["attention_flow"]) / 2}


def background_scores(video: Video, weights: dict[str, Array]) -> Video:
    found = {
        f"background_{s}": video[f"features_{s}"] @ weights[f"background_{s}_kernel"] + weights[f"background_{s}_bias"]
        for s in STREAMS
    }
    fused = sum(weights[f"background_{s}_weight"] * found[f"background_{s}"] for s in STREAMS)
    return {**found, "background_fused": fused}


def attention_pooling(video: Video, weights: dict[str, Array]) -> Video:
    return {
        f"pooled_{name}": (video[f"attention_{name}"] * video[f"tcam_{name}"]).mean(axis=0)
        + weights[f"pooling_{name}_bias"]
        for name in TCAMS
    }


def soft_selection(video: Video, weights: dict[str, Array]) -> Video:
    logits = {s: (video[f"features_{s}"] @ weights[f"pooling_{s}_kernel"])[:, 0] for s in STREAMS}
    logits["fused"] = (logits["rgb"] + logits["flow"]) / 2
    return {
        f"pooled_{name}": np.log(
            sum(a * softmax(row, axis=0) for a, row in zip(softmax(logits[name], axis=0), video[f"tcam_{name}"]))
        )
        for name in TCAMS
    }
