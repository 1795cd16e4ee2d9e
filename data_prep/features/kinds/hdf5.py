"""HDF5 files: arrays by name, also in groups; and MATLAB's files since version 7.3, which are HDF5."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.features.kinds.container import Arrays, Container, Location, naming
from tc3net.common.errors import UserError


class _Node:
    """A group or dataset of an HDF5 file, or the file.

    Args:
        node: of h5py.
        array_type: h5py's type of datasets.
        by_columns: whether MATLAB wrote it, whose arrays have their axes in the opposite order.
    """

    def __init__(self, node: Any, array_type: type, by_columns: bool = False) -> None:
        self._node, self._by_columns = node, by_columns
        self.is_array = isinstance(node, array_type)
        self.names = () if self.is_array else tuple(name for name in _names(node) if isinstance(node[name], array_type))

    def shape(self, name: str) -> tuple[int, ...]:
        shape = tuple((self._node[name] if name else self._node).shape)
        return shape[::-1] if self._by_columns else shape

    def read(self, name: str) -> np.ndarray:
        array = np.asarray((self._node[name] if name else self._node)[()])
        return array.T if self._by_columns else array


def _names(group: Any) -> Iterator[str]:
    """Names in a group, without what MATLAB keeps for itself (#refs#)."""
    return (name for name in group if not name.startswith("#"))


@contextlib.contextmanager
def open_hdf5(location: Location, kind: str = "HDF5", *, by_columns: bool = False) -> Iterator[Arrays]:
    """See `Container.opened`."""
    with naming(location, kind):
        h5py = import_h5py(location)
        with h5py.File(location.path, "r") as file:
            yield _Node(file[location.node] if location.node else file, h5py.Dataset, by_columns)


def members_of_hdf5(path: Path, kind: str = "HDF5") -> dict[str, bool]:
    """See `Container.members`."""
    with naming(Location(path), kind):
        h5py = import_h5py(Location(path))
        with h5py.File(path, "r") as file:
            return {name: not isinstance(file[name], h5py.Dataset) for name in _names(file)}


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


HDF5 = Container("hdf5", (".h5", ".hdf5"), b"\x89HDF", open_hdf5, members=members_of_hdf5)
