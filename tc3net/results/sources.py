"""What can be evaluated, wherever it comes from: raw scores, a file of detections, the folder of an evaluation or run.

Ground truth comes with raw scores, from a converted data set (its features are not decoded), or from a JSON file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.files import read_json
from tc3net.data import schema
from tc3net.data.pipeline import open_split, readable
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig, detect_videos, video_scores
from tc3net.inference.scorer import RawScores, load_scores
from tc3net.intervals.activitynet_json import load_detections, report_lines
from tc3net.intervals.annotations_json import load_annotations
from tc3net.intervals.columns import AnnotatedVideos, Detections, GroundTruth

# What `python -m tc3net.evaluate` writes, and `load_folder` reads.
DETECTIONS, TRUTH, RAW_SCORES, METRICS = "detections.json", "ground_truth.json", "raw_scores.npz", "metrics.json"


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
        notes: what a file of detections held that cannot be scored; one line each.
        out_of_scope: the same with all names, for JSON.
    """

    name: str
    annotated: AnnotatedVideos
    detections: Detections
    videos: VideoScores | None = None
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
    video_level = video_scores(tf.constant(scores.pooled), config).numpy()
    videos = VideoScores(scores.video_ids, video_level, scores.labels)
    return Scored(name, annotated_videos(scores), detect_videos(scores, config), videos)


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


def evaluation_folder(path: str | Path) -> Path:
    """The folder of an evaluation: the one given, or `evaluation` in a run folder.

    Raises:
        UserError: no evaluation there.
    """
    folders = [folder for folder in (Path(path), Path(path) / "evaluation") if (folder / DETECTIONS).is_file()]
    if not folders:
        raise UserError(
            f"{path}: no {DETECTIONS} found there or in its folder evaluation. Run `python -m tc3net.evaluate` for it "
            "first, or give the file of detections itself with --dataset_dir or --annotations."
        )
    return folders[0]


def read_metrics_file(folder: Path) -> dict[str, Any]:
    """metrics.json of an evaluation.

    Raises:
        UserError: absent, or something else.
    """
    metrics = read_json(folder / METRICS, "metrics written by tc3net.evaluate")
    if not isinstance(metrics, dict):
        raise UserError(f"{folder / METRICS}: expected metrics written by tc3net.evaluate. Evaluate again.")
    return metrics


def detection_settings(folder: Path) -> DetectionConfig:
    """How the detections of an evaluation of raw scores were made.

    Raises:
        UserError: metrics.json does not say.
    """
    try:
        return DetectionConfig(**read_metrics_file(folder)["detection"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / METRICS}: no detection settings found ({error}). Evaluate again.") from None


def load_folder(path: str | Path) -> Scored:
    """What an evaluation left behind: its detections as they are, ground truth, and video-level scores if it has them.

    Args:
        path: a folder written by `python -m tc3net.evaluate`, or a run folder that holds one as `evaluation`.

    Raises:
        UserError: no evaluation there, or one of its files is damaged.
    """
    folder = evaluation_folder(path)
    scored = replace(from_detections(folder / DETECTIONS, load_annotations(folder / TRUTH, None)), name=str(path))
    if not (folder / RAW_SCORES).is_file():
        return scored
    scores = load_scores(folder / RAW_SCORES)
    video_level = video_scores(tf.constant(scores.pooled), detection_settings(folder)).numpy()
    videos = VideoScores(scores.video_ids, video_level, scores.labels)
    return replace(scored, videos=videos)


def read_annotated_videos(dataset_dir: str | Path, subset: str) -> AnnotatedVideos:
    """Ground truth of a converted data set; the records are read (and their checksums verified), features not decoded.

    Args:
        dataset_dir: folder written by `python -m data_prep.convert`.
        subset: split name.

    Raises:
        UserError: unknown subset, or a damaged record.
    """
    split = open_split(dataset_dir, subset)
    unread = ("features/rgb", "features/flow", "features/dtype")

    def without_features(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return {key: value for key, value in schema.parse(serialized).items() if key not in unread}

    records = tf.data.TFRecordDataset(list(split.paths)).map(without_features, num_parallel_calls=tf.data.AUTOTUNE)
    rows = [{key: value.numpy() for key, value in row.items()} for row in readable(records, split)]
    bases = {(float(r["fps"]), int(r["frames_per_segment"]), int(r["stride_frames"])) for r in rows}
    known = [row for row in rows if row["instances_known"]]

    def column(key: str) -> np.ndarray:
        return np.concatenate([row[key] for row in known]) if known else np.zeros(0)

    def owners(key: str) -> np.ndarray:
        return np.repeat(np.arange(len(known)), [len(row[key]) for row in known])

    truth = GroundTruth(
        classes=split.manifest.classes,
        video_ids=tuple(row["id"].decode() for row in known),
        video=owners("instances/label"),
        label=column("instances/label").astype(np.int64),
        start_s=column("instances/start"),
        end_s=column("instances/end"),
        ambiguous_video=owners("ambiguous/start"),
        ambiguous_start_s=column("ambiguous/start"),
        ambiguous_end_s=column("ambiguous/end"),
    )
    return AnnotatedVideos(
        dataset=split.manifest.title,
        truth=truth,
        duration_s=np.array([float(row["duration"]) for row in known]),
        time_bases=tuple(TimeBase(*base) for base in sorted(bases)),
    )
