"""Raw scores of videos that belong to no data set, from their features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tc3net.data.timebase import TimeBase
from tc3net.inference.raw_scores import RawScores
from tc3net.inference.scorer import Scorer, attention_of, boundaries_of
from tc3net.intervals.columns import GroundTruth


def score_features(
    scorer: Scorer, videos: dict[str, np.ndarray], classes: tuple[str, ...], base: TimeBase | Mapping[str, TimeBase]
) -> RawScores:
    """Raw scores of videos without labels.

    Args:
        scorer: the model.
        videos: features [s, ΣD] by id.
        classes: class names.
        base: time base of all of them, or of each by id.
    """
    bases = [base if isinstance(base, TimeBase) else base[video_id] for video_id in videos]
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
        fps=np.array([one.fps for one in bases], np.float64),
        frames_per_segment=np.array([one.frames_per_segment for one in bases], np.int64),
        stride_frames=np.array([one.stride_frames for one in bases], np.int64),
        duration_s=np.array([one.duration_s(int(length)) for one, length in zip(bases, lengths)]),
        labels=np.zeros((count, len(classes)), np.float32),
        ground_truth=GroundTruth(classes, (), ids, ids, times, times, ids, times, times),
        tcam=joined["tcam_fused"],
        pooled=joined["pooled"],
        streams=scorer.streams,
        stream_tcams={name: joined[f"tcam_{name}"] for name in scorer.streams},
        attention=attention_of(joined),
        boundaries=boundaries_of(joined),
    )
