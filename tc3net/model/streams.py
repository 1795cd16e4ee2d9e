"""The layers of Fig. 2, on concatenated valid rows: one stream, and the fusion of the streams' T-CAMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tc3net.ops.filters import CONV_KERNEL, temporal_convolution


@keras.utils.register_keras_serializable("tc3net")
class Stream(keras.layers.Layer):
    """FC(H)+ReLU -> FC(H)+ReLU = features x -> dropout -> FC(C) = T-CAM (Sec. 3.1, where H = D).

    Args:
        feature_dim: D.
        hidden_dim: H.
        num_classes: C.
        dropout: rate in [0, 1).
        seed: of the initial weights and, with the step, of the dropout masks.
        precision: dtype of the dense layers in training, "float32" or "bfloat16".
    """

    def __init__(
        self,
        feature_dim: int,
        hidden_dim: int,
        num_classes: int,
        dropout: float,
        seed: int,
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.feature_dim, self.hidden_dim, self.num_classes = feature_dim, hidden_dim, num_classes
        self.rate, self.seed, self.precision = dropout, seed, precision

        def dense(units: int, name: str, position: int) -> keras.layers.Dense:
            glorot = keras.initializers.GlorotUniform(seed=8 * seed + position)
            return keras.layers.Dense(units, kernel_initializer=glorot, name=name)

        # They hold the weights; `call` applies them, in the precision of the moment.
        self.fc1 = dense(hidden_dim, "fc1", 0)
        self.fc2 = dense(hidden_dim, "fc2", 1)
        self.classifier = dense(num_classes, "classifier", 2)

    def build(self, input_shape: Any) -> None:
        """Creates the weights for rows [R, D]."""
        self.fc1.build((None, self.feature_dim))
        self.fc2.build((None, self.hidden_dim))
        self.classifier.build((None, self.hidden_dim))
        self.built = True

    def call(self, rows: tf.Tensor, training: bool = False, step: Any = 0) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows [R, D] -> features [R, H] (before dropout) and T-CAM rows [R, C], both float32.

        Args:
            rows: concatenated segments of all videos.
            training: whether dropout is active, and the dense layers compute in `precision`; otherwise in float32.
            step: training step.
        """
        dtype = tf.as_dtype(self.precision if training else "float32")
        hidden = tf.nn.relu(_affine(self.fc1, tf.cast(rows, dtype)))
        hidden = tf.nn.relu(_affine(self.fc2, hidden))  # [R, H]
        if training and self.rate > 0:
            mask, kept_fraction = self._dropout_mask(tf.shape(hidden), step)
            # Inverted dropout; the factor goes to the kernel, which is smaller than the rows.
            tcam = _affine(self.classifier, hidden * tf.cast(mask, dtype), 1.0 / kept_fraction)
        else:
            tcam = _affine(self.classifier, hidden)
        return tf.cast(hidden, tf.float32), tf.cast(tcam, tf.float32)

    def _dropout_mask(self, shape: tf.Tensor, step: Any) -> tuple[tf.Tensor, float]:
        """See `dropout_mask`."""
        return dropout_mask(shape, self.rate, self.seed, step)


def dropout_mask(shape: tf.Tensor, rate: float, seed: int, step: Any) -> tuple[tf.Tensor, float]:
    """Mask [R, H] bool and the fraction of True in it; it depends on (seed, step, replica, R, H) only.

    A resumed run repeats it. 16 random bits decide on each value: half the bits of a uniform number, and less
    than half the time. The rate is rounded to 1 / 65536, and the fraction returned is exact.
    """
    replica = tf.distribute.get_replica_context()
    replica_id = 0 if replica is None else replica.replica_id_in_sync_group
    seeds = tf.stack([tf.cast(step, tf.int64), seed + (1 << 32) * tf.cast(replica_id, tf.int64)])
    size = shape[0] * shape[1]
    words = tf.random.stateless_uniform([(size + 1) // 2], seeds, minval=None, maxval=None, dtype=tf.int32)
    bits = tf.reshape(tf.bitcast(words, tf.int16), [-1])[:size]  # uniform in -32768 .. 32767
    dropped = round(rate * 65536)
    mask = tf.reshape(bits >= tf.constant(dropped - 32768, tf.int16), shape)
    return mask, 1.0 - dropped / 65536


def _affine(layer: keras.layers.Dense, rows: tf.Tensor, scale: float = 1.0) -> tf.Tensor:
    """rows @ (scale * kernel) + bias in the dtype of the rows; the variables stay float32."""
    kernel, bias = tf.convert_to_tensor(layer.kernel), tf.cast(tf.convert_to_tensor(layer.bias), rows.dtype)
    kernel = tf.cast(kernel if scale == 1.0 else kernel * scale, rows.dtype)
    if kernel.shape[0] <= kernel.shape[1]:
        return tf.nn.bias_add(tf.matmul(rows, kernel), bias)
    # The same product; but the gradient of a narrow kernel is then computed as [C, D], in half the time of [D, C].
    return tf.nn.bias_add(tf.matmul(rows, tf.transpose(kernel), transpose_b=True), bias)


@keras.utils.register_keras_serializable("tc3net")
class FusedTcam(keras.layers.Layer):
    """C^F = Σ w^m * C^m with class-specific weights (Sec. 3.1), optionally filtered over time (Sec. 4.1).

    Of a single stream it is w * C: the weight stays, so that each class has its scale, as with several.

    Args:
        streams: names of the streams m, in order.
        num_classes: C.
        temporal_conv: whether to learn the depthwise temporal filter (kernel 13, dilation 2, no bias).
        relu: whether a ReLU follows the filter.
        seed: of the filter's initial weights.
    """

    def __init__(
        self, streams: Sequence[str], num_classes: int, temporal_conv: bool, relu: bool, seed: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stream_names = tuple(streams)
        self.num_classes, self.temporal_conv, self.relu, self.seed = num_classes, temporal_conv, relu, seed

    def build(self, input_shape: Any) -> None:
        """Creates the weights: [C] per stream, and the filter [13, C]."""
        self.weights_by_stream = [
            self.add_weight(shape=(self.num_classes,), initializer="ones", name=name, trainable=True)
            for name in (f"weight_{stream}" for stream in self.stream_names)
        ]
        if self.temporal_conv:
            # Glorot for a depthwise filter: each class has CONV_KERNEL inputs and outputs.
            limit = (3.0 / CONV_KERNEL) ** 0.5
            initializer = keras.initializers.RandomUniform(-limit, limit, seed=self.seed)
            self.kernel = self.add_weight(
                shape=(CONV_KERNEL, self.num_classes), initializer=initializer, name="temporal_kernel", trainable=True
            )
        self.built = True

    def call(self, tcams: Sequence[tf.Tensor], row_ids: tf.Tensor) -> tf.Tensor:
        """T-CAMs [R, C] of the streams -> fused T-CAM [R, C].

        Args:
            tcams: rows of each stream, in order.
            row_ids: [R] int64, the video of each row, ascending.
        """
        fused = tf.add_n([w * tcam for w, tcam in zip(self.weights_by_stream, tcams)])
        if self.temporal_conv:
            fused = temporal_convolution(fused, tf.convert_to_tensor(self.kernel), row_ids)
            fused = tf.nn.relu(fused) if self.relu else fused
        return fused
