"""What `torch.save` wrote, read without PyTorch and without running anything; tensors stay in the file until read.

Since PyTorch 1.6 such a file is a zip archive: a pickle `data.pkl` that describes tensors as views of storages, and the
bytes of each storage beside it. Before, it was four pickles (a number, a version, sizes, what was saved), one with the
storages' keys, and then the storages, each after its length. Only the functions that make a tensor of a storage are
admitted, and they are recorded, not called.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from data_prep.pickles.arrays import naming
from data_prep.pickles.records import ADMITTED, Builder, DamagedError, Name, Record, RecordingUnpickler
from tc3net.common.errors import UserError

_BEFORE_ZIP = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the number that the older format begins with
_BFLOAT16 = "bfloat16"  # no type of NumPy's: the upper half of a float32
_DTYPES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": _BFLOAT16, "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1",
}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose storage lies in an archive.

    Attributes:
        path, member: the file, and the storage's name if it is an archive.
        dtype: of its numbers; unsigned 16 bit for bfloat16.
        is_bfloat16: whether these are upper halves of float32.
        numbers: of the storage.
        offset: of the tensor's first number, in numbers.
        shape, strides: of the tensor, in numbers.
        place: of the storage in the file, in bytes, if that is no archive.
    """

    path: Path
    member: str
    dtype: np.dtype[Any]
    is_bfloat16: bool
    numbers: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    place: int | None = None

    def read(self) -> np.ndarray:
        """The tensor as an array, in memory; bfloat16 as float32.

        Raises:
            UserError: the archive cannot be read any more, or its storage is damaged.
        """
        with naming(self.path, ".pt", "what torch.save wrote"):
            if self.place is not None:
                values = np.fromfile(self.path, self.dtype, self.numbers, offset=self.place)
            else:
                with zipfile.ZipFile(self.path) as archive:
                    values = np.frombuffer(archive.read(self.member), self.dtype)
            if len(values) != self.numbers:
                raise DamagedError(f"{len(values)} numbers in a storage of {self.numbers}")
            if self.is_bfloat16:
                values = (values.astype(np.uint32) << 16).view(np.float32)
            strides = [step * values.itemsize for step in self.strides]
            view = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides, writeable=False)
            return view.copy(order="C")


class _Unpickler(RecordingUnpickler):
    admitted: ClassVar[Mapping[tuple[str, str], str]] = {
        **ADMITTED,
        ("torch._utils", "_rebuild_tensor_v2"): "tensor",
        ("torch._utils", "_rebuild_tensor"): "tensor",  # of PyTorch before 0.4
        **{("torch", name): f"storage {dtype}" for name, dtype in _DTYPES.items()},
    }

    def persistent_load(self, pid: Any) -> Record:
        return Record("stored", pid)


@dataclass(frozen=True)
class _Places:
    """Where storages lie.

    Attributes:
        path: the file.
        byte_order: "little" or "big".
        prefix: of the storages' names in an archive.
        offsets: key -> offset in the file, where it is no archive.
    """

    path: Path
    byte_order: str = "little"
    prefix: str = ""
    offsets: Mapping[Any, int] | None = None


class _Builder(Builder):
    def __init__(self, places: _Places) -> None:
        super().__init__(places.path, {})
        self._storages = places

    def _build_tensor(self, record: Record) -> StoredTensor:
        storage, offset, shape, strides = record.args[:4]
        if not isinstance(storage, Record) or storage.role != "stored":
            raise DamagedError("a tensor without storage")
        kind, key, _, numbers = storage.args[1:5]
        if not isinstance(kind, Name) or not kind.role.startswith("storage "):
            raise DamagedError("a storage without a type")
        dtype = kind.role.partition(" ")[2]
        sizes = (numbers, offset, *shape, *strides)
        if not all(isinstance(size, int) and size >= 0 for size in sizes) or len(shape) != len(strides):
            raise DamagedError(f"a tensor of shape {shape}, strides {strides}")
        last = offset + sum((size - 1) * step for size, step in zip(shape, strides))
        if math.prod(shape) > numbers or (math.prod(shape) and last >= numbers):
            raise DamagedError(f"a tensor of shape {shape} in a storage of {numbers} numbers")
        places = self._storages
        number = _number(dtype).newbyteorder(">" if places.byte_order == "big" else "<")
        return StoredTensor(
            places.path,
            f"{places.prefix}data/{key}",
            number,
            dtype == _BFLOAT16,
            numbers,
            offset,
            tuple(shape),
            tuple(strides),
            None if places.offsets is None else places.offsets[key],
        )


def _number(dtype: str) -> np.dtype[Any]:
    return np.dtype("u2" if dtype == _BFLOAT16 else dtype)


class _Keys(_Unpickler):
    """Notes the type of each storage that is mentioned."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="bytes")
        self.types: dict[Any, str] = {}

    def persistent_load(self, pid: Any) -> Record:
        kind, key = pid[1:3]
        if len(pid) > 5 and pid[5] is not None:
            raise UserError("a storage that is a part of another found. Save copies of the tensors: `tensor.clone()`.")
        if not isinstance(kind, Name) or not kind.role.startswith("storage "):
            raise DamagedError("a storage without a type")
        self.types[key] = kind.role.partition(" ")[2]
        return super().persistent_load(pid)


def _load_before_zip(path: Path, file: BinaryIO) -> Any:
    """The content of a file of the older format, at whose start `file` is."""
    for _ in range(3):
        _Unpickler(file, encoding="bytes").load()
    described = _Keys(file)
    content = described.load()
    offsets = {}
    for key in _Unpickler(file, encoding="bytes").load():
        numbers = int.from_bytes(file.read(8), "little")
        offsets[key] = file.tell()
        end = file.seek(numbers * _number(described.types[key]).itemsize, os.SEEK_CUR)
        if end > os.fstat(file.fileno()).st_size:
            raise DamagedError(f"fewer bytes than a storage of {numbers} numbers needs")
    return _Builder(_Places(path, offsets=offsets)).build(content)


def load_tensors(path: str | Path) -> Any:
    """What a file of `torch.save` holds: tensors and arrays, lists, tuples, dictionaries, numbers and text.

    Args:
        path: the file; tensors stay in it as `StoredTensor`.

    Raises:
        UserError: the file is absent, damaged, or asks for anything else.
    """
    path = Path(path)
    with naming(path, ".pt", "what torch.save wrote"):
        with open(path, "rb") as file:
            is_older = file.read(len(_BEFORE_ZIP)) == _BEFORE_ZIP
            file.seek(0)
            if is_older:
                return _load_before_zip(path, file)
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if not names:
                raise DamagedError("no data.pkl in the archive")
            prefix = min(names, key=len)[: -len("data.pkl")]
            has_order = f"{prefix}byteorder" in archive.namelist()
            byte_order = archive.read(f"{prefix}byteorder").decode().strip() if has_order else "little"
            with archive.open(f"{prefix}data.pkl") as described:
                return _Builder(_Places(path, byte_order, prefix)).build(_Unpickler(described, encoding="bytes").load())
