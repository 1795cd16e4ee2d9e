"""How many instances of a class a video shows, estimated from its T-CAM so that the estimate can be trained.

The paper's Eq. 9 (`tc3net.losses.predicted_counts`) is a weighted mean of the T-CAM: it asks for *high* values where
there are many instances. The estimates here ask for *many runs* of high values, as the detection rule sees them
(Sec. 3.5). They read the T-CAM through a soft threshold at the rule's own midpoint, which makes them independent of the
T-CAM's scale and offset; docs/counting.md derives and compares them.
"""

from __future__ import annotations

import tensorflow as tf

from tc3net import ragged_ops

ESTIMATORS = ("edges", "runs", "peaks", "mass")
# Where a T-CAM varies by less, the soft threshold stops getting steeper, and so do the gradients.
SMALLEST_RANGE = 1e-3


def count_instances(
    tcam: tf.RaggedTensor, estimator: str, *, temperature: float, smoothing: float, length: int
) -> tf.Tensor:
    """Estimated number of instances of each class in each video.

    With p(t) from `soft_threshold` (p before the first segment being 0):

    - "edges": Σ_t max(0, p(t) - p(t-1)). The mean number of runs above a threshold that is drawn once per video from
      a logistic distribution around η with scale τ.
    - "runs": Σ_t p(t) (1 - p(t-1)). The same, but with the threshold drawn anew for each segment: also an undecided
      plateau counts, as many runs.
    - "peaks": Σ_t p(t) w(t), w the softmax of C / τ over a window of `length` segments around t: one per peak, or per
      `length` segments of a plateau.
    - "mass": Σ_t p(t) / length.

    Args:
        tcam: [N, (s), C] ragged.
        estimator: one of `ESTIMATORS`.
        temperature: τ as a fraction of the T-CAM's range.
        smoothing: sigma in segments of the Gaussian that smooths the T-CAM first; 0 for none.
        length: usual length of an instance, in segments.

    Returns:
        [N, C], of the T-CAM's dtype; 0 for a video without segments.
    """
    smoothed = ragged_ops.gaussian_over_time(tcam, smoothing) if smoothing > 0 else tcam
    above = soft_threshold(smoothed, temperature)
    p, row_ids = above.flat_values, above.value_rowids()
    if estimator in ("edges", "runs"):
        before = ragged_ops.shifted(p, row_ids, 1, fill=0.0)
        counted = tf.nn.relu(p - before) if estimator == "edges" else p * (1.0 - before)
    elif estimator == "peaks":
        counted = p * _share_of_window(smoothed, temperature, length)
    else:
        counted = p / length
    return ragged_ops.sum_over_time(counted, above)


def _threshold_and_range(tcam: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
    """η = (min + max) / 2 (Sec. 4.1) and max - min of each class and video, at each of its rows [R, C]; no gradient."""
    frozen, row_ids = tf.stop_gradient(tcam.flat_values), tcam.value_rowids()
    top, bottom = tf.math.segment_max(frozen, row_ids), -tf.math.segment_max(-frozen, row_ids)  # [<= N, C]
    span = tf.maximum(top - bottom, SMALLEST_RANGE)
    return tf.gather((top + bottom) / 2, row_ids), tf.gather(span, row_ids)


def soft_threshold(tcam: tf.RaggedTensor, temperature: float) -> tf.RaggedTensor:
    """p = σ((C - η) / τ): how surely a segment lies above the detection rule's midpoint η (Sec. 4.1).

    η and τ = temperature * (max - min) carry no gradient: they say what is counted, and must not be what is learned.
    A constant T-CAM gives 1/2 everywhere.

    Args:
        tcam: [N, (s), C] ragged.
        temperature: τ as a fraction of the range.

    Returns:
        Same shape, in (0, 1).
    """
    eta, span = _threshold_and_range(tcam)
    return tcam.with_flat_values(tf.sigmoid((tcam.flat_values - eta) / (temperature * span)))


def _share_of_window(tcam: tf.RaggedTensor, temperature: float, length: int) -> tf.Tensor:
    """[R, C] exp(C / τ) of a segment over its sum in the window of `length` segments (one more if even) around it."""
    flat, row_ids = tcam.flat_values, tcam.value_rowids()
    eta, span = _threshold_and_range(tcam)
    weight = tf.exp(tf.clip_by_value((flat - eta) / (temperature * span), -60.0, 60.0))  # in float32's range
    reach = length // 2
    window = [ragged_ops.shifted(weight, row_ids, step, fill=0.0) for step in range(-reach, reach + 1)]
    return weight / tf.add_n(window)
