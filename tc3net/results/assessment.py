"""From raw scores to numbers: detections, localization mAP under named protocols, classification mAP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tc3net.common.errors import UserError
from tc3net.common.names import nearest
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.evaluation import (
    PROTOCOLS,
    Bootstrap,
    ClassificationResult,
    LocalizationResult,
    Matches,
    Protocol,
    as_dict,
    bootstrap,
    classification_map,
    find_protocol,
    format_table,
    localization_result,
    match_localization,
)
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.columns import AnnotatedVideos, Detections
from tc3net.results.sources import Scored, from_scores
from tc3net.terminal.progress import progress_bar


@dataclass(frozen=True)
class Assessment:
    """What a model is worth on one subset.

    Attributes:
        detections: of all videos, in seconds.
        matches: what each protocol decided about them, in the order asked for.
        localization: the results that follow.
        classification: of the video-level scores; None where there are none (another tool's detections).
        intervals: bootstraps of the localization results, or none.
        convention: which labels the classification is of, in words.
    """

    detections: Detections
    matches: tuple[Matches, ...]
    localization: tuple[LocalizationResult, ...]
    classification: ClassificationResult | None = None
    intervals: tuple[Bootstrap, ...] = ()
    convention: str = ""

    def table(self) -> str:
        """For the screen."""
        return format_table(self.localization, self.classification, self.intervals, self.convention)

    def as_dict(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """For JSON; fractions, not percent. A class without positive videos has no entry under `per_class`."""
        intervals = self.intervals or [None] * len(self.localization)
        found: dict[str, Any] = {
            "localization": {r.protocol: as_dict(r, interval) for r, interval in zip(self.localization, intervals)}
        }
        if self.classification is not None:
            per_class = {c: float(ap) for c, ap in zip(classes, self.classification.ap) if ap == ap}
            found["classification"] = {
                "map_fraction": float(self.classification.map),
                "per_class": per_class,
                "convention": self.convention,
            }
        return found

    def scalars(self) -> dict[str, float]:
        """For TensorBoard: mAP per protocol and tIoU, averages, classification mAP; fractions."""
        scalars = {}
        for result in self.localization:
            for tiou, value in zip(result.tious, result.map):
                scalars[map_tag(result.protocol, tiou)] = float(value)
            for name, value in result.averages.items():
                scalars[map_tag(result.protocol, name)] = float(value)
        if self.classification is not None:
            scalars["classification/mAP"] = float(self.classification.map)
        return scalars

    def summary(self) -> str:
        """One line: mAP at the main tIoU and the main average of each protocol, and classification mAP."""
        parts = []
        for result in self.localization:
            protocol = find_protocol(result.protocol)
            row = protocol.main_row(result.tious)
            main = f"{protocol.name} mAP@{result.tious[row]:g} {100 * result.map[row]:.1f} %"
            average = result.averages.get(protocol.main_average or "")
            parts.append(main if average is None else f"{main}, mAP@{protocol.main_average} {100 * average:.1f} %")
        if self.classification is not None:
            parts.append(f"classification mAP {100 * self.classification.map:.1f} %")
        return "; ".join(parts)


def map_tag(protocol: str, which: float | str) -> str:
    """Name among `Assessment.scalars` of one mAP.

    Args:
        protocol: its name.
        which: a threshold, or the name of an average.
    """
    if isinstance(which, str):
        return f"{protocol}/mAP@{which}"
    return f"{protocol}/mAP@{tiou_text(which)}"


def tiou_text(tiou: float) -> str:
    """A threshold in tags: 0.8999999999999999 as 0.90, but 0.125 not as 0.12, since no two may share a tag."""
    return f"{tiou:.2f}" if abs(round(tiou, 2) - tiou) < 1e-9 else f"{tiou:g}"


def selection_tag(protocol: str) -> str:
    """Name among `Assessment.scalars` of the localization mAP that chooses a checkpoint: of the main tIoU, or of the
    main average where the protocol says so.

    Raises:
        UserError: unknown protocol.
    """
    found = find_protocol(protocol)
    return map_tag(found.name, found.selecting)


def check_protocols(protocols: Sequence[str]) -> None:
    """Raises UserError for an unknown protocol, or none."""
    unknown = [name for name in protocols if name not in PROTOCOLS]
    if unknown or not protocols:
        near = nearest(unknown[0], PROTOCOLS) if unknown else ""
        raise UserError(f"--protocols={','.join(protocols)}: expected one or more of {', '.join(PROTOCOLS)}.{near}")


def segment_grid(annotated: AnnotatedVideos) -> TimeBase:
    """The time base that all videos share, the grid that some protocols round to; THUMOS14's where it is unknown.

    Raises:
        UserError: the videos have different ones.
    """
    bases = annotated.time_bases
    if len(bases) > 1:
        on_grid, in_seconds = (
            " or ".join(protocol.name for protocol in PROTOCOLS.values() if protocol.needs_grid == needs)
            for needs in (True, False)
        )
        raise UserError(
            f"The videos have {len(bases)} time bases (fps, frames per segment, stride), for example "
            f"{[tuple(vars(base).values()) for base in bases[:2]]}; the protocol {on_grid} rounds to one segment grid. "
            f"Use {in_seconds}, which work in seconds."
        )
    return bases[0] if bases else TimeBase()


def grid_for(annotated: AnnotatedVideos, protocols: Sequence[str | Protocol]) -> TimeBase:
    """`segment_grid` where one of the protocols needs it; else any, since nobody looks at it.

    Raises:
        UserError: unknown protocol; one needs a grid and the videos have different ones.
    """
    needed = any(find_protocol(protocol).needs_grid for protocol in protocols)
    return segment_grid(annotated) if needed else TimeBase()


def assess_scored(
    scored: Scored, protocols: Sequence[str | Protocol], *, resamples: int = 0, seed: int = 0, confidence: float = 0.95
) -> Assessment:
    """Scores detections under each protocol, whoever made them.

    Args:
        scored: detections with ground truth.
        protocols: entries of `tc3net.evaluation.PROTOCOLS` or their names; none: video-level classification alone.
        resamples: of the bootstrap; 0 for none.
        seed, confidence: of the bootstrap.

    Raises:
        UserError: unknown protocol, no annotated instances, or different time bases where one needs a grid.
    """
    truth, grid = scored.annotated.truth, grid_for(scored.annotated, protocols)
    matches = tuple(
        match_localization(each, truth, scored.detections, time_base=grid)
        for each in progress_bar(protocols, "matching", "protocol")
    )
    intervals = [
        bootstrap(m, resamples=resamples, seed=seed, confidence=confidence)
        for m in progress_bar(matches, "resampling", "protocol")
        if resamples
    ]
    return Assessment(
        detections=scored.detections,
        matches=matches,
        localization=tuple(localization_result(m) for m in matches),
        classification=classification_map(scored.videos.scores, scored.videos.labels) if scored.videos else None,
        intervals=tuple(intervals),
        convention=scored.videos.convention if scored.videos else "",
    )


def assess(scores: RawScores, config: DetectionConfig, protocols: Sequence[str | Protocol]) -> Assessment:
    """Detects, and scores under each protocol.

    Args:
        scores: raw scores with labels and ground truth.
        config: detection choices.
        protocols: entries of `tc3net.evaluation.PROTOCOLS` or their names; none: video-level classification alone.

    Raises:
        UserError: unknown protocol, no annotated instances, or different time bases where one needs a grid.
    """
    return assess_scored(from_scores("raw scores", scores, config), protocols)
