"""A head: video-level class scores by a pooling that is learned, in place of top-k means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tc3net.common.config import option
from tc3net.model.heads import Head, NetworkShape, add_head

if TYPE_CHECKING:
    import keras


@add_head
@dataclass(frozen=True)
class Pooling(Head):
    """How video-level scores are pooled, for the loss `--pooled_weight`, and for what is told of a video's classes.

    attention: STPN (Nguyen et al. 2018), read in an unofficial reproduction. selection: the soft selection module of
    UntrimmedNets (Wang et al. 2017), read. Their hard selection, the mean of the top 3 of 7 clips' raw scores, is the
    classification loss (Eq. 2) with `--top_k_divisor=2`.
    """

    pooling_head: str = option(
        "none",
        "Learned pooling of video-level scores: none, top-k means (Sec. 3.2); attention, the mean weighted by "
        "--attention_head (STPN); selection, a softmax over time (UntrimmedNets).",
        choices=("none", "attention", "selection"),
    )
    name: ClassVar[str] = "pooling"
    switch: ClassVar[str] = "--pooling_head=attention|selection"

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The attention, where it is weighted by that."""
        return ("attention",) if self.pooling_head == "attention" else ()

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return self.pooling_head != "none"

    def make_layer(self, shape: NetworkShape) -> keras.layers.Layer:
        """See `tc3net.model.layers.pooling.LAYERS`."""
        from tc3net.model.layers.pooling import LAYERS

        return LAYERS[self.pooling_head](shape, name=self.name)
