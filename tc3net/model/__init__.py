"""3C-Net (Sec. 3.1, Fig. 2): the streams, their fusion, and the Keras model that holds and trains them.

Importing the heads of other methods adds them to the table, in this order, in which they act; all are off by default.
"""

from tc3net.model.attention import Attention
from tc3net.model.background import BackgroundClass
from tc3net.model.network import Batch, ModelConfig, ThreeCNet
from tc3net.model.pooling import Pooling

__all__ = ["Attention", "BackgroundClass", "Batch", "ModelConfig", "Pooling", "ThreeCNet"]
