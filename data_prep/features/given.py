"""Opens features of videos that a user names one by one: files, folders, patterns such as rgb/*.npy, lists of files."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.features.arrangements import FOLDERS, JOINT, KEYS, PREFIXES, SUFFIXES, Arrangement, Found
from data_prep.features.choices import FeatureChoices
from data_prep.features.containers import LocatedArrays, array_shapes, container_by_name
from data_prep.features.kinds.container import Location, require_there
from data_prep.features.kinds.videos import extraction_needed, is_video
from data_prep.features.layouts import recognise, single_stream
from data_prep.features.listing import Listing, name_patterns, names_of, own_names, stream_pattern
from data_prep.features.opening import make_reader
from data_prep.features.readers import JointReader, SeparateReader
from tc3net.common.errors import UserError
from tc3net.common.storage import matching, path_of

LIST_SUFFIXES = (".txt", ".lst")
_NAMED = 3


@dataclass(frozen=True)
class _Named:
    """What some names stand for.

    Attributes:
        files: of one video (or stream of it) each, in the order of the names.
        places: folders, and files that hold many videos.
        one_by_one: whether every name is that of a file of one video.
    """

    files: tuple[Path, ...]
    places: tuple[Path, ...]
    one_by_one: bool


def open_given(
    joint: Sequence[str], rgb: Sequence[str], flow: Sequence[str], choices: FeatureChoices = FeatureChoices()
) -> tuple[SeparateReader | JointReader, str]:
    """Opens features from names; what they hold is read by the rules of `open_features`.

    A name is that of a file of one video, a file that holds many, a folder, a pattern (`rgb/*.npy`), or a text file
    with a name per line. A file of one video gives it its name. Single files of rgb and flow belong together in their
    order, everything else by the names of the videos.

    Args:
        joint: names of what holds all streams.
        rgb, flow: instead of these, of what holds one.
        choices: what the files themselves do not say.

    Returns:
        The reader, whose videos are in the order of the names, and the layout in words.

    Raises:
        UserError: a file is absent, damaged, or no features; two files of one name; rgb and flow that do not fit
            together; the order of the axes is not clear.
    """
    names = [*joint, *rgb, *flow]
    where = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    if joint:
        named = _named(joint, choices)
        parts = [recognise(place, choices, joint_is_meant=True) for place in named.places]
        if named.files:
            parts.insert(0, _streams_of_files(named.files, choices, where))
        return make_reader(_together(parts, where), choices, where)
    sides = {"rgb": _named(rgb, choices), "flow": _named(flow, choices)}
    found = {stream: _one_stream(named, choices, stream) for stream, named in sides.items()}
    if all(named.one_by_one for named in sides.values()):
        if len(found["rgb"]) != len(found["flow"]):
            raise UserError(
                f"Found {len(found['rgb'])} --rgb, {len(found['flow'])} --flow and 0 --features files; expected as "
                "many --rgb as --flow files, or only --features files."
            )
        found["flow"] = dict(zip(found["rgb"], found["flow"].values()))
    arrays = {stream: LocatedArrays(locations, f"{stream} features") for stream, locations in found.items()}
    return make_reader(Found("a file for each stream", apart=arrays), choices, where)


def _named(names: Sequence[str], choices: FeatureChoices) -> _Named:
    files: list[Path] = []
    places: list[Path] = []
    one_by_one = True
    for name in names:
        paths = _expanded(name)
        one_by_one = one_by_one and paths == [path_of(name)]
        for path in paths:
            if path.is_dir() or _holds_many(path, choices):
                places.append(path)
                one_by_one = False
            else:
                files.append(path)
    return _Named(tuple(files), tuple(places), one_by_one)


def _expanded(name: str, in_list: bool = False) -> list[Path]:
    """The files and folders that a name stands for."""
    path = path_of(name)
    if not path.exists() and not path.is_symlink() and glob.has_magic(name):
        matches = matching(name)
        files = [match for match in matches if not match.is_dir()]
        if not matches:
            raise UserError(f"{name}: no file fits this pattern; expected features. Check the path.")
        return files or matches
    if not in_list and path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return _listed(path)
    if is_video(path):
        raise UserError(f"{path}: {extraction_needed('a video file')}")
    return [path]


def _listed(path: Path) -> list[Path]:
    """The paths in a text file, one a line; relative ones to the current folder, or else to the file's."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a list of feature files, one a line.") from None
    found: list[Path] = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        choices = [path_of(line), path.parent / line]
        existing = [choice for choice in choices if choice.exists() or choice.is_symlink() or glob.has_magic(line)]
        if not existing:
            raise UserError(
                f"{path}:{number}: begins with {line[:60]!r}, which is no file; expected the path of a feature file in "
                "every line. Correct the list."
            )
        found += _expanded(str(existing[0]), in_list=True)
    if not found:
        raise UserError(f"{path}: no lines found; expected a list of feature files, one a line. Correct the list.")
    return found


