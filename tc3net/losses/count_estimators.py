"""How many instances of a class a video shows, estimated from its T-CAM so that the estimate can be trained.

The paper's Eq. 9 (`tc3net.losses.predicted_counts`) is a weighted mean of the T-CAM: it asks for *high* values where
there are many instances. The estimates here ask for *many runs* of high values, as the detection rule sees them
(Sec. 3.5). They read the T-CAM through a soft threshold at the rule's own midpoint, which makes them independent of the
T-CAM's scale and offset; docs/counting.md derives and compares them.
"""

from __future__ import annotations

import tensorflow as tf

from tc3net.ops import filters, ragged

ESTIMATORS = ("edges", "runs", "peaks", "mass")
# Where a T-CAM varies by less, the soft threshold stops getting steeper, and so do the gradients.
SMALLEST_RANGE = 1e-3
FROM_DATA = 0  # the length that stands for windows found from the data
WINDOW_INSTANCES = 1.5  # how long those are, in instances
MAX_LENGTH = 64  # of any window, in segments
_STEEPEST = 12.0  # decisions beyond are as sure; keeps what sums over windows are differences of exact to float32


def count_instances(
    tcam: tf.RaggedTensor,
    estimator: str,
    *,
    temperature: float,
    smoothing: float,
    length: int,
    counts: tf.Tensor | None = None,
) -> tf.Tensor:
    """Estimated number of instances of each class in each video.

    With p(t) = σ((C - η) / τ), how surely a segment lies above the threshold (`decision`; 0 before the first segment):

    - "edges": Σ_t max(0, p(t) - p(t-1)). The mean number of runs above a threshold that is drawn once per video from
      a logistic distribution around η with scale τ.
    - "runs": Σ_t p(t) (1 - p(t-1)). The same, but with the threshold drawn anew for each segment: also an undecided
      plateau counts, as many runs.
    - "peaks": Σ_t p(t) w(t), w the softmax of C / τ over a window of `length` segments around t: one per peak that
      stands alone in the window, or per `length` segments of a plateau.
    - "mass": Σ_t p(t) / length.

    Args:
        tcam: [N, (s), C] ragged.
        estimator: one of `ESTIMATORS`.
        temperature: τ as a fraction of the T-CAM's range.
        smoothing: sigma in segments of the Gaussian that smooths the T-CAM first; 0 for none.
        length: in segments; of the window for "peaks", of a usual instance for "mass". 0, for "peaks" alone: a window
            for each class of each video, see `window_reach`.
        counts: [N, C], annotated instances; read where `length` is 0.

    Returns:
        [N, C], of the T-CAM's dtype; 0 for a video without segments.
    """
    smoothed = filters.gaussian_over_time(tcam, smoothing) if smoothing > 0 else tcam
    above = decision(smoothed, temperature)
    p, row_ids = tf.sigmoid(above.flat_values), above.value_rowids()
    if estimator in ("edges", "runs"):
        before = filters.shifted(p, row_ids, 1, fill=0.0)
        counted = tf.nn.relu(p - before) if estimator == "edges" else p * (1.0 - before)
    elif estimator == "peaks":
        if length == FROM_DATA:
            assert counts is not None
            reach = tf.gather(window_reach(above, counts), row_ids)
        else:
            reach = tf.fill(tf.shape(p), tf.constant(length // 2, tf.int64))
        counted = p * _share_of_window(above, reach)
    else:
        counted = p / length
    return ragged.sum_over_time(counted, above)


def decision(tcam: tf.RaggedTensor, temperature: float) -> tf.RaggedTensor:
    """How far a segment lies above the detection rule's midpoint η (Sec. 4.1), in units of τ.

    (C - η) / τ with η = (min + max) / 2 and τ = temperature * (max - min). Neither carries a gradient: they say what is
    counted, and must not be what is learned. C and η are taken from the mean over time, which changes no value but
    makes the gradient sum to 0 over time: an offset changes no count, yet training would lower it again and again,
    until no class passes the filter of Sec. 3.5.

    Args:
        tcam: [N, (s), C] ragged.
        temperature: τ as a fraction of the range.

    Returns:
        Same shape; 0 for a constant T-CAM.
    """
    flat, row_ids = tcam.flat_values, tcam.value_rowids()
    segments = tf.cast(tcam.row_lengths(), flat.dtype)[:, tf.newaxis]  # [N, 1]
    mean = tf.math.divide_no_nan(ragged.sum_over_time(flat, tcam), segments)  # [N, C]
    centered = flat - tf.gather(mean, row_ids)
    frozen = tf.stop_gradient(centered)
    top, bottom = tf.math.segment_max(frozen, row_ids), -tf.math.segment_max(-frozen, row_ids)  # [<= N, C]
    eta, span = (top + bottom) / 2, tf.maximum(top - bottom, SMALLEST_RANGE)
    return tcam.with_flat_values((centered - tf.gather(eta, row_ids)) / (temperature * tf.gather(span, row_ids)))


def window_reach(above: tf.RaggedTensor, counts: tf.Tensor) -> tf.Tensor:
    """How many segments to each side the window of "peaks" has for each class of each video, from the data.

    The time above the threshold, Σ_t p(t), over the number of annotated instances is how long an instance lasts as the
    T-CAM has it by now, with the background that passes for it. The window is 1.5 times as long: a T-CAM of as many
    equal runs as there are instances is counted right. It carries no gradient.

    Args:
        above: [N, (s), C] ragged, `decision`.
        counts: [N, C], annotated instances; fewer than 1 are taken as 1.

    Returns:
        [N, C] int64, 1 to `MAX_LENGTH` / 2.
    """
    mass = ragged.sum_over_time(tf.sigmoid(tf.stop_gradient(above.flat_values)), above)
    length = WINDOW_INSTANCES * mass / tf.maximum(tf.cast(counts, mass.dtype), 1.0)
    return tf.cast(tf.clip_by_value(tf.round((length - 1.0) / 2.0), 1.0, MAX_LENGTH / 2), tf.int64)


def _share_of_window(above: tf.RaggedTensor, reach: tf.Tensor) -> tf.Tensor:
    """[R, C] softmax of the decision over the segments of the video that are at most `reach` [R, C] away."""
    flat, row_ids = above.flat_values, above.value_rowids()
    weight = tf.exp(tf.cast(tf.clip_by_value(flat, -_STEEPEST, _STEEPEST), tf.float64))
    sums = tf.transpose(tf.pad(tf.cumsum(weight), [[1, 0], [0, 0]]))  # [C, R + 1], of all segments before
    row = tf.range(tf.size(row_ids, tf.int64))[:, tf.newaxis]
    begin, end = (tf.gather(at, row_ids)[:, tf.newaxis] for at in (above.row_starts(), above.row_limits()))
    first, last = tf.maximum(row - reach, begin), tf.minimum(row + reach + 1, end)
    window = tf.gather(sums, tf.transpose(last), batch_dims=1) - tf.gather(sums, tf.transpose(first), batch_dims=1)
    return tf.cast(weight / tf.transpose(window), flat.dtype)
