"""Detections in what is no evaluation: data sets in tasks, Beam, files that still grow."""
