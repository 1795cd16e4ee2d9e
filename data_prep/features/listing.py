"""What lies at the path of features: files of every kind, and those of them that say which stream they are of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.features.containers import CONTAINERS, Container, Location, array_names
from tc3net.common.errors import UserError

STREAMS = ("rgb", "flow")
_STREAM_SUFFIX = re.compile(r"(?P<id>.+)[_.-](?P<stream>rgb|flow)", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """What lies at a path, for one kind of file.

    Attributes:
        loose: name -> location, for what lies there directly.
        streams: stream -> name -> location, for the folders (or HDF5 groups) rgb and flow.
    """

    loose: dict[str, Location] = field(default_factory=dict)
    streams: dict[str, dict[str, Location]] = field(default_factory=dict)

    def by_suffix(self) -> dict[str, dict[str, Location]]:
        """Stream -> video -> location, for the loose ones whose name ends in a stream's."""
        found: dict[str, dict[str, Location]] = {stream: {} for stream in STREAMS}
        for name, location in self.loose.items():
            match = _STREAM_SUFFIX.fullmatch(name)
            if match:
                found[match["stream"].lower()][match["id"]] = location
        return found

    def without_suffix(self) -> int:
        """Number of the loose ones whose name leaves the stream open."""
        return sum(_STREAM_SUFFIX.fullmatch(name) is None for name in self.loose)

    def first_names(self) -> tuple[str, ...]:
        """Names of the arrays of one of the loose files, lower case; () where there is none, or it has no names.

        Raises:
            UserError: the file is damaged, or its kind cannot be read here.
        """
        return names_of(next(iter(self.loose.values()))) if self.loose else ()


def names_of(location: Location) -> tuple[str, ...]:
    """Names of the arrays at a location, lower case."""
    return tuple(name.lower() for name in array_names(location))


def list_path(path: Path) -> dict[Container, Listing]:
    """Lists a folder, or a file with a whole data set.

    Returns:
        What there is of each kind of file; kinds of which there is nothing are left out.

    Raises:
        UserError: the file is damaged, or neither a folder nor such a file is there.
    """
    for container in CONTAINERS:
        if path.is_file() and path.suffix in container.suffixes and container.members is not None:
            return {container: _members_listed(path, container.members(path))}
    if not path.is_dir():
        raise UserError(
            f"{path}: neither a folder nor an existing .npy or HDF5 file; expected features. Check --features."
        )
    folders = {child.name.lower(): child for child in path.iterdir() if child.is_dir()}
    listings = {
        container: Listing(
            _files(path, container.suffixes),
            {stream: _files(folders[stream], container.suffixes) for stream in STREAMS if stream in folders},
        )
        for container in CONTAINERS
    }
    return {kind: listing for kind, listing in listings.items() if listing.loose or any(listing.streams.values())}


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Location]:
    return {file.stem: Location(file) for file in sorted(folder.iterdir()) if file.suffix in suffixes}


def _members_listed(path: Path, members: Mapping[str, bool]) -> Listing:
    streams = {
        name.lower(): {member: Location(path, f"{name}/{member}") for member in array_names(Location(path, name))}
        for name, is_group in members.items()
        if is_group and name.lower() in STREAMS
    }
    return Listing({name: Location(path, name) for name in members if name.lower() not in STREAMS}, streams)
