"""Arrays in files of three kinds: .npy (one array), .npz (several by name), HDF5 (several by name, also in groups).

Files are opened for one read and closed again: a data set may have more videos than a process may have open files, and
what holds nothing open can be handed to another process.
"""

from __future__ import annotations

import contextlib
import importlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.pickles.arrays import array_shape, load_array, read_header
from tc3net.common.errors import UserError

SUFFIXES = {"npy": (".npy",), "npz": (".npz",), "hdf5": (".h5", ".hdf5")}
_KINDS = {".npy": ".npy", ".npz": ".npz", ".h5": "HDF5", ".hdf5": "HDF5"}


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


class LocatedArrays:
    """An `ArraySource` over the locations of its arrays.

    Args:
        locations: video id -> where its array lies.
        what: the arrays in words ("flow features"), for messages.
    """

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
        return located_shape(self._location(video_id))

    def read(self, video_id: str) -> np.ndarray:
        """See `ArraySource.read`."""
        return read_located(self._location(video_id))

    def _location(self, video_id: str) -> Location:
        try:
            return self._locations[video_id]
        except KeyError:
            raise UserError(
                f"video {video_id!r}: no {self._what} found; expected an array as the other videos have. Extract them, "
                "or leave the video out."
            ) from None


def array_names(location: Location) -> tuple[str, ...]:
    """Names of the arrays in an .npz file, or in an HDF5 file or group; () where the location is itself an array.

    Raises:
        UserError: the file is absent or damaged, or HDF5 cannot be read here.
    """
    if location.path.suffix == ".npy":
        return ()
    with _opened(location) as (names, _):
        return names


def located_shape(location: Location) -> tuple[int, ...]:
    """Shape of an array, read from its description.

    Raises:
        UserError: it is absent or damaged.
    """
    if location.path.suffix == ".npy":
        return array_shape(location.path)
    with _opened(location) as (names, content):
        name = _pick(names, location)
        if isinstance(content, zipfile.ZipFile):
            with content.open(f"{name}.npy") as member:
                return read_header(member)[0]
        return tuple((content[name] if name else content).shape)


def read_located(location: Location) -> np.ndarray:
    """Reads an array into memory.

    Raises:
        UserError: it is absent or damaged, or holds objects outside a .npy file.
    """
    if location.path.suffix == ".npy":
        return load_array(location.path)
    with _opened(location) as (names, content):
        name = _pick(names, location)
        if isinstance(content, zipfile.ZipFile):
            with content.open(f"{name}.npy") as member:
                return np.lib.format.read_array(member, allow_pickle=False)
        return np.asarray((content[name] if name else content)[()])


def _pick(names: tuple[str, ...], location: Location) -> str:
    if location.key is None:
        if len(names) > 1:
            raise UserError(f"{len(names)} arrays found ({', '.join(names[:5])}); expected one. Save one per file.")
        return names[0] if names else ""
    same = [name for name in names if name.lower() == location.key.lower()]
    if len(same) != 1:
        raise UserError(f"arrays {', '.join(names[:5]) or 'without names'} found; expected one named {location.key}.")
    return same[0]


@contextlib.contextmanager
def _opened(location: Location) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields the names of the arrays, and the archive, group or dataset that has them; names errors by the file."""
    kind = _KINDS[location.path.suffix]
    try:
        if kind == "HDF5":
            h5py = import_h5py()
            with h5py.File(location.path, "r") as file:
                node = file[location.node] if location.node else file
                is_array = isinstance(node, h5py.Dataset)
                yield (() if is_array else tuple(n for n in node if isinstance(node[n], h5py.Dataset))), node
        else:
            with zipfile.ZipFile(location.path) as archive:
                yield tuple(n[: -len(".npy")] for n in archive.namelist() if n.endswith(".npy")), archive
    except UserError as error:
        raise UserError(f"{location}: {error}") from None
    except FileNotFoundError:
        raise UserError(f"{location}: no such file; expected features as {kind}. Check the path.") from None
    except Exception as error:
        # Damaged bytes make the zip, NumPy and HDF5 readers fail in any way there is.
        raise UserError(
            f"{location}: not a complete {kind} file of plain arrays ({type(error).__name__}: {error}); expected "
            "features. Fetch or write the file again."
        ) from None


def top_level(path: Path) -> dict[str, bool]:
    """Names in an HDF5 file, and whether each is a group.

    Raises:
        UserError: the file is absent or damaged, or HDF5 cannot be read here.
    """
    with _opened(Location(path)) as (names, file):
        return {name: name not in names for name in file}


def import_h5py() -> Any:
    """The optional library that reads HDF5.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise UserError(
            "an HDF5 file found, but h5py is not installed; expected it for HDF5 features. "
            "Run `pip install h5py` (or `pip install tc3net[hdf5]`)."
        ) from None
