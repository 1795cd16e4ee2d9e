"""From T-CAMs to detections: the paper's rule (Sec. 3.5), and published refinements of it, chosen by one config."""

from tc3net.detection.config import DetectionConfig
from tc3net.detection.detector import check_readable, detect, detect_cells, detect_in, detect_videos, to_seconds
from tc3net.detection.evidence import (
    Evidence,
    check_attention,
    check_boundaries,
    check_network,
    evidence_of,
    evidence_of_tcam,
    mixed_tcam,
)
from tc3net.detection.tracks import class_gate, smooth, thresholds, tracks_of, upsample, video_scores

__all__ = [
    "DetectionConfig",
    "Evidence",
    "check_attention",
    "check_boundaries",
    "check_network",
    "check_readable",
    "class_gate",
    "detect",
    "detect_cells",
    "detect_in",
    "detect_videos",
    "evidence_of",
    "evidence_of_tcam",
    "mixed_tcam",
    "smooth",
    "thresholds",
    "to_seconds",
    "tracks_of",
    "upsample",
    "video_scores",
]
