"""How the two streams are arranged in files: recognised from what is there, never guessed.

Four arrangements are in use, each with .npy, .npz and HDF5 files: a folder per stream ("folders"), a file per stream
whose name ends in the stream's ("suffixes"), one file with an array per stream ("keys"), and one array with both
streams side by side ("joint"). An HDF5 file that holds a whole data set is read as if it were a folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.features.containers import SUFFIXES, LocatedArrays, Location, array_names, top_level
from tc3net.common.errors import UserError

STREAMS = ("rgb", "flow")
LAYOUTS = (
    "auto",
    *(f"{kind}_{arrangement}" for kind in SUFFIXES for arrangement in ("folders", "suffixes", "joint")),
    "npz_keys",
    "hdf5_keys",
)
_STREAM_SUFFIX = re.compile(r"(?P<id>.+)[_.-](?P<stream>rgb|flow)", re.IGNORECASE)
_IN_WORDS = {
    "folders": "a folder for each stream",
    "suffixes": "a file for each video and stream, named <video>_rgb and <video>_flow",
    "keys": "a file for each video with an array for each stream",
    "joint": "one array [segments, 2 x dims] for each video",
}


@dataclass(frozen=True)
class Listing:
    """What lies at a path, for one kind of file.

    Attributes:
        loose: name -> location, for what lies there directly.
        streams: stream -> name -> location, for the folders (or HDF5 groups) rgb and flow.
    """

    loose: dict[str, Location] = field(default_factory=dict)
    streams: dict[str, dict[str, Location]] = field(default_factory=dict)

    def layouts(self) -> tuple[str, ...]:
        """The arrangements that this can be; "joint?" where it can also be one stream alone."""
        found = []
        if any(self.streams.values()):
            found.append("folders")
        if self.loose:
            suffixed = sum(_STREAM_SUFFIX.fullmatch(name) is not None for name in self.loose)
            if suffixed:
                found.append("suffixes")
            if suffixed < len(self.loose):
                names = [name.lower() for name in array_names(next(iter(self.loose.values())))]
                if set(STREAMS) <= set(names):
                    found.append("keys")
                else:
                    found.append("joint" if names == ["joint"] else "joint?")
        return tuple(found)


@dataclass(frozen=True)
class Streams:
    """The arrays of a data set: `joint`, or else both `rgb` and `flow`; and the layout in words."""

    words: str
    joint: LocatedArrays | None = None
    rgb: LocatedArrays | None = None
    flow: LocatedArrays | None = None


def list_path(path: Path) -> dict[str, Listing]:
    """Lists a folder, or an HDF5 file with a whole data set.

    Returns:
        Kind of file (a key of `SUFFIXES`) -> what there is of it; kinds of which there is nothing are left out.

    Raises:
        UserError: the HDF5 file is damaged, or neither a folder nor such a file is there.
    """
    if path.is_file() and path.suffix in SUFFIXES["hdf5"]:
        return {"hdf5": _listing_of_hdf5(path)}
    if not path.is_dir():
        raise UserError(
            f"{path}: neither a folder nor an existing .npy or HDF5 file; expected features. Check --features."
        )
    folders = {child.name.lower(): child for child in path.iterdir() if child.is_dir()}
    listings = {
        kind: Listing(
            _files(path, suffixes),
            {stream: _files(folders[stream], suffixes) for stream in STREAMS if stream in folders},
        )
        for kind, suffixes in SUFFIXES.items()
    }
    return {kind: listing for kind, listing in listings.items() if listing.loose or any(listing.streams.values())}


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Location]:
    return {file.stem: Location(file) for file in sorted(folder.iterdir()) if file.suffix in suffixes}


def _listing_of_hdf5(path: Path) -> Listing:
    names = top_level(path)
    streams = {
        name.lower(): {member: Location(path, f"{name}/{member}") for member in array_names(Location(path, name))}
        for name, is_group in names.items()
        if is_group and name.lower() in STREAMS
    }
    return Listing({name: Location(path, name) for name in names if name.lower() not in STREAMS}, streams)


def recognise(path: Path, layout: str) -> Streams:
    """Finds both streams below one path.

    Args:
        path: a folder, or an HDF5 file with a whole data set.
        layout: one of `LAYOUTS`; "auto" accepts what can only be read in one way.

    Raises:
        UserError: nothing is there, or several layouts fit, or the one asked for does not.
    """
    listings = list_path(path)
    candidates = {f"{kind}_{name}": kind for kind, listing in listings.items() for name in listing.layouts()}
    if not candidates:
        raise UserError(
            f"{path}: no .npy, .npz, .h5 or .hdf5 files there or in {path}/rgb and {path}/flow; expected one or two "
            "per video. Check --features."
        )
    if layout != "auto":
        possible = [name for name in candidates if name.rstrip("?") == layout]
        # An .npz or HDF5 file can hold an array per stream beside a joint one.
        if not possible and layout.endswith("_joint") and layout.replace("joint", "keys") in candidates:
            possible = [layout]
        if not possible:
            raise UserError(
                f"{path}: --feature_layout={layout} does not fit; found {_in_words(candidates)}. Correct the flag."
            )
        return _streams(listings[layout.split("_")[0]], layout, path)
    if len(candidates) > 1 or next(iter(candidates)).endswith("?"):
        raise UserError(
            f"{path}: found {_in_words(candidates)}; expected to see which features are meant. Say it: "
            + " or ".join(f"--feature_layout={name.rstrip('?')}" for name in candidates)
            + (
                ", or, if this is rgb alone, --flow_features= with flow's folder."
                if any(name.endswith("?") for name in candidates)
                else "."
            )
        )
    (only,) = candidates
    return _streams(listings[candidates[only]], only, path)


def _in_words(candidates: Mapping[str, str]) -> str:
    words = []
    for name in candidates:
        kind, arrangement = name.split("_")
        unsure = " (or one stream alone)" if arrangement.endswith("?") else ""
        words.append(f"{_IN_WORDS[arrangement.rstrip('?')]}{unsure}, {kind}")
    return "; ".join(words)


def _streams(listing: Listing, layout: str, path: Path) -> Streams:
    kind, arrangement = layout.split("_")
    words = f"{_IN_WORDS[arrangement]}, {kind}"
    if arrangement == "joint":
        keyed = _with_key(listing.loose, "joint") if "joint" in _first_keys(listing) else listing.loose
        return Streams(words, joint=LocatedArrays(keyed, "features"))
    if arrangement == "folders":
        missing = [stream for stream in STREAMS if stream not in listing.streams]
        if missing:
            raise UserError(
                f"{path}: no folder {missing[0]} found beside the other stream's; expected both, "
                f"{path}/rgb and {path}/flow. Add it, or give flow's place as --flow_features."
            )
        both = [listing.streams[stream] for stream in STREAMS]
    elif arrangement == "keys":
        both = [_with_key(listing.loose, stream) for stream in STREAMS]
    else:
        both = [{}, {}]
        for name, location in listing.loose.items():
            match = _STREAM_SUFFIX.fullmatch(name)
            if match:
                both[STREAMS.index(match["stream"].lower())][match["id"]] = location
        others = len(listing.loose) - sum(map(len, both))
        words += f", {others} other files not read" if others else ""
    rgb, flow = (LocatedArrays(found, f"{stream} features") for stream, found in zip(STREAMS, both))
    return Streams(words, rgb=rgb, flow=flow)


def _first_keys(listing: Listing) -> tuple[str, ...]:
    return tuple(name.lower() for name in array_names(next(iter(listing.loose.values()))))


def _with_key(locations: Mapping[str, Location], key: str) -> dict[str, Location]:
    return {name: Location(location.path, location.node, key) for name, location in locations.items()}


def single_stream(path: Path, layout: str, stream: str) -> LocatedArrays:
    """The arrays of one stream, where each stream has a folder (or HDF5 file) of its own.

    Args:
        path: the folder or file.
        layout: one of `LAYOUTS`, of which only the kind of file matters here.
        stream: which stream it should be; names may end in it.

    Raises:
        UserError: nothing is there, or files of several kinds.
    """
    listings = {kind: listing for kind, listing in list_path(path).items() if layout in ("auto", f"{kind}_folders")}
    flag = "--features" if stream == "rgb" else "--flow_features"
    if len(listings) != 1 or not next(iter(listings.values())).loose:
        found = f"files of the kinds {', '.join(listings)}" if len(listings) > 1 else "no feature files"
        choices = " or ".join(f"--feature_layout={kind}_folders" for kind in listings)
        raise UserError(
            f"{path}: {found} found; expected one array of {stream} for each video. "
            + (f"Say which: {choices}." if len(listings) > 1 else f"Check {flag}.")
        )
    (listing,) = listings.values()
    matches = {name: _STREAM_SUFFIX.fullmatch(name) for name in listing.loose}
    if all(match is not None and match["stream"].lower() == stream for match in matches.values()):
        locations = {match["id"]: listing.loose[name] for name, match in matches.items() if match}
    else:
        locations = listing.loose
    return LocatedArrays(locations, f"{stream} features")
