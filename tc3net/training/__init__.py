"""The training loop, and who watches it: strategies, observers, logs, TensorBoard, validation, selection."""
