"""The features of some of the videos: those of subsets that are not converted are as if they were not there."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from data_prep.features import FeatureReader


class Without:
    """A `FeatureReader` that hides some videos.

    Args:
        reader: has them all.
        hidden: ids that it may have.
    """

    def __init__(self, reader: FeatureReader, hidden: Collection[str]) -> None:
        self._reader = reader
        self._ids = [video_id for video_id in reader.video_ids() if video_id not in hidden]

    def video_ids(self) -> list[str]:
        """Ids of the others."""
        return self._ids

    def num_segments(self, video_id: str) -> int:
        """See `FeatureReader.num_segments`."""
        return self._reader.num_segments(video_id)

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """See `FeatureReader.read`."""
        return self._reader.read(video_id)
