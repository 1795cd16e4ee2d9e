"""The detection rule in NumPy alone: from the T-CAMs of an ONNX or TFLite model to detections, without TensorFlow.

An export writes this file beside such a model, with its settings in `tc3net.json`; it imports NumPy and nothing else,
so that it can be copied to wherever the model runs. `tc3net.detection` is the same rule for ragged batches; both are
tested against each other.

    rule = Rule.of_export("models/tc3net/1")
    detections = rule.detect(outputs)  # outputs of one video: {"tcam_fused": [s, C], ...}
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GRID, CONSTANT = 2.0**20, 1e-5  # values are summed in multiples of 1 / GRID; relative range of a constant track
FUSED, ATTENTION = "fused", "attention_fused"
Outputs = Mapping[str, "np.ndarray"]


@dataclass(frozen=True)
class Rule:
    """The detection rule of an export.

    Attributes:
        classes: their names.
        streams: names of the streams, in the order of the feature columns.
        time_base: `fps`, `frames_per_segment`, `stride_frames`.
        settings: detection settings, by the names of their flags.
        top_k_divisor: k = s / divisor.
        max_detections: most detections of a video; the best scores are kept.
    """

    classes: tuple[str, ...]
    streams: tuple[str, ...]
    time_base: Mapping[str, float]
    settings: Mapping[str, Any]
    top_k_divisor: int = 8
    max_detections: int = 100

    @classmethod
    def of_export(cls, folder: str | Path) -> Rule:
        """The rule that an export describes, in `assets/tc3net.json` of a version's folder."""
        told = json.loads((Path(folder) / "assets" / "tc3net.json").read_text(encoding="utf-8"))
        return cls(
            classes=tuple(told["classes"]),
            streams=tuple(told["streams"]),
            time_base=told["time_base"],
            settings=told["detection"],
            top_k_divisor=told["top_k_divisor"],
            max_detections=told["max_detections"],
        )

    def video_scores(self, outputs: Outputs) -> np.ndarray:
        """Video-level class scores [C]; of a video without segments those of zeros.

        Args:
            outputs: of the model, see `detect`.
        """
        pooled = np.stack([self._pooled(outputs, name) for name in (*self.streams, FUSED)])
        pmfs = np.exp(self._log_probabilities(pooled))
        return np.asarray(pmfs[-1] if self.settings["video_scores"] == "fused" else pmfs.sum(axis=0), np.float32)

    def detect(
        self, outputs: Outputs, *, fps: float | None = None, stride_frames: int | None = None
    ) -> list[dict[str, Any]]:
        """Detections of one video, the best first.

        Args:
            outputs: what the model gave for it: `tcam_fused` [s, C] float32, `tcam_<stream>`, and where the network has
                them `attention_fused` [s, 1], `pooled_<stream>` and `pooled_fused` [1, C].
            fps, stride_frames: of the video, where they are not the export's.

        Returns:
            At most `max_detections` of {"label": class name, "score", "segment": [start s, end s]}, as files of
            detections have them.

        Raises:
            ValueError: the settings read an attention that is not there.
        """
        if not len(outputs["tcam_fused"]):
            return []
        tracks, scored, means = self._evidence(outputs)
        found = []
        for label in np.flatnonzero(self._gate(means)):
            columns = (tracks[:, label],) if scored is tracks else (tracks[:, label], scored[:, label])
            cells = [upsampled(smoothed(column, self.settings), self.settings["upsampling"]) for column in columns]
            by_class = self._class_score(means)[label]
            found += [(label, *one) for one in self._of_class(cells[0], cells[-1], float(by_class))]
        found.sort(key=lambda one: -np.float32(one[3]))  # stable: of equal scores by class, start, the longer first
        return [
            {
                "label": self.classes[label],
                "score": float(score),
                "segment": [self._seconds(start, fps, stride_frames), self._seconds(end, fps, stride_frames)],
            }
            for label, start, end, score in found[: self.max_detections]
        ]

    def _seconds(self, cell: int, fps: float | None, stride_frames: int | None) -> float:
        stride = stride_frames or self.time_base["stride_frames"]
        margin = (self.time_base["frames_per_segment"] - stride) / 2
        return float((cell * stride / self.settings["upsampling"] + margin) / (fps or self.time_base["fps"]))

    def _weights(self) -> list[tuple[str, float]]:
        settings = self.settings
        named = [(name, settings[f"{name}_weight"]) for name in ("rgb", "flow")]
        parts = [part.rpartition(":") for part in settings["stream_weights"].split(",") if part.strip()]
        given = [(name.strip(), float(weight)) for name, _, weight in parts]
        return [(FUSED, settings["fused_weight"]), *((n, w) for n, w in (*named, *given) if w != 0)]

    def _mixed(self, values: Outputs, prefix: str, convert: str = "none") -> np.ndarray:
        total: Any = 0.0
        for name, weight in self._weights():
            total = total + np.float32(weight) * converted(values[f"{prefix}{name}"], convert)
        return np.asarray(total, np.float32)

    def _evidence(self, outputs: Outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is thresholded [s, C], what is scored [s, C], and class scores [C]."""
        settings, tcam = self.settings, self._mixed(outputs, "tcam_")
        reads = {settings["track"], settings["class_scores"], settings["score_track"]} & {"attention", "product"}
        if reads and ATTENTION not in outputs:
            raise ValueError(
                f"no {ATTENTION} among the outputs ({', '.join(outputs)}); the settings of detection read it"
            )
        tracks, attention = tcam, outputs[ATTENTION] if reads else np.ones((len(tcam), 1), np.float32)
        if settings["track"] == "attention":
            tracks = np.broadcast_to(attention, tcam.shape)
        else:
            if settings["segment_scores"] != "none":
                tracks = self._mixed(outputs, "tcam_", settings["segment_scores"])
            if settings["track"] == "product":
                tracks = attention * tracks
        scored = {"tcam": tcam, "thresholded": tracks}.get(settings["score_track"])
        if scored is None:
            scored = attention * tcam
        if settings["class_scores"] == "pooled":
            pooled = {f"pooled_{name}": self._pooled(outputs, name) for name in (*self.streams, FUSED)}
            return tracks, scored, self._mixed(pooled, "pooled_")
        ranked = attention * tcam if settings["class_scores"] == "product" else tcam
        return tracks, scored, top_k_mean(ranked, self.top_k_divisor, settings["detection_top_k"])

    def _pooled(self, outputs: Outputs, name: str) -> np.ndarray:
        """[C], what the network pooled itself, or the top-k means of a T-CAM."""
        if f"pooled_{name}" in outputs:
            return np.reshape(outputs[f"pooled_{name}"], -1)
        return top_k_mean(outputs[f"tcam_{name}"], self.top_k_divisor, "ceil")

    def _log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        scores = scores.astype(np.float64)
        if self.settings["probability"] == "sigmoid":
            return -np.logaddexp(0.0, -scores)
        shifted = scores - scores.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))

    def _gate(self, means: np.ndarray) -> np.ndarray:
        """[C] bool, the classes that are looked for."""
        settings = self.settings
        gate = np.ones_like(means, bool) if settings["class_filter"] == "all" else means > 0
        if settings["class_filter"] == "half_of_best":
            gate = gate & (means > means.max() / 2)
        if settings["min_probability"] > 0:
            gate = gate & (np.exp(self._log_probabilities(means)) >= settings["min_probability"])
        rank = np.argsort(np.argsort(-means, kind="stable"), kind="stable")
        if settings["max_classes"] > 0:
            gate = gate & (rank < settings["max_classes"])
        return rank == 0 if settings["best_class"] and not gate.any() else gate

    def _class_score(self, means: np.ndarray) -> np.ndarray:
        if self.settings["score_class"] == "top_k_mean":
            return means
        logarithm = self._log_probabilities(means)
        return np.asarray(np.exp(logarithm) if self.settings["score_class"] == "probability" else logarithm, np.float32)

    def _of_class(self, track: np.ndarray, values: np.ndarray, by_class: float) -> list[tuple[int, int, float]]:
        """(start cell, end cell, score) of one class, by start, the longer first."""
        settings = self.settings
        spans = {span for eta in thresholds(track, settings) for span in runs(track, eta)}
        shortest = settings["min_segments"] * settings["upsampling"]
        ordered = sorted((span for span in spans if span[1] - span[0] >= shortest), key=lambda s: (s[0], -s[1]))
        # In float32, as the graph adds them: of scores that are equal there none is the better.
        scores = local_scores(values, ordered, settings) + np.float32(settings["score_gamma"]) * np.float32(by_class)
        kept = suppressed(ordered, scores.tolist(), settings)
        return [(*ordered[place], score) for place, score in kept]


def top_k_mean(tcam: np.ndarray, divisor: int, rounding: str) -> np.ndarray:
    """Mean of the k largest values over time, k = s / divisor rounded up, or down to 1 at least: [s, C] -> [C]."""
    segments = len(tcam)
    if not segments:
        return np.zeros(tcam.shape[1], np.float32)
    k = math.ceil(segments / divisor) if rounding == "ceil" else max(segments // divisor, 1)
    return np.asarray(np.sort(tcam, axis=0)[segments - k :].mean(axis=0, dtype=np.float64), np.float32)


def converted(tcam: np.ndarray, kind: str) -> np.ndarray:
    """The values of a T-CAM [s, C], their sigmoids, or their softmax over the classes."""
    values = tcam.astype(np.float64)
    if kind == "sigmoid":
        return (1 / (1 + np.exp(-values))).astype(np.float32)
    if kind == "softmax":
        shares = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray((shares / shares.sum(axis=1, keepdims=True)).astype(np.float32))
    return tcam


def smoothed(column: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    """A track [s] smoothed over time: Gaussian, or Savitzky and Golay's parabola; of what the video has."""
    if settings["smoothing"] == "none":
        return column
    width = settings["smoothing_segments"]
    gaussian = settings["smoothing"] == "gaussian"
    reach = math.ceil(3 * width) if gaussian else int(width)
    result = np.empty_like(column)
    for t in range(len(column)):
        steps = np.arange(max(-t, -reach), min(len(column) - 1 - t, reach) + 1)
        if gaussian:
            weights = np.exp(-0.5 * (steps / width) ** 2)
            weights /= weights.sum()
        else:
            weights = np.linalg.pinv(np.vander(steps.astype(float), min(3, len(steps)), increasing=True))[0]
        # As differences from the value, so that a plateau stays flat.
        result[t] = column[t] + (weights.astype(np.float32) * (column[t + steps] - column[t])).sum(dtype=np.float32)
    return result


def upsampled(column: np.ndarray, factor: int) -> np.ndarray:
    """A track [s], linear between the segments' middles: [s * factor]."""
    if factor == 1:
        return column
    steps = 2 * np.arange(len(column) * factor) + 1 - factor
    left, rest = np.divmod(steps, 2 * factor)
    low = column[np.clip(left, 0, len(column) - 1)]
    high = column[np.clip(left + 1, 0, len(column) - 1)]
    return np.asarray(low + (rest / (2 * factor)).astype(np.float32) * (high - low), np.float32)


def thresholds(track: np.ndarray, settings: Mapping[str, Any]) -> list[np.float32]:
    """η of a track, one per level, in float32 as the exported graph computes it."""
    levels = [float(text) for text in settings["threshold_levels"].split(",")]
    low, high = track.min(), track.max()
    if settings["threshold"] == "zero":
        return [np.float32(0)]
    if settings["threshold"] == "midpoint":
        return [(low + high) / np.float32(2)]
    if settings["threshold"] == "value":
        return [np.float32(level) for level in levels]
    if settings["threshold"] == "range":
        return [low + np.float32(level) * (high - low) for level in levels]
    ascending, etas = np.sort(track), []
    for level in levels:
        rank = level * (len(track) - 1)
        below = math.floor(rank)
        first, second = ascending[below], ascending[min(below + 1, len(track) - 1)]
        etas.append(first + np.float32(rank - below) * (second - first))
    return etas


def runs(track: np.ndarray, eta: np.float32) -> list[tuple[int, int]]:
    """Maximal runs of cells strictly above η: (first, one after the last)."""
    edges = np.diff(np.concatenate([[False], track > eta, [False]]).astype(np.int8))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()))


