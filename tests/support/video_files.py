"""Small video files, written by the tests that need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: int = 25,
    stamps: Sequence[int] | None = None,
    codec: str = "mpeg4",
    encoder: Mapping[str, str] | None = None,
) -> Path:
    """Writes uint8 frames [H, W, 3]; `stamps` are their times in milliseconds, for rates that vary.

    The index of an .mp4 is written first, so that a file that is cut off can still be read.
    """
    import av

    base = Fraction(1, 1000) if stamps is not None else Fraction(1, fps)
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=1000 if stamps is not None else fps, options=dict(encoder or {}))
        stream.time_base = stream.codec_context.time_base = base
        stream.pix_fmt = "yuv444p" if codec == "ffv1" else "yuv420p"
        for number, image in enumerate(frames):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
                if codec == "mpeg4":
                    stream.bit_rate = 4_000_000
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = (stamps[number] if stamps is not None else number), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grey_levels(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames of one grey each, all different: 10, 13, 16, ..."""
    return [np.full((height, width, 3), 10 + 3 * number % 240, np.uint8) for number in range(count)]


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random picture [H, W, 3], in which motion can be seen everywhere."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (height // 4 + 2, width // 4 + 2))
    rows, columns = np.arange(height) / 4, np.arange(width) / 4
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None], (columns - left)[None]
    upper = coarse[top][:, left] * (1 - right) + coarse[top][:, left + 1] * right
    lower = coarse[top + 1][:, left] * (1 - right) + coarse[top + 1][:, left + 1] * right
    return np.repeat((upper * (1 - down) + lower * down)[..., None], 3, axis=2).astype(np.uint8)


def turned_clockwise(path: Path) -> Path:
    """Writes into an .mp4 that players turn its frames by 90 degrees, as telephones do."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version 0: times, track, duration; reserved; layer, volume
    turn = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    content[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turn)
    path.write_bytes(content)
    return path


def stretched(path: Path, frames: Iterable[np.ndarray], width: int, height: int) -> Path:
    """A video whose pixels are width : height, as those of DVDs are not square."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(width, height)
        for number, image in enumerate(frames):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
