"""Decodes video files with PyAV (FFmpeg): frames with their times, and what could not be decoded.

A damaged or truncated file gives the frames that FFmpeg can decode, and `Decoded` says how much of what the file
announces they are. One frame is in memory at a time, apart from those that the decoder itself holds.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data_prep.extraction.sampling import Timed
from tc3net.common.errors import UserError

# Ends of streams and of what a file announces differ by a frame or two, and by the sound.
_SLACK_S = Fraction(1, 2)
# A longer hole between two frames would be filled with repetitions; it means damaged time stamps.
MAX_HOLE_S = 600
# Time stamps that jump back by more begin anew (an encoder that was restarted); by less, frames are out of order.
_MAX_BACK_S = 10
_MOST_STRETCHED = 10  # sides of a pixel, one over the other; more is damage


@dataclass
class Decoded:
    """What has been decoded of a file.

    Attributes:
        frames: frames that the decoder gave.
        damaged: packets that it refused, and frames that it marked as damaged.
        interlaced: frames of two half pictures from different times; they are taken as they are.
        duration_s: end of the last frame, in seconds from the first frame's start.
        announced_s: duration that the file announces; None where it does not.
        ended_early: the message of FFmpeg with which reading ended before the end of the file, or None.
    """

    frames: int = 0
    damaged: int = 0
    interlaced: int = 0
    duration_s: Fraction = Fraction(0)
    announced_s: float | None = None
    ended_early: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was damaged or missing."""
        missing = self.announced_s is not None and self.duration_s + _SLACK_S < self.announced_s
        return not (self.damaged or self.ended_early or missing)

    def as_dict(self) -> dict[str, Any]:
        """For side files."""
        return {
            "frames": self.frames,
            "damaged": self.damaged,
            "interlaced": self.interlaced,
            "announced_s": self.announced_s,
            "ended_early": self.ended_early,
            "is_whole": self.is_whole,
        }

    def describe(self) -> str:
        """What was decoded of what was announced, in words."""
        of = "" if self.announced_s is None else f" of {self.announced_s:.2f}"
        words = f"{self.frames} frames, {float(self.duration_s):.2f}{of} s"
        words += f", {self.damaged} damaged" if self.damaged else ""
        return words + (f", reading ended early ({self.ended_early})" if self.ended_early else "")


def import_av() -> Any:
    """PyAV.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("av")
    except ImportError:
        raise UserError(
            "PyAV is not installed; expected it for decoding videos. Run `pip install av` (or `pip install "
            "tc3net[video]`)."
        ) from None


def decoder_version() -> str:
    """PyAV's version and that of the library in it that decodes."""
    av = import_av()
    library = av.library_versions["libavcodec"]
    return f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, library))}"


class FrameSource(Protocol):
    """What features are extracted from: a file, a stream, a camera. See `VideoFile`."""

    decoded: Decoded
    pixel_aspect: Fraction
    timed_out: bool

    def __enter__(self) -> FrameSource: ...

    def __exit__(self, *_: object) -> None: ...

    def frames(self) -> Iterator[Timed]:
        """Frames with their times, in seconds from the start of the first one."""


