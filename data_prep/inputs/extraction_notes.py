"""How features were extracted, where the side files of `data_prep.extract` lie beside them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tc3net.common.errors import UserError
from tc3net.common.files import read_json
from tc3net.common.storage import path_of


def common_extraction(features: str | Path, video_ids: Collection[str]) -> dict[str, Any] | None:
    """The settings of `data_prep.extract` that all of these videos have in common.

    Args:
        features: folder of the features.
        video_ids: the videos.

    Returns:
        Networks with their weights, sampling, and optical flow; None where a video has no such side file, or another's
        settings, so that nothing can be said of all of them.
    """
    found: dict[str, Any] | None = None
    for video_id in video_ids:
        path = path_of(features) / f"{video_id}.json"
        if not path.is_file():
            return None
        try:
            note = read_json(path, "side file of extracted features")
        except UserError:
            return None  # features of another tool may have files of that name
        settings = note.get("settings") if isinstance(note, dict) else None
        if not isinstance(settings, dict) or (found is not None and settings != found):
            return None
        found = settings
    return found
