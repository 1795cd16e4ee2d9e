"""Arrays in files of three kinds: .npy (one array), .npz (several by name), HDF5 (several by name, also in groups).

Each kind is a row of `CONTAINERS` that recognises its files and opens them; nothing else asks for a kind. Files are
opened for one read and closed again: a data set may have more videos than a process may have open files, and what holds
nothing open can be handed to another process.
"""

from __future__ import annotations

import contextlib
import importlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data_prep.pickles.arrays import array_shape, load_array, read_header
from tc3net.common.errors import UserError


@dataclass(frozen=True)
class Location:
    """Where one array lies.

    Attributes:
        path: the file.
        node: name of the group or dataset of a video inside an HDF5 file that holds many; "" for the whole file.
        key: name of the array among those of the file or group, in any case; None: there is only one.
    """

    path: Path
    node: str = ""
    key: str | None = None

    def __str__(self) -> str:
        parts = [part for part in (self.node, self.key) if part]
        return f"{self.path}" + (f" ({'/'.join(parts)})" if parts else "")


class Arrays(Protocol):
    """What an opened location holds: arrays by name; or it is itself one array, which is called ""."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays; () where it is one itself."""

    @property
    def is_array(self) -> bool:
        """Whether it is itself an array."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, from its description."""

    def read(self, name: str) -> np.ndarray:
        """The array, in memory."""


@dataclass(frozen=True)
class Container:
    """A kind of file that arrays lie in.

    Attributes:
        name: what the names of its layouts begin with.
        suffixes: what its files end in.
        first_bytes: what its files begin with, for files that end in something else.
        opened: gives what lies at a location; raises UserError that names it, for what is absent or damaged.
        names_arrays: whether a file holds arrays by name.
        members: for kinds of which one file may hold a whole data set: names in a file -> whether each is a group.
    """

    name: str
    suffixes: tuple[str, ...]
    first_bytes: bytes
    opened: Callable[[Location], AbstractContextManager[Arrays]]
    names_arrays: bool = True
    members: Callable[[Path], dict[str, bool]] | None = None


class _OneArray:
    """A .npy file."""

    names = ()
    is_array = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def shape(self, name: str) -> tuple[int, ...]:
        return array_shape(self._path)

    def read(self, name: str) -> np.ndarray:
        return load_array(self._path)


@contextlib.contextmanager
def _open_npy(location: Location) -> Iterator[Arrays]:
    yield _OneArray(location.path)  # errors name the file already


class _Archive:
    """A .npz file."""

    is_array = False

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = tuple(name[: -len(".npy")] for name in archive.namelist() if name.endswith(".npy"))

    def shape(self, name: str) -> tuple[int, ...]:
        with self._archive.open(f"{name}.npy") as member:
            return read_header(member)[0]

    def read(self, name: str) -> np.ndarray:
        with self._archive.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)


@contextlib.contextmanager
def _open_npz(location: Location) -> Iterator[Arrays]:
    with _naming(location, ".npz"), zipfile.ZipFile(location.path) as archive:
        yield _Archive(archive)


class _Node:
    """A group or dataset of an HDF5 file, or the file."""

    def __init__(self, node: Any, array_type: type) -> None:
        self._node = node
        self.is_array = isinstance(node, array_type)
        self.names = () if self.is_array else tuple(name for name in node if isinstance(node[name], array_type))

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple((self._node[name] if name else self._node).shape)

    def read(self, name: str) -> np.ndarray:
        return np.asarray((self._node[name] if name else self._node)[()])


@contextlib.contextmanager
def _open_hdf5(location: Location) -> Iterator[Arrays]:
    with _naming(location, "HDF5"):
        h5py = import_h5py(location)
        with h5py.File(location.path, "r") as file:
            yield _Node(file[location.node] if location.node else file, h5py.Dataset)


def _members_of_hdf5(path: Path) -> dict[str, bool]:
    with _naming(Location(path), "HDF5"):
        h5py = import_h5py(Location(path))
        with h5py.File(path, "r") as file:
            return {name: not isinstance(file[name], h5py.Dataset) for name in file}


