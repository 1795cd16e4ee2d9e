"""Draws the distributions of a data set: lengths, class balance, and how the features fit the durations."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np

from data_prep.checks.spans import LENGTH_TOLERANCE_S

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that stay apart for colour-blind readers (Okabe and Ito); line styles differ as well, for print.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#555555")
STYLES = ("-", "--", ":", "-.")
NAMED_CLASSES = 40  # with more, the bars are too thin to be named; the table has the names
_STYLE = {
    "svg.fonttype": "none",  # text stays text: small files, and every script the reader's fonts have
    "svg.hashsalt": "tc3net",  # the same data give the same file
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "text.parse_math": False,  # a name may hold a dollar sign
}


def colour(index: int) -> str:
    """Colour of the subset at a position."""
    return COLOURS[index % len(COLOURS)]


def charts(numbers: Mapping[str, Any], *, file_format: str = "svg") -> dict[str, bytes]:
    """Draws what there is.

    Args:
        numbers: see `data_prep.inspection.distributions.describe`.
        file_format: "svg" or "png".

    Returns:
        Title -> picture file.
    """
    drawn = {}
    if numbers["lengths"]:
        drawn["Lengths"] = _picture(lambda: _lengths(numbers["lengths"]), file_format)
    if numbers["subsets"] and numbers["classes"]:
        drawn["Class balance"] = _picture(lambda: _classes(numbers), file_format)
    if numbers["time_base"] is not None:
        drawn["Features against durations"] = _picture(lambda: _mismatch(numbers["time_base"]), file_format)
    return drawn


def _picture(draw: Callable[[], Figure], file_format: str) -> bytes:
    with matplotlib.rc_context(_STYLE):
        file = io.BytesIO()
        metadata = {"Date": None} if file_format == "svg" else {}
        draw().savefig(file, format=file_format, dpi=110, metadata=metadata)
    return file.getvalue()


def _new_figure(width: float, height: float) -> Figure:
    """An empty figure of some inches; not pyplot's, which would open a display, and leave figures open."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _lengths(lengths: Mapping[str, Any]) -> Figure:
    """One histogram per quantity; bins are evenly wide on a logarithmic scale."""
    rows = (len(lengths) + 1) // 2
    columns = min(2, len(lengths))
    from matplotlib.ticker import NullFormatter

    figure = _new_figure(5.4 * columns, 3.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, (quantity, described) in zip(axes.flat, lengths.items()):
        edges = np.array(described["edges"])
        shown = edges.copy()
        if edges[0] <= 0:
            # The bin of zeros has no place on a logarithmic scale: it is drawn as wide as its neighbour.
            shown[0] = edges[1] ** 2 / edges[2] if len(edges) > 2 else edges[1] / 2
        for index, (subset, counts) in enumerate(described["histogram"].items()):
            if any(counts):
                axis.stairs(counts, shown, fill=True, color=colour(index), alpha=0.2)
                style = {"color": colour(index), "linestyle": STYLES[index % len(STYLES)], "linewidth": 1.4}
                axis.stairs(counts, shown, label=f"{subset} ({sum(counts)})", **style)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(shown[0], shown[-1])
        axis.set_ylim(bottom=0)
        axis.set_xlabel(f"{quantity} [{described['unit']}]" if described["unit"] else quantity)
        axis.set_ylabel("videos" if quantity != "instance length" else "instances")
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8, frameon=False)
    for axis in list(axes.flat)[len(lengths) :]:
        axis.set_axis_off()
    return figure


def _classes(numbers: Mapping[str, Any]) -> Figure:
    """Videos and instances per class: named bars when there are few classes, a sorted profile when there are many."""
    subsets = list(numbers["subsets"])
    classes = numbers["classes"]
    order = sorted(classes, key=lambda name: -sum(classes[name][subset]["videos"] for subset in subsets))
    named = len(order) <= NAMED_CLASSES
    size = (11.0, 1.0 + 0.24 * len(order)) if named else (11.0, 5.2)
    shape = (1, 2) if named else (2, 1)
    figure = _new_figure(*size)
    axes = figure.subplots(*shape, sharey=named, sharex=not named)
    for axis, what in zip(np.ravel(axes), ("videos", "instances")):
        start = np.zeros(len(order))
        for index, subset in enumerate(subsets):
            values = np.array([classes[name][subset][what] for name in order], np.float64)
            draw, position = (axis.barh, {"left": start}) if named else (axis.bar, {"bottom": start})
            hatch = ("", "///", "...", "xxx")[index % 4]
            draw(
                np.arange(len(order)), values, 0.8, color=colour(index), edgecolor="white", linewidth=0,
                hatch=hatch, label=subset, **position,
            )  # fmt: skip
            start += values
        (axis.set_xlabel if named else axis.set_ylabel)(what)
        axis.grid(axis="x" if named else "y", alpha=0.25)
        axis.set_axisbelow(True)
    first = np.ravel(axes)[0]
    if named:
        first.set_yticks(np.arange(len(order)), order)
        first.set_ylim(len(order) - 0.4, -0.6)
    else:
        np.ravel(axes)[-1].set_xlabel(f"{len(order)} classes, by number of videos (names: see the table)")
        first.set_xlim(-0.6, len(order) - 0.4)
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper right", ncols=7, fontsize=8, frameon=False)
    return figure


def _mismatch(time_base: Mapping[str, Any]) -> Figure:
    """Videos per range of the difference; ranges are of unequal width, so each is a bar between its two edges."""
    figure = _new_figure(11, 3.2)
    axis = figure.subplots()
    edges, counts = time_base["edges"], time_base["histogram"]
    fine = [max(abs(low), abs(high)) <= LENGTH_TOLERANCE_S for low, high in zip(edges, edges[1:])]
    colours = [COLOURS[0] if is_fine else COLOURS[1] for is_fine in fine]
    bars = axis.bar(np.arange(len(counts)) + 0.5, counts, 0.92, color=colours)
    axis.bar_label(bars, [str(count) if count else "" for count in counts], fontsize=8)
    axis.set_xticks(np.arange(len(edges)), [f"{edge:+g}" if edge else "0" for edge in edges], fontsize=8)
    note = f"blue: at most {LENGTH_TOLERANCE_S:g} s; the last segment of a video is usually cut off"
    axis.set_xlabel(f"features - duration [s] ({note})")
    axis.set_ylabel("videos")
    axis.set_xlim(0, len(counts))
    return figure
