"""Steps that the tests of engines send to workers, which find them here by name."""

from __future__ import annotations

from data_prep.conversion.workers import named
from data_prep.features import FeatureReader


def count_rows(reader: FeatureReader, video_id: str) -> int:
    """Rows of a video."""
    with named(video_id):
        return len(reader.read(video_id)[0])


def fail_with_v2(reader: FeatureReader, video_id: str) -> int:
    """A bug that shows with one video."""
    with named(video_id):
        return 1 // (video_id != "v2")
