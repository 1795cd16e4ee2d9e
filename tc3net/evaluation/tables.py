"""Results as tables: plain text for the screen, CSV, Markdown and LaTeX for papers, plain Python values for JSON.

Localization numbers appear only beside the name of the protocol that produced them. Percent with one decimal for
people, fractions from 0 to 1 with all digits for programs (CSV, JSON).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from tc3net.evaluation.classification import ClassificationResult
from tc3net.evaluation.localization import LocalizationResult
from tc3net.evaluation.protocols import find_protocol
from tc3net.evaluation.resampling import Bootstrap

Cell = Union[str, int, float, None]


@dataclass(frozen=True)
class Table:
    """A caption, column heads, and rows of cells: text, whole numbers, fractions (shown in percent), None for none."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def shown(self) -> list[list[str]]:
        """The rows as people read them: percent with one decimal, "-" for none."""
        return [[_shown(cell) for cell in row] for row in self.rows]

    def text(self) -> str:
        """Monospace: the first column to the left, the others to the right."""
        rows = [list(self.columns), *self.shown()]
        widths = [max(len("100.0") if i else 0, *(len(row[i]) for row in rows)) for i in range(len(self.columns))]
        lines = [
            "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths)))
            for row in rows
        ]
        return "\n".join([self.caption, *lines])

    def csv(self) -> str:
        """Column heads and rows; fractions with all digits."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(["" if cell is None or cell != cell else cell for cell in row] for row in self.rows)
        return file.getvalue()

    def markdown(self) -> str:
        """A pipe table under its caption."""
        lines = [self.columns, tuple(["---", *["---:"] * (len(self.columns) - 1)]), *self.shown()]
        body = "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
        return f"{self.caption}\n\n{body}\n"

    def latex(self) -> str:
        """A plain tabular (no package needed), its caption as a comment."""
        lines = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in [list(self.columns), *self.shown()]]
        layout = "l" + "r" * (len(self.columns) - 1)
        return (
            "\n".join(
                [
                    f"% {self.caption}",
                    rf"\begin{{tabular}}{{{layout}}}",
                    lines[0],
                    r"\hline",
                    *lines[1:],
                    r"\end{tabular}",
                ]
            )
            + "\n"
        )


def _shown(cell: Cell) -> str:
    if cell is None or cell != cell:
        return "-"
    return f"{100 * cell:.1f}" if isinstance(cell, float) else str(cell)


_LATEX = {ord(c): "\\" + c for c in "&%$#_{}"}
_LATEX.update({ord("\\"): r"\textbackslash{}", ord("~"): r"\textasciitilde{}", ord("^"): r"\textasciicircum{}"})


def _latex(text: str) -> str:
    return text.translate(_LATEX)


def summary_tables(results: Sequence[LocalizationResult], intervals: Sequence[Bootstrap] = ()) -> list[Table]:
    """A row of mAPs per result, with a column per tIoU and per average; results whose columns agree share a table.

    Args:
        results: any number, also several of one protocol.
        intervals: the results' bootstraps in the same order, or none; then two rows more per result, low and high.
    """
    tables: dict[tuple[str, ...], list[tuple[Cell, ...]]] = {}
    for number, result in enumerate(results):
        rows = tables.setdefault(_columns(result), [])
        rows.append((result.protocol, *result.map.tolist(), *result.averages.values()))
        if intervals:
            found = intervals[number]
            for end, name in enumerate(("low", "high")):
                ends = [interval[end] for interval in found.average_intervals().values()]
                label = f"  {100 * found.confidence:g} % {name}"
                rows.append((label, *found.map_interval()[end].tolist(), *ends))
    caption = "Localization mAP [%] at tIoU"
    return [Table(caption, ("protocol", *columns), tuple(rows)) for columns, rows in tables.items()]


def long_table(results: Sequence[LocalizationResult], intervals: Sequence[Bootstrap] = ()) -> Table:
    """One row per protocol and threshold or average: what programs like to read."""
    rows: list[tuple[Cell, ...]] = []
    for number, result in enumerate(results):
        values = [*result.map.tolist(), *result.averages.values()]
        ends: list[tuple[Cell, Cell]] = [(None, None)] * len(values)
        if intervals:
            found = intervals[number]
            ends = [*zip(*found.map_interval().tolist()), *found.average_intervals().values()]
        names = _columns(result)
        rows += [(result.protocol, name, value, *pair) for name, value, pair in zip(names, values, ends)]
    return Table("Localization mAP", ("protocol", "tiou", "map", "low", "high"), tuple(rows))


def class_table(result: LocalizationResult) -> Table:
    """AP per class and tIoU, with the numbers of instances and detections; the mean in the last row."""
    rows: list[tuple[Cell, ...]] = [
        (name, int(result.num_instances[c]), int(result.num_detections[c]), *result.ap[:, c].tolist())
        for c, name in enumerate(result.classes)
    ]
    rows.append(("mean", int(result.num_instances.sum()), int(result.num_detections.sum()), *result.map.tolist()))
    heads = ("class", "instances", "detections", *(f"{threshold:g}" for threshold in result.tious))
    return Table(f"AP [%] at tIoU, protocol {result.protocol}", heads, tuple(rows))


def format_table(
    results: Sequence[LocalizationResult],
    classification: ClassificationResult | None = None,
    intervals: Sequence[Bootstrap] = (),
    convention: str = "",
) -> str:
    """Monospace text: `summary_tables`, below them the notes of each result, and the classification mAP.

    Args:
        results, intervals: as for `summary_tables`.
        classification: printed if given.
        convention: which videos and labels that is of, in words.

    Returns:
        Lines without a final newline; empty if there is nothing to print.
    """
    blocks = [table.text() for table in summary_tables(results, intervals)]
    notes = [f"{result.protocol}: {note}" for result in results for note in result.notes]
    if notes:
        blocks.append("\n".join(notes))
    if classification is not None:
        num_classes = np.count_nonzero(~np.isnan(classification.ap))
        of = f"classes with videos: {num_classes}{f'; {convention}' if convention else ''}"
        blocks.append(f"Classification mAP [%]: {100 * classification.map:.1f} ({of})")
    return "\n\n".join(blocks)


def as_dict(result: LocalizationResult, interval: Bootstrap | None = None) -> dict[str, Any]:
    """The result as plain Python values, ready for JSON; every AP is a fraction from 0 to 1.

    Args:
        result: t thresholds, c classes.
        interval: its bootstrap.

    Returns:
        "protocol", its "version", "tious" (t floats), "map_fraction" (t floats), "average_map_fraction" (float by
        name), "classes" (by name: "ap_fraction", t floats, "num_instances" and "num_detections") and "notes"; with a
        bootstrap also "bootstrap": "confidence", "resamples", "seed", and [low, high] as "map_fraction" (per threshold)
        and "average_map_fraction" (by name).
    """
    plain = {
        "protocol": result.protocol,
        "version": find_protocol(result.protocol).version,
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
    if interval is None:
        return plain
    return {
        **plain,
        "bootstrap": {
            "confidence": interval.confidence,
            "resamples": len(interval.ap),
            "seed": interval.seed,
            "map_fraction": interval.map_interval().T.tolist(),
            "average_map_fraction": {name: list(ends) for name, ends in interval.average_intervals().items()},
        },
    }


def _columns(result: LocalizationResult) -> tuple[str, ...]:
    return (*(f"{threshold:g}" for threshold in result.tious), *result.averages)
