"""Segments, frames and seconds: the only place where fps arithmetic happens.

Segment i is computed from the frames [i * stride, i * stride + frames_per_segment). On the time axis it *owns* a cell
of `stride` frames, centred on those frames, so that cells tile the video without gaps or overlaps whatever the stride.
With the paper's non-overlapping segments (stride = frames_per_segment = 16, Sec. 3 "Feature Extraction") cell and
frames coincide and boundary b lies at b * 16 / fps seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tc3net.common.errors import UserError


def boundaries_s(
    boundary: np.ndarray,
    *,
    fps: np.ndarray,
    frames_per_segment: np.ndarray,
    stride_frames: np.ndarray,
    cells_per_segment: int = 1,
) -> np.ndarray:
    """Seconds at which segment cells begin; cell `b` ends where cell `b + 1` begins.

    Args:
        boundary: [n] integer, cell boundary.
        fps, frames_per_segment, stride_frames: [n] or scalar, time base of each one's video.
        cells_per_segment: equal parts that each segment's cell is divided into, and `boundary` counts.

    Returns:
        [n] float64, seconds.
    """
    return boundary_seconds(
        np.asarray(boundary, np.float64),
        fps=fps,
        frames_per_segment=np.asarray(frames_per_segment, np.float64),
        stride_frames=stride_frames,
        cells_per_segment=cells_per_segment,
    )


def boundary_seconds(
    boundary: Any, *, fps: Any, frames_per_segment: Any, stride_frames: Any, cells_per_segment: int
) -> Any:
    """The formula of `boundaries_s`, for NumPy arrays and tensors alike: float64, all of one shape or scalar."""
    margin_frames = (frames_per_segment - stride_frames) / 2
    return (boundary * stride_frames / cells_per_segment + margin_frames) / fps


def frame_start_s(frame: float, fps: float) -> float:
    """Seconds at which a video's frame begins, counted from 0; the end of a frame is the beginning of the next."""
    return frame / fps


def frame_at(time_s: float, fps: float) -> int:
    """The frame that begins nearest to a time, counted from 0."""
    return round(time_s * fps)


@dataclass(frozen=True)
class TimeBase:
    """How feature rows relate to time. Defaults: THUMOS14 features at 25 fps, 16-frame segments.

    Raises:
        UserError: a value is not positive, or not finite.
    """

    fps: float = 25.0
    frames_per_segment: int = 16
    stride_frames: int = 16

    def __post_init__(self) -> None:
        for name in ("fps", "frames_per_segment", "stride_frames"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UserError(f"{name} is {value}; expected a positive number. Set --{name} to the features' value.")

    def boundary_s(self, boundary: int) -> float:
        """Seconds at which the cell of segment `boundary` begins (equally: where the cell before it ends)."""
        return float(boundaries_s(np.asarray(boundary), **vars(self)))

    def grid_index(self, time_s: np.ndarray) -> np.ndarray:
        """Nearest whole segment boundary, halves to even: the public evaluator's grid (`round(t * 25 / 16)`).

        Args:
            time_s: seconds, any shape, float64.

        Returns:
            int64 of the same shape.
        """
        return np.rint(np.asarray(time_s, np.float64) * self.fps / self.stride_frames).astype(np.int64)

    def duration_s(self, num_segments: int) -> float:
        """Seconds of video that `num_segments` rows need: from the first frame of the first to the last of the last."""
        return ((num_segments - 1) * self.stride_frames + self.frames_per_segment) / self.fps

    def num_segments(self, duration_s: float) -> int:
        """Rows that fit into a video of `duration_s` seconds (0 when it is shorter than one segment)."""
        frames = round(duration_s * self.fps, 6)
        return max(0, int((frames - self.frames_per_segment) // self.stride_frames) + 1)


def spanning(duration_s: float, num_segments: int) -> TimeBase:
    """Time base of rows that were rescaled, so that together they span a video, such as 100 rows of each.

    A row is then a sample of its own: one frame at as many frames per second as there are rows. Row i owns
    [i, i + 1) * duration_s / num_segments, which is a stride of duration * fps / rows frames in the video's own rate.

    Args:
        duration_s: of the video.
        num_segments: its rows, at least 1.

    Raises:
        UserError: a duration that is not positive, or no rows.
    """
    return TimeBase(fps=num_segments / duration_s if duration_s else 0.0, frames_per_segment=1, stride_frames=1)
