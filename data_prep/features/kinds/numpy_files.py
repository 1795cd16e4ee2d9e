"""NumPy's files: .npy (one array, or a dictionary of arrays) and .npz (arrays by name)."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.features.kinds.container import Arrays, Container, Location, Tree, leaves_of, naming, require_there
from data_prep.pickles.arrays import array_header, load_array, read_header
from tc3net.common.errors import UserError


class _OneArray:
    """A .npy file."""

    names = ()
    is_array = True

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path, self._shape = path, shape

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shape

    def read(self, name: str) -> np.ndarray:
        return load_array(self._path)


def holds_dictionary(path: Path) -> bool:
    """Whether a .npy file is what `np.save` makes of a dictionary: an object without axes.

    Raises:
        UserError: the file is absent or is not `.npy`.
    """
    return _is_dictionary(*array_header(path))


def _is_dictionary(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return shape == () and dtype.hasobject


def _dictionary(path: Path, node: str = "") -> Tree:
    with naming(Location(path, node), ".npy"):
        return Tree(leaves_of(load_array(path).item()), node)


@contextlib.contextmanager
def _open_npy(location: Location) -> Iterator[Arrays]:
    try:
        shape, dtype = array_header(location.path)
    except UserError:
        require_there(location.path)
        raise
    # Errors name the file already.
    is_dictionary = _is_dictionary(shape, dtype)
    yield _dictionary(location.path, location.node) if is_dictionary else _OneArray(location.path, shape)


def _members_of_npy(path: Path) -> dict[str, bool]:
    return _dictionary(path).members() if holds_dictionary(path) else {}


class _Member:
    """An array in an opened .npz file."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive, self._name = archive, name

    @property
    def shape(self) -> tuple[int, ...]:
        with self._archive.open(self._name) as member:
            return read_header(member)[0]

    def read(self) -> np.ndarray:
        with self._archive.open(self._name) as member:
            array: np.ndarray[Any, Any] = np.lib.format.read_array(member, allow_pickle=False)
            return array


def _members(archive: zipfile.ZipFile) -> dict[str, _Member]:
    return {name[: -len(".npy")]: _Member(archive, name) for name in archive.namelist() if name.endswith(".npy")}


@contextlib.contextmanager
def _open_npz(location: Location) -> Iterator[Arrays]:
    with naming(location, ".npz"), zipfile.ZipFile(location.path) as archive:
        yield Tree(_members(archive), location.node)


def _members_of_npz(path: Path) -> dict[str, bool]:
    with naming(Location(path), ".npz"), zipfile.ZipFile(path) as archive:
        return Tree(_members(archive)).members()


NPY = Container("npy", (".npy",), b"\x93NUMPY", _open_npy, members=_members_of_npy)
NPZ = Container("npz", (".npz",), b"PK", _open_npz, members=_members_of_npz)
