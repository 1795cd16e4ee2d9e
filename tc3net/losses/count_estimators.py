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


def count_instances(
    tcam: tf.RaggedTensor, estimator: str, *, temperature: float, smoothing: float, length: int
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
        length: in segments; of the window for "peaks", of a usual instance for "mass".

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
        counted = p * _share_of_window(above, length)
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


def _share_of_window(above: tf.RaggedTensor, length: int) -> tf.Tensor:
    """[R, C] softmax of the decision over the window of `length` segments (one more if even) around each segment."""
    flat, row_ids = above.flat_values, above.value_rowids()
    weight = tf.exp(tf.clip_by_value(flat, -60.0, 60.0))  # in float32's range
    reach = length // 2
    window = [filters.shifted(weight, row_ids, step, fill=0.0) for step in range(-reach, reach + 1)]
    return weight / tf.add_n(window)
