"""Layout of the report: template, style, script and data in one HTML file that loads nothing from elsewhere.

Names come from files that anyone may have written. Jinja2 escapes them in HTML, `_json_for_html` in the data, the
script only ever sets text, and the page's content security policy runs no other script than this one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from tc3net.common.files import atomic_path
from tc3net.evaluation import (
    TYPES,
    Analysis,
    LocalizationResult,
    Table,
    analyse,
    class_table,
    error_table,
    find_protocol,
    proposals_line,
    sensitivity_table,
    summary_tables,
)
from tc3net.report.charts import Chart, analysis_charts, curve_chart
from tc3net.report.content import ReportInput
from tc3net.report.curves import MOST_POINTS
from tc3net.report.video_files import VideoFiles
from tc3net.report.videos import MOST_CLASSES, entries, judge


@dataclass(frozen=True)
class ClassRow:
    """A class in the table of per-class AP; `ap` at each tIoU in percent."""

    name: str
    instances: int
    detections: int
    ap: tuple[float, ...]
    classification: float | None


@dataclass(frozen=True)
class Results:
    """The scored part of the page.

    Attributes:
        headline: mAP per tIoU and averages, protocols named.
        lines: further results and notes, one line each.
        curve: mAP over tIoU.
        protocol: the one of the classes, the error analysis and the video browser.
        tious: its thresholds.
        row: position of the threshold that bars and pictures are about.
        classes: best AP first.
        charts: of the error analysis.
        tables: of the error analysis.
    """

    headline: list[Table]
    lines: list[str]
    curve: Chart
    protocol: str
    tious: tuple[float, ...]
    row: int
    classes: list[ClassRow]
    charts: list[Chart]
    tables: list[Table]


def results_of(report: ReportInput) -> Results | None:
    """Tables and charts of what was scored; None where nothing was."""
    assessment, annotated = report.assessment, report.annotated
    if assessment is None or annotated is None:
        return None
    first = assessment.localization[0]
    row = find_protocol(first.protocol).main_row(first.tious)
    analysis = analyse(assessment.matches[0], annotated.truth, annotated.duration_s)
    lines = [f"{result.protocol}: {note}" for result in assessment.localization for note in result.notes]
    if assessment.classification is not None:
        number = int(np.count_nonzero(~np.isnan(assessment.classification.ap)))
        percent = 100 * assessment.classification.map
        lines.insert(0, f"Classification mAP [%]: {percent:.1f} (classes with videos: {number})")
    if report.recall is not None:
        lines.insert(1 if assessment.classification is not None else 0, proposals_line(report.recall))
    return Results(
        headline=summary_tables(assessment.localization, assessment.intervals),
        lines=lines,
        curve=curve_chart(assessment.localization, assessment.intervals),
        protocol=first.protocol,
        tious=first.tious,
        row=row,
        classes=_class_rows(report, first, row),
        charts=analysis_charts(analysis, first.tious[row], report.title),
        tables=_analysis_tables(analysis),
    )


def _analysis_tables(analysis: Analysis) -> list[Table]:
    return [error_table(analysis.errors), sensitivity_table(analysis.sensitivity)]


def _class_rows(report: ReportInput, result: LocalizationResult, main: int) -> list[ClassRow]:
    """The rows of `class_table` without the mean, best AP at threshold number `main` first."""
    classification = report.assessment.classification if report.assessment is not None else None
    of_class = dict(zip(report.classes, classification.ap.tolist())) if classification is not None else {}
    rows = []
    for name, instances, detections, *ap in class_table(result).rows[:-1]:
        level = of_class.get(str(name))
        percent = tuple(100 * float(value or 0) for value in ap)
        known = None if level is None or level != level else 100 * level
        rows.append(ClassRow(str(name), int(instances or 0), int(detections or 0), percent, known))
    return sorted(rows, key=lambda row: (-row.ap[main], row.name))


def browser_data(
    report: ReportInput, urls: dict[str, str] | None = None, most_classes: int = MOST_CLASSES
) -> dict[str, Any]:
    """What script.js reads: "classes", "types", "protocol", "tious", "tiou" (position shown first), "videos".

    Args:
        report: what to show.
        urls: address of video files by video.
        most_classes: classes per video.
    """
    matches = report.assessment.matches[0] if report.assessment is not None else None
    judged = judge(matches, len(report.detections)) if matches is not None else None
    videos = entries(report, judged, most_classes)
    for entry in videos:
        entry["url"] = (urls or {}).get(entry["id"])
    return {
        "classes": list(report.classes),
        "types": list(TYPES),
        "protocol": matches.protocol if matches is not None else None,
        "tious": [float(f"{t:.4g}") for t in matches.tious] if matches is not None else [],
        "tiou": find_protocol(matches.protocol).main_row(matches.tious) if matches is not None else 0,
        "videos": videos,
    }


def _json_for_html(value: Any) -> Markup:
    """JSON that may stand in a script element: no character in it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _hash(text: str) -> str:
    """Source expression of an inline script or style in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def render(report: ReportInput, urls: dict[str, str] | None = None, most_classes: int = MOST_CLASSES) -> str:
    """The page. Depends on nothing but its arguments.

    Args:
        report: what to show.
        urls: address of video files by video.
        most_classes: classes per video.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # predict imports this module, and seldom draws one

    loader = PackageLoader("tc3net.report", "assets")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = (loader.get_source(environment, name)[0] for name in ("style.css", "script.js"))
    data = browser_data(report, urls, most_classes)
    curves = [track["curve"] for video in data["videos"] for track in video["tracks"] if track["curve"]]
    return environment.get_template("template.html").render(
        report=report,
        results=results_of(report),
        data=_json_for_html(data),
        num_videos=len(report.video_ids),
        most_points=MOST_POINTS,
        most_classes=most_classes,
        longest=max((curve["group"] for curve in curves), default=1),
        style=Markup(style),
        script=Markup(script),
        style_hash=Markup(_hash(style)),
        script_hash=Markup(_hash(script)),
    )


def write_report(
    path: str | Path, report: ReportInput, files: VideoFiles | None = None, most_classes: int = MOST_CLASSES
) -> None:
    """Writes the page, atomically.

    Args:
        path: the HTML file.
        report: what to show.
        files: video files, if there are any.
        most_classes: classes per video.

    Raises:
        UserError: no video files where they should be.
    """
    urls = files.urls(report.video_ids, Path(path)) if files is not None else None
    page = render(report, urls, most_classes)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
