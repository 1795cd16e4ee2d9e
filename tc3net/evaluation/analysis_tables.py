"""Tables of comparisons and error analyses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tc3net.evaluation.comparison import ClassificationComparison, Comparison, Difference
from tc3net.evaluation.error_analysis import GROUPS, TYPES, ErrorAnalysis
from tc3net.evaluation.proposal_recall import AverageRecall
from tc3net.evaluation.sensitivity import SensitivityAnalysis
from tc3net.evaluation.tables import Cell, Table

PROPOSAL_NUMBERS = (1, 5, 10, 50, 100)


def proposals_line(recall: AverageRecall) -> str:
    """One line for the screen."""
    parts = [f"AR@{number} {100 * recall.at(number):.1f}" for number in PROPOSAL_NUMBERS]
    there = f"{recall.available:.1f} detections per video"
    return f"Average recall [%], labels ignored: {', '.join(parts)}; area {100 * recall.area:.1f} ({there})"


def comparison_table(
    comparison: Comparison, names: tuple[str, str], classification: ClassificationComparison | None = None
) -> Table:
    """mAP per tIoU and average, and classification mAP: both, their difference, its interval, and `opposite`.

    Args:
        comparison: the differences.
        names: what to call first and second.
        classification: the same for classification mAP.
    """
    rows: list[tuple[Cell, ...]] = [
        (f"mAP@{tiou:g}", float(a), float(b), *_cells(comparison.map, t))
        for t, (tiou, a, b) in enumerate(zip(comparison.first.tious, comparison.first.map, comparison.second.map))
    ]
    for name, difference in comparison.averages.items():
        first, second = comparison.first.averages[name], comparison.second.averages[name]
        rows.append((f"mAP@{name}", first, second, *_cells(difference, ())))
    if classification is not None:
        values = (classification.first, classification.second)
        rows.append(("classification mAP", *values, *_cells(classification.difference, ())))
    sure = f"{100 * comparison.confidence:g} % intervals, {comparison.resamples} resamples of the videos"
    caption = f"A = {names[0]}, B = {names[1]} [%], protocol {comparison.first.protocol} ({sure})"
    return Table(caption, ("", "A", "B", "A - B", "low", "high", "opposite"), tuple(rows))


def class_comparison_table(comparison: Comparison, tiou: float) -> Table:
    """AP per class at one tIoU, the largest difference in favour of A first; columns as in `comparison_table`."""
    t = int(np.abs(np.array(comparison.first.tious) - tiou).argmin())
    order = np.argsort(-comparison.ap.value[t], kind="stable")
    rows: list[tuple[Cell, ...]] = [
        (
            comparison.first.classes[c],
            float(comparison.first.ap[t, c]),
            float(comparison.second.ap[t, c]),
            *_cells(comparison.ap, (t, c)),
        )
        for c in order
    ]
    caption = f"AP@{comparison.first.tious[t]:g} per class [%]"
    return Table(caption, ("class", "A", "B", "A - B", "low", "high", "opposite"), tuple(rows))


def _cells(difference: Difference, index: int | tuple[int, ...]) -> tuple[float, float, float, float]:
    value, low, high, opposite = (
        float(np.asarray(column)[index])
        for column in (difference.value, difference.low, difference.high, difference.opposite)
    )
    return value, low, high, opposite


def error_table(errors: ErrorAnalysis, tious: Sequence[float] | None = None) -> Table:
    """Share of each type among the counted detections and mAP gained by correcting it, per tIoU (some, or all)."""
    tious = tious or errors.tious
    chosen = [errors.tious.index(tiou) for tiou in tious]
    total = np.maximum(errors.counts.sum(axis=1), 1)
    rows: list[tuple[Cell, ...]] = []
    for kind, name in enumerate(TYPES):
        gains: list[Cell] = [None] * len(tious) if kind == 0 else errors.gain[chosen, kind - 1].tolist()
        rows.append((name, *(errors.counts[:, kind] / total)[chosen].tolist(), *gains))
    rows.append(("missed instances", *[None] * len(tious), *errors.gain_missed[chosen].tolist()))
    heads = [f"{what}@{tiou:g}" for what in ("share", "gain") for tiou in tious]
    caption = f"Detections by type [% of all] and mAP gained without them [points], protocol {errors.protocol}"
    return Table(caption, ("type", *heads), tuple(rows))


def profile_table(errors: ErrorAnalysis, tiou: float) -> Table:
    """Number of detections of each type by rank within the class, at one tIoU."""
    counts = errors.profile[errors.tious.index(tiou)]  # [GROUPS, types]
    rows = tuple((f"{group + 1}G", *counts[group].tolist()) for group in range(GROUPS))
    caption = f"Detections by rank within their class (G = instances) at tIoU {tiou:g}, protocol {errors.protocol}"
    return Table(caption, ("rank", *TYPES), rows)


def sensitivity_table(analysis: SensitivityAnalysis) -> Table:
    """Normalized mAP and miss rate per bucket and tIoU."""
    rows: list[tuple[Cell, ...]] = [
        ("all", "", len(analysis.characteristics[0].bucket), *analysis.map_n.tolist(), *analysis.miss_rate.tolist())
    ]
    for c in analysis.characteristics:
        for b, (name, values) in enumerate(zip(c.buckets, c.ranges)):
            numbers = (*c.map_n[:, b].tolist(), *c.miss_rate[:, b].tolist())
            rows.append((f"{c.unit}: {name}", values, int(c.num_instances[b]), *numbers))
    heads = [f"{what}@{tiou:g}" for what in ("mAP_N", "missed") for tiou in analysis.tious]
    caption = f"Normalized mAP and missed instances [%] by characteristic, protocol {analysis.protocol}"
    return Table(caption, ("instances", "values", "number", *heads), tuple(rows))
