"""Features of video files for a run: extracted where they are not there yet, kept, and read.

`FEATURES/<stream>/<video>.npy` and `FEATURES/<video>.json` are what `data_prep.extract` writes; whoever made them, they
are taken where they are of the same file, networks and sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_prep.extraction.extracting import Extractor
from data_prep.extraction.progress import read_side_file
from data_prep.extraction.videos import list_videos
from data_prep.features.rows import as_float32
from tc3net.common.errors import UserError
from tc3net.common.names import counted
from tc3net.prediction.video_networks import RunNetworks

_NAMED = 5


@dataclass
class VideoFeatures:
    """Features of videos, and what became of them.

    Attributes:
        rows: [s, ΣD] by video, the run's streams in order.
        notes: what a reader of the results must know, one line each.
        failed: error messages by video.
    """

    rows: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)

    def raise_if_failed(self) -> None:
        """Raises UserError with the messages of the videos that failed."""
        if self.failed:
            lines = [f"  {video_id}: {message}" for video_id, message in sorted(self.failed.items())]
            more = [f"  ... and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
            raise UserError(
                "\n".join([f"{counted(len(lines), 'video')} could not be extracted:", *lines[:_NAMED], *more])
            )


def find_videos(places: Sequence[str]) -> dict[str, Path]:
    """Video id -> file, of files and folders in the order in which they are named.

    Raises:
        UserError: nothing there, or two files of one name.
    """
    found: dict[str, Path] = {}
    for place in places:
        if is_address(place):
            raise UserError(
                f"--video={place}: the address of a stream or camera found; expected a file or a folder. Add --follow."
            )
        for video_id, path in list_videos(place, "--video").items():
            other = found.setdefault(video_id, path)
            if other.resolve() != path.resolve():
                raise UserError(f"{other} and {path} found; expected one file for video {video_id!r}. Rename one.")
    return found


def is_address(place: str) -> bool:
    """Whether a place is the address of a stream (`rtsp://...`) or of a camera (`camera:0`) instead of a path."""
    return "://" in place or place.startswith("camera:")


def extract_features(videos: dict[str, Path], networks: RunNetworks, features_dir: Path) -> VideoFeatures:
    """Extracts videos whose features are not there yet, and reads those of all.

    Args:
        videos: id -> file.
        networks: of the run.
        features_dir: folder of the features.

    Raises:
        UserError: the folder holds features of other settings, or cannot be written; or networks do not fit the run.
    """
    if any(read_side_file(features_dir, video_id) is None for video_id in videos):
        networks.check_sizes()
    outcome = Extractor(networks.extraction, features_dir).run(videos)
    for video_id in outcome.skipped:
        print(f"{video_id}: features are in {features_dir}", flush=True)
    found = VideoFeatures(failed=dict(outcome.failed))
    notes = []
    for video_id in videos:
        if video_id in found.failed:
            continue
        note = read_side_file(features_dir, video_id)
        if note is None:
            found.failed[video_id] = "another process extracts it at the moment. Wait for that, and try again."
            continue
        found.rows[video_id] = read_features(features_dir, video_id, networks)
        decoded = note.get("decoded") or {}
        if not decoded.get("is_whole", True):
            notes.append(f"{video_id}: the file is damaged or cut off; this is what could be decoded of it")
        if decoded.get("interlaced"):
            notes.append(f"{video_id}: interlaced frames, taken as they are")
    found.notes = tuple(notes)
    return found


def read_features(features_dir: Path, video_id: str, networks: RunNetworks) -> np.ndarray:
    """Features [s, ΣD] float32 of a finished video, the run's streams in order.

    Raises:
        UserError: a file is damaged or not as wide as the run's stream.
    """
    parts = {}
    for stream, source in networks.sources.items():
        if source is None:
            continue
        path = features_dir / source / f"{video_id}.npy"
        try:
            rows = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: damaged ({error}). Delete {features_dir / video_id}.json and try again."
            ) from None
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != networks.sizes[stream]:
            raise UserError(
                f"{path}: {list(rows.shape)} found; expected [segments, {networks.sizes[stream]}], as the run's stream "
                f"{stream}. Give another --features_dir, or the network of the run's features."
            )
        parts[source] = as_float32(str(path), rows)
    return networks.joined(parts)
