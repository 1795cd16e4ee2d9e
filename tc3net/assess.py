"""From raw scores to numbers: detections, localization mAP under named protocols, classification mAP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tc3net.detection import DetectionConfig, detect_videos, video_scores
from tc3net.errors import UserError
from tc3net.evaluation import (
    PROTOCOLS,
    ClassificationResult,
    LocalizationResult,
    as_dict,
    classification_map,
    evaluate_localization,
    format_table,
)
from tc3net.inference import RawScores
from tc3net.intervals import Detections
from tc3net.timebase import TimeBase


@dataclass(frozen=True)
class Assessment:
    """What a model is worth on one subset.

    Attributes:
        detections: of all videos, in seconds.
        localization: one result per protocol, in the order asked for.
        classification: of the video-level scores.
    """

    detections: Detections
    localization: tuple[LocalizationResult, ...]
    classification: ClassificationResult

    def table(self) -> str:
        """For the screen."""
        return format_table(self.localization, self.classification)

    def as_dict(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """For JSON; fractions, not percent. A class without positive videos has no entry under `per_class`."""
        per_class = {c: float(ap) for c, ap in zip(classes, self.classification.ap) if ap == ap}
        return {
            "localization": {result.protocol: as_dict(result) for result in self.localization},
            "classification": {"map_fraction": float(self.classification.map), "per_class": per_class},
        }

    def scalars(self) -> dict[str, float]:
        """For TensorBoard: mAP per protocol and tIoU, averages, classification mAP; fractions."""
        scalars = {}
        for result in self.localization:
            for tiou, value in zip(result.tious, result.map):
                scalars[f"{result.protocol}/mAP@{tiou:.2f}"] = float(value)
            for name, value in result.averages.items():
                scalars[f"{result.protocol}/mAP@{name}"] = float(value)
        return {**scalars, "classification/mAP": float(self.classification.map)}

    def summary(self) -> str:
        """One line: per protocol mAP@0.5 and the average over its widest range, and classification mAP."""
        parts = []
        for result in self.localization:
            name, average = list(result.averages.items())[-1]
            at_half = result.map[result.tious.index(0.5)]
            parts.append(f"{result.protocol} mAP@0.5 {100 * at_half:.1f} %, mAP@{name} {100 * average:.1f} %")
        return "; ".join([*parts, f"classification mAP {100 * self.classification.map:.1f} %"])

    def selection(self) -> float:
        """What decides which checkpoint is best, by the first protocol.

        As the public code: mAP@0.5, for ActivityNet the average mAP.
        """
        first = self.localization[0]
        if first.protocol == "activitynet":
            return float(first.averages["0.5:0.95"])
        return float(first.map[first.tious.index(0.5)])


def check_protocols(protocols: Sequence[str]) -> None:
    """Raises UserError for an unknown protocol, or none."""
    unknown = [name for name in protocols if name not in PROTOCOLS]
    if unknown or not protocols:
        raise UserError(f"--protocols={','.join(protocols)}: expected one or more of {', '.join(PROTOCOLS)}.")


def segment_grid(scores: RawScores) -> TimeBase:
    """The time base that all videos share: the grid of the protocol "reference".

    Raises:
        UserError: the videos have different ones.
    """
    bases = set(zip(scores.fps.tolist(), scores.frames_per_segment.tolist(), scores.stride_frames.tolist()))
    if len(bases) > 1:
        raise UserError(
            f"The videos have {len(bases)} time bases (fps, frames per segment, stride), for example "
            f"{sorted(bases)[:2]}; the protocol reference rounds to one segment grid. Use thumos14 or activitynet, "
            "which work in seconds."
        )
    return TimeBase(*bases.pop())


def assess(scores: RawScores, config: DetectionConfig, protocols: Sequence[str]) -> Assessment:
    """Detects, and scores under each protocol.

    Args:
        scores: raw scores with labels and ground truth.
        config: detection choices.
        protocols: names from `tc3net.evaluation.PROTOCOLS`.

    Raises:
        UserError: unknown protocol, no annotated instances, or different time bases under "reference".
    """
    check_protocols(protocols)
    detections = detect_videos(scores, config)
    grid = segment_grid(scores) if "reference" in protocols else TimeBase()
    localization = tuple(
        evaluate_localization(name, scores.ground_truth, detections, time_base=grid) for name in protocols
    )
    classification = classification_map(video_scores(tf.constant(scores.pooled), config).numpy(), scores.labels)
    return Assessment(detections, localization, classification)
