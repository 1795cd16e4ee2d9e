"""A picture of one video: T-CAMs over time, threshold, detections and, where known, ground truth (Fig. 4)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tc3net.common.files import atomic_path
from tc3net.visualization.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 110
# Colours that stay apart for colour-blind readers (Okabe and Ito); lightness differs as well, for print.
CURVE, THRESHOLD, DETECTION, TRUTH = "#0072B2", "#555555", "#E69F00", "#009E73"


@dataclass(frozen=True)
class ClassTrack:
    """What is known about one class in the video.

    Attributes:
        name: class name.
        probability: video-level score.
        tcam: [s] T-CAM, as it is thresholded.
        thresholds: η, ascending; none where the class did not pass the class filter.
        detections: (start s, end s, score).
        instances: (start s, end s), or None where there is no annotation.
    """

    name: str
    probability: float
    tcam: np.ndarray
    thresholds: Sequence[float]
    detections: Sequence[tuple[float, float, float]]
    instances: Sequence[tuple[float, float]] | None


def plot_timeline(path: str | Path, title: str, edges_s: np.ndarray, tracks: Sequence[ClassTrack]) -> None:
    """Draws one panel per class and writes a PNG (or what the file's ending says), atomically.

    Args:
        path: file to write.
        title: e.g. the video's id.
        edges_s: [s + 1] seconds, where the T-CAM's segments (or parts of them) begin, and the end.
        tracks: one per panel, at least one.
    """
    figure = _figure(title, edges_s, tracks, width=12)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


def timeline_png(title: str, edges_s: np.ndarray, tracks: Sequence[ClassTrack]) -> bytes:
    """The picture of `plot_timeline`, narrower, so that its text can be read in a row of pictures; bytes of a PNG."""
    buffer = io.BytesIO()
    _figure(title, edges_s, tracks, width=8).savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _figure(title: str, edges_s: np.ndarray, tracks: Sequence[ClassTrack], width: float) -> Figure:
    """One panel per class over a common time axis; width in inches. The legend lies above the panels, not in one."""
    figure = new_figure(width, 0.8 + 2.4 * len(tracks))
    heights = [ratio for _ in tracks for ratio in (3, 1)]
    axes = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, height_ratios=heights, gridspec_kw={"hspace": 0.12}
    )
    # One scale for all panels: a doubtful class must not look as certain as a clear one.
    scores = [score for track in tracks for _, _, score in track.detections] or [0.0]
    for i, track in enumerate(tracks):
        _draw_tcam(axes[2 * i, 0], *to_pixels(edges_s, track.tcam, round(width * _DPI)), track)
        cells_s = np.linspace(edges_s[0], edges_s[-1], round(width * _DPI) + 1)
        _draw_bars(axes[2 * i + 1, 0], cells_s, track, min(scores), max(scores))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", fontsize=8, ncols=2)
    axes[0, 0].set_xlim(edges_s[0], edges_s[-1])
    axes[-1, 0].set_xlabel("time [s]   (a darker detection has a higher score)")
    figure.suptitle(title, parse_math=False)  # a name may hold a dollar sign
    return figure


def to_pixels(edges_s: np.ndarray, tcam: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most two steps per pixel that covers the same pixels; as it is where it has no more than that.

    Of the segments that share a pixel, the lowest and the highest value are kept, in the order in which they come.

    Args:
        edges_s: [s + 1] seconds, equally spaced.
        tcam: [s].
        pixels: width of the picture.

    Returns:
        The edges [n + 1] and the values [n].
    """
    if len(tcam) <= 2 * pixels:
        return edges_s, tcam
    size = -(-len(tcam) // pixels)
    groups = np.pad(tcam, (0, -len(tcam) % size), mode="edge").reshape(-1, size)
    low, high = groups.min(axis=1), groups.max(axis=1)
    rises = groups.argmin(axis=1) <= groups.argmax(axis=1)
    values = np.stack([np.where(rises, low, high), np.where(rises, high, low)], axis=1).ravel()
    starts = np.append(edges_s[: len(tcam) : size], edges_s[-1])
    return np.append(np.stack([starts[:-1], (starts[:-1] + starts[1:]) / 2], axis=1).ravel(), starts[-1]), values


def _draw_tcam(axis: Axes, edges_s: np.ndarray, tcam: np.ndarray, track: ClassTrack) -> None:
    """The class score as steps, one per segment or two per pixel, and the threshold."""
    axis.stairs(tcam, edges_s, color=CURVE, linewidth=1.2, baseline=None, label="T-CAM (class score)")
    for position, eta in enumerate(track.thresholds):
        label = None if position else "threshold η"
        axis.axhline(
            eta, color=THRESHOLD, linestyle="--", linewidth=1 if len(track.thresholds) < 4 else 0.5, label=label
        )
        above = np.where(tcam > eta, tcam, eta)
        axis.stairs(above, edges_s, baseline=eta, fill=True, color=CURVE, alpha=0.25 / len(track.thresholds))
    note = "" if track.thresholds else "; filtered out, not detected in this video"
    axis.set_title(
        f"{track.name}  (video-level score {track.probability:.2f}{note})", loc="left", fontsize=10, parse_math=False
    )
    axis.set_ylabel("score")
    axis.grid(axis="x", alpha=0.3)


def bars_on_pixels(
    cells_s: np.ndarray, spans_s: Sequence[tuple[float, float]], certainty: Sequence[float]
) -> tuple[Sequence[tuple[float, float]], Sequence[float]]:
    """Bars, of which the most certain one shows where several share a pixel; as they are where they are few.

    Args:
        cells_s: [n + 1] seconds, equally spaced, where the picture's pixels begin, and the end.
        spans_s: (start s, end s).
        certainty: of each.

    Returns:
        Bars as (start s, end s) and their certainty; not more than pixels, or than were given.
    """
    pixels = len(cells_s) - 1
    if len(spans_s) <= 2 * pixels:
        return spans_s, certainty
    best = np.full(pixels, -1.0)
    within = np.searchsorted(cells_s, np.asarray(spans_s)).clip(1, pixels)  # a bar has its first pixel at least
    for i in np.argsort(certainty, kind="stable"):
        best[within[i, 0] - 1 : within[i, 1]] = certainty[i]
    changes = np.flatnonzero(np.diff(best, prepend=np.nan, append=np.nan) != 0)
    runs = [(first, last) for first, last in zip(changes, changes[1:]) if best[first] >= 0]
    return [(float(cells_s[a]), float(cells_s[b])) for a, b in runs], [float(best[a]) for a, _ in runs]


def _paler(color: str, strength: float) -> tuple[float, float, float]:
    """A color mixed with white; strength 1: itself."""
    from matplotlib.colors import to_rgba

    red, green, blue, _ = to_rgba(color)
    return 1 - strength * (1 - red), 1 - strength * (1 - green), 1 - strength * (1 - blue)


def _draw_bars(axis: Axes, cells_s: np.ndarray, track: ClassTrack, lowest: float, highest: float) -> None:
    """Detections (darker is more certain, between the picture's extremes) and ground truth as bars in seconds."""
    spread = highest - lowest
    certainty = [(score - lowest) / spread if spread > 0 else 1.0 for _, _, score in track.detections]
    found_s = [(start_s, end_s) for start_s, end_s, _ in track.detections]
    shown_s, shown = bars_on_pixels(cells_s, found_s, certainty)
    # The best on top, and none lets another one show through: many doubtful ones would look like a certain one.
    order = np.argsort(shown, kind="stable")
    spans = [(shown_s[i][0], shown_s[i][1] - shown_s[i][0]) for i in order]
    # All in one call: one for each takes half of the picture's time.
    axis.broken_barh(
        spans,
        (1.1, 0.8),
        color=[_paler(DETECTION, 0.2 + 0.8 * shown[i]) for i in order],
        edgecolor="white",
        linewidth=0.3,
    )
    truth = "no annotation"
    if track.instances is not None:
        true_s, _ = bars_on_pixels(cells_s, track.instances, [1.0] * len(track.instances))
        axis.broken_barh([(start_s, end_s - start_s) for start_s, end_s in true_s], (0.1, 0.8), color=TRUTH)
        truth = f"ground truth ({len(track.instances)})"
    axis.set_ylim(0, 2)
    axis.set_yticks([0.5, 1.5], [truth, f"detections ({len(track.detections)})"], fontsize=8)
    axis.grid(axis="x", alpha=0.3)
