"""Features as W-TALC and 3C-Net publish them: one object array of [s_i, 2 D] per data set (`*-I3D-JOINTFeatures.npy`).

Rows carry no names; they are those of the annotation folder, in its order. The file is scanned once for where each row
lies, and rows are read one at a time. Only what Python 3 wrote in Python 2's encoding has to be read as a whole: it
stores the rows as text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.features.kinds.container import require_there
from data_prep.features.kinds.numpy_files import holds_dictionary
from data_prep.pickles.arrays import load_rows
from data_prep.pickles.scan import SHORT_BYTES, StoredArray
from tc3net.common.errors import UserError
from tc3net.common.storage import local_copy, path_of

WORDS = "W-TALC object array, one row per annotated video"


def is_object_array(path: Path) -> bool:
    """Whether features are meant that lie in one such file, be it there or not; a dictionary is none."""
    if path.suffix.lower() != ".npy" or path.is_dir():
        return False
    try:
        with local_copy(path) as local:
            return not holds_dictionary(local)
    except UserError:
        return True  # and is reported when it is opened


class RowArrays:
    """An `ArraySource` over the rows of one `.npy` file.

    Args:
        path: the `.npy` file.
        video_ids: names of the rows, in the order of the annotation folder.

    Raises:
        UserError: the file is absent or damaged, or its number of rows is not that of the names.
    """

    def __init__(self, path: str | Path, video_ids: Sequence[str]) -> None:
        self._path = path_of(path)
        require_there(self._path)
        # Of a remote file, kept as long as its rows are read.
        self._copy: contextlib.ExitStack | None = contextlib.ExitStack()
        self._rows = load_rows(self._copy.enter_context(local_copy(self._path)))
        if len(self._rows) != len(video_ids):
            raise UserError(
                f"{path}: {len(self._rows)} rows found; expected {len(video_ids)}, one per video of the annotations "
                "and in their order. Use the annotations that were published with the feature file."
            )
        self._ids = list(video_ids)
        self._row_of = {video_id: row for row, video_id in enumerate(video_ids)}
        # What had to be read into memory, tiny rows aside.
        held = sum(row.nbytes for row in self._rows if isinstance(row, np.ndarray) and row.nbytes > SHORT_BYTES)
        self.notes: tuple[str, ...] = (
            (
                f"{held / 1e9:.3g} GB held in memory, since the encoding of {self._path.name} allows no reading in "
                "parts (np.save it with Python 3 to have it read row by row)",
            )
            if held
            else ()
        )

    def __getstate__(self) -> dict[str, Any]:
        """For other processes of this machine, which read the same local copy; it stays its first owner's."""
        return {**self.__dict__, "_copy": None}

    def names(self) -> list[str]:
        """Names of all rows, in row order."""
        return self._ids

    def where(self, video_id: str) -> str:
        """File and row."""
        return f"{self._path}, row {self._row_of[video_id]} (video {video_id!r})"

    def shape(self, video_id: str) -> tuple[int, ...]:
        """See `ArraySource.shape`."""
        return self._row(video_id).shape

    def read(self, video_id: str) -> np.ndarray:
        """See `ArraySource.read`."""
        row = self._row(video_id)
        if isinstance(row, np.ndarray):
            return row
        try:
            return row.read()
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.where(video_id)}: cannot be read any more ({error}); expected the file as it was when it was "
                "opened. Run it again, and leave the file alone meanwhile."
            ) from None

    def _row(self, video_id: str) -> np.ndarray | StoredArray:
        row = self._rows[self._row_of[video_id]]
        if not isinstance(row, (np.ndarray, StoredArray)):
            raise UserError(
                f"{self.where(video_id)}: {type(row).__name__} found; expected an array [segments, dims]. "
                "Extract the features of this video again."
            )
        return row
