"""What `tc3net.model` asserts: the shape of a batch, and that every variable has exactly one owner."""

from __future__ import annotations

from typing import Any

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


def check_ownership(model: Any) -> None:
    """Checks that every variable has exactly one owner: the network's optimizer, or the centers' update.

    Raises:
        RuntimeError: a variable is owned by both, or by neither.
    """
    network = {id(v) for v in model.trainable_variables}
    centers = {id(v) for v in model.centers.values()}
    trackers = {id(v) for tracker in model.metrics for v in tracker.variables}
    for variable in model.weights:
        owners = (id(variable) in network) + (id(variable) in centers)
        if owners != 1 and id(variable) not in trackers:
            raise RuntimeError(f"variable {variable.name} has {owners} owners; expected exactly one")
