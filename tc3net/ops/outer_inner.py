"""Outer-inner contrast (OIC, Shou et al. 2018, AutoLoc) of intervals with real boundaries, on heat maps of classes.

A heat map h has a value in [0, 1] for each segment t of a video, which covers [t, t + 1), and is 0 beyond the video. Of
an interval [x1, x2] with b = max((x2 - x1) / 4, 1) it is

    OIC = ½ (mean of h over [x1 - b, x1] and [x2, x2 + b] - mean of h over [x1, x2] + 1)

0 where h is 1 inside and 0 around it. With F(x) the integral of h from the video's beginning to x, which is linear
between whole segments, both means are differences of F; so boundaries have a gradient, that of F being h.
"""

from __future__ import annotations

import tensorflow as tf

BORDER_SHARE, LEAST_BORDER = 0.25, 1.0  # of the interval's length; in segments
MIN_HEAT, MAX_OIC = 0.1, 0.7  # of segments that propose an interval; of intervals that are kept
# Range of a track, as a share of its largest magnitude, up to which it is constant but for rounding in float32.
CONSTANT = 1e-5
_GRID = 2.0**20  # heat is summed in multiples of 1 / _GRID


def heat_of(tracks: tf.RaggedTensor) -> tf.RaggedTensor:
    """(v - min) / (max - min) of each track [P, (s)] ragged, and 0 in a constant one; carries no gradient."""
    values, row_ids, count = tf.stop_gradient(tracks.flat_values), tracks.value_rowids(), tracks.nrows()
    low, high = (
        tf.gather(bound(values, row_ids, count), row_ids)
        for bound in (tf.math.unsorted_segment_min, tf.math.unsorted_segment_max)
    )
    constant = high - low <= CONSTANT * tf.maximum(tf.abs(low), tf.abs(high))
    return tracks.with_flat_values(
        tf.math.divide_no_nan(values - low, tf.where(constant, tf.zeros_like(low), high - low))
    )


def integral_of(heat: tf.RaggedTensor) -> tf.Tensor:
    """Integral of the heat of all tracks [P, (s)], one after the other, up to the beginning of each segment.

    Multiples of 2^-20 add without rounding in float64 (below 2^33), so that the difference of two of these does not
    depend on the tracks before: what is said of a video must not depend on its batch.

    Returns:
        [L + 1] float64; no gradient.
    """
    values = tf.cast(tf.stop_gradient(heat.flat_values), tf.float64)
    values = tf.where(tf.math.is_finite(values), values, tf.zeros_like(values))
    return tf.pad(tf.cumsum(tf.round(values * _GRID) / _GRID), [[1, 0]])


def contrast_of(heat: tf.RaggedTensor, track: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """OIC of intervals.

    Args:
        heat: [P, (s)] ragged, in [0, 1]; no gradient reaches it.
        track: [n] int64, which of the tracks.
        start, end: [n, ...], in segments from the video's beginning, start < end; any of them may lie beyond the video.

    Returns:
        [n, ...] float64, in [0, 1], with a gradient with respect to `start` and `end`.
    """
    sums = integral_of(heat)
    shape = tf.concat([tf.shape(track), tf.ones([tf.rank(start) - 1], tf.int32)], axis=0)
    first, segments = (
        tf.reshape(tf.cast(tf.gather(column, track), tf.int64), shape)
        for column in (heat.row_starts(), heat.row_lengths())
    )
    origin = tf.gather(sums, first)

    def integral(x: tf.Tensor) -> tf.Tensor:  # F
        inside = tf.clip_by_value(x, 0.0, tf.cast(segments, tf.float64) + tf.zeros_like(x))
        whole = tf.maximum(tf.minimum(tf.cast(tf.floor(inside), tf.int64), segments - 1), 0)
        before, after = tf.gather(sums, first + whole), tf.gather(sums, first + whole + 1)
        return before - origin + (inside - tf.cast(whole, tf.float64)) * (after - before)

    start, end = tf.cast(start, tf.float64), tf.cast(end, tf.float64)
    border = tf.maximum(BORDER_SHARE * (end - start), LEAST_BORDER)
    left, right = integral(start), integral(end)
    outer = (integral(end + border) - right + left - integral(start - border)) / (2.0 * border)
    return 0.5 * (outer - (right - left) / (end - start) + 1.0)
