"""Detections from T-CAMs (Sec. 3.5), as graph code on ragged batches: no loop over videos, classes or runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tc3net import ragged_ops
from tc3net.config import option
from tc3net.errors import UserError
from tc3net.inference import RawScores
from tc3net.intervals import Detections
from tc3net.timebase import boundaries_s


@dataclass(frozen=True)
class DetectionConfig:
    """Choices after training. Defaults are the paper's for THUMOS14."""

    class_filter: str = option(
        "positive",
        "Classes detected in a video: those with a positive top-k mean (Sec. 3.5), or half_of_best: also above half of "
        "the video's best one (reference code, THUMOS14).",
        choices=("positive", "half_of_best"),
    )
    threshold: str = option(
        "midpoint",
        "T-CAM threshold eta: midpoint between the class's minimum and maximum in the video (Sec. 4.1, THUMOS14), or "
        "zero (ActivityNet 1.2).",
        choices=("midpoint", "zero"),
    )
    score_gamma: float = option(1.0, "Detection score = highest T-CAM value + this times the class's top-k mean.")
    min_segments: int = option(1, "Shortest detection, in segments (reference code: 2).")
    detection_top_k: str = option(
        "ceil",
        "Rounding of k = segments / top_k_divisor for the class filter and scores: ceil (Sec. 3.2), or floor, at "
        "least 1 (reference code's evaluator).",
        choices=("ceil", "floor"),
    )
    video_scores: str = option(
        "fused",
        "Video-level class scores: softmax of the fused T-CAM's top-k mean (Sec. 3.5), or sum of the softmaxes of "
        "rgb, flow and fused (reference code).",
        choices=("fused", "sum"),
    )

    def __post_init__(self) -> None:
        if self.min_segments < 1:
            raise UserError(f"--min_segments={self.min_segments}; expected 1 or more segments.")
        if not np.isfinite(self.score_gamma):
            raise UserError(f"--score_gamma={self.score_gamma}; expected a finite number (the paper's is 1).")


def video_scores(pooled: tf.Tensor, config: DetectionConfig) -> tf.Tensor:
    """Video-level class scores (Sec. 3.5, Eq. 2).

    Args:
        pooled: [N, 3, C], top-k means of the rgb, flow and fused T-CAM.
        config: which of them count.

    Returns:
        [N, C]; a pmf, or the sum of three.
    """
    pmfs = tf.nn.softmax(pooled, axis=2)
    return pmfs[:, 2] if config.video_scores == "fused" else tf.reduce_sum(pmfs, axis=1)


def class_gate(top_k_means: tf.Tensor, config: DetectionConfig) -> tf.Tensor:
    """Which classes are detected in which video.

    Args:
        top_k_means: [N, C] of the fused T-CAM.

    Returns:
        [N, C] bool.
    """
    gate = top_k_means > 0
    if config.class_filter == "half_of_best":
        gate &= top_k_means > tf.reduce_max(top_k_means, axis=1, keepdims=True) / 2
    return gate


def thresholds(tcam: tf.RaggedTensor, config: DetectionConfig) -> tf.Tensor:
    """η per video and class: [N, C] (Sec. 4.1)."""
    flat, row_ids, videos = tcam.flat_values, tcam.value_rowids(), tcam.nrows()
    if config.threshold == "zero":
        return tf.zeros([videos, flat.shape[1]], flat.dtype)
    low = tf.math.unsorted_segment_min(flat, row_ids, videos)
    high = tf.math.unsorted_segment_max(flat, row_ids, videos)
    return (low + high) / 2


