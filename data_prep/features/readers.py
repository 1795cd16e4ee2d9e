"""Puts the two streams of a video together, from one array per stream or from one array that holds both."""

from __future__ import annotations

import contextlib
from collections import Counter

import numpy as np

from data_prep.features import ArraySource
from data_prep.features.axes import Axes
from data_prep.features.rows import MAX_CUT_ROWS, check_finite, check_streams
from tc3net.common.errors import UserError

CHANNEL_ORDERS = ("rgb_first", "flow_first")


class SeparateReader:
    """Reads rgb and flow from arrays of their own, [s, D] each.

    Args:
        rgb, flow: the arrays of each stream.
        axes: order of their axes.
        cut: whether streams that differ by up to `MAX_CUT_ROWS` rows are cut to the shorter one.
    """

    def __init__(self, rgb: ArraySource, flow: ArraySource, axes: Axes, cut: bool = False) -> None:
        self._rgb, self._flow, self._axes, self._cut = rgb, flow, axes, cut
        self._ids = list(dict.fromkeys([*rgb.names(), *flow.names()]))

    def video_ids(self) -> list[str]:
        """Ids of the videos that have an array in either stream."""
        return self._ids

    def num_segments(self, video_id: str) -> int:
        """See `FeatureReader.num_segments`; the number of rgb's rows, or of the shorter one's where they are cut."""
        rgb = self._axes.segments(self._rgb.shape(video_id), self._rgb.where(video_id))
        return rgb - self._cut_rows(video_id, rgb)[0] if self._cut else rgb

    def where(self, video_id: str) -> str:
        """Names the files of a video."""
        return f"{self._rgb.where(video_id)} and {self._flow.where(video_id)}"

    def _cut_rows(self, video_id: str, rgb_rows: int) -> tuple[int, int]:
        """How many rows rgb and flow lose."""
        longer = rgb_rows - self._axes.segments(self._flow.shape(video_id), self._flow.where(video_id))
        return (0, 0) if abs(longer) > MAX_CUT_ROWS else (max(longer, 0), max(-longer, 0))

    def describe_cuts(self) -> str:
        """Which videos are cut, in words; looks at the description of every array."""
        lost: Counter[int] = Counter()
        for video_id in self._ids:
            with contextlib.suppress(UserError):  # absent or damaged, which the validation reports
                rgb = self._axes.segments(self._rgb.shape(video_id), self._rgb.where(video_id))
                lost[max(self._cut_rows(video_id, rgb))] += 1
        cut = sum(count for rows, count in lost.items() if rows)
        by = ", ".join(f"{lost[rows]} by {rows} row{'s' * (rows > 1)}" for rows in sorted(lost) if rows)
        return f"{cut} of {len(self._ids)} videos cut to the shorter stream" + (f" ({by})" if by else "")

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """See `FeatureReader.read`."""
        rgb, flow = (
            self._axes.rows(source.read(video_id), f"{source.where(video_id)}: {stream}")
            for stream, source in (("rgb", self._rgb), ("flow", self._flow))
        )
        if self._cut and 0 < abs(len(rgb) - len(flow)) <= MAX_CUT_ROWS:
            rows = min(len(rgb), len(flow))
            rgb, flow = rgb[:rows], flow[:rows]
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

    def where(self, video_id: str) -> str:
        """Names the file of a video."""
        return self._source.where(video_id)

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
