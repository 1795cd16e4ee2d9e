"""Inception-v1 I3D in TensorFlow, for inference: batch norm is folded into the convolutions.

All convolutions and pools are `SAME` as TensorFlow means it: where the padding is odd, there is more of it at the end.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from data_prep.extraction.inception import (
    CLASSIFIER,
    FEATURES,
    LOGITS,
    PREDICTIONS,
    InceptionPlan,
    Mixed,
    Pool,
    Unit,
)
from data_prep.extraction.weights import Arrays, fold_norm


class Convolution(keras.layers.Layer):
    """A unit, its batch norm folded in: [N, T, H, W, in] -> [N, T / stride, H / stride, W / stride, out]."""

    def __init__(self, unit: Unit, arrays: Arrays) -> None:
        super().__init__(name=unit.name.replace("/", "."), trainable=False)
        self._stride, self._is_relu = unit.stride, unit.has_norm
        kernel, bias = fold_norm(arrays, unit)
        self.kernel, self.bias = (
            self.add_weight(
                name=name, shape=values.shape, initializer=keras.initializers.Constant(values), trainable=False
            )
            for name, values in (("kernel", kernel), ("bias", bias))
        )

    def call(self, inputs: Any) -> tf.Tensor:
        strides = [1, *3 * (self._stride,), 1]
        outputs = tf.nn.conv3d(inputs, tf.convert_to_tensor(self.kernel), strides, "SAME")
        outputs = outputs + tf.convert_to_tensor(self.bias)
        return tf.nn.relu(outputs) if self._is_relu else outputs


def max_pool(inputs: tf.Tensor, window: tuple[int, int, int], strides: tuple[int, int, int]) -> tf.Tensor:
    """Maximum over windows of time, height and width, `SAME`: over space first, then over time.

    The result is that of `tf.nn.max_pool3d` to the last bit, in a tenth of its time on CPUs.

    Args:
        inputs: [N, T, H, W, C].
        window: along T, H, W; height and width alike.
        strides: along T, H, W.
    """
    shape = tf.shape(inputs)
    frames = tf.reshape(inputs, tf.concat([[-1], shape[2:]], axis=0))
    frames.set_shape([None, None, None, inputs.shape[4]])
    over_space = tf.nn.max_pool2d(frames, window[1:], strides[1:], "SAME")
    values = tf.reshape(over_space, tf.concat([shape[:2], tf.shape(over_space)[1:]], axis=0))
    values.set_shape([None, None, None, None, inputs.shape[4]])
    count = (shape[1] + strides[0] - 1) // strides[0]
    missing = tf.maximum((count - 1) * strides[0] + window[0] - shape[1], 0)
    paddings = [[0, 0], [missing // 2, missing - missing // 2], [0, 0], [0, 0], [0, 0]]
    padded = tf.pad(values, paddings, constant_values=values.dtype.min)
    end = (count - 1) * strides[0] + 1
    return functools.reduce(tf.maximum, [padded[:, start : start + end : strides[0]] for start in range(window[0])])


class I3D(keras.Model):
    """The network: frames [N, T, H, W, channels], in [-1, 1], -> {end point: tensor}.

    End points are the layers up to `Mixed_5c`, under the names of the published checkpoints, and

    * `Features` [N, 1024]: the average of `Mixed_5c` over time and space;
    * `Logits` [N, classes]: the classifier of averages over windows of 2 x 7 x 7, averaged over time, and
      `Predictions`, its softmax.

    Args:
        plan: the layers.
        arrays: the weights, as `weights.check_weights` returns them.
        outputs: the end points to return; what comes after the last of them is not computed.
    """

    def __init__(self, plan: InceptionPlan, arrays: Arrays, outputs: Sequence[str] = (FEATURES,)) -> None:
        super().__init__(trainable=False)
        self._plan, self._outputs = plan, tuple(outputs)
        known = [*(layer.name for layer in plan.layers()), FEATURES, LOGITS, PREDICTIONS]
        unknown = [name for name in outputs if name not in known]
        if unknown:
            raise ValueError(f"end points {unknown} found; expected some of {known}")
        self._convolutions = {unit.name.replace("/", "."): Convolution(unit, arrays) for unit in plan.units()}

    def build(self, input_shape: Any) -> None:
        """All weights are made in the constructor."""
        self.built = True

    def call(self, inputs: Any) -> dict[str, tf.Tensor]:
        found: dict[str, tf.Tensor] = {}
        missing = set(self._outputs)
        outputs = inputs
        for layer in self._plan.layers():
            if not missing:
                break
            outputs = self._layer(layer, outputs)
            if layer.name in missing:
                found[layer.name] = outputs
                missing.discard(layer.name)
        if missing:
            found |= self._head(outputs, missing)
        return found

    def _layer(self, layer: Unit | Pool | Mixed, inputs: tf.Tensor) -> tf.Tensor:
        if isinstance(layer, Unit):
            return self._convolve(layer.name, inputs)
        if isinstance(layer, Pool):
            return max_pool(inputs, layer.window, layer.strides)
        branches = []
        for number, units in enumerate(layer.branches):
            last_branch = number == len(layer.branches) - 1
            outputs = max_pool(inputs, (3, 3, 3), (1, 1, 1)) if last_branch else inputs
            for unit in units:
                outputs = self._convolve(unit.name, outputs)
            branches.append(outputs)
        return tf.concat(branches, axis=-1)

    def _convolve(self, name: str, inputs: tf.Tensor) -> tf.Tensor:
        return self._convolutions[name.replace("/", ".")](inputs)

    def _head(self, last: tf.Tensor, missing: set[str]) -> dict[str, tf.Tensor]:
        """End points after `Mixed_5c`, given that block [N, T, H, W, D]."""
        found = {FEATURES: tf.reduce_mean(last, axis=[1, 2, 3])}
        if missing - {FEATURES}:
            # The published window, 2 x 7 x 7; other sizes than 224 x 224 are averaged over all their places.
            window = [1, min(2, last.shape[1]), last.shape[2], last.shape[3], 1]
            pooled = tf.nn.avg_pool3d(last, window, [1] * 5, "VALID")  # [N, T - 1, 1, 1, D]
            logits = tf.reduce_mean(self._convolve(CLASSIFIER, pooled), axis=[1, 2, 3])
            found |= {LOGITS: logits, PREDICTIONS: tf.nn.softmax(logits)}
        return {name: found[name] for name in missing}
