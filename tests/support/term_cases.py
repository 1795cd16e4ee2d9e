"""Batches for tests of loss terms, and a term's value and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.losses import Term

Parts = list[np.ndarray]


def random_videos(seed: int, lengths: Sequence[int], classes: int = 4, dim: int = 5) -> dict[str, Any]:
    """Float64 `features` [s, dim] (not negative, as after a ReLU), `tcams` [s, classes], and `labels`.

    Class 0 is in every second video, and the last video has no label.
    """
    rng = np.random.default_rng(seed)
    labels = (rng.random((len(lengths), classes)) < 0.4).astype(float)
    labels[::2, 0] = 1
    labels[1::2, 1] = 1
    labels[-1] = 0
    return {
        "features": [rng.random((s, dim)) for s in lengths],
        "tcams": [rng.normal(size=(s, classes)) for s in lengths],
        "labels": labels,
    }


def ragged(parts: Parts) -> tf.RaggedTensor:
    """One ragged float32 tensor [N, (s), ...] of arrays [s, ...]."""
    rows = np.concatenate(parts).astype(np.float32)
    return tf.RaggedTensor.from_row_lengths(rows, np.array([len(part) for part in parts], np.int64))


def value(term: Term) -> tf.Tensor:
    """What the term adds to the loss."""
    return tf.math.divide_no_nan(term.total, term.weight**term.power)


def gradients(function: Callable[..., Term], *parts: Parts) -> list[np.ndarray]:
    """Gradients of `function(*ragged)`'s value by the rows of each ragged input; zero where there is none."""
    tensors = [ragged(part) for part in parts]
    flats = [tensor.flat_values for tensor in tensors]
    with tf.GradientTape() as tape:
        for flat in flats:
            tape.watch(flat)
        loss = value(function(*[t.with_flat_values(f) for t, f in zip(tensors, flats)]))
    found = tape.gradient(loss, flats, unconnected_gradients="zero")
    return [tf.convert_to_tensor(gradient).numpy() for gradient in found]
