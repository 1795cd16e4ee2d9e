"""The class centers' own update rule (Eq. 7), applied by hand to non-trainable variables."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tc3net.common.stack import tf_variable


def center_delta(offset_sum: tf.Tensor, pair_count: tf.Tensor) -> tf.Tensor:
    """Δc_j = Σ_i (c_j - f_i(j)) / (1 + n_j), Eq. 7.

    Args:
        offset_sum: [C, D], summed over all replicas.
        pair_count: [C], number of videos with class j, summed over all replicas.

    Returns:
        [C, D]; zero for classes absent from the batch.
    """
    return offset_sum / (1.0 + pair_count)[:, tf.newaxis]


def update_centers(centers: Any, offset_sum: tf.Tensor, pair_count: tf.Tensor, learning_rate: float) -> None:
    """c_j <- c_j - learning_rate * Δc_j, the same on every replica.

    Must be called in replica context (inside `strategy.run`, or outside any strategy).

    Args:
        centers: [C, D] non-trainable variable.
        offset_sum: [C, D] of this replica's videos.
        pair_count: [C] of this replica's videos.
        learning_rate: the centers' own.
    """
    replica = tf.distribute.get_replica_context()
    offset_sum, pair_count = replica.all_reduce(tf.distribute.ReduceOp.SUM, [offset_sum, pair_count])
    step = -learning_rate * center_delta(offset_sum, pair_count)

    def assign(strategy: tf.distribute.Strategy, step: tf.Tensor) -> None:
        # Every replica holds the same step already, so each copy of the variable takes its own.
        strategy.extended.update(tf_variable(centers), lambda copy, value: copy.assign_add(value), args=(step,))

    replica.merge_call(assign, args=(step,))
