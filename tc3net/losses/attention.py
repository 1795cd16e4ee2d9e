"""Attention over time and what it aggregates (Sec. 3.3): Eq. 4 and Eq. 5. Eq. 9 is a use of Eq. 4, in `counting`."""

from __future__ import annotations

import tensorflow as tf

from tc3net.ops import ragged


def temporal_attention(tcam: tf.RaggedTensor, axis: str) -> tf.RaggedTensor:
    """Attention a(t, j) of Eq. 4.

    Args:
        tcam: [N, (s), C] ragged; or [P, (s)], tracks of single classes, for the axis "time".
        axis: "time" (softmax over the segments of a video, as the text says) or "class" (as Eq. 4 is printed).

    Returns:
        Same shape.
    """
    if axis == "time":
        return ragged.softmax_over_time(tcam)
    return tcam.with_flat_values(tf.nn.softmax(tcam.flat_values, axis=-1))


def attended_sum(tcam: tf.RaggedTensor, values: tf.Tensor, axis: str) -> tf.Tensor:
    """Σ_t a(t, j) v(t, j) with a of Eq. 4.

    Args:
        tcam: [N, (s), C] ragged.
        values: [R, C], v.
        axis: see `temporal_attention`.

    Returns:
        [N, C]; 0 for a video without segments.
    """
    if axis == "time":
        # Eq. 4's denominator is the same for all segments of a video: one division per class, not per segment.
        numerator = ragged.exp_over_time(tcam)  # [R, C]
        total = ragged.sum_over_time(numerator * values, tcam)
        return tf.math.divide_no_nan(total, ragged.sum_over_time(numerator, tcam))
    return ragged.sum_over_time(temporal_attention(tcam, axis).flat_values * values, tcam)


def aggregate_features(
    *, features: tf.RaggedTensor, tcam: tf.RaggedTensor, pairs: tf.Tensor, attention_axis: str, attention_threshold: str
) -> tf.Tensor:
    """Attention-weighted feature of each (video, class) pair: f_i(j) of Eq. 5, after thresholding the attention.

    Args:
        features: [N, (s), D] ragged, output of the second dense layer.
        tcam: [N, (s), C] ragged, T-CAM of the same stream.
        pairs: [P, 2] int64, (video, class).
        attention_axis: see `temporal_attention`.
        attention_threshold: weights below the pair's "median" or "mean" over time are set to 0; equal ones stay.

    Returns:
        [P, D].
    """
    if attention_axis == "time":
        # Softmax over time of the chosen columns alone: P of them, not N * C.
        tracks, rows = ragged.class_tracks(tcam, pairs)
        attention = temporal_attention(tracks, attention_axis)
    else:
        attention, rows = ragged.class_tracks(temporal_attention(tcam, attention_axis), pairs)
    # The threshold selects; it carries no gradient.
    frozen = attention.with_flat_values(tf.stop_gradient(attention.flat_values))
    if attention_threshold == "median":
        threshold = ragged.median_over_time(frozen)
    else:
        lengths = tf.cast(frozen.row_lengths(), frozen.dtype)
        threshold = ragged.sum_over_time(frozen.flat_values, frozen) / lengths
    kept = tf.where(frozen.flat_values >= tf.gather(threshold, frozen.value_rowids()))[:, 0]  # [K]
    pair = tf.gather(frozen.value_rowids(), kept)  # [K], ascending
    weights = tf.gather(attention.flat_values, kept)
    num_pairs = tf.shape(pairs, out_type=tf.int64)[0]
    weights /= tf.gather(tf.math.unsorted_segment_sum(weights, pair, num_pairs), pair)
    # As a sparse matrix [P, R]: the features are read where a weight is left, and never copied per pair.
    entries = tf.stack([pair, tf.gather(rows.flat_values, kept)], axis=1)  # [K, 2]
    shape = tf.stack([num_pairs, tf.shape(features.flat_values, out_type=tf.int64)[0]])
    return tf.sparse.sparse_dense_matmul(tf.SparseTensor(entries, weights, shape), features.flat_values)
