"""Reductions over time on ragged batches: softmax, top-k mean, median, weighted sums; never a loop over videos.

A batch of N videos is a `tf.RaggedTensor` [N, (s), C]: its `flat_values` [R, C] hold the R = Σ s valid rows of all
videos one after the other. Reductions that only add run on those rows. Order statistics (top-k, median) pad the
T-CAM, which is C wide, never the features, which are 2 D wide; padding is a value that can never be selected, and
counts come from the row lengths, so its amount changes nothing.
"""

from __future__ import annotations

import tensorflow as tf


def sum_over_time(values: tf.Tensor, like: tf.RaggedTensor) -> tf.Tensor:
    """Sums rows per video.

    Args:
        values: [R, ...] rows of all videos.
        like: ragged tensor that says which rows belong to which of the N videos.

    Returns:
        [N, ...].
    """
    return tf.math.unsorted_segment_sum(values, like.value_rowids(), like.nrows())  # [R, ...] -> [N, ...]


def softmax_over_time(values: tf.RaggedTensor) -> tf.RaggedTensor:
    """Softmax over the segments of each video, per class.

    Args:
        values: [N, (s), ...] ragged.

    Returns:
        Same shape; sums to 1 over the segments of each video.
    """
    flat, row_ids = values.flat_values, values.value_rowids()
    # The maximum only keeps exp() in range: it cancels, hence carries no gradient.
    peak = tf.math.unsorted_segment_max(tf.stop_gradient(flat), row_ids, values.nrows())  # [N, ...]
    unnormalized = tf.exp(flat - tf.gather(peak, row_ids))  # [R, ...]
    normalizer = tf.gather(sum_over_time(unnormalized, values), row_ids)
    return values.with_flat_values(unnormalized / normalizer)


def top_k_count(lengths: tf.Tensor, divisor: int, rounding: str) -> tf.Tensor:
    """k for videos of the given lengths: ⌈s / divisor⌉ (Sec. 3.2), or ⌊s / divisor⌋ but at least 1 ("floor").

    Args:
        lengths: [N] integer, segments per video.
        divisor: 8 in the paper.
        rounding: "ceil" or "floor".

    Returns:
        [N] of the same dtype; 0 only for a video of length 0.
    """
    if rounding == "ceil":
        return -(-lengths // divisor)
    return tf.minimum(lengths, tf.maximum(lengths // divisor, 1))


def top_k_mean(values: tf.RaggedTensor, *, divisor: int = 8, rounding: str = "ceil") -> tf.Tensor:
    """Mean of the k largest values over time, per class: the encoding r of Sec. 3.2.

    Args:
        values: [N, (s), C] ragged T-CAM.
        divisor: k = s / divisor.
        rounding: how k is rounded, see `top_k_count`.

    Returns:
        [N, C]; 0 for a video of length 0.
    """
    k = top_k_count(values.row_lengths(), divisor, rounding)  # [N]
    padded = values.to_tensor(default_value=values.dtype.min)  # [N, T, C]
    by_class = tf.transpose(padded, [0, 2, 1])  # [N, T, C] -> [N, C, T]
    k_max = tf.cast(tf.reduce_max(tf.concat([k, tf.zeros([1], k.dtype)], axis=0)), tf.int32)
    largest = tf.math.top_k(by_class, k=k_max).values  # [N, C, k_max], descending
    selected = tf.sequence_mask(k, k_max)[:, tf.newaxis, :]  # [N, 1, k_max]
    total = tf.reduce_sum(tf.where(selected, largest, tf.zeros_like(largest)), axis=2)  # -> [N, C]
    return tf.math.divide_no_nan(total, tf.cast(k, total.dtype)[:, tf.newaxis])


def median_over_time(values: tf.RaggedTensor) -> tf.Tensor:
    """Median of each ragged row; the mean of the middle two where their number is even.

    Args:
        values: [P, (s)] ragged, every row non-empty.

    Returns:
        [P].
    """
    lengths = values.row_lengths()  # [P]
    ascending = tf.sort(values.to_tensor(default_value=values.dtype.max), axis=1)  # [P, T]
    middle = tf.stack([(lengths - 1) // 2, lengths // 2], axis=1)  # [P, 2]
    return tf.reduce_mean(tf.gather(ascending, middle, batch_dims=1), axis=1)


def class_tracks(values: tf.RaggedTensor, pairs: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """The score sequences of chosen (video, class) pairs.

    Args:
        values: [N, (s), C] ragged.
        pairs: [P, 2] int64, (video, class).

    Returns:
        tracks: [P, (s)] ragged, the values of each pair over time.
        rows: [P, (s)] ragged int64, where each of them lies in the flat rows [R].
    """
    video, label = pairs[:, 0], pairs[:, 1]
    starts, limits = tf.gather(values.row_starts(), video), tf.gather(values.row_limits(), video)
    rows = tf.ragged.range(starts, limits)  # [P, (s)]
    columns = tf.gather(label, rows.value_rowids())  # [Σ s]
    tracks = tf.gather_nd(values.flat_values, tf.stack([rows.flat_values, columns], axis=1))
    return rows.with_flat_values(tracks), rows
