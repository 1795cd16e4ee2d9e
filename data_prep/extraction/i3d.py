"""The I3D networks as backbones: which streams there are weights for, and TensorFlow's graph of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from data_prep.extraction.backbones import Backbone
from data_prep.extraction.inception import FEATURES
from data_prep.extraction.weight_cache import FLOW, RGB, is_stored, load_weights
from data_prep.extraction.weights import PLANS, Arrays, random_weights
from tc3net.common.errors import UserError

STREAMS = {"rgb": RGB, "flow": FLOW}
_RANDOM_SEED = 0


def i3d_backbone(network: str, arrays: Arrays, weights: str) -> Backbone:
    """One network with its weights.

    Args:
        network: one of `weights.PLANS`.
        arrays: the weights, checked.
        weights: what the side files call them.
    """
    plan = PLANS[network]
    from data_prep.extraction.network import I3D  # here, since its layers import Keras

    model = I3D(plan, arrays, (FEATURES,))
    signature = tf.TensorSpec([None, None, None, None, plan.in_channels], tf.float32)

    @tf.function(input_signature=[signature], autograph=False)
    def features(clips: tf.Tensor) -> tf.Tensor:
        return model(clips)[FEATURES]

    return Backbone(network, lambda clips: features(np.asarray(clips, np.float32)).numpy(), weights=weights)


def open_i3d(folder: Path, streams: Sequence[str] | None, use_random_weights: bool = False) -> dict[str, Backbone]:
    """Stream -> network.

    Args:
        folder: the cache of the weights.
        streams: some of `STREAMS`; None for those whose weights are there, rgb at least.
        use_random_weights: make them up; the names then say so.

    Raises:
        UserError: weights are not there.
    """
    if use_random_weights:
        label = f"RANDOM WEIGHTS, seed {_RANDOM_SEED}: these features mean nothing"
        return {
            stream: i3d_backbone(STREAMS[stream], random_weights(PLANS[STREAMS[stream]], _RANDOM_SEED), label)
            for stream in streams or STREAMS
        }
    if streams is None:
        streams = ["rgb", *(["flow"] if is_stored(folder, FLOW) else [])]
        if len(streams) == 1:
            print(
                f"flow: no weights of {FLOW} in {folder}, so rgb alone is extracted (data_prep.weights "
                f"--network={FLOW} --from=FILE stores them)"
            )
    found = {}
    for stream in streams:
        if stream not in STREAMS:
            raise UserError(f"--streams: {stream!r} found; expected rgb, flow or both. Correct the flag.")
        stored = load_weights(folder, STREAMS[stream])
        found[stream] = i3d_backbone(stored.network, stored.arrays, f"SHA-256 {stored.sha256}")
    return found


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
