"""Detection as its docstrings define it, in float64 NumPy: one video, class, cell and detection at a time.

Independent of tc3net.detection: no shared code, no ragged tensors, no prefix sums; NMS is the textbook's loop.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray


def top_k_mean(column: Array, divisor: int, rounding: str) -> float:
    k = math.ceil(len(column) / divisor) if rounding == "ceil" else max(len(column) // divisor, 1)
    return float(np.mean(sorted(column)[-k:]))


def passes(label: int, means: Array, config: Any) -> bool:
    """The class filter, for one class of one video."""
    if config.class_filter != "all" and not means[label] > 0:
        return False
    if config.class_filter == "half_of_best" and not means[label] > means.max() / 2:
        return False
    if config.min_probability > 0 and probability(label, means, config) < config.min_probability:
        return False
    return config.max_classes == 0 or rank(label, means) < config.max_classes


def rank(label: int, means: Array) -> int:
    return sum(m > means[label] or (m == means[label] and j < label) for j, m in enumerate(means))


def detected(means: Array, config: Any) -> list[int]:
    """The classes that are looked for in one video."""
    found = [label for label in range(len(means)) if passes(label, means, config)]
    return found or [label for label in range(len(means)) if config.best_class and rank(label, means) == 0]


def probability(label: int, means: Array, config: Any) -> float:
    if config.probability == "sigmoid":
        return float(1 / (1 + np.exp(-means[label])))
    return float(1 / np.exp(means - means[label]).sum())


def smoothed(column: Array, config: Any) -> Array:
    if config.smoothing == "none":
        return column
    width = config.smoothing_segments
    reach = math.ceil(3 * width) if config.smoothing == "gaussian" else int(width)
    result = []
    for t in range(len(column)):
        steps = np.arange(max(-t, -reach), min(len(column) - 1 - t, reach) + 1)
        window = column[t + steps]
        if config.smoothing == "gaussian":
            weights = np.exp(-(steps**2) / (2 * width**2))
            result.append((weights * window).sum() / weights.sum())
        else:
            result.append(np.polyval(np.polyfit(steps, window, min(2, len(steps) - 1)), 0.0))
    return np.array(result)


def upsampled(column: Array, factor: int) -> Array:
    middles = np.arange(len(column)) + 0.5
    return np.interp((np.arange(len(column) * factor) + 0.5) / factor, middles, column)


def etas(track: Array, config: Any) -> list[float]:
    low, high = track.min(), track.max()
    levels = [float(text) for text in config.threshold_levels.split(",")]
    return {
        "zero": lambda: [0.0],
        "midpoint": lambda: [(low + high) / 2],
        "range": lambda: [low + level * (high - low) for level in levels],
        "quantile": lambda: [float(np.quantile(track, level)) for level in levels],
        "value": lambda: levels,
    }[config.threshold]()


def maximal_runs(track: Array, eta: float) -> set[tuple[int, int]]:
    found, start = set(), None
    for t in range(len(track) + 1):
        if t < len(track) and track[t] > eta:
            start = t if start is None else start
        elif start is not None:
            found.add((start, t))
            start = None
    return found


def local_score(track: Array, start: int, end: int, config: Any) -> float:
    values = track
    if config.score_scale == "range":
        span = track.max() - track.min()
        constant = span <= 1e-5 * np.abs(track).max()  # but for the rounding of what smoothed it
        values = np.zeros_like(track) if constant else (track - track.min()) / span
    inside = values[start:end]
    if config.score == "peak":
        return float(inside.max())
    if config.score == "mean":
        return float(inside.mean())
    width = math.ceil(config.contrast_border * (end - start))
    border = [values[t] for t in range(len(values)) if start - width <= t < start or end <= t < end + width]
    return float(inside.mean() - (np.mean(border) if border else 0.0))


def tiou(a: tuple[int, int], b: tuple[int, int]) -> float:
    common = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return common / (a[1] - a[0] + b[1] - b[0] - common)


def suppressed(spans: list[tuple[int, int]], scores: list[float], config: Any) -> list[tuple[int, int, float]]:
    """Greedy NMS of one class in one video; of equal scores the one that starts first, then the longer one."""
    left = dict(zip(spans, scores))
    result = []
    while left:
        best = min(left, key=lambda span: (-left[span], span[0], -span[1]))
        result.append((*best, left.pop(best)))
        for other in list(left):
            overlap = tiou(best, other)
            if config.nms == "hard" and overlap > config.nms_tiou:
                del left[other]
            elif config.nms == "soft" and left[other] > 0:
                left[other] *= math.exp(-(overlap**2) / config.nms_sigma)
    return result


def read(outputs: dict[str, Array], config: Any, divisor: int) -> tuple[Array, Array, Array]:
    """What is thresholded [s, C], what is scored [s, C], and class scores [C] of one video.

    Args:
        outputs: `tcam_<name>` [s, C], `attention_fused` [s, 1], `pooled` [M + 1, C], the fused one last.
    """
    names = [name for name in outputs if name.startswith("tcam_")]
    weights = {"tcam_fused": config.fused_weight, **{f"tcam_{name}": weight for name, weight in config.weights}}

    def mixed(function: Any) -> Array:
        return sum(weights.get(name, 0.0) * function(outputs[name]) for name in names)

    def converted(tcam: Array) -> Array:
        if config.segment_scores == "sigmoid":
            return 1 / (1 + np.exp(-tcam))
        if config.segment_scores == "softmax":
            return np.array([np.exp(row) / np.exp(row).sum() for row in tcam]).reshape(tcam.shape)
        return tcam

    attention = outputs.get("attention_fused", np.zeros((0, 1)))
    tcam, product = mixed(lambda tcam: tcam), None
    if config.needs_attention:
        product = attention * tcam
    track = {
        "tcam": lambda: mixed(converted),
        "attention": lambda: np.repeat(attention, tcam.shape[1], axis=1),
        "product": lambda: attention * mixed(converted),
    }[config.track]()
    scored = {"tcam": tcam, "product": product, "thresholded": track}[config.score_track]
    if config.class_scores == "pooled":
        streams = sorted(names, key=lambda name: name == "tcam_fused")  # in their order, the fused one last
        return track, scored, sum(weights.get(name, 0.0) * z for name, z in zip(streams, outputs["pooled"]))
    ranked = product if config.class_scores == "product" else tcam
    return track, scored, np.array([top_k_mean(column, divisor, config.detection_top_k) for column in ranked.T])


def detections(tcam: Array, config: Any, divisor: int = 8) -> list[tuple[int, int, int, float]]:
    """`detections_in` of one T-CAM [s, C] alone."""
    if len(tcam) == 0:
        return []
    tcam = tcam.astype(np.float64)
    means = np.array([top_k_mean(column, divisor, config.detection_top_k) for column in tcam.T])
    return detections_in(tcam, tcam, means, config)


def detections_in(tracks: Array, scored: Array, means: Array, config: Any) -> list[tuple[int, int, int, float]]:
    """(class, start cell, end cell, score) of one video, ordered by class, start, the longer first.

    Args:
        tracks: [s, C], thresholded.
        scored: [s, C], local scores are taken of it.
        means: [C], class scores.
    """
    result = []
    for label in detected(means, config):
        track, values = (upsampled(smoothed(part[:, label], config), config.upsampling) for part in (tracks, scored))
        spans = set().union(*(maximal_runs(track, eta) for eta in etas(track, config)))
        spans = {(a, b) for a, b in spans if b - a >= config.min_segments * config.upsampling}
        ordered = sorted(spans, key=lambda span: (span[0], -span[1]))
        by_class = {
            "top_k_mean": means[label],
            "probability": probability(label, means, config),
            "log_probability": math.log(probability(label, means, config)),
        }[config.score_class]
        scores = [local_score(values, a, b, config) + config.score_gamma * by_class for a, b in ordered]
        final = [(a, b, s) for (a, b), s in zip(ordered, scores)]
        if config.nms != "none":
            final = sorted(suppressed(ordered, scores, config), key=lambda d: (d[0], -d[1]))
        result += [(label, a, b, s) for a, b, s in final]
    return result


def has_rounded_tie(column: Array, track: Array, eta: float, config: Any) -> bool:
    """Whether a cell equals the threshold, where the two are rounded numbers: in float32 they may differ.

    Exact numbers are equal for everybody: T-CAMs as they are, and what smoothing makes of one repeated value.
    """
    if config.smoothing == "none" and config.upsampling in (1, 2, 4):
        return False
    reach = 3 * math.ceil(config.smoothing_segments) + 1  # of the smoothing, and one segment for the upsampling
    rounded = [np.ptp(column[max(t - reach, 0) : t + reach + 1]) > 0 for t in range(len(column))]
    ties = np.count_nonzero((track == eta) & np.repeat(rounded, config.upsampling))
    # A threshold that is taken from the track itself is the cell that it was taken from.
    taken = config.threshold == "quantile" or (config.threshold == "range" and eta == track.min())
    return bool(ties > taken)


def closest_tie(tcam: Array, config: Any, divisor: int = 8) -> float:
    """The smallest difference on which a decision about this video turns, but for ties of exact numbers.

    Below rounding errors of float32 the graph and this file may decide differently, and neither would be wrong. The
    same goes for scores on the scale of a track whose range is small beside its values: then it is 0.
    """
    if len(tcam) == 0:
        return math.inf
    tcam = tcam.astype(np.float64)
    means = np.array([top_k_mean(column, divisor, config.detection_top_k) for column in tcam.T])
    gaps = [np.abs(np.subtract.outer(means, means)).ravel(), means, means - means.max() / 2]
    gaps += [np.array([probability(j, means, config) - config.min_probability for j in range(len(means))])]
    for column in tcam.T:
        track = upsampled(smoothed(column, config), config.upsampling)
        size, span = np.abs(track).max(), np.ptp(track)
        if config.score_scale == "range" and 1e-5 * size < span < 0.05 * size:
            return 0.0
        for eta in etas(track, config):
            if has_rounded_tie(column, track, eta, config):
                return 0.0
            gaps += [track - eta]
        spans = sorted(set().union(*(maximal_runs(track, eta) for eta in etas(track, config))))
        scores = np.array([local_score(track, a, b, config) for a, b in spans])
        overlapping = [(i, j) for i, a in enumerate(spans) for j, b in enumerate(spans) if i < j and tiou(a, b) > 0]
        gaps += [np.array([scores[i] - scores[j] for i, j in overlapping])]
    sizes = np.abs(np.concatenate(gaps))
    return float(sizes[sizes > 0].min(initial=math.inf))
