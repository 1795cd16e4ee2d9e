"""The clips of a video, one segment at a time: decoding, sampling, resizing, flow and crops, put together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np

from data_prep.extraction.decoding import FrameSource, Resizer
from data_prep.extraction.flow import FlowPool
from data_prep.extraction.sampling import Sampling, crops, resample, scaled, segments

Item = TypeVar("Item")
# Stream -> [segments, crops, frames, size, size, channels]
Clips = dict[str, "np.ndarray"]


class Stopwatch:
    """Seconds by what they were spent on, added up over threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, what: str, seconds: float) -> None:
        """Adds seconds."""
        with self._lock:
            self.seconds[what] += seconds

    @contextlib.contextmanager
    def running(self, what: str) -> Iterator[None]:
        """Adds what the body takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(what, time.perf_counter() - start)

    def timed(self, what: str, items: Iterable[Item]) -> Iterator[Item]:
        """Adds what it takes to get each item, whatever is done with it."""
        iterator = iter(items)
        while True:
            with self.running(what):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item


def segment_clips(
    video: FrameSource, sampling: Sampling, streams: Iterable[str], pool: FlowPool | None, first: int, watch: Stopwatch
) -> Iterator[Clips]:
    """Yields the clips of each segment: stream -> [crops, frames, size, size, channels], float32.

    Args:
        video: the open file or stream.
        sampling: what the networks want.
        streams: rgb, flow or both.
        pool: for flow.
        first: the segment to begin with; frames before it are decoded and not looked at.
        watch: told what decoding, preprocessing and waiting for flow take.

    Raises:
        UserError: see `VideoFile.frames`, `FlowPool.with_flows`.
    """
    streams = list(streams)
    resize = Resizer(sampling.short_side, video.pixel_aspect)
    sampled = resample(watch.timed("decoding", video.frames()), sampling.fps)
    images = (_resized(frame, resize, watch) for frame in islice(sampled, first * sampling.stride_frames, None))
    if pool is None or "flow" not in streams:
        for clip in segments((_cropped(image, sampling, watch) for image in images), sampling):
            with watch.running("preprocessing"):
                rgb = scaled(_time_second(clip), sampling)
            yield {"rgb": rgb}
        return
    pairs = pool.with_flows(images, lambda: watch.running("waiting for flow"))
    both = (
        np.concatenate([scaled(_cropped(image, sampling, watch), sampling), crops(flow, sampling, True)], axis=-1)
        for image, flow in pairs
    )
    for clip in segments(both, sampling):
        joint = _time_second(clip)
        parts = {"rgb": joint[..., :3], "flow": joint[..., 3:]}
        yield {stream: np.ascontiguousarray(parts[stream]) for stream in streams}


def _resized(frame: object, resize: Resizer, watch: Stopwatch) -> np.ndarray:
    with watch.running("preprocessing"):
        return resize(frame)


def _cropped(image: np.ndarray, sampling: Sampling, watch: Stopwatch) -> np.ndarray:
    with watch.running("preprocessing"):
        return crops(image, sampling)


def _time_second(clip: np.ndarray) -> np.ndarray:
    """[frames, crops, ...] -> [crops, frames, ...]"""
    return np.ascontiguousarray(clip.swapaxes(0, 1))


def batches(clips: Iterable[Clips], size: int) -> Iterator[Clips]:
    """Groups the clips of so many segments; the last group may be smaller."""
    iterator = iter(clips)
    while group := list(islice(iterator, size)):
        yield {stream: np.stack([one[stream] for one in group]) for stream in group[0]}
