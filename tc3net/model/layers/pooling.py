"""The layers behind `tc3net.model.pooling`."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tc3net.data.streams import FUSED
from tc3net.model.heads import NetworkShape
from tc3net.ops import ragged


class AttentionPooling(keras.layers.Layer):
    """z = mean over the segments of λ_t C(t, ·) + b, of each T-CAM C with its attention λ.

    Without the T-CAM's own bias this is W v + b of the attention-weighted mean features v = mean λ_t x_t.

    Args:
        shape: the network's.
    """

    def __init__(self, shape: NetworkShape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.streams = tuple(shape.hidden_dims)
        self.biases = {
            name: self.add_weight(shape=(shape.num_classes,), initializer="zeros", name=f"{name}_bias", trainable=True)
            for name in shape.tcams
        }
        self.built = True

    def call(self, outputs: dict[str, Any], training: bool = False, step: Any = 0) -> dict[str, Any]:
        """`pooled_<T-CAM>` [N, C]."""
        del training, step
        found = {}
        for name, bias in self.biases.items():
            tcam = outputs[f"tcam_{name}"]
            total = ragged.sum_over_time(outputs[f"attention_{name}"].flat_values * tcam.flat_values, tcam)
            segments = tf.cast(tcam.row_lengths(), total.dtype)[:, tf.newaxis]
            found[name] = tf.math.divide_no_nan(total, segments) + tf.convert_to_tensor(bias)
        return _of_every_tcam(found, self.streams)


class SoftSelection(keras.layers.Layer):
    """z(j) = log Σ_t α_t s_t(j): s_t the softmax of C(t, ·) over the classes, α the softmax of FC1(x) over time.

    z is a log-probability: its softmax is itself. Of the fused T-CAM, α is made of the mean of the streams' FC1(x).

    Args:
        shape: the network's.
    """

    def __init__(self, shape: NetworkShape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tcams, self.kernels = shape.tcams, {}
        for place, (stream, hidden_dim) in enumerate(shape.hidden_dims.items()):
            # Without a bias, which the softmax over time would cancel.
            initializer = keras.initializers.GlorotUniform(seed=1000 * shape.seed + 100 * place)
            self.kernels[stream] = self.add_weight(
                shape=(hidden_dim, 1), initializer=initializer, name=f"{stream}_kernel", trainable=True
            )
        self.built = True

    def call(self, outputs: dict[str, Any], training: bool = False, step: Any = 0) -> dict[str, Any]:
        """`pooled_<T-CAM>` [N, C]."""
        del training, step
        logits = {
            name: tf.matmul(outputs[f"features_{name}"].flat_values, tf.convert_to_tensor(kernel))
            for name, kernel in self.kernels.items()
        }  # [R, 1]
        logits[FUSED] = tf.add_n(list(logits.values())) / len(logits)
        found = {}
        for name in self.tcams:
            tcam = outputs[f"tcam_{name}"]
            selection, row_ids = tcam.with_flat_values(logits[name]), tcam.value_rowids()
            log_alpha = logits[name] - tf.gather(ragged.log_sum_exp_over_time(selection), row_ids)
            joint = log_alpha + tf.nn.log_softmax(tcam.flat_values, axis=1)  # [R, C]
            found[name] = ragged.log_sum_exp_over_time(tcam.with_flat_values(joint))
        return _of_every_tcam(found, tuple(self.kernels))


def _of_every_tcam(pooled: dict[str, tf.Tensor], streams: tuple[str, ...]) -> dict[str, tf.Tensor]:
    """Under the outputs' names; of a single stream what its fused T-CAM has, which is the same but for a factor."""
    return {f"pooled_{name}": pooled.get(name, pooled[FUSED]) for name in (*streams, FUSED)}


LAYERS = {"attention": AttentionPooling, "selection": SoftSelection}  # by --pooling_head
