"""The time that extractors leave beside their features: `<id>_fps.npy` and `<id>_timestamps_ms.npy` (video_features).

The rate is that of the decoded video. The step from one row to the next is not written down; it is the difference of
the rows' time stamps, which are whole frames. A row is taken to cover its step, as in the extractor's defaults.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.features.listing import FPS_FILE, STAMPS_FILE
from data_prep.inputs.time_sources import TimeInfo, span_of
from data_prep.pickles.arrays import load_array
from tc3net.common.errors import UserError
from tc3net.common.names import counted
from tc3net.common.storage import local_copy, path_of, walk
from tc3net.data.timebase import TimeBase

_WHOLE = 0.05  # of a frame: how far the step may lie from a whole number of frames


def times_beside_features(
    folder: str | Path, video_ids: Collection[str], default: TimeBase, *, frames_given: bool
) -> dict[str, TimeInfo]:
    """Reads the rate and the step of each video, where they lie in the folder of the features or in one below.

    Args:
        folder: of the features; a file has nothing beside it that would be read.
        video_ids: the annotated videos.
        default: for videos of a single row, whose step nothing tells.
        frames_given: whether the user named the frames of a segment, so that they stay those of `default`.

    Returns:
        Video id -> time, for the videos that have a rate; none where no such files are there.

    Raises:
        UserError: a file holds something else than a positive rate, or time stamps that do not rise by whole frames.
    """
    if not path_of(folder).is_dir():
        return {}
    wanted = frozenset(video_ids)
    rates: dict[str, Path] = {}
    stamps: dict[str, Path] = {}
    for where, _, names in walk(path_of(folder)):
        for name in names:
            for ending, found in ((FPS_FILE, rates), (STAMPS_FILE, stamps)):
                if name.endswith(ending) and name[: -len(ending)] in wanted:
                    found[name[: -len(ending)]] = where / name
    times = {}
    for video_id in video_ids:
        if video_id in rates:
            base = replace(default, fps=_rate(rates[video_id]))
            step = _step_frames(stamps[video_id], base.fps) if video_id in stamps else None
            if step is not None:
                frames = default.frames_per_segment if frames_given else step
                base = replace(base, stride_frames=step, frames_per_segment=frames)
            times[video_id] = TimeInfo(base)
    return times


def with_others(
    beside: Mapping[str, TimeInfo], video_ids: Sequence[str], default: TimeBase
) -> tuple[dict[str, TimeInfo], str]:
    """The time of all videos, where that of some lies beside their features, and in words.

    Args:
        beside: of `times_beside_features`.
        video_ids: all annotated videos.
        default: of the others.
    """
    bases = [info.time_base for info in beside.values()]
    rates, strides = span_of(base.fps for base in bases), span_of(base.stride_frames for base in bases)
    number = len(video_ids) - len(beside)
    others = f" (the flags' for {counted(number, 'other')})" if number else ""
    words = f"{rates} fps and stride {strides} as the files beside the features say{others}"
    return {name: beside.get(name, TimeInfo(default)) for name in video_ids}, words


def _rate(path: Path) -> float:
    with local_copy(path) as local:
        values = load_array(local)
    if values.size != 1 or values.dtype.kind not in "fiu" or not 0 < float(values.ravel()[0]) < float("inf"):
        raise UserError(f"{path}: {values.dtype} {list(values.shape)} found; expected one number, the video's fps.")
    return float(values.ravel()[0])


def _step_frames(path: Path, fps: float) -> int | None:
    """Frames from one row to the next; None for a single row."""
    with local_copy(path) as local:
        stamps_ms = load_array(local)
    if stamps_ms.ndim != 1 or stamps_ms.dtype.kind not in "fiu":
        raise UserError(f"{path}: {stamps_ms.dtype} {list(stamps_ms.shape)} found; expected a time stamp for each row.")
    if len(stamps_ms) < 2:
        return None
    step = float(np.median(np.diff(stamps_ms))) / 1000 * fps
    if not (round(step) >= 1 and abs(step - round(step)) <= _WHOLE * max(1, step / 16)):
        raise UserError(
            f"{path}: rows are {step:.2f} frames apart at {fps:g} fps; expected a whole number. State the time of the "
            "videos with --time_base_file."
        )
    return round(step)
