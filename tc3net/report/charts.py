"""Static charts of the page as SVG images: mAP over tIoU, types of errors, sensitivity, missed instances."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

from tc3net.evaluation import Analysis, Bootstrap, LocalizationResult
from tc3net.visualization import error_figures, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours; marker and dash differ as well, so that no line is told apart by colour alone. The numbers of
# colours, markers and dashes have no common divisor: the first 84 lines all look different, and none is left out.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000")
_MARKERS, _DASHES = ("o", "s", "^", "D"), ("-", "--", ":")


@dataclass(frozen=True)
class Chart:
    """An image: its address (data:), what it shows in words, its caption."""

    url: str
    text: str
    caption: str


def _chart(name: str, text: str, caption: str, draw: Callable[..., Figure], *arguments: Any) -> Chart:
    encoded = base64.b64encode(style.svg(name, draw, *arguments)).decode()
    return Chart(f"data:image/svg+xml;base64,{encoded}", text, caption)


def curve_figure(results: Sequence[LocalizationResult], intervals: Sequence[Bootstrap]) -> Figure:
    """mAP over tIoU, a line per protocol, with its interval where there is one."""
    figure = style.new_figure(6.4, 3.6)
    axis = figure.subplots()
    for number, (result, color, marker, dash) in enumerate(zip(results, *map(cycle, (_COLORS, _MARKERS, _DASHES)))):
        percent = 100 * result.map
        axis.plot(result.tious, percent, color=color, marker=marker, linestyle=dash, label=result.protocol)
        if intervals:
            low, high = 100 * intervals[number].map_interval()
            axis.fill_between(result.tious, low, high, color=color, alpha=0.15, linewidth=0)
    axis.set_xlabel("tIoU threshold")
    axis.set_ylabel("mAP [%]")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(title="protocol", frameon=False)
    return figure


def curve_chart(results: Sequence[LocalizationResult], intervals: Sequence[Bootstrap]) -> Chart:
    """`curve_figure`, described by its numbers."""
    words = "; ".join(
        f"{result.protocol}: " + ", ".join(f"{100 * value:.1f} at {t:g}" for t, value in zip(result.tious, result.map))
        for result in results
    )
    band = f" Shaded: {100 * intervals[0].confidence:g} % interval." if intervals else ""
    return _chart(
        "curves", f"mAP in percent over tIoU. {words}.", f"mAP over tIoU.{band}", curve_figure, results, intervals
    )


def analysis_charts(analysis: Analysis, tiou: float, title: str) -> list[Chart]:
    """The library's pictures of an error analysis at one tIoU; the tables beside them hold the numbers."""
    errors, sensitivity = analysis.errors, analysis.sensitivity
    at = f"at tIoU {tiou:g}, protocol {errors.protocol}"
    return [
        _chart(
            "errors",
            f"Types of the best-ranked detections and mAP gained by correcting each, {at}; numbers in the table below.",
            "Left: what the best-ranked detections of each class are; 1G are as many as the class has instances. "
            "Right: mAP gained when errors of one type are removed, or missed instances found.",
            error_figures.false_positive_figure, errors, tiou, title,
        ),
        _chart(
            "sensitivity",
            f"Normalized mAP by length, coverage and number of instances, {at}; numbers in the table below.",
            "Normalized mAP of instances by length, share of the video, and number in the video.",
            error_figures.sensitivity_figure, sensitivity, tiou, title,
        ),
        _chart(
            "missed",
            f"Share of instances missed by length, coverage and number of instances, {at}; numbers in the table below.",
            "Share of instances that no detection found.",
            error_figures.miss_figure, sensitivity, tiou, title,
        ),
    ]  # fmt: skip
