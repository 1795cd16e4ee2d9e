"""Carries out a pickle without calling anything that is in it: calls are recorded, and arrays built from the records.

The names a pickle may mention are limited to those NumPy writes for its own arrays, and even these are not called: the
pickle machine only records "array of this shape, type and content", and the arrays are built from the records
afterwards, with NumPy checking every size.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, BinaryIO, ClassVar, Literal

import numpy as np

from data_prep.pickles.scan import TOKEN_BYTES, StoredArray
from tc3net.common.errors import UserError

_REMEMBERS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
# What each (module, name) of a pickle stands for; everything else is refused.
ADMITTED = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    # How Python 3 writes bytes for Python 2 to read: as text to be encoded, and empty ones as `bytes()`.
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "empty",
    ("builtins", "bytes"): "empty",
    ("collections", "OrderedDict"): "mapping",
    **{(module, "ndarray"): "ndarray" for module in _MULTIARRAY},
    **{(module, "dtype"): "dtype" for module in _MULTIARRAY},
    **{(module, "_reconstruct"): "array" for module in _MULTIARRAY},
    **{(module, "scalar"): "scalar" for module in _MULTIARRAY},
    **{(module, "_frombuffer"): "buffer" for module in _NUMERIC},
}
# Numbers, booleans, bytes, text and objects; no structured, void or date types, which none of the layouts uses.
_DTYPE_CODE = re.compile(r"[fiuc]\d{1,2}|b1|[SU]\d{1,6}|O\d?")

_Order = Literal["C", "F"]
_BYTE_ORDERS: dict[str, Literal["<", ">", "="]] = {"<": "<", ">": ">", "=": "=", "|": "="}


class DamagedError(Exception):
    """The records do not add up to arrays."""


class Filled(dict[Any, Any]):
    """A mapping that the pickle fills. State that it gives besides, as PyTorch does, is no content and left out."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Leaves it out."""


class Name:
    """Stands for one admitted name. Calling it records the call; it has no attribute that a pickle could set.

    A mapping is filled after the call, so that it is made at once.
    """

    __slots__ = ("role",)

    def __init__(self, role: str) -> None:
        self.role = role

    def __call__(self, *args: Any) -> Any:
        return Filled(*args) if self.role == "mapping" else Record(self.role, args)

    def __setstate__(self, state: Any) -> None:
        raise DamagedError("state given to a name")


class Record:
    """A recorded call and the state given to its result."""

    __slots__ = ("args", "role", "state")

    def __init__(self, role: str, args: tuple[Any, ...]) -> None:
        self.role = role
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def check_memo(file: IO[bytes]) -> None:
    """Refuses a pickle that remembers an object under a number that no honest one reaches.

    The pickle machine keeps a list as long as the largest number: one flipped byte can make that 32 GB. Numbers count
    what is remembered, and each takes a byte at least.

    Args:
        file: seekable; it is left where it is.

    Raises:
        DamagedError: there is such a number.
        Exception: of any kind, when its bytes are damaged.
    """
    start = file.tell()
    for instruction, argument, position in pickletools.genops(file):
        if instruction.name in _REMEMBERS and (argument or 0) > (position or 0) - start:
            raise DamagedError(f"{instruction.name} {argument} at byte {position}")
    file.seek(start)


