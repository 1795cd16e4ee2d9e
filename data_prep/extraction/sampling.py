"""Which frames a network sees, at which size and range: a frozen description, and the choice of frames by time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np

from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase

Item = TypeVar("Item")
CROPS = (1, 10)


@dataclass(frozen=True)
class Sampling:
    """What a network wants of a video. The defaults are I3D's.

    Attributes:
        fps: frames per second that the video is brought to, by time stamps.
        frames_per_segment: frames behind one row of features.
        stride_frames: frames from one row to the next.
        short_side: pixels of the frame's shorter side; the aspect is kept.
        size: height and width of the crop, in pixels.
        crops: 1, the centre; or 10, the centre, the corners, and the mirror images of these, whose mean is the row.
        low, high: what black and white become; optical flow always lies in [-1, 1].

    Raises:
        UserError: a value out of range.
    """

    fps: float = 25.0
    frames_per_segment: int = 16
    stride_frames: int = 16
    short_side: int = 256
    size: int = 224
    crops: int = 1
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        TimeBase(self.fps, self.frames_per_segment, self.stride_frames)
        if not 0 < self.size <= self.short_side:
            raise UserError(
                f"a crop of {self.size} pixels from a short side of {self.short_side} found; expected a positive size "
                "that fits. Set --size and --short_side."
            )
        if self.crops not in CROPS:
            raise UserError(f"crops is {self.crops}; expected 1 or 10. Set --crops.")


@dataclass(frozen=True)
class Timed:
    """A decoded frame and its time, in seconds from the first frame's."""

    frame: object
    start_s: Fraction
    end_s: Fraction


def resample(frames: Iterable[Timed], fps: float) -> Iterator[object]:
    """Frames at equal distances: of each tick k / fps the latest frame whose start, rounded to ticks, is not after it.

    That is what FFmpeg's filter `fps` does. There are round(end of the last frame * fps) of them; where the video has
    fewer frames per second, or a hole, the frame before is repeated (the same object).

    Args:
        frames: in the order of time; a start before the previous one counts as that one.
        fps: frames per second, as decimal as it is written.
    """
    rate = Fraction(str(fps))
    held: object = None
    tick, end = 0, 0
    for timed in frames:
        start = max(_rounded(timed.start_s * rate), tick)
        for _ in range(start - tick if held is not None else 0):
            yield held
        tick, held, end = start, timed.frame, max(end, _rounded(timed.end_s * rate))
    for _ in range(end - tick):
        yield held


def _rounded(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def segments(frames: Iterable[np.ndarray], sampling: Sampling) -> Iterator[np.ndarray]:
    """Groups frames [...] into segments [frames_per_segment, ...]; frames after the last whole segment are left out.

    Args:
        frames: in order.
        sampling: says how many make a segment, and how far apart segments begin.
    """
    held: deque[np.ndarray] = deque()
    to_skip = 0
    for frame in frames:
        if to_skip:
            to_skip -= 1
            continue
        held.append(frame)
        if len(held) == sampling.frames_per_segment:
            yield np.stack(held)
            for _ in range(min(sampling.stride_frames, len(held))):
                held.popleft()
            to_skip = max(0, sampling.stride_frames - sampling.frames_per_segment)


def crop_corners(height: int, width: int, sampling: Sampling) -> Sequence[tuple[int, int]]:
    """Top and left of each crop, without the mirror images: the centre first."""
    bottom, right = height - sampling.size, width - sampling.size
    centre = (bottom // 2, right // 2)
    return (centre,) if sampling.crops == 1 else (centre, (0, 0), (0, right), (bottom, 0), (bottom, right))


def crops(image: np.ndarray, sampling: Sampling, is_flow: bool = False) -> np.ndarray:
    """All crops of a frame or flow field: [H, W, channels] -> [crops, size, size, channels].

    Args:
        image: the whole frame.
        sampling: number and size of the crops.
        is_flow: whether a mirror image turns the sign of the first channel, as horizontal motion does.
    """
    size = sampling.size
    corners = crop_corners(image.shape[0], image.shape[1], sampling)
    plain = np.stack([image[top : top + size, left : left + size] for top, left in corners])
    if sampling.crops == 1:
        return plain
    mirrored = plain[:, :, ::-1]
    if is_flow:
        mirrored = mirrored * np.array([-1, 1], image.dtype)
    return np.concatenate([plain, mirrored])


def scaled(image: np.ndarray, sampling: Sampling) -> np.ndarray:
    """uint8 as float32 from `low` to `high`."""
    return image.astype(np.float32) * np.float32((sampling.high - sampling.low) / 255) + np.float32(sampling.low)