NPY = Container("npy", (".npy",), b"\x93NUMPY", _open_npy, names_arrays=False)
NPZ = Container("npz", (".npz",), b"PK", _open_npz)
HDF5 = Container("hdf5", (".h5", ".hdf5"), b"\x89HDF", _open_hdf5, members=_members_of_hdf5)
CONTAINERS = (NPY, NPZ, HDF5)


def all_suffixes() -> str:
    """The suffixes of all kinds, in words."""
    *most, last = (suffix for container in CONTAINERS for suffix in container.suffixes)
    return f"{', '.join(most)} or {last}"


def container_of(path: Path) -> Container:
    """The kind of a file, by what it ends in, or else by what it begins with.

    Raises:
        UserError: it is of no kind.
    """
    for container in CONTAINERS:
        if path.suffix in container.suffixes:
            return container
    try:
        with open(path, "rb") as file:
            beginning = file.read(max(len(container.first_bytes) for container in CONTAINERS))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected features. Check the path.") from None
    for container in CONTAINERS:
        if beginning.startswith(container.first_bytes):
            return container
    raise UserError(f"{path}: begins with {beginning!r}; expected features as {all_suffixes()}. Check the path.")


class LocatedArrays:
    """An `ArraySource` over the locations of its arrays.

    Args:
        locations: video id -> where its array lies.
        what: the arrays in words ("flow features"), for messages.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, locations: Mapping[str, Location], what: str) -> None:
        self._locations = dict(locations)
        self._what = what

    def names(self) -> list[str]:
        """Ids of the videos, sorted."""
        return sorted(self._locations)

    def where(self, video_id: str) -> str:
        """File and name of the array."""
        return str(self._location(video_id))

    def shape(self, video_id: str) -> tuple[int, ...]:
        """See `ArraySource.shape`."""
        location = self._location(video_id)
        with container_of(location.path).opened(location) as arrays:
            return arrays.shape(_pick(arrays, location))

    def read(self, video_id: str) -> np.ndarray:
        """See `ArraySource.read`; an array of objects is refused outside a .npy file."""
        location = self._location(video_id)
        with container_of(location.path).opened(location) as arrays:
            return arrays.read(_pick(arrays, location))

    def _location(self, video_id: str) -> Location:
        try:
            return self._locations[video_id]
        except KeyError:
            raise UserError(
                f"video {video_id!r}: no {self._what} found; expected an array as the other videos have. Extract them, "
                "or leave the video out."
            ) from None


def array_names(location: Location) -> tuple[str, ...]:
    """Names of the arrays at a location; () where it is itself an array.

    Raises:
        UserError: the file is absent or damaged, or its kind cannot be read here.
    """
    with container_of(location.path).opened(location) as arrays:
        return arrays.names


def _pick(arrays: Arrays, location: Location) -> str:
    """Name of the array that a location means."""
    names = arrays.names
    if location.key is None:
        if not arrays.is_array and len(names) != 1:
            found = f"{len(names)} arrays found" + (f" ({', '.join(names[:5])})" if names else "")
            raise UserError(f"{location}: {found}; expected one. Save one per file.")
        return names[0] if names else ""
    same = [name for name in names if name.lower() == location.key.lower()]
    if len(same) != 1:
        found = f"arrays {', '.join(names[:5]) or 'without names'} found"
        raise UserError(f"{location}: {found}; expected one named {location.key}.")
    return same[0]


@contextlib.contextmanager
def _naming(location: Location, kind: str) -> Iterator[None]:
    """Turns whatever reading a file of a kind raises into a UserError that names the location."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{location}: no such file; expected features as {kind}. Check the path.") from None
    except Exception as error:
        # Damaged bytes make the zip, NumPy and HDF5 readers fail in any way there is.
        raise UserError(
            f"{location}: not a complete {kind} file of plain arrays ({type(error).__name__}: {error}); expected "
            "features. Fetch or write the file again."
        ) from None


def import_h5py(location: Location) -> Any:
    """The optional library that reads HDF5.

    Args:
        location: what needs it.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise UserError(
            f"{location}: an HDF5 file found, but h5py is not installed; expected it for HDF5 features. "
            "Run `pip install h5py` (or `pip install tc3net[hdf5]`)."
        ) from None
