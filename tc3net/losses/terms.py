"""The three losses of 3C-Net (Eq. 1-10) as pure functions of one replica's ragged batch.

Each returns sums over videos and the number of videos that took part, never a mean: the caller adds both over the
replicas before it divides, so the replica count cannot change a loss or a gradient. Nothing here knows optimizers,
variables or strategies.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tc3net.losses.config import LossConfig as LossConfig
from tc3net.losses.count_estimators import count_instances
from tc3net.ops import ragged


class Term(NamedTuple):
    """A loss term before normalisation: its value is total / weight ** power, both summed over replicas.

    Attributes:
        total: scalar, sum over videos (and classes).
        weight: scalar, how many videos (or pairs) took part; carries no gradient.
        power: 1, or 2 for the public reference code's center loss.
    """

    total: tf.Tensor
    weight: tf.Tensor
    power: int = 1


class CenterTerm(NamedTuple):
    """The center loss of one stream and what the centers' update (Eq. 7) needs.

    Attributes:
        term: the loss.
        offset_sum: [C, D], Σ_i (c_j - f_i(j)) over the videos that contain class j; carries no gradient.
        pair_count: [C], how many videos contain class j.
    """

    term: Term
    offset_sum: tf.Tensor
    pair_count: tf.Tensor


def classification_loss(*, tcam: tf.RaggedTensor, labels: tf.Tensor, top_k_divisor: int = 8) -> Term:
    """Cross-entropy of the pooled T-CAM with the l1-normalised labels (Sec. 3.2, Eq. 2), for one T-CAM.

    Args:
        tcam: [N, (s), C] ragged.
        labels: [N, C] multi-hot. Videos without any label take no part.
        top_k_divisor: k = ⌈s / divisor⌉.

    Returns:
        Term over the labelled videos.
    """
    scores = ragged.top_k_mean(tcam, divisor=top_k_divisor)  # [N, C], r of the paper
    num_labels = tf.reduce_sum(labels, axis=1)  # [N]
    target = tf.math.divide_no_nan(labels, num_labels[:, tf.newaxis])  # q; all zero for an unlabelled video
    total = -tf.reduce_sum(target * tf.nn.log_softmax(scores, axis=1))
    return Term(total, tf.reduce_sum(tf.cast(num_labels > 0, total.dtype)))


def temporal_attention(tcam: tf.RaggedTensor, axis: str) -> tf.RaggedTensor:
    """Attention a(t, j) of Eq. 4.

    Args:
        tcam: [N, (s), C] ragged.
        axis: "time" (softmax over the segments of a video, as the text says) or "class" (as Eq. 4 is printed).

    Returns:
        Same shape.
    """
    if axis == "time":
        return ragged.softmax_over_time(tcam)
    return tcam.with_flat_values(tf.nn.softmax(tcam.flat_values, axis=-1))


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
        attention = ragged.softmax_over_time(tracks)
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


def center_loss(
    *,
    features: tf.RaggedTensor,
    tcam: tf.RaggedTensor,
    labels: tf.Tensor,
    centers: tf.Tensor,
    use_multi_label: tf.Tensor | bool = True,
    config: LossConfig,
) -> CenterTerm:
    """Multi-label center loss of one stream (Eq. 4-7).

    Args:
        features: [N, (s), D] ragged.
        tcam: [N, (s), C] ragged.
        labels: [N, C] multi-hot.
        centers: [C, D]; no gradient flows into them, they have their own update (`tc3net.losses.center_update`).
        use_multi_label: scalar bool; False leaves out videos with more than one label.
        config: attention and normalisation choices.

    Returns:
        CenterTerm over the (video, class) pairs present.
    """
    num_classes = tf.shape(labels)[1]
    single_label = tf.reduce_sum(labels, axis=1, keepdims=True) <= 1.0  # [N, 1]
    present = (labels > 0) & (single_label | use_multi_label)
    pairs = tf.where(present)  # [P, 2]
    aggregated = aggregate_features(
        features=features,
        tcam=tcam,
        pairs=pairs,
        attention_axis=config.attention_axis,
        attention_threshold=config.attention_threshold,
    )  # [P, D]
    offsets = tf.gather(tf.stop_gradient(centers), pairs[:, 1]) - aggregated  # c_j - f_i(j)
    total = tf.reduce_sum(tf.square(offsets))
    pair_count = tf.reduce_sum(tf.cast(present, total.dtype), axis=0)  # [C]
    if config.center_normalization == "videos":
        term = Term(total, tf.reduce_sum(tf.cast(tf.reduce_any(present, axis=1), total.dtype)))
    else:
        term = Term(total, tf.reduce_sum(pair_count), power=2)
    offset_sum = tf.math.unsorted_segment_sum(tf.stop_gradient(offsets), pairs[:, 1], num_classes)  # -> [C, D]
    return CenterTerm(term, offset_sum, pair_count)


def predicted_counts(tcam: tf.RaggedTensor, attention_axis: str = "time") -> tf.Tensor:
    """Predicted counts m(j): attention-weighted sum of the fused T-CAM over time (Eq. 9).

    Args:
        tcam: [N, (s), C] ragged, fused T-CAM.
        attention_axis: see `temporal_attention`.

    Returns:
        [N, C].
    """
    if attention_axis == "time":
        weights = ragged.exp_over_time(tcam)  # [R, C]
        total = ragged.sum_over_time(weights * tcam.flat_values, tcam)
        return tf.math.divide_no_nan(total, ragged.sum_over_time(weights, tcam))
    attention = temporal_attention(tcam, attention_axis)
    return ragged.sum_over_time(attention.flat_values * tcam.flat_values, tcam)


def estimated_counts(tcam: tf.RaggedTensor, config: LossConfig) -> tf.Tensor:
    """What the counting loss compares with the annotated counts.

    Args:
        tcam: [N, (s), C] ragged, fused T-CAM.
        config: which estimator.

    Returns:
        [N, C]; Eq. 9, or an estimated number of instances (`tc3net.losses.count_estimators`).
    """
    if config.count_estimator == "attention":
        return predicted_counts(tcam, config.attention_axis)
    return count_instances(
        tcam,
        config.count_estimator,
        temperature=config.count_temperature,
        smoothing=config.count_smoothing,
        length=config.count_length,
    )


def _count_error(predicted: tf.Tensor, counts: tf.Tensor, kind: str) -> tf.Tensor:
    """Error of predicted counts [N, C], of which only those of present classes have a meaning."""
    if kind == "log":
        return tf.abs(tf.math.log1p(predicted) - tf.math.log1p(counts))
    error = tf.abs(predicted - counts)
    return error / tf.maximum(counts, 1.0) if kind == "relative" else error


def count_loss(
    *,
    tcam: tf.RaggedTensor,
    counts: tf.Tensor,
    counts_known: tf.Tensor,
    full_length: tf.Tensor,
    config: LossConfig,
) -> tuple[Term, Term]:
    """Counting loss (Eq. 10) of the fused T-CAM, its two parts separately.

    Args:
        tcam: [N, (s), C] ragged.
        counts: [N, C], instances of each class; read only where known.
        counts_known: [N, C] bool. An absent class of a data set whose instances are annotated has the known count 0.
        full_length: [N] bool, whether all segments of the video are in the batch; cropped videos take no part.
        config: error and positive-count choices.

    Returns:
        Terms of L_count+ and L_count- (without lambda), both over the videos with any usable count.
    """
    predicted = estimated_counts(tcam, config)  # [N, C]
    usable = counts_known & full_length[:, tf.newaxis]
    positive = usable & (counts > 0)
    if config.count_positives == "below_length":
        positive &= counts < tf.cast(tcam.row_lengths(), counts.dtype)[:, tf.newaxis]
    negative = usable & ~positive
    zeros = tf.zeros_like(predicted)
    positive_total = tf.reduce_sum(tf.where(positive, _count_error(predicted, counts, config.count_error), zeros))
    negative_total = tf.reduce_sum(tf.where(negative, tf.abs(predicted), zeros))
    weight = tf.reduce_sum(tf.cast(tf.reduce_any(usable, axis=1), predicted.dtype))
    return Term(positive_total, weight), Term(negative_total, weight)
