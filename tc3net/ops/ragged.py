"""Reductions over time on ragged batches: softmax, top-k mean, ranks, median, sums; never a loop over videos.

A batch of N videos is a `tf.RaggedTensor` [N, (s), C]: its `flat_values` [R, C] hold the R = Σ s valid rows of all
videos one after the other. Reductions that only add run on those rows. Order statistics (top-k, median) pad the
T-CAM, which is C wide, never the features, which are 2 D wide; padding is a value that can never be selected, and
counts come from the row lengths, so its amount changes nothing. Every operation here runs on a GPU too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import tensorflow as tf

# Top-k pads videos of similar length together. More groups pad less and cost more small operations: on 32 videos of
# THUMOS14's lengths 4 take 0.6 of the time of 1, and 8 gain nothing more.
_LENGTH_GROUPS = 4


def with_row_ids(values: tf.RaggedTensor) -> tf.RaggedTensor:
    """The same ragged tensor, remembering which video each row belongs to.

    Otherwise each `value_rowids` and `row_lengths`, also of what `with_flat_values` makes of it, adds the operations
    that compute them to the graph again: a third of the time it takes to trace a training step.
    """
    return tf.RaggedTensor.from_value_rowids(
        values.flat_values, values.value_rowids(), nrows=values.nrows(), validate=False
    )


def sum_over_time(values: tf.Tensor, like: tf.RaggedTensor) -> tf.Tensor:
    """Sums rows per video.

    Args:
        values: [R, ...] rows of all videos.
        like: ragged tensor that says which rows belong to which of the N videos.

    Returns:
        [N, ...].
    """
    # The sorted kernel is about twice as fast as the unsorted one, but knows nothing of empty videos at the end.
    sums = tf.math.segment_sum(values, like.value_rowids())  # [R, ...] -> [<= N, ...]
    missing = tf.cast(like.nrows(), tf.int32) - tf.shape(sums)[0]
    sums = tf.pad(sums, [[0, missing]] + [[0, 0]] * (values.shape.rank - 1))
    return tf.ensure_shape(sums, [None, *values.shape[1:]])  # [N, ...]


def exp_over_time(values: tf.RaggedTensor) -> tf.Tensor:
    """exp(values - their maximum over the video's segments): softmax over time without its normalisation.

    Args:
        values: [N, (s), ...] ragged.

    Returns:
        [R, ...], in [0, 1].
    """
    flat, row_ids = values.flat_values, values.value_rowids()
    # The maximum only keeps exp() in range: it cancels, hence carries no gradient.
    peak = tf.math.segment_max(tf.stop_gradient(flat), row_ids)  # [<= N, ...]
    return tf.exp(flat - tf.gather(peak, row_ids))


def softmax_over_time(values: tf.RaggedTensor) -> tf.RaggedTensor:
    """Softmax over the segments of each video, per class.

    Args:
        values: [N, (s), ...] ragged.

    Returns:
        Same shape; sums to 1 over the segments of each video.
    """
    unnormalized = exp_over_time(values)  # [R, ...]
    normalizer = tf.gather(sum_over_time(unnormalized, values), values.value_rowids())
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


def top_k_mean(
    values: tf.RaggedTensor, *, divisor: int = 8, rounding: str = "ceil", portable: bool = True
) -> tf.Tensor:
    """Mean of the k largest values over time, per class: the encoding r of Sec. 3.2.

    Values equal to the k-th largest share what is left of k, so the gradient does not depend on their order.

    Args:
        values: [N, (s), C] ragged T-CAM.
        divisor: k = s / divisor.
        rounding: how k is rounded, see `top_k_count`.
        portable: use operations that every runtime has; False, for training: on a CPU select by an operation that only
            CPUs have, in half the time, with the same bits.

    Returns:
        [N, C]; 0 for a video of length 0.
    """
    flat, row_ids = values.flat_values, values.value_rowids()
    k = top_k_count(values.row_lengths(), divisor, rounding)  # [N]
    frozen = values.with_flat_values(tf.stop_gradient(flat))
    on_cpu = not (portable or tf.config.get_visible_devices("GPU"))
    kth = tf.ensure_shape(_kth_largest_graph(flat.dtype, k.dtype, on_cpu)(frozen, k), [None, flat.shape[1]])  # [N, C]
    kth_rows = tf.gather(kth, row_ids)  # [R, C]
    above = tf.cast(frozen.flat_values > kth_rows, flat.dtype)
    equal = tf.cast(tf.equal(frozen.flat_values, kth_rows), flat.dtype)  # unlike ==, it keeps the static shape
    k_rows = tf.cast(k, flat.dtype)[:, tf.newaxis]  # [N, 1]
    # Its value is the k-th largest's, to the last bit; its gradient that of the mean over all equal ones.
    tie = tf.math.divide_no_nan(sum_over_time(equal * flat, values), sum_over_time(equal, values))
    tie = kth + (tie - tf.stop_gradient(tie))
    total = sum_over_time(above * flat, values) + (k_rows - sum_over_time(above, values)) * tie
    return tf.math.divide_no_nan(total, k_rows)


def top_k_share(values: tf.RaggedTensor, *, divisor: int, rounding: str = "ceil") -> tf.Tensor:
    """How much of each segment is among the k largest over time, per class; no gradient.

    Args:
        values: [N, (s), C] ragged.
        divisor, rounding: of k, see `top_k_count`.

    Returns:
        [R, C]: 1 above the k-th largest value, 0 below it; those equal to it share what is left of k. Sums to k.
    """
    flat, row_ids = tf.stop_gradient(values.flat_values), values.value_rowids()
    frozen, k = values.with_flat_values(flat), top_k_count(values.row_lengths(), divisor, rounding)
    kth = tf.ensure_shape(_kth_largest_graph(flat.dtype, k.dtype, False)(frozen, k), [None, flat.shape[1]])
    kth_rows = tf.gather(kth, row_ids)  # [R, C]
    above = tf.cast(flat > kth_rows, flat.dtype)
    equal = tf.cast(tf.equal(flat, kth_rows), flat.dtype)
    left = tf.cast(k, flat.dtype)[:, tf.newaxis] - sum_over_time(above, values)
    return above + equal * tf.gather(tf.math.divide_no_nan(left, sum_over_time(equal, values)), row_ids)


def log_sum_exp_over_time(values: tf.RaggedTensor) -> tf.Tensor:
    """log Σ_t exp(v(t)), per video and class.

    Args:
        values: [N, (s), C] ragged.

    Returns:
        [N, C]; 0 for a video of length 0, as `top_k_mean` has it.
    """
    flat, row_ids = values.flat_values, values.value_rowids()
    there = (values.row_lengths() > 0)[:, tf.newaxis]
    peak = tf.math.unsorted_segment_max(tf.stop_gradient(flat), row_ids, values.nrows())  # [N, C]
    peak = tf.where(there, peak, tf.zeros_like(peak))
    total = sum_over_time(tf.exp(flat - tf.gather(peak, row_ids)), values)
    return tf.math.log(tf.where(there, total, tf.ones_like(total))) + peak


@functools.cache
def _kth_largest_graph(
    dtype: tf.DType, integer: tf.DType, on_cpu: bool
) -> Callable[[tf.RaggedTensor, tf.Tensor], tf.Tensor]:
    """`_kth_largest` as one graph for all its uses: its many small operations would take most of a model's tracing."""
    rows = tf.RaggedTensorSpec([None, None, None], dtype, ragged_rank=1, row_splits_dtype=integer)
    function = functools.partial(_kth_largest, select=_by_selection if on_cpu else _by_sorting)
    return tf.function(function, input_signature=[rows, tf.TensorSpec([None], integer)], autograph=False)


def _kth_largest(
    values: tf.RaggedTensor, k: tf.Tensor, select: Callable[[tf.RaggedTensor, tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """The k-th largest value over time, per class: [N, (s), C] and k [N] -> [N, C]."""
    by_length = tf.argsort(values.row_lengths(), stable=True)  # [N]
    bounds = [values.nrows() * group // _LENGTH_GROUPS for group in range(_LENGTH_GROUPS + 1)]
    groups = [by_length[first:last] for first, last in zip(bounds, bounds[1:])]
    found = [select(values, videos, tf.maximum(tf.gather(k, videos), 1)) for videos in groups]  # each [n, C]
    return tf.gather(tf.concat(found, axis=0), tf.argsort(by_length))


def _by_sorting(values: tf.RaggedTensor, videos: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
    """The rank-th largest value of some videos, [N, (s), C] and [n] -> [n, C], from as many sorted ones."""
    by_class = tf.transpose(padded(values, videos, values.dtype.min), [0, 2, 1])  # [n, T, C] -> [n, C, T]
    largest = tf.transpose(tf.math.top_k(by_class, k=tf.cast(_most(rank), tf.int32)).values, [0, 2, 1])  # descending
    return tf.gather(largest, rank - 1, batch_dims=1)


def _by_selection(values: tf.RaggedTensor, videos: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
    """`_by_sorting` without sorting. One rank for all videos: a video of a lower one gets as many infinities before."""
    most = _most(rank)
    by_class = tf.transpose(padded(values, videos, values.dtype.min, most - rank), [0, 2, 1])  # [n, C, T]
    return tf.raw_ops.NthElement(input=by_class, n=tf.cast(most - 1, tf.int32), reverse=True)


def _most(numbers: tf.Tensor) -> tf.Tensor:
    """The largest of [n] numbers, but at least 1."""
    return tf.reduce_max(tf.concat([numbers, tf.ones([1], numbers.dtype)], axis=0))


def padded(values: tf.RaggedTensor, videos: tf.Tensor, fill: float, infinities: tf.Tensor | None = None) -> tf.Tensor:
    """Some videos of a batch as a dense tensor.

    `RaggedTensor.to_tensor` has no GPU kernel; gathering rows has one.

    Args:
        values: [N, (s), ...] ragged.
        videos: [n] which of them.
        fill: value beyond the end of a video.
        infinities: [n], how many rows of +inf follow a video's own.

    Returns:
        [n, T, ...], T the length of the longest of them, but at least 1.
    """
    flat = values.flat_values
    lengths, starts = tf.gather(values.row_lengths(), videos), tf.gather(values.row_starts(), videos)
    num_rows = tf.shape(flat, out_type=lengths.dtype)[0]
    one_row = [[0, 1]] + [[0, 0]] * (flat.shape.rank - 1)
    filled = tf.pad(flat, one_row, constant_values=fill)
    beyond = num_rows
    ends = lengths
    if infinities is not None:
        filled, ends = tf.pad(filled, one_row, constant_values=math.inf), lengths + infinities
    position = tf.range(_most(ends))[tf.newaxis, :]  # [1, T]
    if infinities is not None:
        beyond = tf.where(position < ends[:, tf.newaxis], num_rows + 1, num_rows)
    row = tf.where(position < lengths[:, tf.newaxis], starts[:, tf.newaxis] + position, beyond)  # [n, T]
    return tf.gather(filled, row)


def median_over_time(values: tf.RaggedTensor) -> tf.Tensor:
    """Median of each ragged row; the mean of the middle two where their number is even.

    Args:
        values: [P, (s)] ragged, every row non-empty.

    Returns:
        [P].
    """
    lengths = values.row_lengths()  # [P]
    ascending = tf.sort(padded(values, tf.range(values.nrows()), values.dtype.max), axis=1)  # [P, T]
    middle = tf.stack([(lengths - 1) // 2, lengths // 2], axis=1)  # [P, 2]
    return tf.reduce_mean(tf.gather(ascending, middle, batch_dims=1), axis=1)


def rank_over_time(values: tf.RaggedTensor) -> tf.Tensor:
    """How many segments of the same video stand before each one when they are sorted, the highest value first.

    Args:
        values: [N, (s)] ragged; of equal values the earlier segment comes first. Carries no gradient.

    Returns:
        [R] int64, 0 for a video's highest value.
    """
    flat, row_ids = tf.stop_gradient(values.flat_values), values.value_rowids()
    by_value = tf.argsort(flat, direction="DESCENDING", stable=True)
    order = tf.gather(by_value, tf.argsort(tf.gather(row_ids, by_value), stable=True))  # by video, and in it by value
    position = tf.cast(tf.argsort(order), tf.int64)  # the inverse permutation
    return position - tf.cast(tf.gather(values.row_starts(), row_ids), tf.int64)


def mean_of_rows(values: tf.Tensor, chosen: tf.Tensor, like: tf.RaggedTensor) -> tf.Tensor:
    """Mean of some of the rows of each video.

    Args:
        values: [R, D] rows of all videos.
        chosen: [R] bool.
        like: ragged tensor that says which rows belong to which of the N videos.

    Returns:
        [N, D]; 0 for a video of which none is chosen.
    """
    weight = tf.cast(chosen, values.dtype)[:, tf.newaxis]
    return tf.math.divide_no_nan(sum_over_time(weight * values, like), sum_over_time(weight, like))


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
    rows = with_row_ids(tf.ragged.range(starts, limits))  # [P, (s)]
    columns = tf.gather(label, rows.value_rowids())  # [Σ s]
    tracks = tf.gather_nd(values.flat_values, tf.stack([rows.flat_values, columns], axis=1))
    return rows.with_flat_values(tracks), rows
