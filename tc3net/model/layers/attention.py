"""The layer behind `tc3net.model.attention`."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tc3net.data.streams import FUSED
from tc3net.model.heads import NetworkShape
from tc3net.ops.filters import dense_convolution

SLOPE = 0.2  # of the leaky ReLU
# Taps of the hidden layers, by --attention_head; one unit per segment follows.
LAYERS = {"conv": (3, 3), "dense": (1,)}


class AttentionLayer(keras.layers.Layer):
    """A = σ(hidden layers over the features of a stream, then one unit), for every stream by itself.

    Args:
        shape: the network's.
        kind: "conv": two convolutions over time of kernel 3, each with a leaky ReLU of slope 0.2; "dense": one fully
            connected layer with a ReLU.
        width: units of each hidden layer.
    """

    def __init__(self, shape: NetworkShape, kind: str, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.stream_layers: dict[str, list[tuple[Any, Any]]] = {}
        for place, (stream, hidden_dim) in enumerate(shape.hidden_dims.items()):
            sizes = [(taps, width) for taps in LAYERS[kind]] + [(1, 1)]
            self.stream_layers[stream] = []
            for number, (taps, units) in enumerate(sizes, start=1):
                initializer = keras.initializers.GlorotUniform(seed=1000 * shape.seed + 100 * place + number)
                kernel = self.add_weight(
                    shape=(taps, hidden_dim, units), initializer=initializer,
                    name=f"{stream}_layer{number}_kernel", trainable=True,
                )  # fmt: skip
                bias = self.add_weight(
                    shape=(units,), initializer="zeros", name=f"{stream}_layer{number}_bias", trainable=True
                )
                self.stream_layers[stream].append((kernel, bias))
                hidden_dim = units
        self.built = True

    def call(self, outputs: dict[str, Any], training: bool = False, step: Any = 0) -> dict[str, Any]:
        """`attention_<stream>` [N, (s), 1], and `attention_fused`, their mean."""
        del training, step
        found, like = {}, outputs["tcam_fused"]
        for stream, layers in self.stream_layers.items():
            rows, row_ids = outputs[f"features_{stream}"].flat_values, like.value_rowids()
            for number, (kernel, bias) in enumerate(layers, start=1):
                kernel, bias = tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)
                rows = dense_convolution(rows, kernel, bias, row_ids)
                if number < len(layers):
                    rows = tf.nn.leaky_relu(rows, SLOPE) if self.kind == "conv" else tf.nn.relu(rows)
            found[stream] = tf.sigmoid(rows)  # [R, 1]
        mean = tf.add_n(list(found.values())) / len(found)
        return {f"attention_{name}": like.with_flat_values(rows) for name, rows in {**found, FUSED: mean}.items()}
