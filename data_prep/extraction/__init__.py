"""From video files to features: decoding, sampling, optical flow, the networks and their weights.

Importing this package, or any module of it but `network` and `backbones`, does not import TensorFlow: processes that
only compute optical flow start without it.
"""
