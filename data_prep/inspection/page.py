"""The inspection as one HTML page that needs no other file: pictures, tables and every problem found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from data_prep.checks.rules import DATA_SET
from data_prep.inspection.charts import charts
from data_prep.inspection.findings import Inspection, grouped
from data_prep.inspection.text import length_rows, totals_rows
from tc3net.common.names import counted

LISTED = 200  # findings listed per rule; the JSON report has all

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1160px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6em 0; }
th, td { padding: .22em .8em .22em 0; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, table.text th, table.text td { text-align: left; }
.error { color: #a33a00; font-weight: 600; } .warning { color: #0a5c8a; }
svg { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
summary { cursor: pointer; } li { margin: .1em 0; } code { background: #f3f3f3; padding: 0 .2em; }
"""


def page(inspection: Inspection) -> str:
    """The page as text. Everything that comes from the data is escaped."""
    numbers = inspection.numbers
    errors = len(inspection.errors())
    verdict = f"{counted(errors, 'error')}, {counted(len(inspection.problems) - errors, 'warning')}"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(inspection.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(inspection.title)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in inspection.descriptions),
        f'<p class="{"error" if errors else "warning"}">{verdict}</p>',
        "<h2>Subsets</h2>",
        _table(*totals_rows(numbers)),
        "<h2>Problems</h2>",
        *_problems(inspection),
    ]
    for title, picture in charts(numbers).items():
        svg = picture.decode()
        parts += [f"<h2>{escape(title)}</h2>", f'<div class="wide">{svg[svg.index("<svg") :]}</div>']
        if title == "Lengths":
            parts.append(_table(*length_rows(numbers)))
        elif title == "Class balance":
            parts += _classes(numbers)
        else:
            parts += _mismatch(numbers["time_base"])
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table class="{kind}">{line(header, "th")}\n{body}</table></div>'


def _problems(inspection: Inspection) -> list[str]:
    if not inspection.problems:
        return ["<p>None found.</p>"]
    parts = []
    for group in grouped(inspection.problems):
        listed = group["all"][:LISTED]
        items = "".join(f"<li>{escape(item['subject'])}: {escape(item['message'])}</li>" for item in listed)
        hidden = group["findings"] - len(listed)
        more = f"<p>... and {hidden} more, see inspection.json</p>" if hidden else ""
        number = f"{group['findings']} in {group['subjects']}"
        severity = f'<span class="{group["severity"]}">{group["severity"]}</span>'
        summary = f"{severity} <code>{group['rule']}</code> {number}: {escape(_meaning(group))}"
        parts.append(f"<details><summary>{summary}</summary><ul>{items}</ul>{more}</details>")
    return parts


def _meaning(group: dict[str, Any]) -> str:
    """What a rule means, or what was found where it is about the data set as a whole."""
    first = group["all"][0]
    return str(first["message"] if first["subject"] == DATA_SET else group["meaning"])


def _classes(numbers: dict[str, Any]) -> list[str]:
    subsets = list(numbers["subsets"])
    header = ["class", *(f"{subset}: {what}" for subset in subsets for what in ("videos", "instances"))]
    rows = [
        [name, *(str(per_subset[subset][what]) for subset in subsets for what in ("videos", "instances"))]
        for name, per_subset in numbers["classes"].items()
    ]
    return ["<details><summary>All classes</summary>", _table(header, rows), "</details>"]


def _mismatch(time_base: dict[str, Any]) -> list[str]:
    names = list(time_base["difference_s"])
    quantiles = [
        ["features - duration [s]", *(f"{time_base['difference_s'][name]:.2f}" for name in names)],
        ["features / duration", *(f"{time_base['ratio'][name]:.3f}" for name in names)],
    ]
    worst = [
        [
            row["video"], row["subset"], str(row["segments"]), f"{row['fps']:g}", str(row["stride_frames"]),
            f"{row['features_s']:.1f}", f"{row['duration_s']:.1f}",
            f"{row['difference_s']:+.1f}", f"{row['ratio']:.3f}",
        ]
        for row in time_base["worst"]
    ]  # fmt: skip
    columns = [
        "largest mismatch",
        "subset",
        "segments",
        "fps",
        "stride",
        "features [s]",
        "duration [s]",
        "difference [s]",
    ]
    return [
        _table([counted(time_base["videos"], "video"), *names], quantiles),
        _table([*columns, "ratio"], worst),
    ]
