"""Rows of features of a video that has not ended yet, in the order in which its segments become complete.

A thread decodes and prepares clips; whoever asks for rows runs the networks. What waits between them is bounded: where
the networks are slower than the video, the source is read at their pace. Rows are those of the whole file, to the bit
where the batches have the same sizes.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable

import numpy as np

from data_prep.extraction.clips import Clips, Stopwatch, batches, segment_clips
from data_prep.extraction.decoding import Decoded, FrameSource
from data_prep.extraction.extracting import Extraction
from data_prep.extraction.flow import FlowPool

_POLL_S = 0.1
_WAITING = 8  # segments that are ready for the networks


class LiveFeatures:
    """Features of a video under way; a context manager.

    Args:
        extraction: networks and flow.
        open_video: opens the source; called in the thread, where it may wait.
        stop: whether to end before the source does.

    Attributes:
        ended: whether all rows have been given out.
        decoded: what was decoded; None until it has ended, or where it could not be opened.
        timed_out: whether a stream kept silent for too long.
        was_stopped: whether it was ended by `stop`.
        error: why nothing more comes, where that was no end.
        seconds: by what they were spent on.
    """

    def __init__(self, extraction: Extraction, open_video: Callable[[], FrameSource], stop: Callable[[], bool]) -> None:
        self._extraction, self._open, self._stop = extraction, open_video, stop
        self._ready: queue.Queue[Clips | None] = queue.Queue(_WAITING)
        self._given_up = threading.Event()
        self._watch = Stopwatch()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._is_last = False
        self.ended, self.timed_out, self.was_stopped = False, False, False
        self.decoded: Decoded | None = None
        self.error: Exception | None = None

    def __enter__(self) -> LiveFeatures:
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()
        self._thread.join(timeout=5)  # one that waits for a dead stream is left to the end of the process

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds so far, by what they were spent on."""
        return {**self._watch.seconds, "all": time.perf_counter() - self._started}

    def read(self) -> dict[str, np.ndarray]:
        """Rows [n, D] by stream that are ready now, at most a batch of them; an empty dictionary if there are none."""
        group: list[Clips] = []
        while not self._is_last and len(group) < self._extraction.batch_size:
            try:
                part = self._ready.get_nowait()
            except queue.Empty:
                break
            if part is None:
                self._is_last = True
            else:
                group.append(part)
        if not group:
            self.ended = self._is_last
            return {}
        (clips,) = batches(group, len(group))
        with self._watch.running("network"):
            return {stream: one.features(clips[stream]) for stream, one in self._extraction.backbones.items()}

    def _work(self) -> None:
        try:
            self._decode()
        except Exception as error:  # told to whoever reads, after the rows before it
            self.error = error
        self._put(None)

    def _decode(self) -> None:
        streams = list(self._extraction.backbones)
        with contextlib.ExitStack() as stack:
            pool = None
            if "flow" in streams:
                pool = stack.enter_context(FlowPool(self._extraction.flow, self._extraction.flow_workers))
            video = stack.enter_context(self._open())
            self.decoded = video.decoded
            try:
                self._put_all(segment_clips(video, self._extraction.sampling, streams, pool, 0, self._watch))
            finally:
                self.timed_out = video.timed_out

    def _put_all(self, clips: Iterable[Clips]) -> None:
        for part in clips:
            if not self._put(part):
                return
            if self._stop():
                self.was_stopped = True
                return

    def _put(self, part: Clips | None) -> bool:
        while not self._given_up.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(part, timeout=_POLL_S)
                return True
        return False
