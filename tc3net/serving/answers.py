"""What a served model answers: detections, and learned features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tc3net.intervals.columns import Detections


@dataclass(frozen=True)
class Detection:
    """One detected instance, in seconds."""

    class_name: str
    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True)
class Embedding:
    """Learned features of one video per segment.

    Attributes:
        streams: [s, H] float32 by stream.
    """

    streams: Mapping[str, np.ndarray]

    @property
    def rgb(self) -> np.ndarray:
        """[s, H] of the stream of this name."""
        return self.streams["rgb"]

    @property
    def flow(self) -> np.ndarray:
        """[s, H] of the stream of this name."""
        return self.streams["flow"]


def as_columns(found: Mapping[str, Sequence[Detection]]) -> tuple[Detections, tuple[str, ...]]:
    """Detections by video as columns, and the class names that their labels index.

    Args:
        found: the detections of each video, by its name.
    """
    classes = tuple(sorted({one.class_name for detections in found.values() for one in detections}))
    rows = [
        (video, classes.index(one.class_name), one.start_s, one.end_s, one.score)
        for video, detections in enumerate(found.values())
        for one in detections
    ]
    columns = np.array(rows, np.float64).reshape(-1, 5).T
    video, label = columns[:2].astype(np.int64)
    return Detections(tuple(found), video, label, *columns[2:]), classes
