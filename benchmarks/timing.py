"""Timing of functions, and of the machine: how fast it multiplies matrices."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def seconds(function: Callable[[], Any]) -> float:
    """Time of one call, until its result has reached the host."""
    start = time.perf_counter()
    for value in tf.nest.flatten(function()):
        value.numpy()
    return time.perf_counter() - start


def matmul_floor(rows: int, dim: int) -> Callable[[], float]:
    """A function that measures seconds per floating-point operation, by a product [rows, dim] x [dim, dim]."""
    left, right = tf.random.normal([rows, dim]), tf.random.normal([dim, dim])
    times = 4

    @tf.function
    def multiply() -> tf.Tensor:
        product = left
        for _ in range(times):
            product = tf.matmul(product, right)
        return product[0, 0]

    multiply()
    return lambda: seconds(multiply) / (times * 2 * rows * dim * dim)


def median_ratio(
    numerator: Callable[[], float], denominator: Callable[[], float], repeats: int
) -> tuple[float, float, float]:
    """Medians of both times, and of their ratio between neighbours in time."""
    pairs = [(numerator(), denominator()) for _ in range(repeats)]
    first, second = (statistics.median(side) for side in zip(*pairs))
    return first, second, statistics.median(one / other for one, other in pairs)
