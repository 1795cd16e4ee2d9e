"""Recognises which annotation and feature layout a path holds, and opens it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_prep.annotations import AnnotationSet
from data_prep.annotations.activitynet_json import read_activitynet_json
from data_prep.annotations.wtalc_folder import read_wtalc_folder
from data_prep.features import FeatureReader
from data_prep.features.object_array import ObjectArrayReader
from data_prep.features.per_video_npy import PerVideoReader
from tc3net.errors import UserError


def read_annotations(path: str | Path) -> tuple[AnnotationSet, str]:
    """Reads annotations in whichever layout they are: a folder is W-TALC's, a file is ActivityNet JSON.

    Args:
        path: the folder or file.

    Returns:
        The annotations and the layout in words.

    Raises:
        UserError: nothing at the path, or the parser refuses it.
    """
    path = Path(path)
    if path.is_dir():
        return read_wtalc_folder(path), "W-TALC folder of NumPy files"
    if path.suffix == ".npy":
        raise UserError(
            f"{path}: a single .npy file found; expected an ActivityNet JSON file or the folder that holds "
            "videoname.npy, segments.npy and the other files. Give --annotations that folder."
        )
    return read_activitynet_json(path), "ActivityNet JSON"


def open_features(path: str | Path, video_ids: Sequence[str]) -> tuple[FeatureReader, str]:
    """Opens features in whichever layout they are: a folder holds one file per video, a file is W-TALC's object array.

    Args:
        path: the folder or file.
        video_ids: the annotated videos in file order; they name the rows of an object array.

    Returns:
        The reader and the layout in words.

    Raises:
        UserError: nothing at the path, or the reader refuses it.
    """
    path = Path(path)
    if path.is_dir():
        return PerVideoReader(path), "one .npy file per video and stream"
    if path.suffix == ".npy":
        return ObjectArrayReader(path, video_ids), "W-TALC object array, one row per annotated video"
    raise UserError(
        f"{path}: neither a folder nor an existing .npy file; expected a folder with rgb/ and flow/, or one "
        "*-I3D-JOINTFeatures.npy. Check --features."
    )
