"""Reads `.npy` files, object arrays included, without running anything that is in them.

NumPy stores an object array as a pickle, and a pickle is a program: loading a downloaded one can run any command.
Here a hostile file ends in an error message, never in a call; `pickle_records` says how.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, BinaryIO

import numpy as np

from data_prep.pickles.records import DamagedError, as_text, load_records
from data_prep.pickles.scan import StoredArray, scan
from tc3net.common.errors import UserError

__all__ = ["array_header", "array_shape", "as_text", "load_array", "load_content", "load_rows", "naming", "read_header"]


def load_array(path: str | Path) -> np.ndarray:
    """Reads one array from a `.npy` file into memory, whatever its shape and type.

    Strings of an object array that Python 2 wrote come back as bytes (see `as_text`). Arrays inside an object array may
    be read-only.

    Args:
        path: the file.

    Raises:
        UserError: the file is absent, not `.npy`, truncated or damaged, or its pickle holds anything but arrays, lists,
            tuples, numbers, bytes and text.
    """
    with naming(path), open(path, "rb") as file:
        shape, dtype, fortran_order = read_header(file)
        if dtype.hasobject:
            return _read_objects(path, file, shape, dtype)
        count = math.prod(shape)
        values = np.fromfile(file, dtype, count) if dtype.itemsize else np.zeros(count, dtype)  # of empty texts
        if len(values) != count:
            raise DamagedError(f"fewer bytes than shape {list(shape)} needs")
        return values.reshape(shape, order="F" if fortran_order else "C")


def load_rows(path: str | Path) -> list[Any]:
    """The rows of an array (along its first axis); arrays stay in the file as `StoredArray` where that is possible.

    It is for plain arrays in C order, and for arrays in object arrays unless their content is stored as text (pickle
    protocol 2 written by Python 3). Otherwise the rows are in memory, as `load_array` gives them.

    Args:
        path: the file.

    Raises:
        UserError: see `load_array`; or the array has no axis.
    """
    with naming(path), open(path, "rb") as file:
        shape, dtype, fortran_order = read_header(file)
        if not shape:
            raise DamagedError("a single value, no rows")
        start = file.tell()
        if dtype.hasobject:
            scanned = scan(file)
            if scanned is None:
                file.seek(start)
                return list(_read_objects(path, file, shape, dtype))
            return list(_read_objects(path, io.BytesIO(scanned.pickle), shape, dtype, scanned.places))
        if fortran_order or dtype.kind not in "fiuc":
            return list(load_array(path))
        row_bytes = math.prod(shape[1:]) * dtype.itemsize
        if start + shape[0] * row_bytes > file.seek(0, io.SEEK_END):
            raise DamagedError(f"fewer bytes than shape {list(shape)} needs")
        return [StoredArray(Path(path), start + row * row_bytes, dtype, shape[1:]) for row in range(shape[0])]


def array_shape(path: str | Path) -> tuple[int, ...]:
    """Shape of the array in a `.npy` file, of which only the header is read.

    Raises:
        UserError: the file is absent or is not `.npy`.
    """
    return array_header(path)[0]


def array_header(path: str | Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and data type of the array in a `.npy` file, of which only the header is read.

    Raises:
        UserError: the file is absent or is not `.npy`.
    """
    with naming(path), open(path, "rb") as file:
        return read_header(file)[:2]


def load_content(path: str | Path) -> Any:
    """What a pickle file holds: arrays, lists, tuples, dictionaries, numbers, bytes and text.

    Arrays stay in the file as `StoredArray` where their content is not stored as text.

    Args:
        path: the file.

    Raises:
        UserError: the file is absent, truncated or damaged, or holds anything else.
    """
    with naming(path, "pickle", "what Python's pickle wrote"), open(path, "rb") as file:
        scanned = scan(file)
        if scanned is None:
            file.seek(0)
            return load_records(file, path)
        return load_records(io.BytesIO(scanned.pickle), path, scanned.places)


@contextlib.contextmanager
def naming(path: str | Path, kind: str = ".npy", expected: str = "an array saved by NumPy") -> Iterator[None]:
    """Turns whatever reading a file raises into a UserError that names the file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; expected a {'NumPy ' * (kind == '.npy')}{kind} file. Check the path."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a {kind} file.") from None
    except MemoryError:
        raise UserError(f"{path}: does not fit into memory. Store the features as one file per video.") from None
    except Exception as error:
        # Bytes that are not what they should be make the header parser, the pickle machine and the array builder fail
        # in any way there is; all of them mean the same to the user.
        raise UserError(
            f"{path}: not a complete {kind} file ({type(error).__name__}: {error}); expected {expected}. "
            "Fetch or write the file again."
        ) from None


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, data type and whether the order is Fortran's, of the `.npy` content that begins at the file's position.

    Raises:
        ValueError: it is not `.npy`.
    """
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype, fortran_order


def _read_objects(
    path: str | Path,
    file: BinaryIO,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    places: Mapping[bytes, tuple[int, int]] = MappingProxyType({}),
) -> np.ndarray:
    if dtype != np.dtype(object):
        raise DamagedError(f"data type {dtype}")
    array = load_records(file, path, places)
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise DamagedError(f"the content is not the array of shape {list(shape)} that the header announces")
    return array
