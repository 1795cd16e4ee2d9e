"""What the false positives are, and what each kind costs, in the manner of DETAD (Alwassel et al., ECCV 2018).

Every detection that its protocol counts gets one of six types, per threshold α. Let I be the instance, of any class,
that the detection overlaps most in its video (of equal ones, one of the detection's class if there is one), and o
their tIoU, in the protocol's unit. "Reaches" is the protocol's own comparison: >= α, or > α.

- true positive: it found an instance.
- double detection: not found, o reaches α, and I has the detection's class: a better detection took I.
- wrong label: not found, o reaches α, and I has another class.
- localization: not found, 0.1 <= o, o does not reach α, I has the detection's class.
- confusion: not found, 0.1 <= o, o does not reach α, I has another class.
- background: not found and o < 0.1, or no instance in the video.

Detections that the protocol ignores (unmatched in an ambiguous interval, for one) have no type (-1), and so have no
part in anything here. Detections of classes that no instance has were set aside before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from tc3net.evaluation.localization import Matches
from tc3net.evaluation.matching import Intervals, pair_up

TYPES = ("true positive", "double detection", "wrong label", "localization", "confusion", "background")
TRUE_POSITIVE, DOUBLE_DETECTION, WRONG_LABEL, LOCALIZATION, CONFUSION, BACKGROUND = range(6)
IGNORED = -1
BACKGROUND_TIOU = 0.1
GROUPS = 10


@dataclass(frozen=True)
class ErrorAnalysis:
    """The types of n ranked detections at t thresholds, and what they cost.

    Attributes:
        protocol, tious: of the matches.
        types: [t, n] int8, position in `TYPES`, or -1 for ignored ones; n as in the matches.
        counts: [t, 6] int64.
        profile: [t, 10, 6] int64: counts among the best-ranked detections of each class, where G is the number of
            the class's instances. Entry g holds the ranks g·G + 1 to (g + 1)·G (DETAD's "1G" to "10G").
        map: [t] float64, the protocol's mAP.
        gain: [t, 5] float64: mAP gained when all errors of one type are removed from the rankings.
        gain_missed: [t] float64: mAP gained when every instance that was not found gets a true positive, ranked after
            all detections of its class.
    """

    protocol: str
    tious: tuple[float, ...]
    types: np.ndarray
    counts: np.ndarray
    profile: np.ndarray
    map: np.ndarray
    gain: np.ndarray
    gain_missed: np.ndarray


def error_types(matches: Matches) -> np.ndarray:
    """[t, n] int8: the type of every detection, see the head of this module."""
    overlap, same_class = _nearest(matches)
    tious = np.array(matches.tious)[:, np.newaxis]
    reaches = overlap > tious if matches.strict else overlap >= tious  # [t, n]
    types = np.where(
        reaches,
        np.where(same_class, DOUBLE_DETECTION, WRONG_LABEL),
        np.where(overlap >= BACKGROUND_TIOU, np.where(same_class, LOCALIZATION, CONFUSION), BACKGROUND),
    )
    types[:, matches.ignored] = IGNORED
    types[matches.found >= 0] = TRUE_POSITIVE
    return types.astype(np.int8)


def _nearest(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """The instance that overlaps each detection most: tIoU [n] (0 where none matters), and if the class is equal."""
    pairs = pair_up(
        Intervals(matches.video, matches.start, matches.end),
        Intervals(matches.instance_video, matches.instance_start, matches.instance_end),
        spanning=matches.spanning,
        at_least=min(BACKGROUND_TIOU, *matches.tious),
    )
    same = matches.label[pairs.detection] == matches.instance_label[pairs.instance]
    order = np.lexsort((same, pairs.tiou))  # the last assignment to a detection stays
    overlap, same_class = np.zeros(len(matches.video)), np.zeros(len(matches.video), bool)
    overlap[pairs.detection[order]] = pairs.tiou[order]
    same_class[pairs.detection[order]] = same[order]
    return overlap, same_class


def corrected_map(
    matches: Matches, types: np.ndarray, *, removed: Collection[int] = (), find_missed: bool = False
) -> np.ndarray:
    """mAP after errors were corrected.

    Args:
        matches: the decisions.
        types: [t, n] from `error_types`.
        removed: types whose detections are taken out of the rankings.
        find_missed: whether every instance not found gets a true positive, ranked after the detections of its class.

    Returns:
        [t] float64. With all five types removed and missed instances found it is 1.
    """
    gone = np.isin(types, list(removed)) | matches.ignored  # [t, n]
    missed = matches.missed
    ap = np.empty((len(matches.tious), len(matches.scored_labels)))
    for c in matches.by_class():
        hits, ignored = matches.found[:, c.detections] >= 0, gone[:, c.detections]
        if find_missed:
            extra = missed[:, c.instances]
            hits, ignored = np.concatenate([hits, extra], axis=1), np.concatenate([ignored, ~extra], axis=1)
        ap[:, c.column] = matches.average_precision(hits, len(c.instances), ignored)
    return np.asarray(ap.mean(axis=1))


def analyse_errors(matches: Matches) -> ErrorAnalysis:
    """Types of all detections, their profile among the best-ranked, and what removing each type would gain.

    Args:
        matches: from `match_localization`.
    """
    types = error_types(matches)
    before = matches.ap().mean(axis=1)
    removed = [corrected_map(matches, types, removed=[kind]) for kind in range(1, len(TYPES))]
    return ErrorAnalysis(
        protocol=matches.protocol,
        tious=matches.tious,
        types=types,
        counts=np.stack([np.bincount(row[row >= 0], minlength=len(TYPES)) for row in types]),
        profile=_profile(matches, types),
        map=before,
        gain=np.stack(removed, axis=1) - before[:, np.newaxis],
        gain_missed=corrected_map(matches, types, find_missed=True) - before,
    )


def _profile(matches: Matches, types: np.ndarray) -> np.ndarray:
    """[t, GROUPS, 6] counts by rank within the class, in steps of the class's number of instances."""
    profile = np.zeros((len(types), GROUPS, len(TYPES)), np.int64)
    for c in matches.by_class():
        for row, of_class in zip(profile, types[:, c.detections]):
            counted = of_class[of_class != IGNORED][: GROUPS * len(c.instances)]
            np.add.at(row, (np.arange(len(counted)) // len(c.instances), counted), 1)
    return profile