class VideoFile:
    """An open video file or stream; a context manager.

    Args:
        path: the file, or the address of a stream.
        source: where its bytes come from, if not from there: an object with `read(n)`, which gives b"" at the end,
            and `close()`.
        timeout_s: how long a stream may keep silent; None for ever.

    Attributes:
        decoded: what has been decoded so far.
        pixel_aspect: width of a pixel over its height.
        timed_out: whether reading ended because a stream kept silent.

    Raises:
        UserError: it cannot be opened, has no video stream, or pixels that cannot be.
    """

    def __init__(self, path: str | Path, source: Any = None, timeout_s: float | None = None) -> None:
        self._av, self._path, self._source, self.timed_out = import_av(), path, source, False
        self._expected = "a complete file of a container that FFmpeg reads. Fetch the file again"
        if source is not None or timeout_s is not None:
            self._expected = (
                "one that can be read before it is complete: MPEG-TS, Matroska, FLV, or MP4 in fragments (an MP4 file "
                "has its index at the end). Write such a one, or wait and leave out --follow"
            )
        try:
            self._container = self._av.open(str(path) if source is None else source, timeout=timeout_s)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be opened as a video ({error}); expected {self._expected}.") from None
        if not self._container.streams.video:
            self._container.close()
            raise UserError(
                f"{path}: no video stream in it; expected one. Leave the file out, or fetch it again if it was cut off."
            )
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.pixel_aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        if not Fraction(1, _MOST_STRETCHED) <= self.pixel_aspect <= _MOST_STRETCHED:
            self._container.close()
            raise UserError(
                f"{path}: pixels {self.pixel_aspect} times as wide as high; expected at most {_MOST_STRETCHED} times. "
                "Correct it (ffmpeg -i IN -c copy -aspect 16:9 OUT)."
            )
        self.decoded = Decoded(announced_s=self._announced())

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, such as `h264`."""
        return str(self._stream.codec_context.codec.canonical_name)

    @property
    def pixel_format(self) -> str | None:
        """FFmpeg's name, such as `yuv420p`."""
        return self._stream.codec_context.pix_fmt

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        if self._source is not None:
            self._source.close()

    def _announced(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / self._av.time_base if self._container.duration else None

    def frames(self) -> Iterator[Timed]:
        """Frames with their times; a frame without a time stamp follows the one before it.

        Raises:
            UserError: no frame can be decoded, or the time stamps have a hole of more than ten minutes.
        """
        usual = 1 / Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        origin: Fraction | None = None
        end = Fraction(0)
        for frame in self._decoded_frames():
            base = frame.time_base or self._stream.time_base
            if frame.pts is None or base is None:
                start = end
            else:
                stamp = frame.pts * Fraction(base)
                origin = stamp - end if origin is None else origin
                if end - (stamp - origin) > _MAX_BACK_S:
                    origin = stamp - end
                start = stamp - origin
            if start - end > MAX_HOLE_S:
                raise UserError(
                    f"{self._path}: time stamps jump from {float(end):.1f} to {float(start):.1f} s; expected no hole "
                    f"of more than {MAX_HOLE_S} s. Remux the file (ffmpeg -i IN -c copy OUT)."
                )
            duration = frame.duration * Fraction(base) if frame.duration and base else usual
            end = start + duration
            self.decoded.frames += 1
            self.decoded.interlaced += bool(frame.interlaced_frame)
            self.decoded.duration_s = max(self.decoded.duration_s, end)
            yield Timed(frame, start, end)
        if not self.decoded.frames:
            why = self.decoded.ended_early or f"{self.decoded.damaged} damaged packets"
            raise UserError(f"{self._path}: no frame could be decoded ({why}); expected {self._expected}.")

    def frames_near(self, start_s: float) -> Iterator[Timed]:
        """Frames from a key frame at or before a time on; all of them where the file cannot be searched.

        Args:
            start_s: seconds from the first frame's start.

        Raises:
            UserError: see `frames`.
        """
        first = next(self._decoded_frames(), None)
        base = None if first is None else first.time_base or self._stream.time_base
        if first is None or first.pts is None or base is None:
            self._container.seek(0)
            yield from self.frames()
            return
        usual = 1 / Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        wanted = first.pts + int(Fraction(start_s) / Fraction(base))
        for place in (wanted, first.pts):
            self._container.seek(place, stream=self._stream)
            frames = (frame for frame in self._decoded_frames() if frame.pts is not None)
            found = next(frames, None)
            if found is None or (found.pts > wanted and place != first.pts):
                continue  # searching led too far: from the beginning
            for frame in chain([found], frames):
                start = (frame.pts - first.pts) * Fraction(base)
                yield Timed(frame, start, start + (frame.duration * Fraction(base) if frame.duration else usual))
            return

    def _decoded_frames(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (self._av.FFmpegError, OSError) as error:
                self.decoded.ended_early = str(error)
                self.timed_out = isinstance(error, self._av.error.ExitError)
                packet = None
            if packet is None:
                break
            try:
                frames = packet.decode()
            except (self._av.FFmpegError, OSError):
                self.decoded.damaged += 1
                continue
            for frame in frames:
                self.decoded.damaged += bool(frame.is_corrupt)
                yield frame
        if self.decoded.ended_early:
            with contextlib.suppress(self._av.FFmpegError):  # what the decoder still holds
                yield from self._stream.decode(None)


class Resizer:
    """Turns decoded frames upright, and to one size with square pixels: short side as asked, the first one's aspect.

    Args:
        short_side: pixels of the shorter side.
        pixel_aspect: width of a pixel of the frames over its height.
    """

    def __init__(self, short_side: int, pixel_aspect: Fraction = Fraction(1)) -> None:
        self._short_side, self._pixel_aspect = short_side, pixel_aspect
        self._size: tuple[int, int] | None = None
        self._last: tuple[Any, np.ndarray] | None = None

    def __call__(self, frame: Any) -> np.ndarray:
        """uint8 [H, W, 3], rgb; a frame that is given twice in a row is converted once."""
        if self._last is None or self._last[0] is not frame:
            self._last = (frame, self._convert(frame))
        return self._last[1]

    def _convert(self, frame: Any) -> np.ndarray:
        if self._size is None:
            sides = (frame.width * self._pixel_aspect, frame.height)
            scale = self._short_side / Fraction(min(sides))
            self._size = tuple(max(self._short_side, round(side * scale)) for side in sides)
        width, height = self._size
        # FFmpeg's bilinear filter averages where it shrinks.
        small = frame.reformat(width=width, height=height, format="rgb24", interpolation="BILINEAR")
        quarter_turns = round(frame.rotation / 90) % 4  # as the file's display matrix says, counterclockwise
        return np.ascontiguousarray(np.rot90(small.to_ndarray(), quarter_turns))
