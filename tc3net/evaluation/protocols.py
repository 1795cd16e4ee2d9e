"""The entry point of localization evaluation, and the result it returns.

The same detections score several points apart under different protocols (segment grid or seconds, who chooses whom,
which average precision), so a result always carries the name of the protocol that produced it. What the protocols do
is specified in `rules.py`; here inputs are checked, detections that are out of scope are set aside, and the numbers
are collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tc3net.errors import UserError
from tc3net.evaluation.inputs import check_detections, check_ground_truth, scored_detections
from tc3net.evaluation.rules import score_activitynet, score_reference, score_thumos14
from tc3net.intervals import Detections, GroundTruth
from tc3net.timebase import TimeBase

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
        averages = {}
        for name, wanted in _AVERAGES[self.protocol].items():
            near = np.isclose(np.asarray(self.tious)[:, None], np.asarray(wanted), rtol=0, atol=1e-9)  # [t, wanted]
            if near.any(axis=0).all():
                averages[name] = float(self.map[near.argmax(axis=0)].mean())
        return averages


def evaluate_localization(
    protocol: str,
    ground_truth: GroundTruth,
    detections: Detections,
    *,
    time_base: TimeBase = _THUMOS14_TIME_BASE,
    tious: Sequence[float] | None = None,
) -> LocalizationResult:
    """Scores detections under one protocol.

    Detections in videos that `ground_truth.video_ids` does not list, and of classes of which there is no instance, are
    ignored and counted in the notes (the ActivityNet toolkit stops with a KeyError at such a class).

    Args:
        protocol: "reference", "thumos14" or "activitynet", as `score_reference`, `score_thumos14` and
            `score_activitynet` specify them.
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
    scored, notes = scored_detections(ground_truth, detections, annotated_videos_only=protocol == "reference")

    if protocol == "reference":
        scores = score_reference(ground_truth, scored, np.array(thresholds), time_base)
    elif protocol == "thumos14":
        scores = score_thumos14(ground_truth, scored, np.array(thresholds))
    else:
        scores = score_activitynet(ground_truth, scored, np.array(thresholds))

    class_ids = np.unique(ground_truth.label)
    return LocalizationResult(
        protocol=protocol,
        tious=thresholds,
        classes=tuple(ground_truth.classes[class_id] for class_id in class_ids),
        ap=scores.ap,
        num_instances=np.bincount(ground_truth.label, minlength=len(ground_truth.classes))[class_ids],
        num_detections=np.bincount(scored.label, minlength=len(ground_truth.classes))[class_ids],
        notes=notes + scores.notes,
    )