class RecordingUnpickler(pickle.Unpickler):
    """Records calls instead of making them.

    Args:
        file: seekable.
        encoding: of what Python 2 called str.

    Attributes:
        admitted: (module, name) -> what it stands for.
    """

    admitted: ClassVar[Mapping[tuple[str, str], str]] = ADMITTED

    def __init__(self, file: IO[bytes], *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self._file = file

    def load(self) -> Any:
        """Carries the pickle out, once `check_memo` has gone through it."""
        check_memo(self._file)
        return super().load()

    def find_class(self, module: str, name: str, /) -> Any:
        """Looks the pair up as it stands, so a dotted name ("dtype.__class__") is simply not found."""
        role = self.admitted.get((module, name))
        if role is None:
            raise UserError(
                f"it asks for {module}.{name}; expected nothing but NumPy arrays, lists, numbers and text. "
                "Loading it could run code: if you trust whoever made it, ask for plain arrays; otherwise delete it."
            )
        return Name(role)


class Builder:
    """Turns records into arrays; each object once, so that shared references neither multiply nor loop.

    Args:
        path: the file that the records come from.
        places: content -> (offset, length) in the file, for contents that were left there.
    """

    def __init__(self, path: str | Path, places: Mapping[bytes, tuple[int, int]]) -> None:
        self._path = Path(path)
        self._places = places
        self._built: dict[int, Any] = {}
        self._open: set[int] = set()

    def build(self, value: Any) -> Any:
        """What a value of the pickle stands for.

        Raises:
            DamagedError: nothing.
        """
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        key = id(value)
        if key in self._built:
            return self._built[key]
        if key in self._open:
            raise DamagedError("an object contains itself")
        self._open.add(key)
        if isinstance(value, (list, tuple)):
            result: Any = type(value)(self.build(item) for item in value)
        elif isinstance(value, dict):
            result = {self.build(name): self.build(item) for name, item in value.items()}
        elif isinstance(value, bytearray):
            result = bytes(value)
        elif isinstance(value, Record):
            result = getattr(self, f"_build_{value.role}")(value)
        else:
            raise DamagedError(f"a {type(value).__name__} where arrays, lists, numbers or text are expected")
        self._open.discard(key)
        self._built[key] = result
        return result

    def _build_array(self, record: Record) -> np.ndarray | StoredArray:
        _, shape, dtype_record, fortran_order, content = record.state
        dtype, shape = self.build(dtype_record), tuple(shape)
        order: _Order = "F" if fortran_order else "C"
        if dtype != np.dtype(object):
            return self._numbers(self.build(content), dtype, shape, order)
        if len(content) != math.prod(shape):
            raise DamagedError(f"{len(content)} objects for shape {list(shape)}")
        array = np.empty(len(content), dtype)
        for index, item in enumerate(content):
            array[index] = self.build(item)
        return array.reshape(shape, order=order)

    def _numbers(
        self, content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: _Order
    ) -> np.ndarray | StoredArray:
        if len(content) > TOKEN_BYTES or content not in self._places:
            return np.frombuffer(content, dtype).reshape(shape, order=order)
        offset, length = self._places[content]
        if (
            not all(isinstance(size, int) and size >= 0 for size in shape)
            or length != math.prod(shape) * dtype.itemsize
        ):
            raise DamagedError(f"{length} bytes for shape {list(shape)} of {dtype}")
        return StoredArray(self._path, offset, dtype, shape, order == "F")

    def _build_buffer(self, record: Record) -> np.ndarray | StoredArray:
        content, dtype, shape, text = (self.build(argument) for argument in record.args)
        order: _Order = "F" if text == "F" else "C"
        if dtype == np.dtype(object):
            raise DamagedError("objects in a buffer")
        return self._numbers(content, dtype, shape, order)

    def _build_scalar(self, record: Record) -> Any:
        dtype, content = (self.build(argument) for argument in record.args)
        if dtype == np.dtype(object):
            raise DamagedError("an object scalar")
        (value,) = np.frombuffer(content, dtype)
        return value

    def _build_dtype(self, record: Record) -> np.dtype[Any]:
        code = as_text(record.args[0], "data type")
        order, *structure = record.state[1:5]
        if not _DTYPE_CODE.fullmatch(code) or structure != [None, None, None]:
            raise DamagedError(f"data type {code!r}")
        return (
            np.dtype(object)
            if code[0] == "O"
            else np.dtype(code).newbyteorder(_BYTE_ORDERS[as_text(order, "byte order")])
        )

    def _build_empty(self, record: Record) -> bytes:
        if record.args:
            raise DamagedError("bytes of something")
        return b""

    def _build_encode(self, record: Record) -> bytes:
        text, encoding = record.args
        if as_text(encoding, "encoding") != "latin1":
            raise DamagedError(f"encoding {encoding!r}")
        return str(text).encode("latin1")


def load_records(
    file: BinaryIO, path: str | Path, places: Mapping[bytes, tuple[int, int]] = MappingProxyType({})
) -> Any:
    """Builds what a pickle describes.

    Args:
        file: the pickle.
        path: the file that contents left in place are read from.
        places: content -> (offset, length) in that file; see `pickle_scan`.

    Raises:
        UserError: it asks for anything but arrays, lists, tuples, dictionaries, numbers, bytes and text.
        Exception: of any kind, when its bytes are damaged.
    """
    # encoding="bytes": what Python 2 called str is either text in an unknown encoding or raw array content.
    return Builder(path, places).build(RecordingUnpickler(file, encoding="bytes").load())


def as_text(value: Any, where: str) -> str:
    """A name as text, whether Python 2 (bytes) or 3 (str) wrote it.

    Args:
        value: str or bytes, or NumPy's variants of them.
        where: what is being read, for the message.

    Raises:
        UserError: anything else, or bytes that are not UTF-8.
    """
    if isinstance(value, str):
        return str(value)
    try:
        if isinstance(value, bytes):
            return value.decode()
    except UnicodeDecodeError:
        pass
    raise UserError(f"{where}: found {value!r}; expected a name as text. Correct the file.")
