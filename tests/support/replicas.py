"""Replicas without GPUs, for tests of what must not depend on their number."""

from __future__ import annotations

import tensorflow as tf


def strategy_of(replicas: int) -> tf.distribute.Strategy:
    """The default strategy, or replicas on logical CPU devices.

    Reduction on one device: one process cannot mix group sizes of collectives.
    """
    if replicas == 1:
        return tf.distribute.get_strategy()
    devices = [f"CPU:{i}" for i in range(replicas)]
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=tf.distribute.ReductionToOneDevice())
