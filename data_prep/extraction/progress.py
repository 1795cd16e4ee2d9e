"""The features of one video while they are being made: rows on the disk as they come, and files at the end.

OUT/.partial/<video>/ holds what an unfinished video has so far, under a lock that the kernel releases when its holder
dies; a later attempt with the same settings goes on after its last row. A video is finished when its side file
OUT/<video>.json is there, which is written last.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path, read_json, write_json
from tc3net.common.locks import try_lock

PARTIAL = ".partial"
_PLAN, _LOCK = "plan.json", "lock"
_FLUSH_S = 10.0


def side_file(output_dir: Path, video_id: str) -> Path:
    """OUT/<video>.json"""
    return output_dir / f"{video_id}.json"


def read_side_file(output_dir: Path, video_id: str) -> dict[str, Any] | None:
    """What is written about a finished video; None for others.

    Raises:
        UserError: the file is no side file.
    """
    path = side_file(output_dir, video_id)
    if not path.is_file():
        return None
    found = read_json(path, "side file of extracted features")
    if not isinstance(found, dict) or "settings" not in found:
        raise UserError(f"{path}: not a side file of extracted features. Move it away, or give another --output_dir.")
    return found


class Progress:
    """Rows of one video; made by `opened`.

    Attributes:
        rows: how many there were on the disk at first, of every stream.
        count: how many there are now.
    """

    def __init__(self, output_dir: Path, video_id: str, folder: Path, streams: list[str]) -> None:
        self._output_dir, self._video_id, self._folder, self._streams = output_dir, video_id, folder, streams
        self._waiting: dict[str, list[np.ndarray]] = {stream: [] for stream in streams}
        self._flushed = time.monotonic()
        found = {stream: self._stored(stream) for stream in streams}
        self.rows = self.count = min(count for count, _, _ in found.values())
        for _, width, path in found.values():
            if path is not None:
                os.truncate(path, self.rows * width * 4)

    def _stored(self, stream: str) -> tuple[int, int, Path | None]:
        """Rows, numbers in a row, and the file."""
        for path in self._folder.glob(f"{stream}.*.f32"):
            width = int(path.suffixes[-2][1:])
            return path.stat().st_size // (4 * width), width, path
        return 0, 0, None

    def add(self, features: Mapping[str, np.ndarray]) -> None:
        """Adds rows [n, D] of every stream.

        Raises:
            OSError: they cannot be written.
        """
        for stream, rows in features.items():
            self._waiting[stream].append(rows)
        self.count += len(next(iter(features.values())))
        if time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Puts all rows on the disk.

        Raises:
            OSError: they cannot be written.
        """
        for stream, waiting in self._waiting.items():
            if waiting:
                rows = np.concatenate(waiting)
                with open(self._folder / f"{stream}.{rows.shape[1]}.f32", "ab") as file:
                    file.write(rows.astype("<f4").tobytes())
                    file.flush()
                    os.fsync(file.fileno())
                waiting.clear()
        self._flushed = time.monotonic()

    def finish(self, note: Mapping[str, Any]) -> int:
        """Writes OUT/<stream>/<video>.npy and, last, the side file.

        Args:
            note: the side file's contents.

        Returns:
            Number of segments.

        Raises:
            OSError: they cannot be written.
        """
        self.flush()
        shapes = {}
        for stream in self._streams:
            _, width, path = self._stored(stream)
            assert path is not None
            shapes[stream] = [path.stat().st_size // (4 * width), width]
            header = {"descr": "<f4", "fortran_order": False, "shape": tuple(shapes[stream])}
            target = self._output_dir / stream / f"{self._video_id}.npy"
            with atomic_path(target) as temporary, open(path, "rb") as rows, open(temporary, "wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                shutil.copyfileobj(rows, file)  # in pieces, however long the video is
                file.flush()
                os.fsync(file.fileno())
        write_json(side_file(self._output_dir, self._video_id), {**note, "shapes": shapes})
        return next(iter(shapes.values()))[0]


@contextlib.contextmanager
def opened(output_dir: Path, video_id: str, plan: Mapping[str, Any], streams: list[str]) -> Iterator[Progress | None]:
    """Yields the progress of a video, after what an earlier attempt with the same plan left; None if another process
    has it.

    Args:
        output_dir: OUT.
        video_id: the video.
        plan: everything that determines its rows, as JSON values.
        streams: rgb, flow or both.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = output_dir / PARTIAL / video_id
    folder.mkdir(parents=True, exist_ok=True)
    lock = try_lock(folder / _LOCK)
    if lock is None:
        yield None
        return
    try:
        if _read_plan(folder) != json.loads(json.dumps(plan)):
            for path in folder.glob("*.f32"):
                path.unlink()
            write_json(folder / _PLAN, dict(plan))
        progress = Progress(output_dir, video_id, folder, streams)
        yield progress
        if side_file(output_dir, video_id).is_file():
            _remove(folder)
    finally:
        os.close(lock)


def clear(output_dir: Path, video_id: str) -> None:
    """Removes what a process left that was killed after it had finished a video.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = output_dir / PARTIAL / video_id
    lock = try_lock(folder / _LOCK) if folder.is_dir() else None
    if lock is not None:  # otherwise somebody is about to do it
        try:
            _remove(folder)
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # others are still being made
        folder.parent.rmdir()


def _read_plan(folder: Path) -> Any:
    try:
        return read_json(folder / _PLAN, "plan")
    except UserError:
        return None
