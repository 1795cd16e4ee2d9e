"""An exponential moving average of the network's weights, updated after each step (`--ema_decay`).

Only what the optimizer moves is averaged. The class centers are not: they follow the features by a moving average of
their own (Eq. 7), and no inference reads them.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def decay_at(decay: float, step: tf.Tensor) -> tf.Tensor:
    """min(decay, (1 + t) / (10 + t)): early averages are short, so that the initial weights are soon forgotten.

    Args:
        decay: the full decay, below 1.
        step: t, number of steps before this one.
    """
    t = tf.cast(step, tf.float32)
    return tf.minimum(decay, (1.0 + t) / (10.0 + t))


class WeightAverage:
    """avg <- avg + (1 - decay_at(t)) * (weight - avg), the same on every replica.

    Create it inside the strategy's scope. It begins as a copy of the weights.

    Args:
        weights: the averaged weights by name.
        decay: in (0, 1).

    Attributes:
        variables: the averages, by the weights' names; part of a training checkpoint.
    """

    def __init__(self, weights: dict[str, tf.Variable], decay: float) -> None:
        self._weights, self._decay = weights, decay
        self.variables = {
            name: tf.Variable(weight.read_value(), trainable=False, name=f"average_{name}")
            for name, weight in weights.items()
        }

    def update(self, step: tf.Tensor) -> None:
        """Moves the averages; call in replica context, after the weights have moved.

        Args:
            step: number of steps before this one.
        """
        rate = 1.0 - decay_at(self._decay, step)

        def move(strategy: tf.distribute.Strategy, rate: Any) -> None:
            def toward(average: tf.Variable, weight: tf.Variable, rate: tf.Tensor) -> None:
                average.assign_add(rate * (weight - average))

            for name, average in self.variables.items():
                # Weight and rate are the same on every replica, so each copy of the average takes its own.
                strategy.extended.update(average, toward, args=(self._weights[name], rate))

        tf.distribute.get_replica_context().merge_call(move, args=(rate,))
