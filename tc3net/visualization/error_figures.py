"""Pictures of an error analysis: what the false positives are, what each kind costs, and which instances are missed.

Colours stay apart for colour-blind readers (Okabe and Ito); every value that matters is also printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tc3net.evaluation.error_analysis import GROUPS, TYPES, ErrorAnalysis
from tc3net.evaluation.sensitivity import Sensitivity, SensitivityAnalysis
from tc3net.visualization.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = dict(zip(TYPES, ("#009E73", "#56B4E9", "#CC79A7", "#E69F00", "#D55E00", "#BBBBBB")))
MISSED, BAR, BASE = "#0072B2", "#0072B2", "#333333"


def false_positive_figure(errors: ErrorAnalysis, tiou: float, title: str) -> Figure:
    """Left: shares of the error types among the best-ranked detections. Right: mAP gained by correcting each type.

    Args:
        errors: the analysis.
        tiou: one of its thresholds.
        title: what was evaluated.
    """
    row = errors.tious.index(tiou)
    figure = new_figure(10.5, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=[5, 4])
    counts = errors.profile[row].astype(float)  # [GROUPS, types]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    bottom = np.zeros(GROUPS)
    for kind, name in enumerate(TYPES):
        left.bar(range(GROUPS), shares[:, kind], 0.85, bottom=bottom, color=COLORS[name], label=name)
        for group, share in enumerate(shares[:, kind]):
            if share >= 7:
                left.text(group, bottom[group] + share / 2, f"{share:.0f}", ha="center", va="center", fontsize=7)
        bottom += shares[:, kind]
    left.set_xticks(range(GROUPS), [f"{group + 1}G" for group in range(GROUPS)])
    left.set_xlabel("detections by rank within their class (G = instances of the class)")
    left.set_ylabel("share of these detections [%]")
    left.set_ylim(0, 100)
    handles, labels = left.get_legend_handles_labels()
    left.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8)

    gains = 100 * np.append(errors.gain[row], errors.gain_missed[row])
    colors = [*(COLORS[name] for name in TYPES[1:]), "white"]
    places = np.arange(len(gains))[::-1]
    right.barh(places, gains, 0.75, color=colors, edgecolor=["none"] * 5 + [MISSED], hatch=[""] * 5 + ["///"])
    for place, gain in zip(places, gains):
        right.text(max(gain, 0) + 0.01 * max(gains.max(), 1), place, f"+{gain:.1f}", va="center", fontsize=8)
    right.set_yticks(places, [*TYPES[1:], "missed instances"])
    right.set_xlim(0, max(gains.max(), 1) * 1.15)
    right.set_xlabel(f"mAP@{tiou:g} gained without them [points]; now {100 * errors.map[row]:.1f} %")
    right.grid(axis="x", alpha=0.3)
    right.set_axisbelow(True)
    figure.suptitle(f"{title}: errors at tIoU {tiou:g} (protocol {errors.protocol})", parse_math=False)
    return figure


def sensitivity_figure(analysis: SensitivityAnalysis, tiou: float, title: str) -> Figure:
    """Normalized mAP by characteristic of the instances; the dashed line is that of all instances.

    Args:
        analysis: the analysis.
        tiou: one of its thresholds.
        title: what was evaluated.
    """
    row = analysis.tious.index(tiou)
    values, base = [c.map_n[row] for c in analysis.characteristics], analysis.map_n[row]
    heading = f"{title}: sensitivity at tIoU {tiou:g} (protocol {analysis.protocol})"
    return _panels(analysis, values, base, f"normalized mAP@{tiou:g} [%]", heading)


def miss_figure(analysis: SensitivityAnalysis, tiou: float, title: str) -> Figure:
    """Share of the instances that no detection found, by characteristic; the dashed line is that of all instances.

    Args:
        analysis: the analysis.
        tiou: one of its thresholds.
        title: what was evaluated.
    """
    row = analysis.tious.index(tiou)
    values, base = [c.miss_rate[row] for c in analysis.characteristics], analysis.miss_rate[row]
    heading = f"{title}: missed instances at tIoU {tiou:g} (protocol {analysis.protocol})"
    return _panels(analysis, values, base, "instances missed [%]", heading)


def _panels(
    analysis: SensitivityAnalysis, fractions: list[np.ndarray], fraction_of_all: float, ylabel: str, heading: str
) -> Figure:
    """A panel of bars per characteristic, in percent, on one scale."""
    values, base = [100 * heights for heights in fractions], 100 * fraction_of_all
    widths = [len(c.buckets) for c in analysis.characteristics]
    figure = new_figure(10.5, 3.6)
    axes = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
    top = max(base, *(np.nanmax(heights, initial=0) for heights in values), 1)
    for axis, characteristic, heights in zip(axes, analysis.characteristics, values):
        _bars(axis, characteristic, heights, top)
        axis.axhline(base, color=BASE, linestyle="--", linewidth=1, label=f"all instances: {base:.1f}")
        axis.set_ylim(0, 1.12 * top)
    axes[0].set_ylabel(ylabel)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", frameon=False, fontsize=8)
    figure.suptitle(heading, x=0.01, ha="left", parse_math=False)
    return figure


def _bars(axis: Axes, characteristic: Sensitivity, heights: np.ndarray, top: float) -> None:
    places = np.arange(len(heights))
    axis.bar(places, np.nan_to_num(heights), 0.75, color=BAR)
    for place, height in enumerate(heights):
        text = f"{height:.1f}" if np.isfinite(height) else "none"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # the dashed line must not cross the number
        axis.text(
            place, np.nan_to_num(height) + 0.02 * top, text, ha="center", va="bottom", fontsize=8, bbox=box, zorder=3
        )
    labels = [
        f"{name}\n{values}\nn={number}"
        for name, values, number in zip(
            characteristic.buckets, characteristic.ranges, characteristic.num_instances.tolist()
        )
    ]
    axis.set_xticks(places, labels, fontsize=7.5)
    axis.set_xlabel(characteristic.unit)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
