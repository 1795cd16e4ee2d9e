"""`pseudo_segments.json`: what one round learns from, with its checksum and what it was made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path, read_json
from tc3net.refinement.choice import ACTION, OTHER, UNSURE, PseudoSegments

_FORMAT = 1
_STATES = {OTHER: "other", UNSURE: "unsure", ACTION: "action"}
_COLUMNS = ["class", "start", "end", "share", "state"]


def checksum_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of a file's content without its own entry."""
    rest = {name: value for name, value in content.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def save_segments(path: Path, found: PseudoSegments, classes: Sequence[str], source: Mapping[str, Any]) -> None:
    """Writes pseudo segments, atomically.

    Args:
        path: the file.
        found: finds in all training videos.
        classes: their names.
        source: what they were made of; JSON values.
    """
    videos: dict[str, Any] = {
        video_id: {"segments": int(segments), "finds": []}
        for video_id, segments in zip(found.video_ids, found.num_segments)
    }
    for video, label, start, end, share, state in zip(
        found.video, found.label, found.start, found.end, found.share, found.state
    ):
        row = [classes[label], float(start), float(end), float(share), _STATES[int(state)]]
        videos[found.video_ids[video]]["finds"].append(row)
    content = {
        "format": _FORMAT,
        "source": dict(source),
        "classes": list(classes),
        "columns": _COLUMNS,
        "videos": videos,
    }
    lines = ",\n".join(f"{json.dumps(video_id)}: {json.dumps(of)}" for video_id, of in videos.items())
    head = json.dumps({**content, "videos": None, "sha256": checksum_of(content)}, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(head.replace('"videos": null', '"videos": {\n' + lines + "\n}"), encoding="utf-8")


def load_segments(path: Path, classes: Sequence[str]) -> tuple[PseudoSegments, dict[str, Any], str]:
    """Reads what `save_segments` wrote.

    Args:
        path: the file.
        classes: names of the model's classes.

    Returns:
        The finds, their source, and the file's checksum.

    Raises:
        UserError: no such file, or one that is damaged, of another version, or of other classes.
    """
    content = read_json(path, "pseudo segments of a second stage")
    cure = f"Remove {path}: the same command makes it again"
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise UserError(f"{path}: expected pseudo segments of format {_FORMAT}, found something else. {cure}.")
    checksum = checksum_of(content)
    if checksum != content.get("sha256"):
        raise UserError(
            f"{path}: the content has the checksum {checksum[:12]}..., the file says "
            f"{str(content.get('sha256'))[:12]}...: damaged or edited. {cure}."
        )
    if content["classes"] != list(classes):
        raise UserError(f"{path}: pseudo segments of other classes than the data set's. {cure}.")
    label_of = {name: label for label, name in enumerate(classes)}
    state_of = {name: state for state, name in _STATES.items()}
    rows = [(video, *row) for video, of in enumerate(content["videos"].values()) for row in of["finds"]]
    found = PseudoSegments(
        video_ids=tuple(content["videos"]),
        num_segments=np.array([of["segments"] for of in content["videos"].values()], np.int64),
        num_classes=len(classes),
        video=np.array([row[0] for row in rows], np.int64),
        label=np.array([label_of[row[1]] for row in rows], np.int64),
        start=np.array([row[2] for row in rows], np.float64),
        end=np.array([row[3] for row in rows], np.float64),
        share=np.array([row[4] for row in rows], np.float64),
        state=np.array([state_of[row[5]] for row in rows], np.int64),
    )
    return found, content["source"], checksum
