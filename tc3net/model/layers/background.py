"""The layer behind `tc3net.model.background`."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tc3net.data.streams import FUSED
from tc3net.model.heads import NetworkShape
from tc3net.model.streams import dropout_mask


class BackgroundLayer(keras.layers.Layer):
    """One more column for each stream's classifier, and its weight in the fused one.

    In training the same features are dropped as before the stream's classifier, so that both together are one of C + 1
    classes.

    Args:
        shape: the network's.
    """

    def __init__(self, shape: NetworkShape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.stream_seeds, self.stream_weights = shape.dropout, shape.stream_seeds, {}
        for place, (stream, hidden_dim) in enumerate(shape.hidden_dims.items()):
            initializer = keras.initializers.GlorotUniform(seed=1000 * shape.seed + 100 * place)
            self.stream_weights[stream] = tuple(
                self.add_weight(shape=size, initializer=kind, name=f"{stream}_{name}", trainable=True)
                for name, size, kind in (
                    ("kernel", (hidden_dim, 1), initializer), ("bias", (1,), "zeros"), ("weight", (1,), "ones")
                )
            )  # fmt: skip
        self.built = True

    def call(self, outputs: dict[str, Any], training: bool = False, step: Any = 0) -> dict[str, Any]:
        """`background_<stream>` and `background_fused` [N, (s), 1]."""
        like, found, weighted = outputs["tcam_fused"], {}, []
        for stream, variables in self.stream_weights.items():
            kernel, bias, weight = (tf.convert_to_tensor(variable) for variable in variables)
            rows = outputs[f"features_{stream}"].flat_values
            if training and self.rate > 0:
                mask, kept_fraction = dropout_mask(tf.shape(rows), self.rate, self.stream_seeds[stream], step)
                rows = rows * tf.cast(mask, rows.dtype) / kept_fraction
            found[stream] = tf.matmul(rows, kernel) + bias  # [R, 1]
            weighted.append(weight * found[stream])
        found[FUSED] = tf.add_n(weighted)
        return {f"background_{name}": like.with_flat_values(rows) for name, rows in found.items()}
