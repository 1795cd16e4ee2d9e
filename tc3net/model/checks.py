"""What the network asserts of a batch."""

from __future__ import annotations

import tensorflow as tf

from tc3net.common.errors import UserError


def check_batch_features(features: tf.RaggedTensor, feature_dim: int) -> None:
    """Raises UserError unless `features` is ragged [N, (s), 2 * feature_dim]."""
    found = features.shape[-1] if isinstance(features, tf.RaggedTensor) else None
    if found != 2 * feature_dim:
        raise UserError(
            f"The model expects a ragged batch [videos, (segments), {2 * feature_dim}] (rgb, then flow), found "
            f"{getattr(features, 'shape', type(features))}. Build it with tc3net.data.pipeline or "
            "tf.RaggedTensor.from_row_lengths, and create the model with the features' own feature_dim."
        )
