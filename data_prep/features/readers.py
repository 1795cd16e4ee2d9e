"""Puts the two streams of a video together, from one array per stream or from one array that holds both."""

from __future__ import annotations

import numpy as np

from data_prep.features import ArraySource
from data_prep.features.axes import Axes
from data_prep.features.rows import check_finite, check_streams
from tc3net.common.errors import UserError

CHANNEL_ORDERS = ("rgb_first", "flow_first")


class SeparateReader:
    """Reads rgb and flow from arrays of their own, [s, D] each.

    Args:
        rgb, flow: the arrays of each stream.
        axes: order of their axes.
    """

    def __init__(self, rgb: ArraySource, flow: ArraySource, axes: Axes) -> None:
        self._rgb, self._flow, self._axes = rgb, flow, axes
        self._ids = list(dict.fromkeys([*rgb.names(), *flow.names()]))

    def video_ids(self) -> list[str]:
        """Ids of the videos that have an array in either stream."""
        return self._ids

    def num_segments(self, video_id: str) -> int:
        """See `FeatureReader.num_segments`; the number of rgb's rows."""
        return self._axes.segments(self._rgb.shape(video_id), self._rgb.where(video_id))

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """See `FeatureReader.read`."""
        rgb, flow = (
            self._axes.rows(source.read(video_id), f"{source.where(video_id)}: {stream}")
            for stream, source in (("rgb", self._rgb), ("flow", self._flow))
        )
        rgb_where, flow_where = self._rgb.where(video_id), self._flow.where(video_id)
        check_streams(f"{rgb_where}, {flow_where}", rgb, flow)
        check_finite(rgb_where, rgb)
        check_finite(flow_where, flow)
        return rgb, flow


class JointReader:
    """Reads both streams from one array [s, 2 D].

    Args:
        source: the arrays.
        axes: order of their axes.
        channel_order: which stream the first half of the columns is, one of `CHANNEL_ORDERS`.
    """

    def __init__(self, source: ArraySource, axes: Axes, channel_order: str) -> None:
        self._source, self._axes, self._channel_order = source, axes, channel_order

    def video_ids(self) -> list[str]:
        """Ids of the videos that have an array."""
        return self._source.names()

    def num_segments(self, video_id: str) -> int:
        """See `FeatureReader.num_segments`."""
        return self._axes.segments(self._source.shape(video_id), self._source.where(video_id))

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """See `FeatureReader.read`."""
        where = self._source.where(video_id)
        joint = self._axes.rows(self._source.read(video_id), where)
        if joint.shape[1] % 2:
            raise UserError(
                f"{where}: shape {list(joint.shape)} found; expected [segments, 2 x dims], "
                f"{self._channel_order.replace('_', ' ')}. Extract the features of this video again."
            )
        halves = np.split(joint, 2, axis=1)  # [s, 2 D] -> 2 x [s, D]
        rgb, flow = halves if self._channel_order == "rgb_first" else halves[::-1]
        check_streams(where, rgb, flow)
        check_finite(where, joint)
        return rgb, flow
