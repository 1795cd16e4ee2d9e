"""Results as text for a terminal (percent) and as plain Python values for JSON (fractions from 0 to 1).

Both always name the protocol: a localization mAP without it cannot be compared with anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tc3net.evaluation.classification import ClassificationResult
from tc3net.evaluation.protocols import LocalizationResult


def format_table(results: Sequence[LocalizationResult], classification: ClassificationResult | None = None) -> str:
    """Monospace text: a row of mAPs per result, with a column per tIoU and per average.

    Results whose columns agree share one table, in the order given. Numbers are percent with one decimal. Below stand
    the notes of each result, and the classification mAP.

    Args:
        results: any number, also several of one protocol.
        classification: printed if given.

    Returns:
        Lines without a final newline; empty if there is nothing to print.
    """
    tables: dict[tuple[str, ...], list[LocalizationResult]] = {}
    for result in results:
        tables.setdefault(_columns(result), []).append(result)
    blocks = [_table(columns, rows) for columns, rows in tables.items()]
    notes = [f"{result.protocol}: {note}" for result in results for note in result.notes]
    if notes:
        blocks.append("\n".join(notes))
    if classification is not None:
        num_classes = np.count_nonzero(~np.isnan(classification.ap))
        blocks.append(f"Classification mAP [%]: {100 * classification.map:.1f} (classes with videos: {num_classes})")
    return "\n\n".join(blocks)


def as_dict(result: LocalizationResult) -> dict[str, Any]:
    """The result as plain Python values, ready for JSON; every AP is a fraction from 0 to 1.

    Args:
        result: t thresholds, c classes.

    Returns:
        "protocol", "tious" (t floats), "map_fraction" (t floats), "average_map_fraction" (float by name), "classes"
        (by name: "ap_fraction", t floats, "num_instances" and "num_detections") and "notes".
    """
    return {
        "protocol": result.protocol,
        "tious": list(result.tious),
        "map_fraction": result.map.tolist(),
        "average_map_fraction": result.averages,
        "classes": {
            name: {
                "ap_fraction": result.ap[:, c].tolist(),
                "num_instances": int(result.num_instances[c]),
                "num_detections": int(result.num_detections[c]),
            }
            for c, name in enumerate(result.classes)
        },
        "notes": list(result.notes),
    }


def _columns(result: LocalizationResult) -> tuple[str, ...]:
    return (*(f"{threshold:g}" for threshold in result.tious), *result.averages)


def _table(columns: tuple[str, ...], rows: Sequence[LocalizationResult]) -> str:
    """Title, header and one row per result, columns aligned to the right."""
    name_width = max(len("protocol"), *(len(row.protocol) for row in rows))
    widths = [max(len(column), len("100.0")) for column in columns]

    def line(name: str, cells: Iterable[str]) -> str:
        return "  ".join([name.ljust(name_width), *(cell.rjust(width) for cell, width in zip(cells, widths))])

    body = [line(row.protocol, (f"{100 * value:.1f}" for value in (*row.map, *row.averages.values()))) for row in rows]
    return "\n".join(["Localization mAP [%] at tIoU", line("protocol", columns), *body])
