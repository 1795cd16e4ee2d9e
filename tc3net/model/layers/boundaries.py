"""The layer behind `tc3net.model.boundaries`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tc3net.model.heads import NetworkShape
from tc3net.ops.filters import dense_convolution

LAYERS, TAPS = 3, 3
SLOPE = 0.1  # of the leaky ReLU
EPSILON = 1e-5  # added to the variance
LAST_STDDEV = 0.01  # of the last layer's initial weights: boundaries begin as the anchors


class BoundaryLayer(keras.layers.Layer):
    """Boundaries [x1, x2] in segments from the video's beginning, for every segment t and anchor of width a.

        c = t + ½ + a · tanh(d_c)        w = a · exp(tanh(d_w))        x1, x2 = c ∓ w/2

    with the center c and then x1 and x2 cut off at the ends of the video; d_c and d_w are the last layer's outputs.
    AutoLoc has d in place of tanh(d), which near 0 is the same; here no d makes a width that is 0 or infinite.

    Args:
        shape: the network's.
        anchors: the M widths.
        width: units of the hidden layers.
    """

    def __init__(self, shape: NetworkShape, anchors: Sequence[float], width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.anchors, self.streams = tuple(anchors), tuple(shape.hidden_dims)
        self.hidden: list[tuple[Any, Any, Any]] = []
        units = sum(shape.hidden_dims.values())
        for number in range(1, LAYERS + 1):
            kernel = self.add_weight(
                shape=(TAPS, units, width), initializer=keras.initializers.HeNormal(seed=1000 * shape.seed + number),
                name=f"layer{number}_kernel", trainable=True,
            )  # fmt: skip
            scale, offset = (
                self.add_weight(shape=(width,), initializer=kind, name=f"layer{number}_{name}", trainable=True)
                for name, kind in (("scale", "ones"), ("offset", "zeros"))
            )
            self.hidden.append((kernel, scale, offset))
            units = width
        last = keras.initializers.RandomNormal(stddev=LAST_STDDEV, seed=1000 * shape.seed + LAYERS + 1)
        size = 2 * len(self.anchors)
        self.kernel = self.add_weight(shape=(1, units, size), initializer=last, name="last_kernel", trainable=True)
        self.bias = self.add_weight(shape=(size,), initializer="zeros", name="last_bias", trainable=True)
        self.built = True

    def call(self, outputs: dict[str, Any], training: bool = False, step: Any = 0) -> dict[str, Any]:
        """`boundaries` [N, (s), M, 2]: start and end, 0 <= start < end <= s."""
        del training, step
        like = outputs["tcam_fused"]
        row_ids = like.value_rowids()
        rows = tf.concat([outputs[f"features_{name}"].flat_values for name in self.streams], axis=1)
        rows = tf.stop_gradient(rows)  # the classifier's features are not moved by it, as in AutoLoc
        for kernel, scale, offset in self.hidden:
            kernel, scale, offset = (tf.convert_to_tensor(variable) for variable in (kernel, scale, offset))
            rows = dense_convolution(rows, kernel, tf.zeros_like(offset), row_ids)
            mean, variance = tf.nn.moments(rows, axes=[1], keepdims=True)
            rows = tf.nn.leaky_relu((rows - mean) * tf.math.rsqrt(variance + EPSILON) * scale + offset, SLOPE)
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        moved = tf.tanh(dense_convolution(rows, kernel, bias, row_ids))  # [R, 2M]
        count = len(self.anchors)
        anchors = tf.constant([self.anchors], moved.dtype)  # [1, M]
        segments = tf.cast(tf.gather(like.row_lengths(), row_ids), moved.dtype)[:, tf.newaxis]  # [R, 1]
        position = tf.range(tf.size(row_ids, tf.int64)) - tf.gather(like.row_starts(), row_ids)
        middle = tf.cast(position, moved.dtype)[:, tf.newaxis] + 0.5
        center = tf.minimum(tf.maximum(middle + anchors * moved[:, :count], 0.0), segments)
        half = 0.5 * anchors * tf.exp(moved[:, count:])
        start, end = tf.maximum(center - half, 0.0), tf.minimum(center + half, segments)
        return {"boundaries": like.with_flat_values(tf.stack([start, end], axis=2))}