def _holds_many(path: Path, choices: FeatureChoices) -> bool:
    """Whether a file holds the arrays of many videos: groups, or arrays that are alike and no streams."""
    container = container_by_name(path)
    if container is None or container.members is None or not path.is_file():
        return False
    members = {name.lower(): is_group for name, is_group in container.members(path).items()}
    if choices.keys and all(key.partition("/")[0].lower() in members for key in choices.keys):
        return False
    if any(members.values()):
        return True
    if len(members) < 2 or set(choices.names) <= members.keys() or "joint" in members:
        return False
    shapes = array_shapes(Location(path)).values()
    return all(len(shape) > 1 for shape in shapes) and len({shape[-1] for shape in shapes}) == 1


def _one_stream(named: _Named, choices: FeatureChoices, stream: str) -> dict[str, Location]:
    """Video -> where its array of this stream lies."""
    found: dict[str, Location] = {}
    parts = [single_stream(place, choices, stream, flag=f"--{stream}").locations for place in named.places]
    if named.files:
        listing = _listing_of(named.files, choices)
        parts.insert(0, listing.loose if named.one_by_one else own_names(listing.loose, stream, choices.names))
    for part in parts:
        _add(found, part)
    key = choices.keys[0] if choices.keys else None
    return {name: replace(location, key=location.key or key) for name, location in found.items()}


def _add(found: dict[str, Location], more: Mapping[str, Location]) -> None:
    for name, location in more.items():
        if name in found:
            raise UserError(f"Two feature files name the video {name!r} ({found[name]}, {location}); rename one.")
        found[name] = location


def _listing_of(paths: Sequence[Path], choices: FeatureChoices, *, by_folder: bool = False) -> Listing:
    """Single files as a listing.

    Args:
        paths: the files.
        choices: the keys.
        by_folder: whether folders rgb and flow that files lie in tell their stream.
    """
    listing = Listing(keys=choices.keys, names=choices.names)
    for path in paths:
        require_there(path)
        listing.add(path, (path.parent.name,) if by_folder else ())
    for first, second in listing.twice:
        raise UserError(f"Two feature files name the video {second.path.stem!r} ({first}, {second}); rename one.")
    return listing.crops_merged()


def _streams_of_files(paths: Sequence[Path], choices: FeatureChoices, where: str) -> Found:
    by_folder = {path.parent.name.lower() for path in paths} == set(choices.names)
    listing = _listing_of(paths, choices, by_folder=by_folder)
    arrangement = FOLDERS if by_folder else _arrangement(listing)
    return arrangement.streams(listing, arrangement.words, path_of(where))


def _arrangement(listing: Listing) -> Arrangement:
    names = listing.names
    for pattern, arrangement in zip(name_patterns(names), (SUFFIXES, PREFIXES)):
        fits = all(stream_pattern(name, names) is pattern for name in listing.loose)
        if fits and all(listing.by_name(pattern).values()):
            return arrangement
    if len(listing.keys) > 1:
        return KEYS
    keyed = not listing.keys and all(set(names) <= set(names_of(location)) for location in listing.loose.values())
    return KEYS if keyed else JOINT


def _together(parts: Sequence[Found], where: str) -> Found:
    """The streams of several places as those of one."""
    if len(parts) == 1:
        return parts[0]
    merged: dict[str, dict[str, Location]] = {}
    for part in parts:
        for name, source in (("joint", part.joint), *part.apart.items()):
            if isinstance(source, LocatedArrays):
                _add(merged.setdefault(name, {}), source.locations)
    if "joint" in merged and len(merged) > 1:
        words = "; ".join(dict.fromkeys(part.words for part in parts))
        raise UserError(f"{where}: {words} found; expected one of them. Give them one after another.")
    arrays = {name: LocatedArrays(locations, f"{name} features") for name, locations in merged.items()}
    return Found("; ".join(dict.fromkeys(part.words for part in parts)), arrays.pop("joint", None), arrays)
