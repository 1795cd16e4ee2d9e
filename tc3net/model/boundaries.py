"""A head: boundaries of an action around each segment, one pair for each of a few widths (AutoLoc)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.model.heads import Head, NetworkShape, add_head

if TYPE_CHECKING:
    import keras

MAX_ANCHORS, MAX_WIDTH = 16, 100_000.0


@add_head
@dataclass(frozen=True)
class Boundaries(Head):
    """Regression of boundaries from the features of all streams side by side, which are held fixed.

    3 x (conv(3, 128) → normalisation → LReLU 0.1) → conv(1, 2M) for M anchors, as AutoLoc (Shou et al. 2018) has it,
    read in its code; there the normalisation is over the batch, here over the units of each segment, so that neither
    the other videos nor the number of replicas matter.
    """

    boundary_head: bool = option(
        False, "Regress the boundaries of an action from each segment (AutoLoc), for --boundary_weight."
    )
    boundary_anchors: str = option(
        "1,2,4,8,16,32",
        "Widths that boundaries are regressed from, in segments, increasing, comma separated (AutoLoc: these for "
        "THUMOS14; 16,32,64,128,256,512 for ActivityNet).",
    )
    boundary_width: int = option(128, "Units of its hidden layers.")
    name: ClassVar[str] = "boundaries"
    switch: ClassVar[str] = "--boundary_head"
    bounds: ClassVar[bool] = True

    def __post_init__(self) -> None:
        try:
            anchors = self.anchors
        except ValueError:
            anchors = ()
        rising = all(a < b for a, b in zip(anchors, anchors[1:]))
        if not (0 < len(anchors) <= MAX_ANCHORS and rising and anchors[0] >= 1 and anchors[-1] <= MAX_WIDTH):
            raise UserError(
                f"--boundary_anchors={self.boundary_anchors}; expected up to {MAX_ANCHORS} increasing widths in "
                f"segments, from 1 to {MAX_WIDTH:.0f}, comma separated."
            )
        if self.boundary_width < 1:
            raise UserError(f"--boundary_width={self.boundary_width}; expected 1 or more.")

    @property
    def anchors(self) -> tuple[float, ...]:
        """`boundary_anchors` as numbers."""
        return tuple(float(text) for text in self.boundary_anchors.split(","))

    @property
    def active(self) -> bool:
        """Whether it is there."""
        return self.boundary_head

    def make_layer(self, shape: NetworkShape) -> keras.layers.Layer:
        """See `tc3net.model.layers.boundaries.BoundaryLayer`."""
        from tc3net.model.layers.boundaries import BoundaryLayer

        return BoundaryLayer(shape, self.anchors, self.boundary_width, name=self.name)
