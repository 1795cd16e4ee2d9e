"""3C-Net (Sec. 3.1, Fig. 2): the streams, their fusion, and the Keras model that holds and trains them.

The network is imported when it is first asked for: whoever reads a run's choices alone does without Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tc3net.model.config import ModelConfig

if TYPE_CHECKING:
    from tc3net.model.network import Batch, ThreeCNet

__all__ = ["Batch", "ModelConfig", "ThreeCNet"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from tc3net.model import network

        return getattr(network, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
