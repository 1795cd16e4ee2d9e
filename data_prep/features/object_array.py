"""Features as W-TALC and 3C-Net publish them: one object array of [s_i, 2 D] per data set (`*-I3D-JOINTFeatures.npy`).

The array is a pickle, which cannot be read in parts: all features of the data set are in memory while this reader lives
(THUMOS14 with D = 1024: about 7 GB). Rows carry no names; they are those of the annotation folder, in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep.features import check_features
from data_prep.safe_pickle import load_array
from tc3net.errors import UserError


class ObjectArrayReader:
    """Holds all videos of a joint feature file.

    Args:
        path: the `.npy` file.
        video_ids: names of the rows, in the order of the annotation folder.

    Raises:
        UserError: the file is absent or damaged, or its number of rows is not that of the names.
    """

    def __init__(self, path: str | Path, video_ids: Sequence[str]) -> None:
        self._path = path
        self._rows = load_array(path)
        if self._rows.ndim == 0 or len(self._rows) != len(video_ids):
            raise UserError(
                f"{path}: shape {list(self._rows.shape)} found; expected {len(video_ids)} rows, one per video of the "
                "annotations and in their order. Use the annotations that were published with the feature file."
            )
        self._ids = list(video_ids)
        self._row_of = {video_id: row for row, video_id in enumerate(video_ids)}

    def video_ids(self) -> list[str]:
        """Names of all rows, in row order."""
        return self._ids

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """See `FeatureReader.read`; the first half of the columns is rgb, the second flow."""
        row = self._row_of[video_id]
        where = f"{self._path}, row {row} (video {video_id!r})"
        joint = self._rows[row]
        if not isinstance(joint, np.ndarray) or joint.ndim != 2 or joint.shape[1] % 2:
            found = f"shape {list(joint.shape)}" if isinstance(joint, np.ndarray) else type(joint).__name__
            raise UserError(
                f"{where}: {found} found; expected [segments, 2 x dims], rgb first. "
                "Extract the features of this video again."
            )
        dims = joint.shape[1] // 2
        rgb, flow = joint[:, :dims], joint[:, dims:]  # [s, 2 D] -> 2 x [s, D]
        check_features(where, rgb, flow)
        return rgb, flow
