"""Intervals and lengths in seconds: what is an interval, where a video ends, when two lengths differ."""

from __future__ import annotations

import math

from data_prep.annotations import VideoRecord

LENGTH_TOLERANCE_S = 2.0
LENGTH_TOLERANCE = 0.05


def is_interval(start_s: float, end_s: float) -> bool:
    """Whether two times are finite and in order; zero length is allowed."""
    return math.isfinite(start_s) and math.isfinite(end_s) and start_s <= end_s


def length_differs(features_s: float, duration_s: float) -> bool:
    """Whether features and duration of a video are further apart than extraction and rounding explain."""
    difference_s = abs(features_s - duration_s)
    return difference_s > LENGTH_TOLERANCE_S and difference_s > LENGTH_TOLERANCE * duration_s


def video_end_s(record: VideoRecord, features_s: float | None) -> float:
    """Second at which a video ends: the later of its stated duration and what its features cover.

    Features that cover more than the stated duration show that the video goes on.

    Args:
        record: the annotation.
        features_s: seconds that the features cover; None when they are not usable.

    Returns:
        Seconds; infinity when neither is known.
    """
    stated_s = record.duration_s if math.isfinite(record.duration_s) else 0.0
    return max(stated_s, features_s or 0.0) or math.inf


def visible_end_s(record: VideoRecord, features_s: float | None) -> float:
    """Second at which ends what a model can see: the last feature row, whatever the stated duration.

    Args:
        record: the annotation.
        features_s: seconds that the features cover; None when they are not usable: then the end of the video.
    """
    return video_end_s(record, None) if features_s is None else features_s
