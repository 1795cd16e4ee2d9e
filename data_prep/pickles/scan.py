"""Finds where the large contents of a pickle lie in its file, so that they can be read one at a time.

The scan steps through the instructions of the pickle without carrying any of them out, and copies them except for long
byte strings: in their place it puts a short token. What is left is a small pickle of the same structure, whose tokens
say where the content is. Contents stored as text (how Python 3 writes bytes for Python 2) have no such place: there the
bytes in the file are not those of the array.
"""

from __future__ import annotations

import os
import pickletools
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# Instructions whose argument is a byte string with its length before it; all others are copied.
_BYTES = frozenset({"BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINSTRING"})
_TEXT = frozenset({"BINUNICODE", "BINUNICODE8"})
_ARGUMENTS = {op.code.encode("latin1"): (op.name, op.arg) for op in pickletools.opcodes}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
# Contents up to this length stay in the small pickle.
SHORT_BYTES = 255
TOKEN_BYTES = 24
# Longer texts are no names: they are array contents.
_LONG_TEXT_BYTES = 1 << 16


@dataclass(frozen=True)
class StoredArray:
    """An array whose content lies in a file as it is in memory."""

    path: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool = False

    def read(self) -> np.ndarray:
        """The array, in memory.

        Raises:
            OSError: the file cannot be read any more.
            ValueError: it has become shorter.
        """
        count = int(np.prod(self.shape, dtype=np.int64))
        values = np.fromfile(self.path, self.dtype, count, offset=self.offset)
        return values.reshape(self.shape, order="F" if self.fortran_order else "C")


@dataclass(frozen=True)
class Scan:
    """A pickle without its long byte strings, and token -> (offset, length) of these in the file."""

    pickle: bytes
    places: dict[bytes, tuple[int, int]]


def scan(file: BinaryIO) -> Scan | None:
    """Scans the pickle that begins at the file's position.

    Args:
        file: seekable.

    Returns:
        The scan; None when the pickle stores long contents as text.

    Raises:
        ValueError: the bytes are no complete pickle.
    """
    end = os.fstat(file.fileno()).st_size
    # Nobody who wrote the file can have known the tokens.
    prefix = secrets.token_bytes(TOKEN_BYTES - 8)
    copy = bytearray()
    places: dict[bytes, tuple[int, int]] = {}
    while True:
        code = file.read(1)
        if code not in _ARGUMENTS:
            raise ValueError(f"no pickle instruction at byte {file.tell() - len(code)}")
        name, argument = _ARGUMENTS[code]
        if argument is None:
            copy += code
        elif argument.n in _LENGTH_BYTES:
            width = _LENGTH_BYTES[argument.n]
            prefixed = file.read(width)
            length = int.from_bytes(prefixed, "little")
            if file.tell() + length > end:
                raise ValueError(f"{name} announces {length} bytes, more than the file holds")
            if name in _TEXT and length > _LONG_TEXT_BYTES:
                return None
            if name in _BYTES and length > SHORT_BYTES:
                token = prefix + len(places).to_bytes(8, "little")
                places[token] = (file.tell(), length)
                copy += code + len(token).to_bytes(width, "little") + token
                file.seek(length, os.SEEK_CUR)
            else:
                copy += code + prefixed + file.read(length)
        elif argument.n == pickletools.UP_TO_NEWLINE:
            copy += code + file.readline()
            if name in ("GLOBAL", "INST"):  # module and name, a line each
                copy += file.readline()
        elif name == "FRAME":  # says how many bytes to read ahead, which is no longer true
            file.read(argument.n)
        else:
            copy += code + file.read(argument.n)
        if name == "STOP":
            return Scan(bytes(copy), places)
