"""Feature files as users have them, behind one interface; whoever is handed one, also tc3net, reads and checks it here.

How streams are arranged (`arrangements`) is kept apart from the kinds of files that arrays lie in (`containers`,
`object_array`) and from the order of their axes (`axes`); `layouts` puts them together. What may be used is decided in
`rows`: no reader hands on an array that was not checked there.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class FeatureReader(Protocol):
    """Gives the features of one video at a time."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams, in the order in which `read` gives them."""

    def video_ids(self) -> list[str]:
        """Names of all videos that have features, complete or not."""

    def read(self, video_id: str) -> tuple[np.ndarray, ...]:
        """The features of a video by stream, each [s, D], floating point, finite, s >= 1.

        Raises:
            UserError: the features are absent, damaged, or not usable (`data_prep.features.rows`).
        """

    def num_segments(self, video_id: str) -> int:
        """Rows of a video, from the description of its array: nothing is read that grows with the video.

        Raises:
            UserError: the features are absent or damaged.
        """


class ArraySource(Protocol):
    """Arrays by video, one per video: the joint features, or one stream.

    Attributes:
        notes: what a user should know about how they are read, in words.
    """

    notes: tuple[str, ...]

    def names(self) -> list[str]:
        """Ids of the videos that have an array."""

    def where(self, video_id: str) -> str:
        """Names the array's file, for messages."""

    def shape(self, video_id: str) -> tuple[int, ...]:
        """Shape, without reading the array.

        Raises:
            UserError: the video has no array here, or it is damaged.
        """

    def read(self, video_id: str) -> np.ndarray:
        """The array as it is stored.

        Raises:
            UserError: the video has no array here, or it is damaged.
        """
