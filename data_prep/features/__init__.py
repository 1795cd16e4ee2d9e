"""Feature files as users have them, behind one interface, and the one place that decides whether features are usable.

How streams are arranged (`arrangements`) is kept apart from the kinds of files that arrays lie in (`containers`,
`object_array`) and from the order of their axes (`axes`). All readers hand their arrays to `check_features` before
anyone sees them.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tc3net.common.errors import UserError


class FeatureReader(Protocol):
    """Gives the features of one video at a time."""

    def video_ids(self) -> list[str]:
        """Names of all videos that have features, complete or not."""

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """The rgb and flow features of a video, each [s, D], floating point, finite, s >= 1.

        Raises:
            UserError: the features are absent, damaged, or fail `check_features`.
        """

    def num_segments(self, video_id: str) -> int:
        """Rows of a video, from the description of its array: nothing is read that grows with the video.

        Raises:
            UserError: the features are absent or damaged.
        """


class ArraySource(Protocol):
    """Arrays by video, one per video: the joint features, or one stream."""

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


def check_features(where: str, rgb: np.ndarray, flow: np.ndarray) -> None:
    """Raises unless both streams are usable and belong together.

    Args:
        where: names the video and its files, for the message.
        rgb, flow: what should be [s, D] each.

    Raises:
        UserError: a stream is not 2-D, not floating point, empty, or holds NaN or Inf; or the shapes differ.
    """
    for stream, values in (("rgb", rgb), ("flow", flow)):
        if values.ndim != 2:
            raise UserError(
                f"{where}: {stream} has shape {list(values.shape)}; expected [segments, dims]. "
                "Pool the features over space and save one row per segment."
            )
        if values.dtype.kind != "f":
            raise UserError(f"{where}: {stream} holds {values.dtype}; expected floating point. Extract it again.")
        if values.shape[0] == 0 or values.shape[1] == 0:
            raise UserError(
                f"{where}: {stream} is empty (shape {list(values.shape)}); expected at least one segment. "
                "Extract the features again, or leave the video out."
            )
    if rgb.shape != flow.shape:
        what = "segments" if len(rgb) != len(flow) else "dims"
        raise UserError(
            f"{where}: rgb is {list(rgb.shape)}, flow is {list(flow.shape)}; expected the same number of {what}. "
            "Extract both streams with the same segments."
        )
    for stream, values in (("rgb", rgb), ("flow", flow)):
        finite = np.isfinite(values)
        if not finite.all():
            first_segment = int(np.argmin(finite.all(axis=1)))
            raise UserError(
                f"{where}: {stream} holds {finite.size - np.count_nonzero(finite)} NaN or Inf values, the first in "
                f"segment {first_segment}; expected finite numbers. Extract the features of this video again."
            )
