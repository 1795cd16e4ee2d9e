"""What a protocol decides about every detection, and the numbers that follow: decide matches once, average later.

Because a video is matched on its own, a different set of videos (bootstrap) or of detections (error analysis) needs
no second matching, only another sum over the same decisions. What a protocol is, is data (`protocols.py`), and how it
matches is specified in `rules.py`; here inputs are checked, detections that are out of scope are set aside, and the
decisions and numbers are collected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tc3net.data.timebase import TimeBase
from tc3net.evaluation.average_precision import interpolated_average_precision, mean_precision_at_hits
from tc3net.evaluation.checks import check_detections, check_ground_truth, scored_detections
from tc3net.evaluation.protocols import Protocol, find_protocol
from tc3net.intervals.columns import Detections, GroundTruth

_THUMOS14_TIME_BASE = TimeBase()


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
        start, end: [n], in the protocol's unit (seconds, or segments of a grid).
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


@dataclass(frozen=True)
class LocalizationResult:
    """Average precisions of one set of detections under one protocol, as fractions from 0 to 1.

    Attributes:
        protocol: which of `PROTOCOLS` produced the numbers.
        tious: t thresholds.
        classes: names of the c scored classes (those with instances), in the order of the ground truth's classes.
        ap: [t, c] float64, 0 to 1.
        num_instances: [c] int64.
        num_detections: [c] int64, detections in scored videos, before anything is done about ambiguous intervals.
        notes: what was ignored, and other facts without which the numbers mislead; one line each.
    """

    protocol: str
    tious: tuple[float, ...]
    classes: tuple[str, ...]
    ap: np.ndarray
    num_instances: np.ndarray
    num_detections: np.ndarray
    notes: tuple[str, ...]

    @property
    def map(self) -> np.ndarray:
        """[t] float64, 0 to 1: mean over the scored classes, each with the same weight."""
        return np.asarray(self.ap.mean(axis=1))

    @property
    def averages(self) -> dict[str, float]:
        """The protocol's averages of `map` over thresholds, by name ("0.1:0.5"); those whose thresholds are all here.

        Raises:
            UserError: the protocol is not in the table any more.
        """
        rows_of = find_protocol(self.protocol).average_rows(self.tious)
        return {name: float(self.map[rows].mean()) for name, rows in rows_of.items()}


def match_localization(
    protocol: str | Protocol,
    ground_truth: GroundTruth,
    detections: Detections,
    *,
    time_base: TimeBase = _THUMOS14_TIME_BASE,
    tious: Sequence[float] | None = None,
) -> Matches:
    """Decides under one protocol which detection finds which instance.

    Detections in videos that `ground_truth.video_ids` does not list, and of classes of which there is no instance, are
    ignored and counted in the notes (the ActivityNet toolkit stops with a KeyError at such a class).

    Args:
        protocol: one of `PROTOCOLS`, by name or itself; `rules.py` specifies how those of the package match.
        ground_truth: m instances in seconds; its order is the order of annotation.
        detections: n detections in seconds, `label` indexing `ground_truth.classes`; its order decides ties.
        time_base: the segment grid, for protocols that need one; the others do not look at it.
        tious: thresholds, in (0, 1]; by default the protocol's own.

    Raises:
        UserError: unknown protocol; a threshold out of range; no instances at all; in either input a class id out of
            range, a time that is not finite or an end before its start; a score that is not finite.
        ValueError: the protocol's rule returned decisions of another shape.
    """
    protocol = find_protocol(protocol) if tious is None else find_protocol(protocol).at(tious)
    check_ground_truth(ground_truth)
    check_detections(detections, len(ground_truth.classes))
    only_annotated = protocol.annotated_videos_only
    scored, kept, notes = scored_detections(ground_truth, detections, annotated_videos_only=only_annotated)
    decided = protocol.match(ground_truth, scored, np.array(protocol.tious), time_base)
    ranked, instances, order = decided.detections, decided.instances, decided.order
    shape = (len(protocol.tious), len(order))
    if decided.found.shape != shape:
        raise ValueError(
            f"Protocol {protocol.name}: its rule found instances for {decided.found.shape} thresholds and detections; "
            f"expected {shape}. Return one row per threshold and one column per ranked detection."
        )
    return Matches(
        protocol=protocol.name,
        tious=protocol.tious,
        classes=ground_truth.classes,
        video_ids=ground_truth.video_ids,
        scored_videos=np.unique(ground_truth.video) if only_annotated else np.arange(len(ground_truth.video_ids)),
        source=kept[order],
        video=ranked.group,
        label=scored.label[order],
        start=ranked.start,
        end=ranked.end,
        score=scored.score[order],
        found=decided.found,
        ignored=np.zeros(len(order), bool) if decided.ignored is None else decided.ignored,
        instance_video=instances.group,
        instance_label=ground_truth.label,
        instance_start=instances.start,
        instance_end=instances.end,
        num_detections=np.bincount(scored.label, minlength=len(ground_truth.classes)),
        interpolated=protocol.interpolated,
        strict=decided.strict,
        spanning=decided.spanning,
        notes=notes + decided.notes,
    )


def localization_result(matches: Matches) -> LocalizationResult:
    """The average precisions that follow from a protocol's decisions."""
    labels = matches.scored_labels
    return LocalizationResult(
        protocol=matches.protocol,
        tious=matches.tious,
        classes=tuple(matches.classes[label] for label in labels),
        ap=matches.ap(),
        num_instances=np.bincount(matches.instance_label, minlength=len(matches.classes))[labels],
        num_detections=matches.num_detections[labels],
        notes=matches.notes,
    )


def evaluate_localization(
    protocol: str | Protocol,
    ground_truth: GroundTruth,
    detections: Detections,
    *,
    time_base: TimeBase = _THUMOS14_TIME_BASE,
    tious: Sequence[float] | None = None,
) -> LocalizationResult:
    """Scores detections under one protocol: `localization_result(match_localization(...))`, which see."""
    return localization_result(match_localization(protocol, ground_truth, detections, time_base=time_base, tious=tious))
