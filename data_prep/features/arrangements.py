"""How the two streams are arranged in files: recognised from what is there, never guessed.

Five arrangements are in use, with every kind of file: a folder per stream ("folders"), a file per stream whose name
ends in the stream's ("suffixes") or begins with it ("prefixes"), one file with an array per stream ("keys"), and one
array with both streams side by side ("joint"). Each is a row of `ARRANGEMENTS` that says how well it fits what is
there. A file that holds a whole data set is read as if it were a folder.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.features import ArraySource
from data_prep.features.containers import LocatedArrays
from data_prep.features.kinds.container import Location
from data_prep.features.listing import PREFIX, STREAMS, SUFFIX, Listing, own_names, stream_pattern
from tc3net.common.errors import UserError

_JOINT_KEY = "joint"


@dataclass(frozen=True)
class Streams:
    """The arrays of a data set: `joint`, or else both `rgb` and `flow`; and the layout in words."""

    words: str
    joint: ArraySource | None = None
    rgb: ArraySource | None = None
    flow: ArraySource | None = None

    def sources(self) -> list[ArraySource]:
        """Those that are there."""
        return [source for source in (self.joint, self.rgb, self.flow) if source is not None]


class Fit(enum.Enum):
    """How well an arrangement fits what is there."""

    NO = enum.auto()
    IF_ASKED = enum.auto()  # possible, but not what is meant unless somebody says so
    UNSURE = enum.auto()  # it can also be one stream alone
    YES = enum.auto()


@dataclass(frozen=True)
class Arrangement:
    """One way to arrange both streams.

    Attributes:
        name: what the names of its layouts end in.
        words: as the screen says it.
        fit: how well it fits a listing.
        streams: the streams of a listing that it fits; takes the listing, the layout in words, and the path.
        needs_names: whether only files that hold arrays by name can be arranged so.
        streams_apart: whether each stream has a place of its own, which may then also be given by itself.
    """

    name: str
    words: str
    fit: Callable[[Listing], Fit]
    streams: Callable[[Listing, str, Path], Streams]
    needs_names: bool = False
    streams_apart: bool = False


def separate_streams(words: str, both: Mapping[str, Mapping[str, Location]]) -> Streams:
    """Streams that lie apart: stream -> video id -> where its array lies."""
    rgb, flow = (LocatedArrays(both[stream], f"{stream} features") for stream in STREAMS)
    return Streams(words, rgb=rgb, flow=flow)


def _with_key(locations: Mapping[str, Location], key: str | None) -> dict[str, Location]:
    return {name: replace(location, key=key) for name, location in locations.items()}


def _apart(listing: Listing, words: str, both: Mapping[str, Mapping[str, Location]]) -> Streams:
    """Streams in files of their own, of which `--feature_key` may name the array."""
    key = listing.keys[0] if listing.keys else None
    return separate_streams(words, {stream: _with_key(both[stream], key) for stream in STREAMS})


def _fit_folders(listing: Listing) -> Fit:
    return Fit.YES if any(listing.streams.values()) and len(listing.keys) < len(STREAMS) else Fit.NO


def _streams_of_folders(listing: Listing, words: str, path: Path) -> Streams:
    missing = [stream for stream in STREAMS if stream not in listing.streams]
    if missing:
        raise UserError(
            f"{path}: no folder {missing[0]} with files found beside the other stream's; expected both, "
            f"{path}/rgb and {path}/flow. Add it, or give flow's place as --flow_features."
        )
    return _apart(listing, words, {stream: own_names(found, stream) for stream, found in listing.streams.items()})


def _fit_names(pattern: re.Pattern[str]) -> Callable[[Listing], Fit]:
    def fit(listing: Listing) -> Fit:
        some = any(stream_pattern(name) is pattern for name in listing.loose)
        return Fit.YES if some and len(listing.keys) < len(STREAMS) else Fit.NO

    return fit


def _streams_of_names(pattern: re.Pattern[str]) -> Callable[[Listing, str, Path], Streams]:
    def streams(listing: Listing, words: str, path: Path) -> Streams:
        others = sum(stream_pattern(name) is not pattern for name in listing.loose)
        noted = words + (f", {others} other files not read" if others else "")
        return _apart(listing, noted, listing.by_name(pattern))

    return streams


def _fit_keys(listing: Listing) -> Fit:
    if not listing.streamless() or len(listing.keys) == 1:
        return Fit.NO
    return Fit.YES if listing.keys or set(STREAMS) <= set(listing.first_names()) else Fit.NO


def _streams_of_keys(listing: Listing, words: str, path: Path) -> Streams:
    keys = listing.keys or STREAMS
    return separate_streams(words, {stream: _with_key(listing.loose, key) for stream, key in zip(STREAMS, keys)})


def _fit_joint(listing: Listing) -> Fit:
    if not listing.streamless() or len(listing.keys) == len(STREAMS):
        return Fit.NO
    if listing.keys:
        return Fit.UNSURE
    names = listing.first_names()
    if set(STREAMS) <= set(names):  # a file can hold an array per stream beside a joint one
        return Fit.IF_ASKED
    return Fit.YES if names == (_JOINT_KEY,) else Fit.UNSURE


def _streams_of_joint(listing: Listing, words: str, path: Path) -> Streams:
    key = listing.keys[0] if listing.keys else _JOINT_KEY if _JOINT_KEY in listing.first_names() else None
    return Streams(words, joint=LocatedArrays(_with_key(listing.loose, key), "features"))


FOLDERS = Arrangement("folders", "a folder for each stream", _fit_folders, _streams_of_folders, streams_apart=True)
SUFFIXES = Arrangement(
    "suffixes",
    "a file for each video and stream, named <video>_rgb and <video>_flow",
    _fit_names(SUFFIX),
    _streams_of_names(SUFFIX),
)
PREFIXES = Arrangement(
    "prefixes",
    "a file for each video and stream, named rgb_<video> and flow_<video>",
    _fit_names(PREFIX),
    _streams_of_names(PREFIX),
)
KEYS = Arrangement(
    "keys", "a file for each video with an array for each stream", _fit_keys, _streams_of_keys, needs_names=True
)
JOINT = Arrangement("joint", "one array [segments, 2 x dims] for each video", _fit_joint, _streams_of_joint)
ARRANGEMENTS = (FOLDERS, SUFFIXES, PREFIXES, KEYS, JOINT)
