"""Puts the streams of a video together, from one array per stream or from one array that holds all of them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_prep.features import ArraySource
from data_prep.features.axes import Axes
from data_prep.features.rows import MAX_CUT_ROWS, check_finite, check_streams
from tc3net.common.errors import UserError
from tc3net.data.streams import RGB_FLOW

CHANNEL_ORDERS = ("rgb_first", "flow_first")
MISSING = ("refuse", "zero")


@dataclass(frozen=True)
class Sizes:
    """What is known of the streams before any array is looked at.

    Attributes:
        streams: (name, size or None where nobody said it), in the order of an array with all of them.
        said_by: who said the sizes, and what to do where they differ.
    """

    streams: tuple[tuple[str, int | None], ...]
    said_by: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of the streams."""
        return tuple(name for name, _ in self.streams)

    @property
    def total(self) -> int | None:
        """ΣD, where every size is known."""
        known = [size for _, size in self.streams if size is not None]
        return sum(known) if len(known) == len(self.streams) else None

    def require(self, where: str, stream: str, shape: tuple[int, ...]) -> None:
        """Raises UserError for rows of another size than was said."""
        size = dict(self.streams)[stream]
        if size is not None and len(shape) == 2 and shape[1] != size:
            raise UserError(f"{where}: shape {shape} found, [segments, {size}] of {stream} expected: {self.said_by}")


class SeparateReader:
    """Reads each stream from arrays of its own, [s, D] each.

    Args:
        sources: the arrays of each stream, in order.
        axes: order of their axes.
        cut: whether streams that differ by up to `MAX_CUT_ROWS` rows are cut to the shortest one.
        zero_missing: whether a stream that a video does not have is zero; otherwise it is an error.
        sizes: what is known of the streams.
    """

    def __init__(
        self,
        sources: Mapping[str, ArraySource],
        axes: Axes,
        *,
        cut: bool = False,
        zero_missing: bool = False,
        sizes: Sizes | None = None,
    ) -> None:
        self._sources, self._axes, self._cut, self._zero_missing = dict(sources), axes, cut, zero_missing
        self._sizes = sizes or Sizes(tuple((name, None) for name in sources), "")
        self._there = {name: frozenset(source.names()) for name, source in self._sources.items()}
        self._ids = list(dict.fromkeys(name for source in self._sources.values() for name in source.names()))
        self.streams = tuple(self._sources)
        self._known_sizes: dict[str, int] = {name: size for name, size in self._sizes.streams if size is not None}

    def video_ids(self) -> list[str]:
        """Ids of the videos that have an array in any stream."""
        return self._ids

    def _of(self, video_id: str) -> dict[str, ArraySource]:
        """The streams that a video has; all of them, unless some may be missing."""
        there = {name: source for name, source in self._sources.items() if video_id in self._there[name]}
        return there if self._zero_missing and there else self._sources

    def num_segments(self, video_id: str) -> int:
        """See `FeatureReader.num_segments`; the number of the first stream's rows, or of the shortest's if cut."""
        rows = self._rows(video_id)
        return min(rows) if self._cut and max(rows) - min(rows) <= MAX_CUT_ROWS else rows[0]

    def _rows(self, video_id: str) -> list[int]:
        sources = list(self._of(video_id).values())
        some = sources if self._cut else sources[:1]
        return [self._axes.segments(source.shape(video_id), source.where(video_id)) for source in some]

    def where(self, video_id: str) -> str:
        """Names the files of a video."""
        return " and ".join(source.where(video_id) for source in self._of(video_id).values())

    def describe(self) -> list[str]:
        """Which videos are cut, and which lack a stream, in words; looks at the description of every array."""
        words = [self._describe_cuts()] if self._cut else []
        for name, there in self._there.items() if self._zero_missing else ():
            if lacking := len(self._ids) - len(there.intersection(self._ids)):
                words.append(f"{name} zero in {lacking} of {len(self._ids)} videos, which have none")
        return words

    def _describe_cuts(self) -> str:
        lost: Counter[int] = Counter()
        for video_id in self._ids:
            with contextlib.suppress(UserError):  # absent or damaged, which the validation reports
                rows = self._rows(video_id)
                more = max(rows) - min(rows)
                lost[more if more <= MAX_CUT_ROWS else 0] += 1
        cut = sum(count for rows, count in lost.items() if rows)
        by = ", ".join(f"{lost[rows]} by {rows} row{'s' * (rows > 1)}" for rows in sorted(lost) if rows)
        return f"{cut} of {len(self._ids)} videos cut to the shorter stream" + (f" ({by})" if by else "")

    def read(self, video_id: str) -> tuple[np.ndarray, ...]:
        """See `FeatureReader.read`."""
        sources = self._of(video_id)
        found = {}
        for name, source in sources.items():
            where = source.where(video_id)
            found[name] = self._axes.rows(source.read(video_id), f"{where}: {name}")
            self._sizes.require(where, name, found[name].shape)
        lengths = [len(rows) for rows in found.values()]
        if self._cut and 0 < max(lengths) - min(lengths) <= MAX_CUT_ROWS:
            found = {name: rows[: min(lengths)] for name, rows in found.items()}
        check_streams(", ".join(source.where(video_id) for source in sources.values()), found)
        for name, source in sources.items():
            check_finite(source.where(video_id), found[name])
        first = next(iter(found.values()))
        return tuple(
            found[name] if name in found else np.zeros((len(first), self._size(name)), first.dtype)
            for name in self.streams
        )

    def _size(self, stream: str) -> int:
        """D of a stream that a video does not have: as was said, or as in the first video that has it."""
        source = self._sources[stream]
        for video_id in source.names() if stream not in self._known_sizes else ():
            with contextlib.suppress(UserError):
                self._known_sizes[stream] = self._axes.rows(source.read(video_id), source.where(video_id)).shape[1]
                break
        if stream in self._known_sizes:
            return self._known_sizes[stream]
        raise UserError(
            f"No video has {stream} features, so that their size is unknown. Say it: --streams=...,{stream}:D"
        )


