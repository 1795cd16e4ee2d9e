"""Training batches with THUMOS14's lengths, for benchmarks: random features, labels and counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

# Segments (16 frames at 25 fps) of 32 videos: the quantiles 1/64, 3/64, ... 63/64 of the 1010 validation videos'
# durations, on which the paper trains.
THUMOS14_LENGTHS = (
    25, 39, 59, 79, 94, 105, 120, 131, 145, 162, 174, 188, 201, 211, 223, 235,
    247, 264, 275, 290, 302, 318, 334, 355, 371, 410, 461, 554, 663, 820, 1112, 2061,
)  # fmt: skip


def thumos14_lengths(videos: int = 32, crop_segments: int = 0, seed: int = 0) -> np.ndarray:
    """[N] segments per video, in random order.

    Args:
        videos: N; beyond 32 the quantiles repeat.
        crop_segments: longest crop; 0: full length.
        seed: of the order.
    """
    lengths = np.resize(np.asarray(THUMOS14_LENGTHS), videos)
    if crop_segments:
        lengths = np.minimum(lengths, crop_segments)
    return np.random.default_rng(seed).permutation(lengths)


def random_batch(
    lengths: np.ndarray, *, feature_dim: int, num_classes: int, full_length: bool, seed: int = 0
) -> dict[str, Any]:
    """A batch as `tc3net.data.pipeline.training_batches` gives it; every fifth video has two labels.

    Args:
        lengths: [N] segments per video.
        feature_dim: D of one stream.
        num_classes: C.
        full_length: whether the counting loss sees it.
        seed: of features, labels and counts.
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros((len(lengths), num_classes), np.float32)
    labels[np.arange(len(lengths)), rng.integers(0, num_classes, len(lengths))] = 1
    labels[::5, 0] = 1
    rows = rng.random((int(lengths.sum()), 2 * feature_dim), np.float32)
    return {
        "features": tf.RaggedTensor.from_row_lengths(tf.constant(rows), lengths),
        "labels": tf.constant(labels),
        "counts": tf.constant(labels * rng.integers(1, 30, labels.shape).astype(np.float32)),
        "counts_known": tf.ones(labels.shape, tf.bool),
        "full_length": tf.fill([len(lengths)], full_length),
    }
