"""The network's optimizer and its L2 weight decay. The centers have their own update, see `tc3net.centers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tc3net.config import option
from tc3net.errors import UserError


@dataclass(frozen=True)
class OptimizerConfig:
    """Sec. 4.1: Adam, learning rate 1e-4, weight decay 0.005 (reference code: 0.0005)."""

    learning_rate: float = option(1e-4, "Adam's learning rate.")
    weight_decay: float = option(5e-3, "L2 weight decay, added to the gradient of every trainable variable.")

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"--learning_rate={self.learning_rate}; expected a positive number (the paper uses 1e-4).")
        if not 0 <= self.weight_decay < float("inf"):
            raise UserError(f"--weight_decay={self.weight_decay}; expected 0 or a positive number.")


def make_optimizer(learning_rate: float = OptimizerConfig.learning_rate) -> keras.optimizers.Optimizer:
    """Adam with epsilon 1e-8, the value of the framework the paper used (Keras's default is 1e-7)."""
    return keras.optimizers.Adam(learning_rate=learning_rate, epsilon=1e-8)


def add_l2(gradients: Sequence[tf.Tensor], variables: Sequence[Any], weight_decay: float) -> list[tf.Tensor]:
    """Adds weight_decay * w to each gradient (L2 regularisation as the reference's Adam does it, not decoupled).

    The optimizer sums gradients over replicas, so each replica adds its share.

    Args:
        gradients, variables: aligned.
        weight_decay: 0 leaves the gradients as they are.
    """
    if weight_decay == 0:
        return list(gradients)
    share = weight_decay / tf.distribute.get_strategy().num_replicas_in_sync
    return [g + share * tf.convert_to_tensor(v) for g, v in zip(gradients, variables)]
