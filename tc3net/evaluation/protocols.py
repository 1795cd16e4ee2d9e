"""The entry points of localization evaluation, and the result they return.

The same detections score several points apart under different protocols (segment grid or seconds, who chooses whom,
which average precision), so a result always carries the name of the protocol that produced it. What the protocols do
is specified in `rules.py`; here inputs are checked, detections that are out of scope are set aside, and the numbers
are collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.evaluation.checks import check_detections, check_ground_truth, scored_detections
from tc3net.evaluation.matches import Matches
from tc3net.evaluation.rules import match_activitynet, match_reference, match_thumos14
from tc3net.intervals.columns import Detections, GroundTruth

PROTOCOLS = ("reference", "thumos14", "activitynet")

_THUMOS14_TIME_BASE = TimeBase()
# Rounded, because 3 * 0.1 is not 0.3 and tIoUs of whole segments lie exactly on such thresholds.
_THUMOS_TIOUS = tuple(np.round(np.arange(1, 8) * 0.1, 1).tolist())
# Not rounded: the toolkit's 0.9 is 0.8999999999999999.
_ACTIVITYNET_TIOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
_THUMOS_AVERAGES = {"0.1:0.5": _THUMOS_TIOUS[:5], "0.3:0.7": _THUMOS_TIOUS[2:], "0.1:0.7": _THUMOS_TIOUS}
_AVERAGES = {
    "reference": _THUMOS_AVERAGES,
    "thumos14": _THUMOS_AVERAGES,
    "activitynet": {"0.5:0.95": _ACTIVITYNET_TIOUS},
}


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

        THUMOS14's (also of "reference"): 0.1:0.5, 0.3:0.7, 0.1:0.7 in steps of 0.1. ActivityNet's: 0.5:0.95 in
        steps of 0.05.
        """
        return {name: float(self.map[rows].mean()) for name, rows in average_rows(self.protocol, self.tious).items()}


def average_rows(protocol: str, tious: Sequence[float]) -> dict[str, np.ndarray]:
    """Positions in `tious` of the thresholds of each average that the protocol has, where all of them are there."""
    rows = {}
    for name, wanted in _AVERAGES[protocol].items():
        near = np.isclose(np.asarray(tious)[:, None], np.asarray(wanted), rtol=0, atol=1e-9)  # [t, wanted]
        if near.any(axis=0).all():
            rows[name] = near.argmax(axis=0)
    return rows


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
    protocol: str,
    ground_truth: GroundTruth,
    detections: Detections,
    *,
    time_base: TimeBase = _THUMOS14_TIME_BASE,
    tious: Sequence[float] | None = None,
) -> LocalizationResult:
    """Scores detections under one protocol: `localization_result(match_localization(...))`, which see."""
    return localization_result(match_localization(protocol, ground_truth, detections, time_base=time_base, tious=tious))


def match_localization(
    protocol: str,
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
        protocol: "reference", "thumos14" or "activitynet", as `rules.match_reference`, `rules.match_thumos14` and
            `rules.match_activitynet` specify them.
        ground_truth: m instances in seconds; its order is the order of annotation.
        detections: n detections in seconds, `label` indexing `ground_truth.classes`; its order decides ties.
        time_base: the segment grid of "reference"; the others do not look at it.
        tious: thresholds, in (0, 1]; by default the protocol's own.

    Raises:
        UserError: unknown protocol; a threshold out of range; no instances at all; in either input a class id out of
            range, a time that is not finite or an end before its start; a score that is not finite.
    """
    if protocol not in PROTOCOLS:
        raise UserError(
            f"Protocol {protocol!r} is unknown; expected one of {', '.join(PROTOCOLS)}. Choose one of them."
        )
    default = _ACTIVITYNET_TIOUS if protocol == "activitynet" else _THUMOS_TIOUS
    thresholds = default if tious is None else tuple(float(threshold) for threshold in tious)
    if not thresholds or not all(0 < threshold <= 1 for threshold in thresholds):
        raise UserError(f"tIoU thresholds are {list(thresholds)}; expected at least one, all in (0, 1]. Correct them.")
    check_ground_truth(ground_truth)
    check_detections(detections, len(ground_truth.classes))
    scored, kept, notes = scored_detections(ground_truth, detections, annotated_videos_only=protocol == "reference")

    if protocol == "reference":
        matches = match_reference(ground_truth, scored, np.array(thresholds), time_base)
    elif protocol == "thumos14":
        matches = match_thumos14(ground_truth, scored, np.array(thresholds))
    else:
        matches = match_activitynet(ground_truth, scored, np.array(thresholds))
    return replace(matches, source=kept[matches.source], notes=notes + matches.notes)
