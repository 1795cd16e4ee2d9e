"""Where the time base of each video comes from: the flags for all, a table, or the video files themselves."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.annotations.tables import Row, read_table
from data_prep.features.kinds.videos import VIDEO_SUFFIXES, is_video
from tc3net.common.errors import UserError
from tc3net.common.files import read_json
from tc3net.common.names import counted, some_names
from tc3net.common.storage import path_of
from tc3net.data.timebase import TimeBase

_COLUMNS = ("fps", "frames_per_segment", "stride_frames", "duration_s")


@dataclass(frozen=True)
class TimeInfo:
    """What is known about the time of one video; `duration_s` is None when the source does not tell it."""

    time_base: TimeBase
    duration_s: float | None = None


def span_of(rates: Iterable[float]) -> str:
    """The numbers in words: "25", or "19.62 to 30"."""
    different = sorted(set(rates))
    if not different:
        return "no videos,"
    return f"{different[0]:g}" + (f" to {different[-1]:g}" if len(different) > 1 else "")


def read_time_table(path: str | Path, video_ids: Collection[str], default: TimeBase) -> dict[str, TimeInfo]:
    """Reads a table with the columns `video` and any of fps, frames_per_segment, stride_frames, duration_s.

    Args:
        path: the table, or a folder with the side files of `data_prep.extract`; more videos than these may be there.
        video_ids: the videos that must be in it.
        default: for empty cells and columns that are not there.

    Raises:
        UserError: the table is damaged, a value is not positive, or a video is listed twice or not at all.
    """
    if path_of(path).is_dir():
        return _read_side_files(path_of(path), video_ids)
    table = read_table(path, ("video",), _COLUMNS)
    found: dict[str, TimeInfo] = {}
    for row in table.rows:
        with table.mistakes.gathered():
            video_id = row.required("video")
            if video_id in found:
                raise UserError(f"{row.where}: video {video_id!r} is listed twice; expected one line. Remove one.")
            found[video_id] = TimeInfo(default)  # known, whatever else is wrong with the line
            found[video_id] = _time_info(row, default)
    table.mistakes.raise_if_any()
    missing = [video_id for video_id in video_ids if video_id not in found]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {counted(len(video_ids), 'annotated video')} not found "
            f"({some_names(missing)}); expected a line for each. Add them; empty cells take the values of the flags."
        )
    return {video_id: found[video_id] for video_id in video_ids}


def _read_side_files(folder: Path, video_ids: Collection[str]) -> dict[str, TimeInfo]:
    """The time base in `<folder>/<video>.json`, which says at what rate the features were computed."""
    missing = [video_id for video_id in video_ids if not (folder / f"{video_id}.json").is_file()]
    if missing:
        raise UserError(
            f"{folder}: no side files of {len(missing)} of {len(video_ids)} annotated videos ({some_names(missing)}); "
            "expected <video>.json for each, as data_prep.extract writes it. Extract them, or give a table instead."
        )
    found = {}
    for video_id in video_ids:
        path = folder / f"{video_id}.json"
        note = read_json(path, "side file of extracted features")
        values: list[Any] = [note.get(name) for name in _COLUMNS] if isinstance(note, dict) else [None]
        if not all(isinstance(value, (int, float)) and value > 0 for value in values):
            raise UserError(
                f"{path}: {dict(zip(_COLUMNS, values))} found; expected positive numbers, as data_prep.extract writes "
                "them. Extract this video again, or give a table instead."
            )
        fps, frames, stride, duration_s = values
        found[video_id] = TimeInfo(TimeBase(fps, frames, stride), duration_s)
    return found


def _time_info(row: Row, default: TimeBase) -> TimeInfo:
    fps, duration_s = row.number("fps"), row.seconds("duration_s")
    between = row.number("stride_frames")
    if between is not None and between != int(between):
        raise UserError(
            f"{row.where}: stride_frames is {row.cells['stride_frames']!r}; expected a whole number. Where the rows of "
            "each video were rescaled to span it, give --rescaled_rows and no stride."
        )
    frames, stride = row.whole("frames_per_segment"), row.whole("stride_frames")
    if duration_s is not None and duration_s <= 0:
        raise UserError(f"{row.where}: duration_s is {duration_s}; expected a positive number. Correct the cell.")
    try:
        time_base = TimeBase(
            default.fps if fps is None else fps,
            default.frames_per_segment if frames is None else frames,
            default.stride_frames if stride is None else stride,
        )
    except UserError as error:
        raise UserError(f"{row.where}: {error}") from None
    return TimeInfo(time_base, duration_s)


def probe_videos(folder: str | Path, video_ids: Collection[str], default: TimeBase) -> dict[str, TimeInfo]:
    """Reads fps and duration from the header of each video's file, `<folder>/<video>.mp4` or another suffix.

    Args:
        folder: the folder.
        video_ids: the videos that must be in it.
        default: frames per segment and stride.

    Raises:
        UserError: OpenCV is not installed, or a video is absent, there twice, or not readable.
    """
    folder = path_of(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected the video files. Check --videos.")
    opencv = _import_opencv()
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if is_video(path):
            files.setdefault(path.stem, []).append(path)
    missing = [video_id for video_id in video_ids if video_id not in files]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {counted(len(video_ids), 'annotated video')} have no file "
            f"({some_names(missing)}); expected <video>{VIDEO_SUFFIXES[0]} or the like for each. Add them, or give a "
            "table instead: --time_base_file."
        )
    twice = [video_id for video_id in video_ids if len(files[video_id]) > 1]
    if twice:
        names = " and ".join(path.name for path in files[twice[0]])
        raise UserError(f"{folder}: {names} found; expected one file for video {twice[0]!r}. Move one away.")
    return {video_id: _probe(files[video_id][0], opencv, default) for video_id in video_ids}


def _probe(path: Path, opencv: Any, default: TimeBase) -> TimeInfo:
    capture = opencv.VideoCapture(str(path))
    try:
        fps, frames = capture.get(opencv.CAP_PROP_FPS), capture.get(opencv.CAP_PROP_FRAME_COUNT)
    finally:
        capture.release()
    if not (fps > 0 and frames > 0):
        raise UserError(
            f"{path}: fps {fps:g} and {frames:g} frames found; expected a video that OpenCV can read. "
            "Fetch the file again, or give a table instead: --time_base_file."
        )
    # A segment of a single frame: all frames together cover the whole video.
    duration_s = TimeBase(fps, frames_per_segment=1, stride_frames=1).duration_s(int(frames))
    return TimeInfo(TimeBase(fps, default.frames_per_segment, default.stride_frames), duration_s)


def _import_opencv() -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError:
        raise UserError(
            "--videos found, but OpenCV is not installed; expected it for reading videos. "
            "Run `pip install opencv-contrib-python-headless` (or `pip install tc3net[video]`)."
        ) from None
