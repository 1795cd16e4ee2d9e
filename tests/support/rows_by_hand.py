"""Ground truth and detections written by hand, row by row."""

from __future__ import annotations

import numpy as np

from tc3net.data.timebase import TimeBase
from tc3net.intervals.columns import Detections, GroundTruth

CLASSES = ("Dive", "Throw", "Jump")
ONE_SECOND_GRID = TimeBase(fps=1, frames_per_segment=1, stride_frames=1)


def ground_truth(instances, ambiguous=(), videos=("a", "b")) -> GroundTruth:
    """`instances`: (video, class id, start, end); `ambiguous`: (video, start, end)."""
    return GroundTruth(
        classes=CLASSES,
        video_ids=tuple(videos),
        video=np.array([videos.index(row[0]) for row in instances], np.int64),
        label=np.array([row[1] for row in instances], np.int64),
        start_s=np.array([row[2] for row in instances], np.float64),
        end_s=np.array([row[3] for row in instances], np.float64),
        ambiguous_video=np.array([videos.index(row[0]) for row in ambiguous], np.int64),
        ambiguous_start_s=np.array([row[1] for row in ambiguous], np.float64),
        ambiguous_end_s=np.array([row[2] for row in ambiguous], np.float64),
    )


def found(rows, videos=("b", "a", "elsewhere", "far")) -> Detections:
    """`rows`: (video, class id, start, end, score). The videos are numbered otherwise than in the ground truth."""
    return Detections(
        video_ids=tuple(videos),
        video=np.array([videos.index(row[0]) for row in rows], np.int64),
        label=np.array([row[1] for row in rows], np.int64),
        start_s=np.array([row[2] for row in rows], np.float64),
        end_s=np.array([row[3] for row in rows], np.float64),
        score=np.array([row[4] for row in rows], np.float64),
    )
