"""What stands before any threshold: which classes are looked for in which video, and their score over time.

A *track* is the T-CAM (or what stands for it, see `evidence`) of one class in one video. All tracks of a batch lie one
after the other in a ragged tensor [P, (s)], whatever video they belong to, and everything acts on their concatenated
values: no loop over videos or classes, no padding, and nothing that reaches from one track into the next.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tc3net.detection.config import DetectionConfig
from tc3net.ops import ragged


def video_scores(pooled: tf.Tensor, config: DetectionConfig) -> tf.Tensor:
    """Video-level class scores (Sec. 3.5, Eq. 2).

    Args:
        pooled: [N, M + 1, C], top-k means of the M streams' T-CAMs and of the fused one.
        config: which of them count.

    Returns:
        [N, C]; a pmf (or probabilities of each class by itself), or the sum of all.
    """
    pmfs = tf.nn.softmax(pooled, axis=2) if config.probability == "softmax" else tf.sigmoid(pooled)
    return pmfs[:, -1] if config.video_scores == "fused" else tf.reduce_sum(pmfs, axis=1)


def log_probabilities(class_scores: tf.Tensor, config: DetectionConfig) -> tf.Tensor:
    """Logarithm of the softmax over the classes (Eq. 2), or of each class's sigmoid, [N, C] -> [N, C] float64.

    In float64, because the last bit of a vectorized exp depends on where in the batch a number stands.
    """
    scores = tf.cast(class_scores, tf.float64)
    return tf.nn.log_softmax(scores, axis=1) if config.probability == "softmax" else tf.math.log_sigmoid(scores)


def class_gate(top_k_means: tf.Tensor, config: DetectionConfig) -> tf.Tensor:
    """Which classes are detected in which video.

    A class must pass `class_filter`; reach `min_probability` by its video-level probability; and be among the
    `max_classes` best of the video by top-k mean (of equal ones the lower class id). These do not influence one
    another: the best are taken of all classes, not of those left. With `best_class`, a video that no class is left of
    gets its best one.

    Args:
        top_k_means: [N, C] of the T-CAM that detection reads, or what stands for them (`class_scores`).

    Returns:
        [N, C] bool.
    """
    gate = tf.ones_like(top_k_means, tf.bool) if config.class_filter == "all" else top_k_means > 0
    if config.class_filter == "half_of_best":
        gate &= top_k_means > tf.reduce_max(top_k_means, axis=1, keepdims=True) / 2
    if config.min_probability > 0:
        gate &= tf.exp(log_probabilities(top_k_means, config)) >= config.min_probability
    if config.max_classes > 0 or config.best_class:
        by_rank = tf.argsort(top_k_means, axis=1, direction="DESCENDING", stable=True)  # [N, C] class ids
        rank = tf.argsort(by_rank, axis=1)  # the inverse permutation
        if config.max_classes > 0:
            gate &= rank < config.max_classes
        if config.best_class:
            gate |= ~tf.reduce_any(gate, axis=1, keepdims=True) & (rank == 0)
    return gate


def tracks_of(tcam: tf.RaggedTensor, pairs: tf.Tensor, config: DetectionConfig) -> tf.RaggedTensor:
    """The tracks that are thresholded: chosen classes of chosen videos, smoothed, then upsampled.

    Args:
        tcam: [N, (s), C] ragged.
        pairs: [P, 2] int64, (video, class).
        config: smoothing and upsampling.

    Returns:
        [P, (s * upsampling)] ragged.
    """
    return upsample(smooth(ragged.class_tracks(tcam, pairs)[0], config), config.upsampling)


def smoothing_weights(config: DetectionConfig) -> np.ndarray:
    """Weights by how many segments of the window the video has on each side.

    Near the ends of a video the window is cut off there, and the filter is that of the remaining segments: the
    Gaussian's weights are divided by their sum, Savitzky and Golay's parabola is fitted to what is there (a line
    through two segments).

    Args:
        config: `gaussian`: window of ⌈3 σ⌉ segments on each side; `savgol`: of h.

    Returns:
        [h + 1, h + 1, 2h + 1] float64; [a, b, h + i] is the weight of the segment i steps later, where a segments
        stand before and b after; 0 outside -a..b. The weights of each [a, b] sum to 1.
    """
    width = config.smoothing_segments
    reach = math.ceil(3 * width) if config.smoothing == "gaussian" else int(width)
    weights = np.zeros((reach + 1, reach + 1, 2 * reach + 1))
    for before in range(reach + 1):
        for after in range(reach + 1):
            offsets = np.arange(-before, after + 1)
            if config.smoothing == "gaussian":
                part = np.exp(-0.5 * (offsets / width) ** 2)
                part /= part.sum()
            else:
                powers = np.vander(offsets.astype(float), min(3, len(offsets)), increasing=True)  # [n, 1 + degree]
                part = np.linalg.pinv(powers)[0]  # the fitted polynomial's value at offset 0
            weights[before, after, reach - before : reach + after + 1] = part
    return weights


def smooth(tracks: tf.RaggedTensor, config: DetectionConfig) -> tf.RaggedTensor:
    """Weighted means over neighbouring segments of the same track, see `smoothing_weights`.

    Computed as the value plus weighted differences from it, so that a plateau wider than the window stays exactly flat.

    Args:
        tracks: [P, (s)] ragged.

    Returns:
        Same shape.
    """
    if config.smoothing == "none":
        return tracks
    table = smoothing_weights(config)
    reach = table.shape[0] - 1
    values, row_ids = tracks.flat_values, tracks.value_rowids()  # [L]
    position = tf.range(tf.size(values, tf.int64)) - tf.gather(tracks.row_starts(), row_ids)
    after = tf.gather(tracks.row_lengths(), row_ids) - 1 - position
    case = tf.minimum(position, reach) * (reach + 1) + tf.minimum(after, reach)  # [L], row of the table
    flat_table = tf.constant(table.reshape(-1, 2 * reach + 1), values.dtype)
    padded = tf.pad(values, [[reach, reach]])
    change = tf.zeros_like(values)
    for tap in range(2 * reach + 1):
        offset = tap - reach
        inside = position + offset >= 0 if offset < 0 else after >= offset
        difference = padded[tap : tap + tf.size(values)] - values
        # Not a weight of 0: a NaN of the neighbouring track would survive it.
        change += tf.where(inside, tf.gather(flat_table[:, tap], case) * difference, tf.zeros_like(values))
    return tracks.with_flat_values(values + change)


def upsample(tracks: tf.RaggedTensor, factor: int) -> tf.RaggedTensor:
    """Linear interpolation over time.

    Segment i covers [i, i + 1) and its value is that of its middle, i + 1/2. Cell j covers [j, j + 1) / factor and gets
    the value at its middle; before the first and after the last segment's middle the value is that segment's.

    Args:
        tracks: [P, (s)] ragged.
        factor: cells per segment, at least 1.

    Returns:
        [P, (s * factor)] ragged.
    """
    if factor == 1:
        return tracks
    cells = tf.RaggedTensor.from_row_splits(
        tf.range(tf.size(tracks.flat_values, tf.int64) * factor), tracks.row_splits * factor
    )
    row_ids = cells.value_rowids()
    first, last = tf.gather(tracks.row_starts(), row_ids), tf.gather(tracks.row_limits(), row_ids) - 1
    # Cell j's middle lies (2j + 1 - factor) / (2 factor) segments after the first one's: whole numbers, no rounding.
    steps = 2 * (cells.flat_values - first * factor) + 1 - factor
    left = tf.math.floordiv(steps, 2 * factor)
    share = tf.cast(tf.math.floormod(steps, 2 * factor), tracks.dtype) / (2 * factor)
    low = tf.gather(tracks.flat_values, tf.maximum(first + left, first))
    high = tf.gather(tracks.flat_values, tf.minimum(first + left + 1, last))
    return cells.with_flat_values(low + share * (high - low))


def track_range(tracks: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Smallest and largest value of each track [P, (s)]: [P] each; meaningless for a track without segments."""
    values, row_ids, count = tracks.flat_values, tracks.value_rowids(), tracks.nrows()
    return tf.math.unsorted_segment_min(values, row_ids, count), tf.math.unsorted_segment_max(values, row_ids, count)