class JointReader:
    """Reads all streams from one array [s, ΣD], or the only stream from [s, D].

    Args:
        source: the arrays.
        axes: order of their axes.
        channel_order: of rgb and flow, which of them the first columns are, one of `CHANNEL_ORDERS`.
        sizes: of the streams; where they are not known, two streams are halves of the array.
    """

    def __init__(
        self, source: ArraySource, axes: Axes, channel_order: str = CHANNEL_ORDERS[0], sizes: Sizes | None = None
    ) -> None:
        self._source, self._axes = source, axes
        self._sizes = sizes or Sizes(tuple((name, None) for name in RGB_FLOW), "")
        self._is_reversed, self._order = channel_order != CHANNEL_ORDERS[0], channel_order.replace("_", " ")
        self.streams = self._sizes.names
        if self._sizes.total is None and len(self.streams) > 2:
            raise UserError(
                f"An array holds the streams {', '.join(self.streams)} side by side; expected their sizes, by which it "
                "is divided. Say them: --streams=" + ",".join(f"{name}:D" for name in self.streams)
            )

    def video_ids(self) -> list[str]:
        """Ids of the videos that have an array."""
        return self._source.names()

    def where(self, video_id: str) -> str:
        """Names the file of a video."""
        return self._source.where(video_id)

    def num_segments(self, video_id: str) -> int:
        """See `FeatureReader.num_segments`."""
        return self._axes.segments(self._source.shape(video_id), self._source.where(video_id))

    def describe(self) -> list[str]:
        """How the array is divided, in words."""
        if len(self.streams) == 1:
            return []
        if self._sizes.total is None:
            return [self._order]
        stored = self._sizes.streams[::-1] if self._is_reversed else self._sizes.streams
        return ["divided into " + ", then ".join(f"{name} {size}" for name, size in stored)]

    def read(self, video_id: str) -> tuple[np.ndarray, ...]:
        """See `FeatureReader.read`."""
        where = self._source.where(video_id)
        joint = self._axes.rows(self._source.read(video_id), where)
        found = dict(zip(self.streams, self._divided(where, joint)))
        check_streams(where, found)
        check_finite(where, joint)
        return tuple(found.values())

    def _divided(self, where: str, joint: np.ndarray) -> list[np.ndarray]:
        """[s, ΣD] -> [s, D] of each stream, in order."""
        total = self._sizes.total
        if total is not None:
            if joint.ndim != 2 or joint.shape[1] != total:
                words = ", ".join(f"{name} {size}" for name, size in self._sizes.streams)
                raise UserError(
                    f"{where}: shape {joint.shape} found, [segments, {total}] expected ({words}): {self._sizes.said_by}"
                )
            sizes = [size or 0 for _, size in self._sizes.streams]
        elif len(self.streams) == 1:
            return [joint]
        elif joint.shape[1] % 2:
            raise UserError(
                f"{where}: shape {list(joint.shape)} found; expected [segments, 2 x dims], {self._order}. Extract "
                "the features of this video again, or say the sizes: --streams=rgb:D,flow:E (or --streams=NAME)."
            )
        else:
            sizes = [joint.shape[1] // 2] * 2
        stored = sizes[::-1] if self._is_reversed else sizes
        parts = np.split(joint, np.cumsum(stored)[:-1], axis=1)
        return parts[::-1] if self._is_reversed else parts
