"""A head: attention of each stream that no class owns, 0 for background and 1 for action of whatever class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.model.heads import Head, NetworkShape, add_head

if TYPE_CHECKING:
    import keras

WIDTHS = {"conv": 512, "dense": 256}  # of the hidden layers, as published


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
        choices=("none", *WIDTHS),
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
        """See `tc3net.model.layers.attention.AttentionLayer`."""
        from tc3net.model.layers.attention import AttentionLayer

        width = self.attention_width or WIDTHS[self.attention_head]
        return AttentionLayer(shape, self.attention_head, width, name=self.name)
