"""Features as one file per video and stream, `<folder>/rgb/<video>.npy` and `<folder>/flow/<video>.npy`: [s, D]."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_prep.features import check_features
from data_prep.safe_pickle import load_array
from tc3net.errors import UserError

STREAMS = ("rgb", "flow")


class PerVideoReader:
    """Reads one video's two files when asked for it; memory holds one video.

    Args:
        folder: the folder that contains `rgb` and `flow`.

    Raises:
        UserError: `rgb` or `flow` is absent, or both are without `.npy` files.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        missing = [stream for stream in STREAMS if not (self._folder / stream).is_dir()]
        if missing:
            raise UserError(
                f"{folder}: no folder {' and no folder '.join(missing)} found; expected {folder}/rgb/<video>.npy and "
                f"{folder}/flow/<video>.npy. Check --features."
            )
        self._ids = sorted({file.stem for stream in STREAMS for file in (self._folder / stream).glob("*.npy")})
        if not self._ids:
            raise UserError(f"{folder}: no .npy files in rgb and flow; expected one per video. Check --features.")

    def video_ids(self) -> list[str]:
        """Names of the videos that have a file in either stream, sorted."""
        return self._ids

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """See `FeatureReader.read`."""
        rgb, flow = (load_array(self._folder / stream / f"{video_id}.npy") for stream in STREAMS)
        check_features(f"{self._folder}/{{rgb,flow}}/{video_id}.npy", rgb, flow)
        return rgb, flow
