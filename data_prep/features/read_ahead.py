"""Reads the features of the next video while the current one is worked on; two videos are in memory then.

Reading and checking arrays, hashing and writing files all leave the interpreter to other threads, so a second thread
uses a second core where more processes would cost more than they bring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np

from data_prep.features import FeatureReader


class ReadAhead:
    """A `FeatureReader` for one pass over known videos; a context manager.

    Only its own thread reads, so the reader underneath need not be safe to share.

    Args:
        reader: reads the features.
        video_ids: in the order in which they will be asked for.
    """

    def __init__(self, reader: FeatureReader, video_ids: Sequence[str]) -> None:
        self._reader, self.streams = reader, reader.streams
        self._following: Iterator[str] = iter(video_ids)
        self._thread = ThreadPoolExecutor(1)
        self._next: tuple[str, Future[tuple[np.ndarray, ...]]] | None = None

    def __enter__(self) -> ReadAhead:
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _begin(self) -> None:
        video_id = next(self._following, None)
        self._next = None if video_id is None else (video_id, self._thread.submit(self._reader.read, video_id))

    def video_ids(self) -> list[str]:
        """See `FeatureReader.video_ids`."""
        return self._reader.video_ids()

    def num_segments(self, video_id: str) -> int:
        """See `FeatureReader.num_segments`."""
        return self._thread.submit(self._reader.num_segments, video_id).result()

    def read(self, video_id: str) -> tuple[np.ndarray, ...]:
        """See `FeatureReader.read`; its errors are raised here, when their video is asked for.

        Raises:
            ValueError: another video than announced.
        """
        if self._next is None or self._next[0] != video_id:
            raise ValueError(f"video {video_id!r} was not announced as the next one")
        future = self._next[1]
        try:
            return future.result()
        finally:
            self._begin()