def detect(tcam: tf.RaggedTensor, config: DetectionConfig, top_k_divisor: int = 8) -> dict[str, tf.Tensor]:
    """Maximal runs of segments with a T-CAM strictly above the threshold (Sec. 3.5).

    A constant T-CAM is nowhere above its own midpoint and gives no detection.

    Args:
        tcam: [N, (s), C] ragged, fused T-CAM.
        config: filter, threshold and score rules.
        top_k_divisor: k = s / divisor.

    Returns:
        Columns of n detections ordered by class, video, time: `video`, `label`, `start_segment`, `end_segment`
        (exclusive), all [n] int64, and `score` [n] float32.
    """
    flat, row_ids = tcam.flat_values, tcam.value_rowids()  # [R, C], [R]
    top_k_means = ragged_ops.top_k_mean(tcam, divisor=top_k_divisor, rounding=config.detection_top_k)  # [N, C]
    eta, gate = thresholds(tcam, config), class_gate(top_k_means, config)
    above = (flat > tf.gather(eta, row_ids)) & tf.gather(gate, row_ids)  # [R, C]
    same_video = row_ids[1:] == row_ids[:-1]  # [R - 1], does a row continue the video of the row before
    continues = above[1:] & above[:-1] & same_video[:, tf.newaxis]
    begins = above & ~tf.pad(continues, [[1, 0], [0, 0]])[: tf.shape(above)[0]]
    ends = above & ~tf.pad(continues, [[0, 1], [0, 0]])[: tf.shape(above)[0]]
    # Class-major, so that the i-th beginning and the i-th end belong to the same run.
    first, last = tf.where(tf.transpose(begins)), tf.where(tf.transpose(ends))  # [n, 2]: class, row
    run_of = tf.cumsum(tf.cast(tf.reshape(tf.transpose(begins), [-1]), tf.int32)) - 1  # [C * R]
    inside = tf.reshape(tf.transpose(above), [-1])
    peaks = tf.math.unsorted_segment_max(  # [n]
        tf.boolean_mask(tf.reshape(tf.transpose(flat), [-1]), inside),
        tf.boolean_mask(run_of, inside),
        tf.shape(first)[0],
    )
    label, video = first[:, 0], tf.gather(row_ids, first[:, 1])
    video_start = tf.gather(tcam.row_starts(), video)
    columns = {
        "video": video,
        "label": label,
        "start_segment": first[:, 1] - video_start,
        "end_segment": last[:, 1] + 1 - video_start,
        "score": peaks + config.score_gamma * tf.gather_nd(top_k_means, tf.stack([video, label], axis=1)),
    }
    long_enough = columns["end_segment"] - columns["start_segment"] >= config.min_segments
    return {name: tf.boolean_mask(column, long_enough) for name, column in columns.items()}


def to_seconds(
    columns: dict[str, np.ndarray],
    *,
    video_ids: Sequence[str],
    fps: np.ndarray,
    frames_per_segment: np.ndarray,
    stride_frames: np.ndarray,
) -> Detections:
    """Detections in seconds, each by its video's time base.

    Args:
        columns: what `detect` returned, as NumPy arrays.
        video_ids: names of the N videos.
        fps, frames_per_segment, stride_frames: [N].
    """
    video = np.asarray(columns["video"], np.int64)
    base = {
        "fps": np.asarray(fps)[video],
        "frames_per_segment": np.asarray(frames_per_segment)[video],
        "stride_frames": np.asarray(stride_frames)[video],
    }
    return Detections(
        video_ids=tuple(video_ids),
        video=video,
        label=np.asarray(columns["label"], np.int64),
        start_s=boundaries_s(columns["start_segment"], **base),
        end_s=boundaries_s(columns["end_segment"], **base),
        score=np.asarray(columns["score"], np.float64),
    )


_VIDEOS_PER_CALL = 256  # bounds the memory of detect(): rows x classes of this many videos at a time


def detect_videos(scores: RawScores, config: DetectionConfig) -> Detections:
    """Detections of all videos of raw scores, in seconds, ordered by video, class, time.

    Args:
        scores: V videos.
        config: filter, threshold and score rules.
    """
    videos = len(scores.video_ids)
    parts: list[dict[str, np.ndarray]] = []
    for first in range(0, videos, _VIDEOS_PER_CALL):
        tcam = scores.ragged_tcam(first, min(first + _VIDEOS_PER_CALL, videos))
        part = {name: column.numpy() for name, column in detect(tcam, config, scores.top_k_divisor).items()}
        part["video"] = part["video"] + first
        parts.append(part)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((columns["start_segment"], columns["label"], columns["video"]))
    return to_seconds(
        {name: column[order] for name, column in columns.items()},
        video_ids=scores.video_ids,
        fps=scores.fps,
        frames_per_segment=scores.frames_per_segment,
        stride_frames=scores.stride_frames,
    )
