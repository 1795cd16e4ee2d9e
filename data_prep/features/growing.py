"""Rows of feature files that another program still appends to, as they become complete.

Only files that are readable before they are complete can be followed: .npy, and float32 rows and nothing else (.f32).
Order of the axes and crops are no question there: a row of the file is a row of features.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep.features.kinds.numpy_files import NPY
from data_prep.features.kinds.videos import extraction_needed, is_video
from data_prep.features.readers import CHANNEL_ORDERS
from data_prep.features.rows import as_float32, check_rows, check_width
from data_prep.pickles.arrays import read_header
from tc3net.common.errors import UserError

RAW_SUFFIX = ".f32"
_LONGEST_HEADER = 1 << 16  # bytes; NumPy reads none of more than 10,000


class GrowingFile:
    """Rows of a feature file that another program appends to.

    A `.npy` file is read as far as it goes, whatever number of rows its header says; a `.f32` file is float32 rows and
    nothing else (little-endian). A row that is not complete yet waits.

    Args:
        path: the file; it may not exist yet.
        width: numbers per row.

    Raises:
        UserError: a kind of file that cannot be read before it is complete.
    """

    def __init__(self, path: str, width: int) -> None:
        if is_video(Path(path)):
            raise UserError(f"{path}: {extraction_needed('a video file')}")
        if not path.endswith((*NPY.suffixes, RAW_SUFFIX)):
            raise UserError(
                f"{path}: expected a .npy file, or {RAW_SUFFIX} (float32 rows), to follow: other kinds cannot be read "
                "before they are complete. Write one of these, or wait and leave out --follow."
            )
        self.path, self.width, self.rows_read = path, width, 0

    def _layout(self) -> tuple[int, np.dtype] | None:
        """Where rows begin, and their dtype; None while the file or its header is not complete."""
        if not Path(self.path).is_file():
            return None
        if self.path.endswith(RAW_SUFFIX):
            return 0, np.dtype("<f4")
        with open(self.path, "rb") as opened:
            content = opened.read(_LONGEST_HEADER)
        file = io.BytesIO(content)  # what is there now: the file itself may grow between reading and looking again
        try:
            shape, dtype, fortran_order = read_header(file)
        except ValueError as error:
            if file.tell() == len(content):
                return None
            raise UserError(f"{self.path}: expected a .npy file, found something else ({error}).") from None
        offset = file.tell()
        check_rows(self.path, shape, dtype)
        check_width(self.path, shape, self.width)
        if fortran_order:
            raise UserError(
                f"{self.path}: an array by columns (Fortran's order) found; expected [segments, {self.width}] numbers "
                "by row. Save it with numpy.ascontiguousarray."
            )
        return offset, dtype

    def read(self) -> np.ndarray:
        """The complete rows that are new since the last call, [n, width] float32.

        Raises:
            UserError: the file holds no such rows, it became shorter, or NaN or Inf in it.
        """
        layout = self._layout()
        if layout is None:
            return np.zeros((0, self.width), np.float32)
        offset, dtype = layout
        row_bytes = self.width * dtype.itemsize
        rows = (Path(self.path).stat().st_size - offset) // row_bytes
        if rows < self.rows_read:
            raise UserError(
                f"{self.path}: {rows} segments found after {self.rows_read} had been read; expected a file that grows. "
                "Start again with the new file."
            )
        with open(self.path, "rb") as file:
            file.seek(offset + self.rows_read * row_bytes)
            content = file.read((rows - self.rows_read) * row_bytes)
        whole = len(content) // row_bytes * row_bytes
        new = as_float32(self.path, np.frombuffer(content[:whole], dtype).reshape(-1, self.width), self.rows_read)
        self.rows_read += len(new)
        return new


class JoinedFiles:
    """New rows of one file [s, 2D], or of an rgb and a flow file [s, D] side by side, as far as both go.

    Args:
        paths: one file, or rgb's and flow's.
        width: 2D.
        channel_order: which stream comes first in one file; one of `CHANNEL_ORDERS`.
    """

    def __init__(self, paths: Sequence[str], width: int, channel_order: str = CHANNEL_ORDERS[0]) -> None:
        self._files = [GrowingFile(path, width // len(paths)) for path in paths]
        self._waiting = [np.zeros((0, width // len(paths)), np.float32) for _ in paths]
        self._is_flow_first = len(paths) == 1 and channel_order != CHANNEL_ORDERS[0]

    def read(self) -> np.ndarray:
        """[n, 2D] float32, rgb first; see `GrowingFile.read`."""
        parts = [np.concatenate([old, file.read()]) for old, file in zip(self._waiting, self._files)]
        ready = min(len(part) for part in parts)
        self._waiting = [part[ready:] for part in parts]
        rows = np.concatenate([part[:ready] for part in parts], axis=1)
        return np.concatenate(np.split(rows, 2, axis=1)[::-1], axis=1) if self._is_flow_first else rows
