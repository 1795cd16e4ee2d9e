"""What lies at the path of features: files of every kind, and those of them that say which stream they are of."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from data_prep.features.containers import CONTAINERS, array_names, container_by_name
from data_prep.features.crops import merged_crops
from data_prep.features.kinds.container import Container, Location, require_there
from data_prep.features.kinds.pointers import pointer_cure
from data_prep.features.kinds.videos import extraction_needed, is_video
from tc3net.common.errors import UserError
from tc3net.common.storage import walk
from tc3net.data.streams import RGB_FLOW

_NAMED = 3
_TRIED = 20  # files, until one is readable
FPS_FILE, STAMPS_FILE = "_fps.npy", "_timestamps_ms.npy"  # what video_features writes beside the features of a video
_NOT_UNPACKED = "__MACOSX"  # what macOS leaves beside the content of an archive


@functools.lru_cache(maxsize=64)
def name_patterns(streams: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """How a name can say which of these streams it is of: by its end (`<id>_rgb`), or by its beginning (`rgb_<id>`)."""
    some = "|".join(map(re.escape, streams))
    suffix, prefix = rf"(?P<id>.+)[_.-](?P<stream>{some})", rf"(?P<stream>{some})[_.-](?P<id>.+)"
    return re.compile(suffix, re.IGNORECASE), re.compile(prefix, re.IGNORECASE)


def stream_pattern(name: str, streams: tuple[str, ...]) -> re.Pattern[str] | None:
    """Which of `name_patterns` a name fits, the end first; None where it says nothing of a stream."""
    return next((pattern for pattern in name_patterns(streams) if pattern.fullmatch(name)), None)


@dataclass(frozen=True)
class Listing:
    """What lies at a path, for one kind of file.

    Attributes:
        loose: name -> location, for what is in no folder of a stream.
        streams: stream -> name -> location, for the folders (or HDF5 groups) that are named as streams.
        twice: (first, second) location of one name, where there are two.
        annotated: ids of the annotated videos; empty where they are not known.
        keys: what `--feature_key` says: nothing, the name of the array that is meant, or one of each stream.
        names: of the streams that are looked for.
    """

    loose: dict[str, Location] = field(default_factory=dict)
    streams: dict[str, dict[str, Location]] = field(default_factory=dict)
    twice: list[tuple[Location, Location]] = field(default_factory=list)
    annotated: frozenset[str] = frozenset()
    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = RGB_FLOW

    def add(self, path: Path, folders: Iterable[str] = ()) -> None:
        """Adds a file.

        Args:
            path: the file.
            folders: names of the folders that it lies in, below the path that is listed; one may be a stream's.
        """
        stream = next((name.lower() for name in reversed(list(folders)) if name.lower() in self.names), None)
        place = self.loose if stream is None else self.streams.setdefault(stream, {})
        if path.stem in place:
            self.twice.append((place[path.stem], Location(path)))
        else:
            place[path.stem] = Location(path)

    def crops_merged(self) -> Listing:
        """The same, with one location for the files of all crops of a video."""
        return replace(
            self,
            loose=merged_crops(self.loose, self.annotated),
            streams={stream: merged_crops(found, self.annotated) for stream, found in self.streams.items()},
        )

    def require_unique(self, path: Path) -> None:
        """Raises where two files have the name of one video.

        Raises:
            UserError: says which.
        """
        if self.twice:
            some = "; ".join(f"{first} and {second}" for first, second in self.twice[:_NAMED])
            more = f"; and {len(self.twice) - _NAMED} more" if len(self.twice) > _NAMED else ""
            raise UserError(
                f"{path}: {len(self.twice)} video{'s' * (len(self.twice) > 1)} with two files found ({some}{more}); "
                "expected one file for each video. Give the folder that is meant, or move the other files away."
            )

    def by_name(self, pattern: re.Pattern[str]) -> dict[str, dict[str, Location]]:
        """Stream -> video -> location, for the loose ones whose name tells the stream by this pattern."""
        found: dict[str, dict[str, Location]] = {stream: {} for stream in self.names}
        for name, location in self.loose.items():
            match = pattern.fullmatch(name)
            if match and stream_pattern(name, self.names) is pattern:
                found[match["stream"].lower()][match["id"]] = location
        return {stream: merged_crops(locations, self.annotated) for stream, locations in found.items()}

    def streamless(self) -> dict[str, Location]:
        """The loose ones whose name leaves the stream open."""
        return {name: location for name, location in self.loose.items() if stream_pattern(name, self.names) is None}

    def first_names(self) -> tuple[str, ...]:
        """Names of the arrays of one of the loose files, lower case; () where there is none, or it has no names.

        Raises:
            UserError: the first files are all damaged, or their kind cannot be read here.
        """
        first_error: UserError | None = None
        for location in islice(self.loose.values(), _TRIED):
            try:
                return names_of(location)
            except UserError as error:  # a damaged file is reported with its video
                first_error = first_error or error
        if first_error is not None:
            raise first_error
        return ()

    def pointers(self) -> list[str]:
        """Of each link without content, what it is and how to get the content."""
        places = (self.loose, *self.streams.values())
        paths = (location.path for place in places for location in place.values())
        return [f"{path}: {pointer_cure(path)}" for path in paths if path.is_symlink() and not path.exists()]

    def __len__(self) -> int:
        return len(self.loose) + sum(map(len, self.streams.values()))


def own_names(found: Mapping[str, Location], stream: str, streams: tuple[str, ...]) -> dict[str, Location]:
    """The files of one stream under the ids of their videos: without the stream's name, where all of them bear it."""
    for pattern in name_patterns(streams):
        matches = [(pattern.fullmatch(name), location) for name, location in found.items()]
        if all(match and match["stream"].lower() == stream for match, _ in matches):
            return {match["id"]: location for match, location in matches if match}
    return dict(found)


