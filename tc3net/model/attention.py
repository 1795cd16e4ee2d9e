"""A head: attention of each stream that no class owns, 0 for background and 1 for action of whatever class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.data.streams import FUSED
from tc3net.model.heads import Head, NetworkShape, add_head
from tc3net.ops.filters import dense_convolution

SLOPE = 0.2  # of the leaky ReLU
TAPS = 3
WIDTHS = {"conv": 512, "dense": 256}  # of the hidden layers, as published
# (taps, activation) of the hidden layers; one unit per segment follows.
LAYERS = {"conv": (TAPS, TAPS), "dense": (1,)}


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


@add_head
@dataclass(frozen=True)
class Attention(Head):
    """Class-agnostic attention of each stream.

    conv: conv(3, 512) → LReLU 0.2 → conv(3, 512) → LReLU 0.2 → conv(1, 1) → σ, as HAM-Net (Islam, Long, Radke 2021)
    and CO2-Net (Hong et al. 2021) have it, read in their code (their dropout in it left out). dense: FC(256) → ReLU →
    FC(1) → σ, STPN's (Nguyen et al. 2018), read in an unofficial reproduction. Both read this network's features.
    """

    attention_head: str = option(
        "none",
        "Attention of segments that no class owns, for each stream: none; conv, two convolutions over time (HAM-Net, "
        "CO2-Net); dense, a fully connected layer (STPN).",
        choices=("none", *LAYERS),
    )
    attention_width: int = option(0, "Units of its hidden layers; 0: as published, 512 (conv) or 256 (dense).")
    name: ClassVar[str] = "attention"
    switch: ClassVar[str] = "--attention_head=conv|dense"
    attends: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.attention_width < 0:
            raise UserError(f"--attention_width={self.attention_width}; expected 0 (as published) or more.")

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return self.attention_head != "none"

    def make_layer(self, shape: NetworkShape) -> keras.layers.Layer:
        """See `AttentionLayer`."""
        width = self.attention_width or WIDTHS[self.attention_head]
        return AttentionLayer(shape, self.attention_head, width, name=self.name)
