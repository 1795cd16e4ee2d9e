"""Detections in a feature file that is still being written, as soon as they are complete.

Every `--follow_hop` segments the last `--follow_window` segments are scored, as if they were a video. A detection is
complete when it ended at least one hop before the newest segment; it is then given out, once. What is decided depends
on the features alone, not on when or in what pieces they arrive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase, boundaries_s
from tc3net.detection import DetectionConfig, detect_in, evidence_of
from tc3net.inference.scorer import Scorer


@dataclass(frozen=True)
class FollowConfig:
    """The sliding window of `--follow`."""

    follow_window: int = option(512, "Segments that are scored together with --follow.")
    follow_hop: int = option(16, "Segments from one scoring to the next, and that a detection must lie back.")
    follow_timeout_s: float = option(60.0, "--follow ends when the files did not grow for so long; 0: never.")
    follow_poll_s: float = option(0.5, "How often --follow looks whether the files have grown.")

    def __post_init__(self) -> None:
        if self.follow_hop < 1 or self.follow_window < 4 * self.follow_hop:
            raise UserError(
                f"--follow_window={self.follow_window}, --follow_hop={self.follow_hop}; expected a hop of 1 or more, "
                "and a window of at least 4 hops."
            )
        if not (self.follow_timeout_s >= 0 and self.follow_poll_s > 0):
            raise UserError(
                f"--follow_timeout_s={self.follow_timeout_s}, --follow_poll_s={self.follow_poll_s}; expected no "
                "negative timeout, and a positive interval."
            )


class Rows(Protocol):
    """New rows of a stream."""

    def read(self) -> np.ndarray:
        """What has come since the last call, [n, ΣD] float32.

        Raises:
            UserError: it cannot be used.
        """


@dataclass(frozen=True)
class Found:
    """One detection of a stream: class name, seconds from the beginning of the stream, score."""

    label: str
    start_s: float
    end_s: float
    score: float


@dataclass
class _Progress:
    """What was given out of a class, and where its runs began that are not complete: segments of the stream."""

    done_until: float = 0.0
    open_starts: list[float] = field(default_factory=list)


class StreamDetector:
    """Detections of one endless video.

    Args:
        scorer: the model.
        classes: class names.
        base: time base of the rows.
        detection: detection choices.
        follow: the window.
    """

    def __init__(
        self,
        scorer: Scorer,
        classes: tuple[str, ...],
        base: TimeBase,
        detection: DetectionConfig,
        follow: FollowConfig = FollowConfig(),
    ) -> None:
        self._scorer, self._classes, self._base = scorer, classes, base
        self._detection, self._follow = detection, follow
        self._rows: np.ndarray | None = None  # the newest ones, at most a window and what waits for the next hop
        self.segments = 0  # received in all
        self._scored = 0  # segments at the last scoring
        self._progress = [_Progress() for _ in classes]

    def push(self, rows: np.ndarray) -> Iterator[Found]:
        """Takes new rows [n, ΣD] and yields what they complete."""
        kept = rows if self._rows is None else np.concatenate([self._rows, rows])
        first = self.segments + len(rows) - len(kept)  # segment of kept[0]
        self.segments += len(rows)
        hop, window = self._follow.follow_hop, self._follow.follow_window
        while self._scored + hop <= self.segments:
            self._scored += hop
            # Before half a window, what is high and what is low in this stream is not known.
            if self._scored >= window // 2:
                begin = max(self._scored - window, 0)
                yield from self._score(kept[begin - first : self._scored - first], begin, self._scored - hop)
        self._rows = kept[max(self._scored - window - first, 0) :]

    def finish(self) -> Iterator[Found]:
        """The stream has ended: yields what is left of the last window."""
        if self._rows is not None and self.segments:
            begin = max(self.segments - self._follow.follow_window, 0)
            first = self.segments - len(self._rows)
            yield from self._score(self._rows[begin - first :], begin, self.segments)

    def _score(self, rows: np.ndarray, begin: int, complete_until: int) -> Iterator[Found]:
        """Scores the window that begins at segment `begin`, and yields its new detections that end early enough."""
        parts = self._scorer.with_streams(tf.RaggedTensor.from_row_lengths(rows, [len(rows)]))
        outputs = {
            name: part if name == "pooled" else tf.RaggedTensor.from_row_lengths(part, [len(rows)])
            for name, part in parts.items()
        }
        scorer = self._scorer
        evidence = evidence_of(outputs, scorer.streams, self._detection, scorer.top_k_divisor)
        columns = detect_in(evidence, self._detection)
        label, score = columns["label"].numpy(), columns["score"].numpy()
        start, end = (begin + columns[name].numpy() / self._detection.upsampling for name in ("start_cell", "end_cell"))
        for c, progress in enumerate(self._progress):
            mine = [i for i in np.flatnonzero(label == c) if start[i] >= progress.done_until or start[i] == begin]
            if not mine:
                continue  # a window that is high throughout shows no run; what was open stays open
            known, progress.open_starts = progress.open_starts, []
            given_until = progress.done_until
            for i in mine:
                # A run at the window's left edge began earlier: where, an earlier window saw.
                cut = start[i] == begin > 0
                began = min((s for s in known if s < start[i]), default=start[i]) if cut else start[i]
                if began < progress.done_until:
                    continue
                if end[i] > complete_until:
                    progress.open_starts.append(began)
                    continue
                given_until = max(given_until, end[i])
                start_s, end_s = boundaries_s(np.array([began, end[i]]), **vars(self._base)).tolist()
                yield Found(self._classes[c], start_s, end_s, float(score[i]))
            progress.done_until = given_until


def follow_files(
    detector: StreamDetector, files: Rows, follow: FollowConfig, ended: Callable[[], bool] = lambda: False
) -> Iterator[Found]:
    """Feeds a detector from growing files, and finishes when they have not grown for `follow_timeout_s`.

    Args:
        detector: of the stream.
        files: where its rows come from.
        follow: how often to look, and when to end.
        ended: whether to finish before that.
    """
    grown_at = time.monotonic()
    while True:
        rows = files.read()
        idle_s = time.monotonic() - grown_at
        if len(rows):
            grown_at = time.monotonic()
            yield from detector.push(rows)
        elif ended() or 0 < follow.follow_timeout_s <= idle_s:
            yield from detector.finish()
            return
        else:
            time.sleep(follow.follow_poll_s)
