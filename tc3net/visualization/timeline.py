"""A picture of one video: T-CAMs over time, threshold, detections and, where known, ground truth (Fig. 4)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure  # not pyplot: no display, no figure left open, a notebook's own are left alone

from tc3net.common.files import atomic_path

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
        figure.savefig(temporary, dpi=110)


def timeline_png(title: str, edges_s: np.ndarray, tracks: Sequence[ClassTrack]) -> bytes:
    """The picture of `plot_timeline`, narrower, so that its text can be read in a row of pictures; bytes of a PNG."""
    buffer = io.BytesIO()
    _figure(title, edges_s, tracks, width=8).savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _figure(title: str, edges_s: np.ndarray, tracks: Sequence[ClassTrack], width: float) -> Figure:
    """One panel per class over a common time axis; width in inches."""
    figure = Figure(figsize=(width, 0.8 + 2.4 * len(tracks)), layout="constrained")
    heights = [ratio for _ in tracks for ratio in (3, 1)]
    axes = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, height_ratios=heights, gridspec_kw={"hspace": 0.12}
    )
    # One scale for all panels: a doubtful class must not look as certain as a clear one.
    scores = [score for track in tracks for _, _, score in track.detections] or [0.0]
    for i, track in enumerate(tracks):
        _draw_tcam(axes[2 * i, 0], edges_s, track)
        _draw_bars(axes[2 * i + 1, 0], track, min(scores), max(scores))
    axes[0, 0].legend(loc="upper right", fontsize=8, ncols=2)
    axes[0, 0].set_xlim(edges_s[0], edges_s[-1])
    axes[-1, 0].set_xlabel("time [s]   (a darker detection has a higher score)")
    figure.suptitle(title, parse_math=False)  # a name may hold a dollar sign
    return figure


def _draw_tcam(axis: Axes, edges_s: np.ndarray, track: ClassTrack) -> None:
    """The class score as steps, one per segment, and the threshold."""
    axis.stairs(track.tcam, edges_s, color=CURVE, linewidth=1.2, baseline=None, label="T-CAM (class score)")
    for position, eta in enumerate(track.thresholds):
        label = None if position else "threshold η"
        axis.axhline(eta, color=THRESHOLD, linestyle="--", linewidth=1, label=label)
        above = np.where(track.tcam > eta, track.tcam, eta)
        axis.stairs(above, edges_s, baseline=eta, fill=True, color=CURVE, alpha=0.25 / len(track.thresholds))
    note = "" if track.thresholds else "; filtered out, not detected in this video"
    axis.set_title(
        f"{track.name}  (video-level score {track.probability:.2f}{note})", loc="left", fontsize=10, parse_math=False
    )
    axis.set_ylabel("score")
    axis.grid(axis="x", alpha=0.3)


def _draw_bars(axis: Axes, track: ClassTrack, lowest: float, highest: float) -> None:
    """Detections (darker is more certain, between the picture's extremes) and ground truth as bars in seconds."""
    spread = highest - lowest
    certainty = [(score - lowest) / spread if spread > 0 else 1.0 for _, _, score in track.detections]
    spans = [(start_s, end_s - start_s) for start_s, end_s, _ in track.detections]
    # All in one call: one for each takes half of the picture's time.
    axis.broken_barh(spans, (1.1, 0.8), color=[to_rgba(DETECTION, 0.35 + 0.65 * value) for value in certainty])
    truth = "no annotation"
    if track.instances is not None:
        bars = [(start_s, end_s - start_s) for start_s, end_s in track.instances]
        axis.broken_barh(bars, (0.1, 0.8), color=TRUTH)
        truth = f"ground truth ({len(bars)})"
    axis.set_ylim(0, 2)
    axis.set_yticks([0.5, 1.5], [truth, f"detections ({len(track.detections)})"], fontsize=8)
    axis.grid(axis="x", alpha=0.3)
