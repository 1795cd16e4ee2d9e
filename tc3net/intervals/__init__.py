"""Detections and ground truth as columns, and the ActivityNet JSON that both are read from and written to."""
