"""tc3net: 3C-Net for weakly-supervised temporal action localization, in TensorFlow/Keras."""

__version__ = "0.1.0"
