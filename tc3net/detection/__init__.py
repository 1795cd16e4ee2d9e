"""From T-CAMs to detections: the paper's rule (Sec. 3.5), and published refinements of it, chosen by one config."""

from tc3net.detection.config import DetectionConfig
from tc3net.detection.detector import detect, detect_cells, detect_videos, to_seconds
from tc3net.detection.tracks import class_gate, mixed_tcam, smooth, thresholds, tracks_of, upsample, video_scores

__all__ = [
    "DetectionConfig",
    "class_gate",
    "detect",
    "detect_cells",
    "detect_videos",
    "mixed_tcam",
    "smooth",
    "thresholds",
    "to_seconds",
    "tracks_of",
    "upsample",
    "video_scores",
]
