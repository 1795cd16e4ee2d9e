"""The layers of Fig. 2, on concatenated valid rows: one stream, and the fusion of two T-CAMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

CONV_KERNEL, CONV_DILATION = 13, 2  # Sec. 4.1


@keras.utils.register_keras_serializable("tc3net")
class Stream(keras.layers.Layer):
    """FC(D)+ReLU -> FC(D)+ReLU = features x -> dropout -> FC(C) = T-CAM (Sec. 3.1).

    Args:
        feature_dim: D.
        num_classes: C.
        dropout: rate in [0, 1).
        seed: of the initial weights and, with the step, of the dropout masks.
    """

    def __init__(self, feature_dim: int, num_classes: int, dropout: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.feature_dim, self.num_classes, self.rate, self.seed = feature_dim, num_classes, dropout, seed

        def dense(units: int, activation: str | None, name: str, position: int) -> keras.layers.Dense:
            glorot = keras.initializers.GlorotUniform(seed=8 * seed + position)
            return keras.layers.Dense(units, activation=activation, kernel_initializer=glorot, name=name)

        self.fc1 = dense(feature_dim, "relu", "fc1", 0)
        self.fc2 = dense(feature_dim, "relu", "fc2", 1)
        self.classifier = dense(num_classes, None, "classifier", 2)

    def build(self, input_shape: Any) -> None:
        """Creates the weights for rows [R, D]."""
        for layer in (self.fc1, self.fc2, self.classifier):
            layer.build((None, self.feature_dim))
        self.built = True

    def call(self, rows: tf.Tensor, training: bool = False, step: Any = 0) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows [R, D] -> features [R, D] (before dropout) and T-CAM rows [R, C].

        Args:
            rows: concatenated segments of all videos.
            training: whether dropout is active.
            step: training step.
        """
        hidden = self.fc2(self.fc1(rows))  # [R, D], non-negative
        return hidden, self.classifier(self._dropout(hidden, step) if training and self.rate > 0 else hidden)

    def _dropout(self, rows: tf.Tensor, step: Any) -> tf.Tensor:
        """Inverted dropout whose mask depends on (seed, step, replica) only, so that a resumed run repeats it."""
        replica = tf.distribute.get_replica_context()
        replica_id = 0 if replica is None else replica.replica_id_in_sync_group
        seed = tf.stack([tf.cast(step, tf.int64), self.seed + (1 << 32) * tf.cast(replica_id, tf.int64)])
        return tf.nn.experimental.stateless_dropout(rows, rate=self.rate, seed=seed)


@keras.utils.register_keras_serializable("tc3net")
class FusedTcam(keras.layers.Layer):
    """C^F = w^a * C^a + w^f * C^f with class-specific weights (Sec. 3.1), optionally filtered over time (Sec. 4.1).

    Args:
        num_classes: C.
        temporal_conv: whether to learn the depthwise temporal filter (kernel 13, dilation 2, no bias).
        relu: whether a ReLU follows the filter.
        seed: of the filter's initial weights.
    """

    def __init__(self, num_classes: int, temporal_conv: bool, relu: bool, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.temporal_conv, self.relu, self.seed = num_classes, temporal_conv, relu, seed

    def build(self, input_shape: Any) -> None:
        """Creates the weights: [C] per stream, and the filter [13, C]."""
        self.weights_by_stream = [
            self.add_weight(shape=(self.num_classes,), initializer="ones", name=name, trainable=True)
            for name in ("weight_rgb", "weight_flow")
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
        """Two T-CAMs [R, C] -> fused T-CAM [R, C].

        Args:
            tcams: rgb and flow rows.
            row_ids: [R] int64, the video of each row, ascending.
        """
        fused = tf.add_n([w * tcam for w, tcam in zip(self.weights_by_stream, tcams)])
        if self.temporal_conv:
            fused = temporal_convolution(fused, tf.convert_to_tensor(self.kernel), row_ids)
            fused = tf.nn.relu(fused) if self.relu else fused
        return fused


def temporal_convolution(rows: tf.Tensor, kernel: tf.Tensor, row_ids: tf.Tensor) -> tf.Tensor:
    """Depthwise dilated convolution over time, "same" padding with zeros, each video by itself.

    The rows of all videos lie one after the other; a tap that would reach into a neighbouring video reads zero.

    Args:
        rows: [R, C].
        kernel: [taps, C], taps odd; cross-correlation as in Keras and the reference.
        row_ids: [R] int64, the video of each row, ascending.

    Returns:
        [R, C].
    """
    num_rows, taps = tf.shape(rows)[0], int(kernel.shape[0])
    reach = CONV_DILATION * (taps // 2)
    padded = tf.pad(rows, [[reach, reach], [0, 0]])  # [R, C] -> [R + 2 reach, C]
    padded_ids = tf.pad(row_ids, [[reach, reach]], constant_values=-1)
    shifted = []
    for tap in range(taps):
        offset = CONV_DILATION * tap
        same_video = padded_ids[offset : offset + num_rows] == row_ids
        window = padded[offset : offset + num_rows] * kernel[tap]
        shifted.append(tf.where(same_video[:, tf.newaxis], window, tf.zeros_like(window)))
    return tf.add_n(shifted)
