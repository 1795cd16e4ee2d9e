"""Detections of a batch (graph code, also exported) and of all videos of raw scores, in seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tc3net.data.timebase import boundaries_s
from tc3net.detection.boundaries import propose_boundaries
from tc3net.detection.config import DetectionConfig
from tc3net.detection.evidence import Evidence, check_attention, check_boundaries, evidence_of, evidence_of_tcam
from tc3net.detection.proposals import Proposals, local_score, propose, with_peaks_of
from tc3net.detection.suppression import hard_nms, soft_nms
from tc3net.detection.tracks import class_gate, log_probabilities, thresholds, tracks_of
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.columns import Detections


def class_score(class_scores: tf.Tensor, config: DetectionConfig) -> tf.Tensor:
    """The class part of the scores, [N, C] -> [N, C]: top-k means, their probability, or its logarithm."""
    if config.score_class == "top_k_mean":
        return class_scores
    logarithm = log_probabilities(class_scores, config)
    return tf.cast(tf.exp(logarithm) if config.score_class == "probability" else logarithm, class_scores.dtype)


def detect(tcam: tf.RaggedTensor, config: DetectionConfig, top_k_divisor: int = 8) -> dict[str, tf.Tensor]:
    """`detect_in` of a T-CAM [N, (s), C] alone, without attention: it is thresholded, scored, and tells the classes."""
    return detect_in(evidence_of_tcam(tcam, config, top_k_divisor), config)


def scored_runs(evidence: Evidence, pairs: tf.Tensor, config: DetectionConfig) -> tuple[Proposals, tf.Tensor]:
    """The runs above the thresholds of the tracks of P (video, class) pairs, and the local part of their scores [n]."""
    tracks = tracks_of(evidence.tracks, pairs, config)
    found = propose(tracks, thresholds(tracks, config), config.min_segments * config.upsampling)
    if evidence.scored is not evidence.tracks:
        tracks = tracks_of(evidence.scored, pairs, config)
        found = with_peaks_of(found, tracks)
    return found, local_score(tracks, found, config)


def detect_in(evidence: Evidence, config: DetectionConfig, gate: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
    """Runs above the thresholds, for the classes that pass the filter, scored, and thinned out by NMS.

    With the defaults: maximal runs of segments with a T-CAM strictly above the midpoint (Sec. 3.5). A constant T-CAM
    is nowhere above its own midpoint and gives no detection. What is found in a video does not depend on the others.
    With `proposals=boundaries` it is intervals that the network regresses, in place of runs (`propose_boundaries`).

    Args:
        evidence: what is thresholded and scored (`evidence_of`). Its tracks are smoothed and upsampled, both alike.
        config: every choice.
        gate: [N, C] bool, the classes to detect in each video, where they are known; None: those of `class_gate`.

    Returns:
        Columns of n detections ordered by class, video, start, the longer first: `video`, `label`, `start_cell`,
        `end_cell` (exclusive), all [n] int64, and `score` [n] float32. A segment has `config.upsampling` cells. Cells
        of regressed boundaries are float64.
    """
    wanted = class_gate(evidence.classes, config) if gate is None else gate
    label_video = tf.where(tf.transpose(wanted))  # [P, 2], ordered by class, then video
    pairs = tf.reverse(label_video, axis=[1])
    if config.needs_boundaries:
        found = propose_boundaries(evidence, pairs, config)
        score, cells = found.peak, 1
    else:
        found, score = scored_runs(evidence, pairs, config)
        cells = config.upsampling
    segments = tf.gather(evidence.tracks.row_lengths(), pairs[:, 0])  # [P]
    origin = tf.cast(tf.gather(cells * tf.cumsum(segments, exclusive=True), found.track), found.start.dtype)
    pair = tf.gather(pairs, found.track)  # [n, 2]
    score = score + config.score_gamma * tf.gather_nd(class_score(evidence.classes, config), pair)
    if config.nms == "soft":
        score = soft_nms(found, score, config.nms_sigma)
    columns = {
        "video": pair[:, 0],
        "label": pair[:, 1],
        "start_cell": (found.start - origin) * (config.upsampling // cells),
        "end_cell": (found.end - origin) * (config.upsampling // cells),
        "score": score,
    }
    if config.nms == "hard":
        kept = hard_nms(found, score, config.nms_tiou)
        columns = {name: tf.boolean_mask(column, kept) for name, column in columns.items()}
    return columns


def to_seconds(
    columns: dict[str, np.ndarray],
    *,
    video_ids: Sequence[str],
    fps: np.ndarray,
    frames_per_segment: np.ndarray,
    stride_frames: np.ndarray,
    cells_per_segment: int = 1,
) -> Detections:
    """Detections in seconds, each by its video's time base.

    Args:
        columns: what `detect` returned, as NumPy arrays.
        video_ids: names of the N videos.
        fps, frames_per_segment, stride_frames: [N].
        cells_per_segment: `upsampling` of the config.
    """
    video = np.asarray(columns["video"], np.int64)
    start_s, end_s = (
        boundaries_s(
            columns[name],
            fps=np.asarray(fps)[video],
            frames_per_segment=np.asarray(frames_per_segment)[video],
            stride_frames=np.asarray(stride_frames)[video],
            cells_per_segment=cells_per_segment,
        )
        for name in ("start_cell", "end_cell")
    )
    return Detections(
        video_ids=tuple(video_ids),
        video=video,
        label=np.asarray(columns["label"], np.int64),
        start_s=start_s,
        end_s=end_s,
        score=np.asarray(columns["score"], np.float64),
    )


# Bounds the memory of detect_in(): cells x classes at a time, unless one video has more. Of boundaries, which overlap,
# every pair that does takes memory too.
_CELLS_PER_CALL, _BOUNDED_CELLS_PER_CALL = 1 << 23, 1 << 19


def check_readable(scores: RawScores, config: DetectionConfig) -> None:
    """Raises UserError if the scores do not hold what detection reads: single streams, an attention, boundaries."""
    scores.check_streams(config.needs_streams)
    check_attention(scores.attention is not None, config)
    check_boundaries(scores.boundaries is not None, config)


def detect_cells(scores: RawScores, config: DetectionConfig, gate: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Detections of all videos of raw scores, in cells, ordered by video, class, start, the longer first.

    Args:
        scores: V videos.
        config: every choice.
        gate: [V, C] bool, the classes to detect in each video, where they are known; None: those of `class_gate`.

    Returns:
        Columns of `detect`.

    Raises:
        UserError: see `check_readable`.
    """
    check_readable(scores, config)
    most = _BOUNDED_CELLS_PER_CALL if config.needs_boundaries else _CELLS_PER_CALL
    rows_per_call = max(1, most // (config.upsampling * len(scores.classes)))
    parts: list[dict[str, np.ndarray]] = []
    first = 0
    while first < len(scores.video_ids) or not parts:
        reached = np.searchsorted(scores.row_splits, scores.row_splits[first] + rows_per_call, side="right") - 1
        last = min(max(int(reached), first + 1), len(scores.video_ids))
        evidence = evidence_of(scores.outputs(first, last), scores.streams, config, scores.top_k_divisor)
        found = detect_in(evidence, config, None if gate is None else tf.constant(gate[first:last]))
        part = {name: column.numpy() for name, column in found.items()}
        part["video"] = part["video"] + first
        parts.append(part)
        first = last
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((-columns["end_cell"], columns["start_cell"], columns["label"], columns["video"]))
    return {name: column[order] for name, column in columns.items()}


def detect_videos(scores: RawScores, config: DetectionConfig) -> Detections:
    """Detections of all videos of raw scores, in seconds, ordered by video, class, start, the longer first.

    Args:
        scores: V videos.
        config: every choice.

    Raises:
        UserError: the single streams' T-CAMs are asked for, and the scores have none.
    """
    return to_seconds(
        detect_cells(scores, config),
        video_ids=scores.video_ids,
        fps=scores.fps,
        frames_per_segment=scores.frames_per_segment,
        stride_frames=scores.stride_frames,
        cells_per_segment=config.upsampling,
    )
