"""What a protocol decided about every detection, before any average: all numbers are computed from this.

Because a video is matched on its own, a different set of videos (bootstrap) or of detections (error analysis) needs
no second matching, only another sum over the same decisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tc3net.evaluation.average_precision import interpolated_average_precision, mean_precision_at_hits


class OfClass(NamedTuple):
    """One class: its `column` among the scored classes, and where its detections (ranked) and instances stand."""

    column: int
    label: int
    detections: np.ndarray
    instances: np.ndarray


@dataclass(frozen=True)
class Matches:
    """n ranked detections and m instances under one protocol, at t thresholds.

    Attributes:
        protocol: name of the protocol.
        tious: t thresholds.
        classes: class names; labels index it.
        video_ids: names of the ground truth's videos.
        scored_videos: [v] int64, the videos that the protocol scores.
        source: [n] int64, position of each detection in the list that was evaluated; the best-ranked comes first.
        video, label: [n] int64.
        start, end: [n], in the protocol's unit (seconds, or segments of the reference grid).
        score: [n] float64.
        found: [t, n] int64, the instance that the detection found, -1 for none. Detections that found one are true
            positives; the others are false positives unless `ignored`.
        ignored: [n] bool, counts as nothing where it found no instance.
        instance_video, instance_label: [m] int64.
        instance_start, instance_end: [m], in the protocol's unit.
        num_detections: [C] int64, detections of each class in scored videos, before anything is done about ambiguous
            intervals.
        interpolated: which average precision the protocol uses.
        strict: a match needs tIoU > threshold, not >=.
        spanning: how the union is computed, see `tc3net.evaluation.tiou`.
        notes: what was ignored, and other facts without which the numbers mislead; one line each.
    """

    protocol: str
    tious: tuple[float, ...]
    classes: tuple[str, ...]
    video_ids: tuple[str, ...]
    scored_videos: np.ndarray
    source: np.ndarray
    video: np.ndarray
    label: np.ndarray
    start: np.ndarray
    end: np.ndarray
    score: np.ndarray
    found: np.ndarray
    ignored: np.ndarray
    instance_video: np.ndarray
    instance_label: np.ndarray
    instance_start: np.ndarray
    instance_end: np.ndarray
    num_detections: np.ndarray
    interpolated: bool
    strict: bool
    spanning: bool
    notes: tuple[str, ...] = ()

    @property
    def scored_labels(self) -> np.ndarray:
        """[c] int64, the classes that have instances, ascending."""
        return np.unique(self.instance_label)

    @property
    def missed(self) -> np.ndarray:
        """[t, m] bool, the instances that no detection found."""
        missed = np.ones((len(self.tious), len(self.instance_video)), bool)
        for row, found in zip(missed, self.found):
            row[found[found >= 0]] = False
        return missed

    def by_class(self) -> Iterator[OfClass]:
        """The c scored classes in turn."""
        labels = self.scored_labels
        parts = []
        for values in (self.label, self.instance_label):
            order = np.argsort(values, kind="stable")
            first = np.searchsorted(values[order], labels, side="left")
            last = np.searchsorted(values[order], labels, side="right")
            parts.append([order[a:b] for a, b in zip(first, last)])
        for column, (label, detections, instances) in enumerate(zip(labels.tolist(), *parts)):
            yield OfClass(column, label, detections, instances)

    def average_precision(self, hits: np.ndarray, num_instances: int, ignored: np.ndarray) -> np.ndarray:
        """The protocol's average precision of ranked detections of one class.

        Args:
            hits: [..., n] bool, true positives.
            num_instances: positives, at least 1.
            ignored: [n] or [..., n] bool, counts as nothing where it is no hit.

        Returns:
            [...] float64.
        """
        function = interpolated_average_precision if self.interpolated else mean_precision_at_hits
        return function(hits, num_instances, ignored)

    def ap(self) -> np.ndarray:
        """[t, c] float64, 0 to 1: AP of every scored class."""
        columns = [
            self.average_precision(self.found[:, c.detections] >= 0, len(c.instances), self.ignored[c.detections])
            for c in self.by_class()
        ]
        return np.stack(columns, axis=1)
