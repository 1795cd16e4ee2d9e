"""The steps since the last log line: their values, which stay on the device until they are needed, and their time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import tensorflow as tf

from tc3net.losses import LOSS, Objective
from tc3net.training.observers import IntervalFacts

StepValues = dict[str, float]
SEGMENTS = "segments"  # what a step reports beside losses: on how many segments it trained


class LogInterval:
    """Collects what steps report.

    Args:
        values: of the interval's steps before an interruption, as `state` gave them.
    """

    def __init__(self, values: Sequence[StepValues] = ()) -> None:
        self._restored = len(values)
        self._values = list(values)
        self._on_device: list[dict[str, tf.Tensor]] = []
        self._wait_s = self._paused_s = 0.0
        self._started = time.monotonic()

    def add(self, values: dict[str, tf.Tensor], wait_s: float) -> None:
        """Adds a step: what it reports, without waiting for it, and the seconds it waited for its batch."""
        self._on_device.append(values)
        self._wait_s += wait_s

    def settle(self) -> list[StepValues]:
        """Values of all steps, fetched from the device: waits until the last step is done."""
        if self._on_device:
            columns = [tf.stack([step[name] for step in self._on_device]).numpy() for name in self._on_device[0]]
            self._values += [
                {name: float(value) for name, value in zip(self._on_device[0], row)} for row in zip(*columns)
            ]
            self._on_device = []
        return self._values

    def first_not_finite(self) -> tuple[int, list[str]] | None:
        """The first step with a NaN or Inf, as its distance from the newest (0), and the names of those values."""
        values = self.settle()
        for position, step in enumerate(values):
            names = [name for name, value in step.items() if not math.isfinite(value)]
            if names:
                return len(values) - 1 - position, names
        return None

    def state(self) -> list[StepValues]:
        """What a checkpoint needs so that a resumed run logs the same means."""
        return list(self.settle())

    def facts(self, step: int, iterations: int, objective: Objective) -> IntervalFacts:
        """Means and speed.

        Args:
            step, iterations: steps done and to do.
            objective: the loss in training; its terms' means are taken over the steps that had something for them.
        """
        values = self.settle()
        means = {}
        seen_as, terms = objective.seen_as, (LOSS, *objective.names)
        for name in values[-1]:
            if name in (SEGMENTS, *seen_as.values()):
                continue
            counted = (v for v in values if v[seen_as[name]] > 0) if name in seen_as else values
            kept = [v[name] for v in counted if name in v]
            if kept:
                means[name] = sum(kept) / len(kept)
        here = values[self._restored :]
        seconds = time.monotonic() - self._started - self._paused_s
        segments = round(sum(v[SEGMENTS] for v in here))
        losses = {name: value for name, value in means.items() if name in terms}
        others = {name: value for name, value in means.items() if name not in terms}
        return IntervalFacts(step, iterations, losses, others, len(here), seconds, self._wait_s, segments)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, no time counts."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._paused_s += time.monotonic() - began
