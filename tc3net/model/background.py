"""A head: scores of a background class, beside the T-CAMs, which keep their C classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tc3net.common.config import option
from tc3net.model.heads import Head, NetworkShape, add_head

if TYPE_CHECKING:
    import keras


@add_head
@dataclass(frozen=True)
class BackgroundClass(Head):
    """A class for what is no action, in tracks of its own: detection, evaluation and export know the C classes alone.

    Source: HAM-Net (Islam, Long, Radke 2021), CO2-Net (Hong et al. 2021), read in their code; before them BaS-Net (Lee
    et al. 2020).
    """

    background_class: bool = option(False, "Score background as one more class, for losses that need it.")
    name: ClassVar[str] = "background"
    switch: ClassVar[str] = "--background_class"

    @property
    def active(self) -> bool:
        """Whether it is there."""
        return self.background_class

    def make_layer(self, shape: NetworkShape) -> keras.layers.Layer:
        """See `tc3net.model.layers.background.BackgroundLayer`."""
        from tc3net.model.layers.background import BackgroundLayer

        return BackgroundLayer(shape, name=self.name)
