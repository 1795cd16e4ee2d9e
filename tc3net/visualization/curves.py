"""T-CAMs of one video as they are thresholded, on the time axis: what the timeline picture and the report draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tc3net.data.timebase import boundaries_s
from tc3net.detection import (
    DetectionConfig,
    Evidence,
    check_readable,
    class_gate,
    evidence_of,
    thresholds,
    tracks_of,
    video_scores,
)
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.columns import Detections
from tc3net.visualization.timeline import ClassTrack

_VIDEOS_PER_CALL = 64  # bounds the memory


@dataclass(frozen=True)
class VideoCurves:
    """k classes of one video.

    Attributes:
        boundaries_s: [s + 1] seconds, where segments (or their parts, if upsampled) begin, and the end; equally spaced.
        probability: [k] video-level scores.
        tcam: [s, k], what is thresholded: mixed, smoothed and upsampled as configured.
        thresholds: per class its η, ascending; none where the class did not pass the class filter.
    """

    boundaries_s: np.ndarray
    probability: np.ndarray
    tcam: np.ndarray
    thresholds: tuple[tuple[float, ...], ...]


class CurveSource:
    """What detection saw in the videos of raw scores.

    Args:
        scores: raw scores.
        config: how detections were made.

    Raises:
        UserError: see `tc3net.detection.check_readable`.
    """

    def __init__(self, scores: RawScores, config: DetectionConfig) -> None:
        check_readable(scores, config)
        self.scores, self._config = scores, config
        self.probability = np.asarray(video_scores(tf.constant(scores.pooled), config).numpy())  # [V, C]
        gates = []
        for first in range(0, len(scores.video_ids), _VIDEOS_PER_CALL):
            evidence = self._evidence(first, min(first + _VIDEOS_PER_CALL, len(scores.video_ids)))
            gates.append(class_gate(evidence.classes, config).numpy())
        self._gate = np.concatenate(gates)  # [V, C]

    def _evidence(self, first: int, last: int) -> Evidence:
        """Of the videos first .. last - 1."""
        scores = self.scores
        return evidence_of(scores.outputs(first, last), scores.streams, self._config, scores.top_k_divisor)

    def of(self, video: int, classes: Sequence[int]) -> VideoCurves:
        """The curves of k classes of one video.

        Args:
            video: index into the raw scores.
            classes: k class ids, at least one.
        """
        chosen, scores, config = list(classes), self.scores, self._config
        pairs = tf.constant([[0, c] for c in chosen], tf.int64)
        tracks = tracks_of(self._evidence(video, video + 1).tracks, pairs, config)  # [k, (s)]
        etas = thresholds(tracks, config).numpy()  # [k, levels]
        curves = tracks.flat_values.numpy().reshape(len(chosen), -1).T
        edges = boundaries_s(
            np.arange(len(curves) + 1),
            fps=scores.fps[video],
            frames_per_segment=scores.frames_per_segment[video],
            stride_frames=scores.stride_frames[video],
            cells_per_segment=config.upsampling,
        )
        found = tuple(tuple(eta.tolist()) if self._gate[video, c] else () for c, eta in zip(chosen, etas))
        return VideoCurves(edges, self.probability[video, chosen], curves, found)


def video_tracks(
    source: CurveSource,
    video: int,
    shown: Sequence[int],
    detections: Detections,
    instances: Sequence[tuple[str, float, float]] | None,
) -> tuple[np.ndarray, list[ClassTrack]]:
    """What a picture of one video shows of some classes.

    Args:
        source: raw scores, and how detections were made.
        video: index into them.
        shown: class ids, at least one.
        detections: of all videos.
        instances: (class, start s, end s), or None where unknown.

    Returns:
        The boundaries in seconds and the tracks, as `tc3net.visualization.timeline.plot_timeline` takes them.
    """
    curves = source.of(video, shown)
    mine = np.flatnonzero(detections.video == video)
    tracks = []
    for place, c in enumerate(shown):
        name = source.scores.classes[c]
        found = [i for i in mine if detections.label[i] == c]
        tracks.append(
            ClassTrack(
                name=name,
                probability=float(curves.probability[place]),
                tcam=curves.tcam[:, place],
                thresholds=curves.thresholds[place],
                detections=[(detections.start_s[i], detections.end_s[i], detections.score[i]) for i in found],
                instances=None if instances is None else [(s, e) for label, s, e in instances if label == name],
            )
        )
    return curves.boundaries_s, tracks
