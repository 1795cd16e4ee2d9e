"""How streams are arranged in files: recognised from what is there, never guessed.

Five arrangements are in use, with every kind of file: a folder per stream ("folders"), a file per stream whose name
ends in the stream's ("suffixes") or begins with it ("prefixes"), one file with an array per stream ("keys"), and one
array with all streams side by side, or the only one ("joint"). Each is a row of `ARRANGEMENTS` that says how well it
fits what is there. A file that holds a whole data set is read as if it were a folder.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_prep.features import ArraySource
from data_prep.features.containers import LocatedArrays
from data_prep.features.kinds.container import Location
from data_prep.features.listing import Listing, name_patterns, own_names, stream_pattern
from tc3net.common.errors import UserError
from tc3net.data.streams import RGB_FLOW

_JOINT_KEY = "joint"


@dataclass(frozen=True)
class Found:
    """The arrays of a data set: `joint`, or else one source for each stream; and the layout in words."""

    words: str
    joint: ArraySource | None = None
    apart: Mapping[str, ArraySource] = field(default_factory=dict)

    def sources(self) -> list[ArraySource]:
        """Those that are there."""
        return [*([self.joint] if self.joint is not None else []), *self.apart.values()]


class Fit(enum.Enum):
    """How well an arrangement fits what is there."""

    NO = enum.auto()
    IF_ASKED = enum.auto()  # possible, but not what is meant unless somebody says so
    UNSURE = enum.auto()  # it can also be one stream alone
    YES = enum.auto()


@dataclass(frozen=True)
class Arrangement:
    """One way to arrange streams.

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
    streams: Callable[[Listing, str, Path], Found]
    needs_names: bool = False
    streams_apart: bool = False


def separate_streams(words: str, places: Mapping[str, Mapping[str, Location]]) -> Found:
    """Streams that lie apart: stream -> video id -> where its array lies."""
    return Found(words, apart={name: LocatedArrays(found, f"{name} features") for name, found in places.items()})


def _with_key(locations: Mapping[str, Location], key: str | None) -> dict[str, Location]:
    return {name: replace(location, key=key) for name, location in locations.items()}


def _apart(listing: Listing, words: str, places: Mapping[str, Mapping[str, Location]]) -> Found:
    """Streams in files of their own, of which `--feature_key` may name the array."""
    key = listing.keys[0] if listing.keys else None
    return separate_streams(words, {stream: _with_key(places[stream], key) for stream in listing.names})


def _fit_folders(listing: Listing) -> Fit:
    return Fit.YES if any(listing.streams.values()) and _keys_fit_apart(listing) else Fit.NO


def _keys_fit_apart(listing: Listing) -> bool:
    """Whether --feature_key can be about files that hold one stream each."""
    return len(listing.keys) < max(2, len(listing.names))


def _streams_of_folders(listing: Listing, words: str, path: Path) -> Found:
    missing = [stream for stream in listing.names if stream not in listing.streams]
    if missing:
        folders = " and ".join(f"{path}/{name}" for name in listing.names)
        there = ",".join(name for name in listing.names if name in listing.streams)
        elsewhere = ", or give flow's place as --flow_features" if listing.names == RGB_FLOW else ""
        raise UserError(
            f"{path}: no folder {missing[0]} with files found beside the other stream's; expected both, {folders}. Add "
            f"it{elsewhere}, or say --streams={there} if that is all there is."
        )
    names = listing.names
    return _apart(
        listing, words, {stream: own_names(found, stream, names) for stream, found in listing.streams.items()}
    )


def _fit_names(place: int) -> Callable[[Listing], Fit]:
    def fit(listing: Listing) -> Fit:
        pattern = name_patterns(listing.names)[place]
        some = any(stream_pattern(name, listing.names) is pattern for name in listing.loose)
        return Fit.YES if some and _keys_fit_apart(listing) else Fit.NO

    return fit


def _streams_of_names(place: int) -> Callable[[Listing, str, Path], Found]:
    def streams(listing: Listing, words: str, path: Path) -> Found:
        pattern = name_patterns(listing.names)[place]
        others = sum(stream_pattern(name, listing.names) is not pattern for name in listing.loose)
        noted = words + (f", {others} other files not read" if others else "")
        return _apart(listing, noted, listing.by_name(pattern))

    return streams


def _fit_keys(listing: Listing) -> Fit:
    if not listing.streamless() or len(listing.keys) == 1:
        return Fit.NO
    return Fit.YES if listing.keys or set(listing.names) <= set(listing.first_names()) else Fit.NO


def _streams_of_keys(listing: Listing, words: str, path: Path) -> Found:
    keys = listing.keys or listing.names
    return separate_streams(words, {name: _with_key(listing.loose, key) for name, key in zip(listing.names, keys)})


def _fit_joint(listing: Listing) -> Fit:
    if not listing.streamless() or len(listing.keys) > 1:
        return Fit.NO
    alone = len(listing.names) == 1  # then an array of no name is that stream, and nothing is to be divided
    if listing.keys:
        return Fit.YES if alone else Fit.UNSURE
    names = listing.first_names()
    if set(listing.names) <= set(names):  # a file can hold an array per stream beside a joint one
        return Fit.IF_ASKED
    if alone:
        return Fit.YES
    return Fit.YES if names == (_JOINT_KEY,) else Fit.UNSURE


def _streams_of_joint(listing: Listing, words: str, path: Path) -> Found:
    key = listing.keys[0] if listing.keys else _JOINT_KEY if _JOINT_KEY in listing.first_names() else None
    return Found(words, joint=LocatedArrays(_with_key(listing.loose, key), "features"))


FOLDERS = Arrangement("folders", "a folder for each stream", _fit_folders, _streams_of_folders, streams_apart=True)
SUFFIXES = Arrangement(
    "suffixes",
    "a file for each video and stream, named <video>_rgb and <video>_flow",
    _fit_names(0),
    _streams_of_names(0),
)
PREFIXES = Arrangement(
    "prefixes",
    "a file for each video and stream, named rgb_<video> and flow_<video>",
    _fit_names(1),
    _streams_of_names(1),
)
KEYS = Arrangement(
    "keys", "a file for each video with an array for each stream", _fit_keys, _streams_of_keys, needs_names=True
)
JOINT = Arrangement("joint", "one array with all streams for each video", _fit_joint, _streams_of_joint)
ARRANGEMENTS = (FOLDERS, SUFFIXES, PREFIXES, KEYS, JOINT)
