"""From a trained model and its training videos to pseudo segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tc3net.data.pipeline import annotation_batches
from tc3net.data.split import Split, readable
from tc3net.detection import DetectionConfig, detect_cells
from tc3net.inference.raw_scores import RawScores
from tc3net.refinement.choice import PseudoConfig, PseudoSegments, choose


@dataclass(frozen=True)
class Annotated:
    """What training videos are annotated with, without any time.

    Attributes:
        video_ids: V names, in the split's order.
        num_segments: [V] int64.
        labels: [V, C] bool, classes that are present.
        counts: [V, C] number of instances of present classes; NaN where unknown or absent.
    """

    video_ids: tuple[str, ...]
    num_segments: np.ndarray
    labels: np.ndarray
    counts: np.ndarray


def read_annotated(split: Split) -> Annotated:
    """Classes and counts of a subset's videos.

    Raises:
        UserError: a record is damaged.
    """
    columns: dict[str, list[np.ndarray]] = {}
    for batch in readable(annotation_batches(split), split):
        for name, values in batch.items():
            columns.setdefault(name, []).append(values.numpy())
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    labels = joined["labels"] > 0
    known = labels & joined["counts_known"] & (joined["counts"] > 0)
    return Annotated(
        tuple(video_id.decode() for video_id in joined["id"]),
        joined["num_segments"],
        labels,
        np.where(known, joined["counts"], np.nan),
    )


def find_segments(
    scores: RawScores, annotated: Annotated, detection: DetectionConfig, config: PseudoConfig
) -> PseudoSegments:
    """Pseudo segments of the training videos, of the classes that are present in them: no class filter acts.

    Args:
        scores: of the training videos, in the order of `annotated`.
        annotated: their classes and counts.
        detection: what makes detections of scores.
        config: what makes pseudo segments of detections.

    Raises:
        UserError: the single streams' T-CAMs are asked for, and the scores have none.
    """
    return choose(
        detect_cells(scores, detection, annotated.labels),
        cells_per_segment=detection.upsampling,
        video_ids=annotated.video_ids,
        num_segments=annotated.num_segments,
        counts=annotated.counts,
        config=config,
    )
