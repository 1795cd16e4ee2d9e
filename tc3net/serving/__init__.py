"""Asking a model server (TensorFlow Serving) for detections; `tc3net.serving.client.Client` is the way in."""
