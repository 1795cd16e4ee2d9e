"""Steps for worker processes, which find them by this module's name; without TensorFlow, so that they start quickly."""

from __future__ import annotations

import os
import signal

from data_prep.conversion.workers import named
from data_prep.features import FeatureReader


def read_step(reader: FeatureReader, video_id: str) -> int:
    """Rows of a video."""
    with named(video_id):
        return len(reader.read(video_id)[0])


def faulty_step(reader: FeatureReader, video_id: str) -> float:
    """A step with a bug."""
    with named(video_id):
        return 1 / 0


def dying_step(reader: FeatureReader, video_id: str) -> None:
    """A process that the system kills."""
    os.kill(os.getpid(), signal.SIGKILL)
