"""MATLAB's .mat files: up to version 7.2 through SciPy, from 7.3 on they are HDF5 files."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.features.kinds.container import Arrays, Container, Leaf, Location, Tree, naming
from data_prep.features.kinds.hdf5 import members_of_hdf5, open_hdf5
from tc3net.common.errors import UserError

_KIND = "MATLAB"
_NUMBERS = ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "logical")


@dataclass(frozen=True)
class _Variable:
    """A variable of a file before version 7.3."""

    path: Path
    name: str
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        return np.asarray(_scipy_io(self.path).loadmat(self.path, variable_names=[self.name])[self.name])


def _scipy_io(path: Path) -> Any:
    try:
        return importlib.import_module("scipy.io")
    except ImportError:
        raise UserError(
            f"{path}: a MATLAB file found, but SciPy is not installed; expected it for .mat files before version 7.3. "
            "Run `pip install scipy` (or `pip install tc3net[mat]`)."
        ) from None


def _is_hdf5(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(10).startswith((b"MATLAB 7.3", b"\x89HDF"))


def _variables(path: Path) -> dict[str, Leaf]:
    """The numeric variables; structures and cells hold no features."""
    listed = _scipy_io(path).whosmat(path)
    return {name: _Variable(path, name, tuple(shape)) for name, shape, kind in listed if kind in _NUMBERS}


@contextlib.contextmanager
def _open_mat(location: Location) -> Iterator[Arrays]:
    with naming(location, _KIND):
        if _is_hdf5(location.path):
            with open_hdf5(location, _KIND, by_columns=True) as arrays:
                yield arrays
        else:
            yield Tree(_variables(location.path), location.node)


def _members_of_mat(path: Path) -> dict[str, bool]:
    with naming(Location(path), _KIND):
        return members_of_hdf5(path, _KIND) if _is_hdf5(path) else Tree(_variables(path)).members()


MAT = Container("mat", (".mat",), b"MATLAB", _open_mat, members=_members_of_mat, is_common=False)
