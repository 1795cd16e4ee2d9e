"""What can be evaluated, wherever it comes from: raw scores, a file of detections, the folder of an evaluation or run.

Ground truth comes with raw scores, from a converted data set (its features are not decoded), or from a JSON file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig, detect_videos, video_scores
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.columns import AnnotatedVideos, Detections
from tc3net.intervals.detections_json import load_detections, report_lines


@dataclass(frozen=True)
class VideoScores:
    """Video-level scores and labels of n videos.

    Attributes:
        video_ids: n names.
        scores: [n, C] float.
        labels: [n, C], 0 or 1.
    """

    video_ids: tuple[str, ...]
    scores: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Scored:
    """Detections with the ground truth they are scored against.

    Attributes:
        name: where they came from, for messages.
        annotated: ground truth.
        detections: labels index `annotated.truth.classes`.
        videos: video-level scores, where there are any.
        scores: the raw scores that the detections were made from; None: another tool's detections.
        config: how they were made; with `scores`.
        notes: what a file of detections held that cannot be scored; one line each.
        out_of_scope: the same with all names, for JSON.
    """

    name: str
    annotated: AnnotatedVideos
    detections: Detections
    videos: VideoScores | None = None
    scores: RawScores | None = None
    config: DetectionConfig | None = None
    notes: tuple[str, ...] = ()
    out_of_scope: dict[str, Any] | None = None


def annotated_videos(scores: RawScores) -> AnnotatedVideos:
    """The ground truth that raw scores carry."""
    row_of = {video_id: row for row, video_id in enumerate(scores.video_ids)}
    rows = [row_of[video_id] for video_id in scores.ground_truth.video_ids]
    bases = set(zip(scores.fps.tolist(), scores.frames_per_segment.tolist(), scores.stride_frames.tolist()))
    return AnnotatedVideos(
        dataset=scores.dataset,
        truth=scores.ground_truth,
        duration_s=scores.duration_s[rows],
        time_bases=tuple(TimeBase(*base) for base in sorted(bases)),
    )


def from_scores(name: str, scores: RawScores, config: DetectionConfig) -> Scored:
    """Detects.

    Args:
        name: for messages.
        scores: raw scores with labels and ground truth.
        config: detection choices.
    """
    found = Scored(name, annotated_videos(scores), detect_videos(scores, config))
    return with_scores(found, scores, config)


def with_scores(scored: Scored, scores: RawScores, config: DetectionConfig) -> Scored:
    """Detections with the raw scores that they were made from.

    Args:
        scored: the detections.
        scores: raw scores with labels.
        config: how the detections were made.
    """
    video_level = video_scores(tf.constant(scores.pooled), config).numpy()
    videos = VideoScores(scores.video_ids, video_level, scores.labels)
    return replace(scored, videos=videos, scores=scores, config=config)


def from_detections(path: str | Path, annotated: AnnotatedVideos) -> Scored:
    """A file of detections in the ActivityNet format, against any ground truth.

    Raises:
        UserError: see `load_detections`.
    """
    loaded = load_detections(path, annotated.truth)
    out_of_scope = {
        "unknown_labels": loaded.unknown_labels,
        "unknown_videos": loaded.unknown_videos,
        "videos_without_detections": list(loaded.empty_videos),
    }
    notes = tuple(report_lines(loaded, annotated.truth.classes))
    return Scored(str(path), annotated, loaded.detections, notes=notes, out_of_scope=out_of_scope)
