"""Short videos of a ball that rests, and now and then moves in one of a few ways; for trying the way from video files.

Nothing but the motion tells the classes apart: ball, colours and background are drawn at random for each video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from data_prep.extraction.decoding import import_av
from tc3net.common.files import atomic_path

FPS = 25
HEIGHT, WIDTH = 240, 320
_CELL = 40  # pixels of the background's texture

# Phase of a motion, in turns -> (to the right, down, radius) in parts of what they are at rest.
_MOTIONS: dict[str, Callable[[float], tuple[float, float, float]]] = {
    "Circling": lambda turns: (np.cos(2 * np.pi * turns) - 1, np.sin(2 * np.pi * turns), 1.0),
    "Hopping": lambda turns: (0.0, -1.6 * abs(np.sin(np.pi * turns)), 1.0),
    "Pulsing": lambda turns: (0.0, 0.0, 1.0 + 0.9 * np.sin(np.pi * turns) ** 2),
}
CLASSES = tuple(_MOTIONS)


@dataclass(frozen=True)
class Pattern:
    """One video.

    Attributes:
        video_id: its name.
        duration_s: its length.
        instances: (class, start s, end s), one after the other.
        seed: of colours, background, and speed.
    """

    video_id: str
    duration_s: float
    instances: tuple[tuple[str, float, float], ...]
    seed: int


def frames_of(pattern: Pattern) -> Iterator[np.ndarray]:
    """Yields uint8 frames [H, W, 3] at `FPS`."""
    rng = np.random.default_rng(pattern.seed)
    shape = (HEIGHT // _CELL + 2, WIDTH // _CELL + 2, 3)
    background = _smooth(rng.uniform(60, 120, shape))
    colour = rng.permutation([rng.uniform(200, 255), rng.uniform(120, 255), rng.uniform(0, 120)])
    radius, place = rng.uniform(20, 28), np.array([rng.uniform(0.35, 0.65) * WIDTH, 0.6 * HEIGHT])
    turns_per_s = rng.uniform(1.2, 1.8)
    noises = rng.normal(0, 3, (8, HEIGHT, WIDTH, 1)).astype(np.float32)  # of a camera
    still = background.astype(np.float32)
    for number in range(round(pattern.duration_s * FPS)):
        time_s = number / FPS
        right, down, size = 0.0, 0.0, 1.0
        for label, start_s, end_s in pattern.instances:
            if start_s <= time_s < end_s:
                right, down, size = _MOTIONS[label]((time_s - start_s) * turns_per_s)
        x, y = place + np.array([right, down]) * 2 * radius
        image = still + noises[rng.integers(len(noises))]
        _draw_ball(image, x, y, size * radius, colour)
        yield np.clip(image, 0, 255).astype(np.uint8)


def _draw_ball(image: np.ndarray, x: float, y: float, radius: float, colour: np.ndarray) -> None:
    """Draws a disc with a soft edge into the frame."""
    top, left = (max(0, int(centre - radius) - 1) for centre in (y, x))
    part = image[top : int(y + radius) + 3, left : int(x + radius) + 3]
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    cover = np.clip(radius - np.hypot(columns + left - x, rows + top - y) + 0.5, 0, 1)[..., None]
    part[:] = part * (1 - cover) + colour * cover


def _smooth(coarse: np.ndarray) -> np.ndarray:
    """[HEIGHT, WIDTH, 3] between the values of a coarse grid."""
    rows, columns = np.arange(HEIGHT) / _CELL, np.arange(WIDTH) / _CELL
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = coarse[top][:, left] * (1 - right) + coarse[top][:, left + 1] * right
    lower = coarse[top + 1][:, left] * (1 - right) + coarse[top + 1][:, left + 1] * right
    return upper * (1 - down) + lower * down


def draw_patterns(names: Sequence[str], seed: int, instances: int = 2, least_s: float = 1.9) -> list[Pattern]:
    """Videos with so many instances each, at random places; every class is in about as many videos.

    Args:
        names: of the videos.
        seed: the same seed gives the same videos.
        instances: per video, of different classes as far as there are enough.
        least_s: shortest instance, and shortest rest between two.
    """
    rng = np.random.default_rng(seed)
    patterns = []
    for number, name in enumerate(names):
        labels = [CLASSES[(number + place) % len(CLASSES)] for place in range(instances)]
        time_s, found = 0.0, []
        for label in rng.permutation(labels):
            start_s = time_s + rng.uniform(least_s / 2, least_s)
            time_s = start_s + rng.uniform(least_s, 1.5 * least_s)
            found.append((str(label), round(start_s, 2), round(time_s, 2)))
        duration_s = round(time_s + least_s / 2, 2)
        patterns.append(Pattern(name, duration_s, tuple(found), int(rng.integers(2**31))))
    return patterns


def write_pattern(path: Path, pattern: Pattern) -> None:
    """Writes the video as H.264 in MP4, which browsers play.

    Raises:
        UserError: PyAV is not installed.
        OSError: the file cannot be written.
    """
    av = import_av()
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "18"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, image in enumerate(frames_of(pattern)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
