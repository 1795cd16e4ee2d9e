"""Videos that belong to no data set: their features from files, and their raw scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.inference.raw_scores import RawScores
from tc3net.inference.scorer import Scorer
from tc3net.intervals.columns import GroundTruth


def load_features(path: str, width: int) -> np.ndarray:
    """Reads one `.npy` feature file [s, width] as float32.

    Raises:
        UserError: absent, not a plain array, of another shape, empty, or with NaN or Inf.
    """
    try:
        features = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such feature file.") from None
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: expected a .npy array of numbers, found something else ({error}).") from None
    if features.ndim != 2 or features.shape[1] != width or len(features) == 0:
        raise UserError(
            f"{path}: shape {features.shape} found, [segments, {width}] expected: the run was trained on features of "
            "that size. Extract the features with the same network, or choose --rgb/--flow or --features to fit."
        )
    features = features.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise UserError(f"{path}: NaN or Inf in {len(bad)} segments, the first is {bad[0]}. Extract it again.")
    return features


def collect_videos(rgb: Sequence[str], flow: Sequence[str], joint: Sequence[str], dim: int) -> dict[str, np.ndarray]:
    """Features [s, 2D] by video id, from the file flags.

    Raises:
        UserError: no files, rgb and flow that do not fit together, or two videos of one name.
    """
    if bool(joint) == bool(rgb or flow) or len(rgb) != len(flow):
        raise UserError(
            f"Found {len(rgb)} --rgb, {len(flow)} --flow and {len(joint)} --features files; expected as many --rgb as "
            "--flow files, or only --features files."
        )
    videos: dict[str, np.ndarray] = {}
    groups = [[path] for path in joint] if joint else [[a, b] for a, b in zip(rgb, flow)]
    for files in groups:
        video_id = Path(files[0]).stem
        if video_id in videos:
            raise UserError(f"Two feature files name the video {video_id!r} ({files[0]}); rename one.")
        parts = [load_features(path, 2 * dim if joint else dim) for path in files]
        if len({len(part) for part in parts}) > 1:
            raise UserError(
                f"{files[0]} has {len(parts[0])} segments, {files[1]} has {len(parts[1])}; expected the same video."
            )
        videos[video_id] = np.concatenate(parts, axis=1)
    return videos


def score_features(
    scorer: Scorer, videos: dict[str, np.ndarray], classes: tuple[str, ...], base: TimeBase
) -> RawScores:
    """Raw scores of videos without labels.

    Args:
        scorer: the model.
        videos: features [s, 2D] by id.
        classes: class names.
        base: time base of all of them.
    """
    scored = [scorer.with_streams(tf.RaggedTensor.from_row_lengths(f, [len(f)])) for f in videos.values()]
    joined = {name: np.concatenate([part[name] for part in scored]) for name in scored[0]}
    lengths = np.array([len(f) for f in videos.values()], np.int64)
    count = len(videos)
    ids, times = np.zeros(0, np.int64), np.zeros(0)
    return RawScores(
        dataset="",
        classes=classes,
        video_ids=tuple(videos),
        row_splits=np.concatenate([[0], np.cumsum(lengths)]),
        top_k_divisor=scorer.top_k_divisor,
        fps=np.full(count, base.fps),
        frames_per_segment=np.full(count, base.frames_per_segment),
        stride_frames=np.full(count, base.stride_frames),
        duration_s=np.array([base.duration_s(int(length)) for length in lengths]),
        labels=np.zeros((count, len(classes)), np.float32),
        ground_truth=GroundTruth(classes, (), ids, ids, times, times, ids, times, times),
        tcam=joined["tcam"],
        tcam_rgb=joined["tcam_rgb"],
        tcam_flow=joined["tcam_flow"],
        pooled=joined["pooled"],
    )
