"""The JSON formats of the ActivityNet challenge, which most tools of the field read: detections, annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tc3net
from tc3net.errors import UserError
from tc3net.files import read_json, write_json
from tc3net.intervals import Detections


def detections_dict(detections: Detections, classes: tuple[str, ...]) -> dict[str, Any]:
    """`{"version", "results": {video: [{"label", "score", "segment": [start s, end s]}]}, "external_data"}`.

    Every video of `detections.video_ids` is listed, also without detections; the best score comes first.

    Args:
        detections: seconds.
        classes: class names by id.
    """
    results: dict[str, list[dict[str, Any]]] = {video_id: [] for video_id in detections.video_ids}
    for i in (-detections.score).argsort(kind="stable"):
        results[detections.video_ids[detections.video[i]]].append(
            {
                "label": classes[detections.label[i]],
                "score": float(detections.score[i]),
                "segment": [float(detections.start_s[i]), float(detections.end_s[i])],
            }
        )
    return {
        "version": f"tc3net {tc3net.__version__}",
        "results": results,
        "external_data": {"used": True, "details": "I3D features; times in seconds"},
    }


def save_detections(path: str | Path, detections: Detections, classes: tuple[str, ...]) -> None:
    """Writes `detections_dict` as JSON, atomically."""
    write_json(path, detections_dict(detections, classes))


def load_instances(path: str | Path) -> dict[str, list[tuple[str, float, float]]]:
    """Annotated instances by video: (class name, start s, end s), from `{"database": {video: {"annotations"}}}`.

    Raises:
        UserError: no such file, or another format.
    """
    raw = read_json(path, "annotation file in the ActivityNet format")
    try:
        return {
            video: [(a["label"], float(a["segment"][0]), float(a["segment"][1])) for a in entry.get("annotations", [])]
            for video, entry in raw["database"].items()
        }
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: expected the ActivityNet format "
            f'{{"database": {{video: {{"annotations": [{{"label", "segment"}}]}}}}}}, found something else ({error!r}).'
        ) from None