def thresholds(tracks: tf.RaggedTensor, config: DetectionConfig) -> tf.Tensor:
    """η of each track, one column per level.

    midpoint: (min + max) / 2 (Sec. 4.1). zero: 0. range: min + level · (max - min). quantile: the value at rank
    level · (s - 1) of the s ascending values, counted from 0, interpolated linearly between neighbours. value: level.

    Args:
        tracks: [P, (s)] ragged.

    Returns:
        [P, H], ascending in each row; meaningless for a track without segments.
    """
    count = tracks.nrows()
    if config.threshold == "zero":
        return tf.zeros([count, 1], tracks.dtype)
    if config.threshold == "value":
        return tf.tile(tf.constant([config.levels], tracks.dtype), tf.stack([tf.cast(count, tf.int32), 1]))
    if config.threshold == "quantile":
        return _quantiles(tracks, config.levels)
    low, high = track_range(tracks)
    if config.threshold == "midpoint":
        return ((low + high) / 2)[:, tf.newaxis]
    return tf.stack([low + level * (high - low) for level in config.levels], axis=1)


def _quantiles(tracks: tf.RaggedTensor, levels: tuple[float, ...]) -> tf.Tensor:
    """[P, (s)] ragged -> [P, H]."""
    # A NaN compares with nothing; sorted among the others it would disorder tracks that are not its own.
    values = tf.where(tf.math.is_nan(tracks.flat_values), tracks.dtype.max, tracks.flat_values)
    by_value = tf.argsort(values)
    # Sorted by track, and in it by value: no padding to the longest one.
    order = tf.gather(by_value, tf.argsort(tf.gather(tracks.value_rowids(), by_value), stable=True))
    ascending = tf.concat([tf.gather(values, order), tf.zeros([1], tracks.dtype)], axis=0)
    lengths, starts = tracks.row_lengths(), tracks.row_starts()
    columns = []
    for level in levels:
        rank = tf.cast(level, tf.float64) * tf.cast(tf.maximum(lengths - 1, 0), tf.float64)
        below = tf.cast(tf.floor(rank), tf.int64)
        share = tf.cast(rank - tf.floor(rank), tracks.dtype)
        low = tf.gather(ascending, starts + below)
        high = tf.gather(ascending, starts + tf.minimum(below + 1, tf.maximum(lengths - 1, 0)))
        columns.append(low + share * (high - low))
    return tf.stack(columns, axis=1)
