"""A head: video-level class scores by a pooling that is learned, in place of top-k means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tc3net.common.config import option
from tc3net.data.streams import FUSED
from tc3net.model.heads import Head, NetworkShape, add_head
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


LAYERS = {"attention": AttentionPooling, "selection": SoftSelection}


@add_head
@dataclass(frozen=True)
class Pooling(Head):
    """How video-level scores are pooled, for the loss `--pooled_weight`, and for what is told of a video's classes.

    attention: STPN (Nguyen et al. 2018), read in an unofficial reproduction. selection: the soft selection module of
    UntrimmedNets (Wang et al. 2017), read. Their hard selection, the mean of the top 3 of 7 clips' raw scores, is the
    classification loss (Eq. 2) with `--top_k_divisor=2`.
    """

    pooling_head: str = option(
        "none",
        "Learned pooling of video-level scores: none, top-k means (Sec. 3.2); attention, the mean weighted by "
        "--attention_head (STPN); selection, a softmax over time (UntrimmedNets).",
        choices=("none", *LAYERS),
    )
    name: ClassVar[str] = "pooling"
    switch: ClassVar[str] = "--pooling_head=attention|selection"

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The attention, where it is weighted by that."""
        return ("attention",) if self.pooling_head == "attention" else ()

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return self.pooling_head != "none"

    def make_layer(self, shape: NetworkShape) -> keras.layers.Layer:
        """See `LAYERS`."""
        return LAYERS[self.pooling_head](shape, name=self.name)
