"""THUMOS14's background test videos, which count as negatives of every class in the published classification mAP.

Of the 1574 test videos 480 show none of the classes; the annotations of public code label each of them with the class
whose search found it. The public code of W-TALC and 3C-Net sets these labels to zero before it ranks videos, by the
field `background_video` of the challenge's `test_set_meta.mat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.storage import path_of


def read_background_videos(path: str | Path) -> frozenset[str]:
    """Names of the videos that `test_set_meta.mat` calls background.

    Args:
        path: the file of the THUMOS14 challenge. A MATLAB file of version 5 holds data alone; reading runs nothing.

    Raises:
        UserError: no such file, SciPy is not installed, or the file holds something else.
    """
    try:
        import scipy.io
    except ImportError:
        raise UserError(
            f"{path}: a MATLAB file, which SciPy reads, and SciPy is not installed here. Install it: pip install scipy"
        ) from None
    if not path_of(path).is_file():
        raise UserError(f"{path}: no such file; expected test_set_meta.mat of the THUMOS14 challenge.")
    try:
        videos = scipy.io.loadmat(str(path), variable_names=["test_videos"], squeeze_me=True)["test_videos"]
        flags = {str(video["video_name"]): str(video["background_video"]) for video in np.atleast_1d(videos)}
    except Exception as error:  # SciPy raises what the damage happens to lead to
        raise UserError(
            f"{path}: expected test_set_meta.mat of the THUMOS14 challenge, whose `test_videos` have video_name and "
            f"background_video; reading it gives {type(error).__name__}: {error}."
        ) from None
    if not flags or set(flags.values()) - {"YES", "NO"}:
        raise UserError(
            f"{path}: background_video is {sorted(set(flags.values()))[:4]}; expected YES or NO for each video."
        )
    return frozenset(name for name, flag in flags.items() if flag == "YES")


def without_background_labels(labels: np.ndarray, video_ids: Sequence[str], background: frozenset[str]) -> np.ndarray:
    """Labels in which background videos have none.

    Args:
        labels: [n, C], 0 or 1.
        video_ids: n names.
        background: of `read_background_videos`.

    Returns:
        [n, C], a copy.
    """
    is_background = np.array([video_id in background for video_id in video_ids], bool)  # [n]
    return np.where(is_background[:, np.newaxis], 0, labels)
