"""3C-Net (Sec. 3.1, Fig. 2): the streams, their fusion, and the Keras model that holds and trains them.

The network and its layers are imported when they are first asked for: whoever reads a run's choices alone does without
Keras. Importing the heads of other methods adds them to the table, in this order, in which they act; all are off by
default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tc3net.model.attention import Attention
from tc3net.model.background import BackgroundClass
from tc3net.model.boundaries import Boundaries
from tc3net.model.config import ModelConfig
from tc3net.model.pooling import Pooling

if TYPE_CHECKING:
    from tc3net.model.network import Batch, ThreeCNet

__all__ = ["Attention", "BackgroundClass", "Batch", "Boundaries", "ModelConfig", "Pooling", "ThreeCNet"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from tc3net.model import network

        return getattr(network, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
