"""Where a video comes from that has not ended yet: a file that another program still writes, a pipe, a camera.

All of them end when nothing has come for `timeout_s`, or when they are asked to.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from data_prep.extraction.decoding import Decoded, FrameSource, VideoFile, import_av
from data_prep.extraction.flow import import_opencv
from data_prep.extraction.sampling import Timed
from tc3net.common.errors import UserError

CAMERA = "camera:"
_MICROSECOND = Fraction(1, 1_000_000)


@dataclass(frozen=True)
class Patience:
    """How long a source is waited for.

    Attributes:
        timeout_s: it has ended when nothing came for so long; 0: never.
        poll_s: how often it is looked at.
        stop: whether to end before that.
    """

    timeout_s: float = 60.0
    poll_s: float = 0.5
    stop: Callable[[], bool] = lambda: False


class GrowingBytes:
    """The bytes of a file that grows, or of a pipe, for a decoder that reads from beginning to end.

    Args:
        path: it need not exist yet.
        patience: when it has ended. A pipe has also ended when nobody writes to it any more.
    """

    def __init__(self, path: str, patience: Patience) -> None:
        self._path, self._patience = path, patience
        self._descriptor: int | None = None
        self._is_pipe, self._position = False, 0

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def read(self, size: int) -> bytes:
        """What has come, at most `size` bytes; waits for the first of them; empty at the end.

        Raises:
            UserError: the file became shorter.
        """
        since = time.monotonic()
        while True:
            found = self._available(size)
            if found:
                self._position += len(found)
                return found
            if self._is_pipe and self._position and found is not None:
                return b""  # nobody writes to it any more
            idle_s = time.monotonic() - since
            if self._patience.stop() or 0 < self._patience.timeout_s <= idle_s:
                return b""
            time.sleep(min(self._patience.poll_s, 0.05) if self._is_pipe else self._patience.poll_s)

    def _available(self, size: int) -> bytes | None:
        """Bytes, none, or None where they may still come."""
        if self._descriptor is None:
            try:
                # Not blocking: opening a pipe would wait for its writer, whatever is pressed meanwhile.
                self._descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            except FileNotFoundError:
                return None
            except OSError as error:
                raise UserError(f"{self._path}: cannot be read ({error}). Check --video.") from None
            self._is_pipe = stat.S_ISFIFO(os.fstat(self._descriptor).st_mode)
        if not self._is_pipe and os.fstat(self._descriptor).st_size < self._position:
            raise UserError(
                f"{self._path}: it became shorter while it was read; expected a file that grows. Start again with the "
                "new file."
            )
        try:
            return os.read(self._descriptor, size)
        except BlockingIOError:
            return None


class Camera:
    """A camera by its number, as OpenCV opens it, with the interface of `VideoFile`; times are those of its arrival.

    Args:
        address: `camera:0`.
        stop: whether to end; a camera does not by itself.

    Raises:
        UserError: OpenCV is not installed, or cannot open it.
    """

    pixel_aspect = Fraction(1)
    timed_out = False

    def __init__(self, address: str, stop: Callable[[], bool]) -> None:
        opencv = import_opencv()
        self._address, self._stop, self._av = address, stop, import_av()
        number = address[len(CAMERA) :]
        if not number.isdecimal():
            raise UserError(f"--video={address}: {number!r} is no number of a camera; expected one, as in camera:0.")
        self._capture = opencv.VideoCapture(int(number))
        if not self._capture.isOpened():
            self._capture.release()
            raise UserError(
                f"--video={address}: OpenCV cannot open this camera; expected one with that number that no other "
                "program uses. Try camera:0 or camera:1."
            )
        self.decoded = Decoded()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def frames(self) -> Iterator[Timed]:
        """Frames with the times at which they came, from the first one's."""
        origin: float | None = None
        held: tuple[Any, Fraction] | None = None
        while not self._stop():
            is_there, image = self._capture.read()
            now = time.monotonic()
            if not is_there:
                self.decoded.ended_early = "the camera gives no more pictures"
                break
            origin = now if origin is None else origin
            start = int((now - origin) / _MICROSECOND) * _MICROSECOND
            if held is not None:
                yield self._timed(*held, start)
            held = (self._av.VideoFrame.from_ndarray(image, format="bgr24"), start)
        if held is not None:
            yield self._timed(*held, held[1] + Fraction(1, 25))
        if not self.decoded.frames:
            raise UserError(f"--video={self._address}: the camera gave no picture. Check that it works.")

    def _timed(self, frame: Any, start: Fraction, end: Fraction) -> Timed:
        self.decoded.frames += 1
        self.decoded.duration_s = end
        return Timed(frame, start, end)


def open_live(address: str, patience: Patience) -> FrameSource:
    """Opens a file that grows, a pipe, a stream (`rtsp://`, `http://`, `udp://`, ...) or a camera (`camera:0`).

    Raises:
        UserError: it cannot be opened.
    """
    if address.startswith(CAMERA):
        return Camera(address, patience.stop)
    if "://" in address:
        return VideoFile(address, timeout_s=patience.timeout_s or None)
    return VideoFile(address, GrowingBytes(address, patience))
