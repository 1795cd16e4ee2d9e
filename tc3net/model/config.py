"""Every choice of the network's architecture."""

from __future__ import annotations

from dataclasses import dataclass

from tc3net.common.config import option
from tc3net.common.errors import UserError


@dataclass(frozen=True)
class ModelConfig:
    """Architecture choices; the feature size and the classes come from the data set."""

    dropout: float = option(0.7, "Dropout rate between the features and the classifier (reference code: 0.7).")
    precision: str = option(
        "float32",
        "Dtype of the dense layers in training; their variables, all losses and inference are float32 in any case.",
        choices=("float32", "bfloat16"),
    )
    hidden_dim: int = option(
        0, "Units H of both fully connected layers of each stream; 0: as many as the stream has features (paper)."
    )
    temporal_conv: bool = option(
        False, "Learn a per-class temporal filter on the fused T-CAM (Sec. 4.1: kernel 13, dilation 2; ActivityNet)."
    )
    temporal_conv_relu: bool = option(True, "Apply a ReLU after the temporal filter, as the reference code does.")

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise UserError(f"--dropout={self.dropout}; expected a rate in [0, 1).")
        if self.hidden_dim < 0:
            raise UserError(f"--hidden_dim={self.hidden_dim}; expected 0 (the stream's own size) or more.")
