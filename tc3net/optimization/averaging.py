"""Averages of the network's weights, which evaluation and export use in the weights' place.

An exponential moving average, updated after each step (`--ema_decay`), or one that the optimizer keeps itself
(Lookahead and SWA of tensorflow-addons). Only what the optimizer moves is averaged. The class centers are not: they
follow the features by a moving average of their own (Eq. 7), and no inference reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.optimization.addons import averaging_slots


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
        _update_each(self.variables, self._weights, _toward, 1.0 - decay_at(self._decay, step))


class OptimizerAverage:
    """Averages that the optimizer moves in its own step: Lookahead's slow weights, or SWA's mean of snapshots.

    Until SWA's first snapshot they are the weights of the step, so that evaluation is right at any time.

    Args:
        weights: the averaged weights by name.
        averages: the optimizer's variables, by the same names.
        steps_before: number of steps that end before the first snapshot.

    Attributes:
        variables: the averages, by the weights' names; part of a training checkpoint.
    """

    def __init__(self, weights: dict[str, tf.Variable], averages: dict[str, tf.Variable], steps_before: int) -> None:
        self._weights, self.variables, self._steps_before = weights, averages, steps_before
        for name, average in averages.items():
            average.assign(tf.convert_to_tensor(weights[name]))

    def update(self, step: tf.Tensor) -> None:
        """Copies the weights where there is no snapshot yet; call in replica context, after the optimizer's step.

        Args:
            step: number of steps before this one.
        """
        if self._steps_before:
            _update_each(self.variables, self._weights, _replace, step < self._steps_before)


def make_average(
    optimizer: Any, weights: dict[str, tf.Variable], ema_decay: float
) -> WeightAverage | OptimizerAverage | None:
    """The average that belongs to a training; None where there is none.

    Args:
        optimizer: the built optimizer.
        weights: the network's weights by name.
        ema_decay: decay of the moving average; 0: none.

    Raises:
        UserError: the optimizer keeps averages of its own, and a decay is given.
    """
    averages, steps_before = averaging_slots(optimizer, weights)
    if averages and ema_decay:
        raise UserError(f"ema_decay={ema_decay} with Lookahead or SWA: each gives the weights to evaluate. Choose one.")
    if averages:
        return OptimizerAverage(weights, averages, steps_before)
    return WeightAverage(weights, ema_decay) if ema_decay else None


def _toward(average: tf.Variable, weight: tf.Variable, rate: tf.Tensor) -> None:
    average.assign_add(rate * (weight - average))


def _replace(average: tf.Variable, weight: tf.Variable, when: tf.Tensor) -> None:
    average.assign(tf.where(when, weight, average))


def _update_each(
    averages: dict[str, tf.Variable],
    weights: dict[str, tf.Variable],
    change: Callable[[tf.Variable, tf.Variable, tf.Tensor], None],
    value: tf.Tensor,
) -> None:
    """Changes every average by its weight and a scalar; call in replica context."""

    def move(strategy: tf.distribute.Strategy, value: Any) -> None:
        for name, average in averages.items():
            # Weight and value are the same on every replica, so each copy of the average takes its own.
            strategy.extended.update(average, change, args=(weights[name], value))

    tf.distribute.get_replica_context().merge_call(move, args=(value,))
