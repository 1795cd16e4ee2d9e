"""The losses of 3C-Net (Eq. 1-10) as pure functions of one replica's ragged batch."""

from tc3net.losses.config import LossConfig
from tc3net.losses.terms import (
    CenterTerm,
    Term,
    aggregate_features,
    center_loss,
    classification_loss,
    count_loss,
    estimated_counts,
    predicted_counts,
    temporal_attention,
)

__all__ = [
    "CenterTerm",
    "LossConfig",
    "Term",
    "aggregate_features",
    "center_loss",
    "classification_loss",
    "count_loss",
    "estimated_counts",
    "predicted_counts",
    "temporal_attention",
]