def names_of(location: Location) -> tuple[str, ...]:
    """Names of the arrays at a location, lower case."""
    return tuple(name.lower() for name in array_names(location))


def list_path(
    path: Path, annotated: Collection[str] = (), keys: tuple[str, ...] = (), names: tuple[str, ...] = RGB_FLOW
) -> dict[Container, Listing]:
    """Lists a folder, or a file with a whole data set. Files in sub-folders count where there are none above them.

    Args:
        path: the folder or file.
        annotated: ids of the annotated videos, where they are known.
        keys, names: see `Listing`.

    Returns:
        What there is of each kind of file; kinds of which there is nothing are left out.

    Raises:
        UserError: the file is damaged, or neither a folder nor such a file is there, or only links without content.
    """
    require_there(path)
    container = container_by_name(path)
    if path.is_file() and container is not None and container.members is not None:
        return {container: members_listed(path, container.members(path), keys, names)}
    if path.is_file() and is_video(path):
        raise UserError(f"{path}: {extraction_needed('a video file')}")
    if not path.is_dir():
        raise UserError(
            f"{path}: neither a folder nor an existing .npy or HDF5 file; expected features. Check --features."
        )
    direct = _listed(_direct(path, names), annotated, names)
    found = direct
    if not any(container.is_common for container in direct):
        deep = _listed(_walk(path), annotated, names)
        found = deep if any(container.is_common for container in deep) or not direct else direct
    for listing in found.values():
        pointers = listing.pointers()
        if pointers and len(pointers) == len(listing):
            more = f" (and {len(pointers) - 1} more like it)" if len(pointers) > 1 else ""
            raise UserError(f"{pointers[0]}{more}")
    return {container: replace(listing, keys=keys).crops_merged() for container, listing in found.items()}


def _listed(
    files: Iterable[tuple[Path, tuple[str, ...]]], annotated: Collection[str], names: tuple[str, ...]
) -> dict[Container, Listing]:
    listings: dict[Container, Listing] = {}
    known = frozenset(annotated)
    for path, folders in files:
        container = container_by_name(path)
        if container is not None:
            listings.setdefault(container, Listing(annotated=known, names=names)).add(path, folders)
    return {container: listings[container] for container in CONTAINERS if container in listings}


def is_hidden(name: str) -> bool:
    """Whether a name is none of a feature file: .DS_Store, ._v1.npy, what else begins with a dot, and times."""
    return name.startswith(".") or name == _NOT_UNPACKED or name.endswith((FPS_FILE, STAMPS_FILE))


def _direct(path: Path, names: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The files of a folder, and of its folders that are named as streams."""
    for child in sorted(path.iterdir()):
        if is_hidden(child.name):
            continue
        if not child.is_dir():
            yield child, ()
        elif child.name.lower() in names:
            yield from (
                (file, (child.name,))
                for file in sorted(child.iterdir())
                if not is_hidden(file.name) and not file.is_dir()
            )


def _walk(path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """All files below a folder, also behind links, with the folders that they lie in."""
    seen = set()
    for folder, folders, names in walk(path):
        real = folder.resolve()
        if real in seen:  # a link back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(names):
            if not is_hidden(name):
                yield folder / name, folder.relative_to(path).parts


def members_listed(
    path: Path, members: Mapping[str, bool], keys: tuple[str, ...] = (), names: tuple[str, ...] = RGB_FLOW
) -> Listing:
    """What lies in a file with a whole data set; see `Container.members`."""
    streams = {
        name.lower(): {member: Location(path, f"{name}/{member}") for member in array_names(Location(path, name))}
        for name, is_group in members.items()
        if is_group and name.lower() in names
    }
    loose = {name: Location(path, name) for name in members if name.lower() not in names}
    return Listing(loose, streams, keys=keys, names=names)


def what_is_there(path: Path) -> str:
    """What a folder without features holds, in words, with what to do where that can be seen."""
    files = [file for file, _ in _walk(path)]
    counts: dict[str, list[Path]] = {}
    for file in files:
        counts.setdefault(file.suffix.lower() or "without suffix", []).append(file)
    most = sorted(counts.items(), key=lambda item: -len(item[1]))
    some = ", ".join(f"{len(found)} {suffix} (such as {found[0].relative_to(path)})" for suffix, found in most[:5])
    words = f"there are {some}" if files else "it is empty"
    if files and is_video(most[0][1][0]):
        words += "; features have to be extracted from videos first"
    elif ".dvc" in counts:
        words += "; .dvc files stand for data that `dvc pull` fetches"
    elif any(suffix in counts for suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")):
        words += "; unpack archives first"
    return words
