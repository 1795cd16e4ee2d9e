"""What the network asserts of a batch."""

from __future__ import annotations

import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.streams import Streams


def check_batch_features(features: tf.RaggedTensor, streams: Streams) -> None:
    """Raises UserError unless `features` is ragged [N, (s), ΣD]."""
    found = features.shape[-1] if isinstance(features, tf.RaggedTensor) else None
    if found != streams.width:
        raise UserError(
            f"The model expects a ragged batch [videos, (segments), {streams.width}] ({streams.words()}), found "
            f"{getattr(features, 'shape', type(features))}. Build it with tc3net.data.pipeline or "
            "tf.RaggedTensor.from_row_lengths, and create the model with the features' own streams."
        )
