"""3C-Net (Sec. 3.1, Fig. 2): the streams, their fusion, and the Keras model that holds and trains them."""

from tc3net.model.network import Batch, ModelConfig, ThreeCNet

__all__ = ["Batch", "ModelConfig", "ThreeCNet"]
