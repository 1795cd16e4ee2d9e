"""The inspection as text for the screen, and the rows of its tables, which the page shows too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.checks.rules import DATA_SET
from data_prep.inspection.findings import Inspection, grouped
from tc3net.common.names import counted

EXAMPLES_LISTED = 3
WORST_PRINTED = 5
_TOTALS = ("videos", "annotated", "with_features", "segments", "hours", "instances", "classes", "counts")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column flush left, the others flush right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return [
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths)))
        for row in (header, *rows)
    ]


def totals_rows(numbers: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the table of subsets, a line of totals last."""
    named = [*numbers["subsets"].items(), ("all", numbers["total"])]
    rows = [(name, *(_total(values, key) for key in _TOTALS)) for name, values in named]
    return ("subset", *(key.replace("_", " ") for key in _TOTALS)), rows


def _total(values: Mapping[str, Any], key: str) -> str:
    if key != "hours":
        return str(values[key])
    unknown = values["without_duration"]
    return "unknown" if unknown == values["videos"] else f"{values['hours']:.2f}" + (" or more" if unknown else "")


def length_rows(numbers: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the table of lengths: quantiles per quantity and subset."""
    rows: list[tuple[str, ...]] = []
    header: tuple[str, ...] = ()
    for quantity, described in numbers["lengths"].items():
        for subset, values in described["quantiles"].items():
            header = ("length", "subset", *values)
            name = f"{quantity} [{described['unit']}]" if described["unit"] else quantity
            rows.append((name, subset, *(f"{value:.1f}" for value in values.values())))
    return header, rows


def screen(inspection: Inspection) -> str:
    """The report as text of several lines."""
    numbers = inspection.numbers
    lines = [inspection.title, *inspection.descriptions, "", *table(*totals_rows(numbers))]
    if numbers["lengths"]:
        lines += ["", *table(*length_rows(numbers))]
    lines += ["", *_class_lines(numbers), *_time_lines(numbers["time_base"]), "", *_problem_lines(inspection)]
    return "\n".join(lines)


def _class_lines(numbers: Mapping[str, Any]) -> list[str]:
    lines = []
    for subset in numbers["subsets"]:
        videos = {name: per_subset[subset]["videos"] for name, per_subset in numbers["classes"].items()}
        fewest, most = min(videos, key=lambda name: videos[name]), max(videos, key=lambda name: videos[name])
        with_instances = sum(per_subset[subset]["instances"] > 0 for per_subset in numbers["classes"].values())
        span = f"{videos[fewest]} ({fewest}) to {videos[most]} ({most})" if fewest != most else str(videos[most])
        lines.append(f"classes of {subset}: {with_instances} of {len(videos)} with instances; videos per class {span}")
    return lines


def _time_lines(time_base: Mapping[str, Any] | None) -> list[str]:
    """How features fit the durations; nothing where no video has both from different sources."""
    if time_base is None:
        return []
    seconds, ratio = time_base["difference_s"], time_base["ratio"]
    lines = [
        "",
        f"features against durations, {counted(time_base['videos'], 'video')}: features - duration [s]: "
        + ", ".join(f"{name} {value:.2f}" for name, value in seconds.items()),
        "features / duration: " + ", ".join(f"{name} {value:.3f}" for name, value in ratio.items()),
    ]
    worst = [
        (
            row["video"], row["subset"], str(row["segments"]), f"{row['features_s']:.1f}", f"{row['duration_s']:.1f}",
            f"{row['difference_s']:+.1f}", f"{row['ratio']:.3f}",
        )
        for row in time_base["worst"][:WORST_PRINTED]
    ]  # fmt: skip
    header = ("largest mismatch", "subset", "segments", "features [s]", "duration [s]", "difference [s]", "ratio")
    return [*lines, *table(header, worst)]


def _problem_lines(inspection: Inspection) -> list[str]:
    if not inspection.problems:
        return ["no problems found"]
    rows = []
    for group in grouped(inspection.problems):
        subjects = list(dict.fromkeys(item["subject"] for item in group["all"]))
        examples = ", ".join(subjects[:EXAMPLES_LISTED]) + (", ..." if len(subjects) > EXAMPLES_LISTED else "")
        numbers = (str(group["findings"]), str(group["subjects"]))
        what = f"{group['meaning']}: {examples}" if subjects != [DATA_SET] else group["all"][0]["message"]
        rows.append((group["severity"], group["rule"], *numbers, what))
    header = ("severity", "rule", "findings", "in", "what was found: what is done about it: for example")
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(4)]
    return [
        f"{severity:<{widths[0]}}  {rule:<{widths[1]}}  {findings:>{widths[2]}}  {subjects:>{widths[3]}}  {meaning}"
        for severity, rule, findings, subjects, meaning in (header, *rows)
    ]