def local_scores(values: np.ndarray, spans: list[tuple[int, int]], settings: Mapping[str, Any]) -> np.ndarray:
    """How much each run [n] stands out: its peak, its mean, or its mean minus that of a border on both sides."""
    sums = np.concatenate([[0.0], np.cumsum(np.round(values.astype(np.float64) * GRID) / GRID)])
    low, high = float(values.min()), float(values.max())
    constant = high - low <= CONSTANT * max(abs(low), abs(high))
    scores = []
    for start, end in spans:
        if settings["score"] == "peak":
            score = float(values[start:end].max())
        else:
            score = float(sums[end] - sums[start]) / (end - start)
        scaled = settings["score_scale"] == "range"
        outside = 0.0
        if settings["score"] == "contrast":
            width = math.ceil(settings["contrast_border"] * (end - start))
            left, right = max(start - width, 0), min(end + width, len(values))
            cells = start - left + right - end
            border = float(sums[start] - sums[left] + sums[right] - sums[end])
            outside = (border / cells - (low if scaled else 0.0)) if cells else 0.0
        if scaled:
            score = 0.0 if constant else (score - low - outside) / (high - low)
        else:
            score -= outside
        scores.append(score)
    return np.array(scores, np.float32)


def suppressed(
    spans: list[tuple[int, int]], scores: list[float], settings: Mapping[str, Any]
) -> list[tuple[int, float]]:
    """Non-maximum suppression of one class: (place, score) of the runs that stay, in their order.

    Of equal scores the run that starts first, then the longer one, is the better.
    """
    if settings["nms"] == "none":
        return list(enumerate(scores))
    starts, ends = (np.array([span[side] for span in spans], np.float64) for side in (0, 1))
    current, open_, kept = np.array(scores, np.float64), np.ones(len(spans), bool), []
    while open_.any():
        best = int(np.argmax(np.where(open_, current, -np.inf)))
        open_[best] = False
        kept.append((best, float(current[best])))
        common = np.maximum(np.minimum(ends, ends[best]) - np.maximum(starts, starts[best]), 0)
        tiou = common / (ends - starts + ends[best] - starts[best] - common)
        if settings["nms"] == "hard":
            open_ &= ~(tiou > settings["nms_tiou"])
        else:
            current = np.where(open_ & (current > 0), current * np.exp(-(tiou**2) / settings["nms_sigma"]), current)
    return sorted(kept)
