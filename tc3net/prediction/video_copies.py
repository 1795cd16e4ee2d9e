"""Videos for people to look at: copies that browsers play, and a clip of each detection. Both are H.264 in MP4.

Times of copies and clips are those of detections: zero is the start of the first frame. Re-encoded files have no sound.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.extraction.decoding import VideoFile, import_av
from data_prep.extraction.sampling import Timed
from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path

# What browsers play: endings, and the codecs in them.
_PLAYED = {
    ".mp4": {"h264", "av1", "vp9"}, ".m4v": {"h264"}, ".mov": {"h264"}, ".webm": {"vp8", "vp9", "av1"},
    ".ogv": {"theora"},
}  # fmt: skip
_PLAYED_PIXELS = {"yuv420p", "yuvj420p"}
_CLOCK = 90_000  # ticks per second
_OPTIONS = {"preset": "veryfast", "crf": "23"}
CLIP_NAME = re.compile(r"\d{3,}_.*\.mp4")


def is_played(path: Path) -> bool:
    """Whether browsers play a file as it is.

    Raises:
        UserError: it cannot be opened.
    """
    codecs = _PLAYED.get(path.suffix.lower(), set())
    with VideoFile(path) as video:
        return video.codec in codecs and video.pixel_format in _PLAYED_PIXELS


def playable_copy(path: Path, target: Path) -> Path:
    """The file itself where browsers play it, else a copy that they play; made again if the file is newer.

    Args:
        path: the video.
        target: the copy, .mp4.

    Raises:
        UserError: it cannot be decoded, or there is no encoder.
        OSError: the copy cannot be written.
    """
    if is_played(path):
        return path
    if not target.is_file() or target.stat().st_mtime < path.stat().st_mtime:
        print(f"{path.name}: browsers do not play it; writing a copy that they play, {target}", flush=True)
        with VideoFile(path) as video, atomic_path(target) as temporary:
            write_h264(temporary, video.frames(), video.pixel_aspect)
    return target


def write_clip(path: Path, start_s: float, end_s: float, target: Path, title: str = "") -> bool:
    """Writes the frames of a video that begin from `start_s` to before `end_s`; whether there are any.

    Args:
        path: the video.
        start_s, end_s: seconds from the start of its first frame.
        target: the clip, .mp4.
        title: what players show.

    Raises:
        UserError: it cannot be decoded, or there is no encoder.
        OSError: the clip cannot be written.
    """
    start, end = (Fraction(round(seconds * 1_000_000), 1_000_000) for seconds in (start_s, end_s))
    with VideoFile(path) as video:
        frames = _between(video.frames_near(start_s), start, end)
        first = next(frames, None)
        if first is None:
            return False
        with atomic_path(target) as temporary:
            write_h264(temporary, _after(first, frames), video.pixel_aspect, title)
    return True


def _between(frames: Iterator[Timed], start_s: Fraction, end_s: Fraction) -> Iterator[Timed]:
    """The frames that are on the screen between two times; the first one begins where it is cut."""
    for timed in frames:
        if timed.start_s >= end_s:
            return
        if timed.end_s > start_s:
            yield Timed(timed.frame, max(timed.start_s, start_s), min(timed.end_s, end_s))


def _after(first: Timed, rest: Iterator[Timed]) -> Iterator[Timed]:
    yield first
    yield from rest


def clip_name(rank: int, label: str, start_s: float, end_s: float) -> str:
    """`001_HighJump_12.8-19.2s.mp4`; letters that file names may not have become `_`."""
    return f"{rank:03d}_{re.sub(r'[^0-9A-Za-z-]+', '_', label)[:60]}_{start_s:.1f}-{end_s:.1f}s.mp4"


def remove_clips(folder: Path) -> None:
    """Removes the clips of an earlier prediction; other files stay."""
    for path in folder.glob("*.mp4"):
        if CLIP_NAME.fullmatch(path.name):
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def write_h264(target: Path, frames: Iterator[Timed], pixel_aspect: Fraction, title: str = "") -> None:
    """Encodes frames, upright and with square pixels, at their times from the first one's on.

    Args:
        target: the file.
        frames: in the order of time.
        pixel_aspect: width of a pixel over its height.
        title: what players show.

    Raises:
        UserError: PyAV has no encoder of H.264.
    """
    av = import_av()
    with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as container:
        if title:
            container.metadata["title"] = title
        stream: Any = None
        origin, last = Fraction(0), -1
        for timed in frames:
            image = _upright(timed.frame, pixel_aspect)
            if stream is None:
                stream, origin = _add_stream(av, container, image), timed.start_s
            elif image.shape[:2] != (stream.height, stream.width):
                image = _upright(timed.frame, pixel_aspect, (stream.width, stream.height))
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = max(last + 1, round((timed.start_s - origin) * _CLOCK))
            frame.duration = max(1, round((timed.end_s - timed.start_s) * _CLOCK))
            frame.time_base, last = Fraction(1, _CLOCK), frame.pts
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def _add_stream(av: Any, container: Any, image: np.ndarray) -> Any:
    try:
        stream = container.add_stream("libx264", rate=25, options=_OPTIONS)
    except (ValueError, av.FFmpegError):
        raise UserError(
            f"PyAV {av.__version__} has no encoder libx264; expected it for clips and copies of videos. Install PyAV "
            "with `pip install --force-reinstall av`, or leave out --clips and give videos that browsers play (.mp4)."
        ) from None
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = Fraction(1, _CLOCK)
    return stream


def _upright(frame: Any, pixel_aspect: Fraction, size: tuple[int, int] | None = None) -> np.ndarray:
    """[H, W, 3] uint8, rgb, with even sides; of (width, height) where it is given."""
    quarter_turns = round(frame.rotation / 90) % 4
    if size is not None:
        width, height = size[::-1] if quarter_turns % 2 else size
    else:
        width, height = (max(2, side // 2 * 2) for side in (round(frame.width * pixel_aspect), frame.height))
    image = frame.reformat(width=width, height=height, format="rgb24", interpolation="BILINEAR").to_ndarray()
    return np.ascontiguousarray(np.rot90(image, quarter_turns))
