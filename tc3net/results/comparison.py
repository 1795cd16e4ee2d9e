"""Two sets of detections against each other: where both come from, how they differ, what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.files import write_json
from tc3net.detection import DetectionConfig
from tc3net.evaluation import (
    ClassificationComparison,
    Comparison,
    Difference,
    Protocol,
    Table,
    check_resampling,
    check_same_truth,
    class_comparison_table,
    compare,
    compare_classification,
    comparison_table,
    find_protocol,
    match_localization,
)
from tc3net.inference.raw_scores import load_scores
from tc3net.intervals.columns import AnnotatedVideos
from tc3net.results.assessment import grid_for
from tc3net.results.folder import load_folder, plain, write_tables
from tc3net.results.sources import Scored, from_detections, from_scores


@dataclass(frozen=True)
class ScoredPair:
    """What two sides differ in, on the same videos.

    Attributes:
        names: what first and second are called.
        localization: one comparison per protocol.
        classification: of video-level scores; None unless both have them for the same labelled videos.
    """

    names: tuple[str, str]
    localization: tuple[Comparison, ...]
    classification: ClassificationComparison | None

    def tables(self) -> list[Table]:
        """For the screen: mAP, then AP per class at the main tIoU, of each protocol."""
        return [table for comparison in self.localization for table in self.tables_of(comparison)]

    def tables_of(self, comparison: Comparison) -> tuple[Table, Table]:
        """mAP, and AP per class, under one protocol."""
        first = comparison.first
        tiou = first.tious[find_protocol(first.protocol).main_row(first.tious)]
        return (
            comparison_table(comparison, self.names, self.classification),
            class_comparison_table(comparison, tiou),
        )


def load_pair(
    paths: Sequence[str], config: DetectionConfig, annotated: AnnotatedVideos | None
) -> tuple[Scored, Scored]:
    """Both sides; a file of detections without ground truth of its own is scored against the other side's.

    Args:
        paths: two of runs, folders of evaluations, raw scores (.npz) and files of detections (ActivityNet JSON).
        config: detection choices for raw scores.
        annotated: ground truth for files of detections, if it is known.

    Raises:
        UserError: not two; two files of detections and no ground truth; a side cannot be read.
    """
    if len(paths) != 2:
        raise UserError(f"--compare={','.join(paths)}: expected two, as in --compare=RUN_A,RUN_B.")
    sides = [_load_side(path, config, annotated) for path in paths]
    known = annotated or next((side.annotated for side in sides if side is not None), None)
    if known is None:
        raise UserError(
            f"{paths[0]} and {paths[1]} are files of detections; expected ground truth with them. "
            "Add --annotations=FILE or --dataset_dir=FOLDER."
        )
    first, second = (side or from_detections(path, known) for side, path in zip(sides, paths))
    return first, second


def _load_side(path: str, config: DetectionConfig, annotated: AnnotatedVideos | None) -> Scored | None:
    """One side; None for a file of detections where no ground truth is known yet."""
    if path.endswith(".npz"):
        return from_scores(path, load_scores(path), config)
    if Path(path).is_dir():
        return load_folder(path)
    return from_detections(path, annotated) if annotated is not None else None


def compare_scored(
    first: Scored,
    second: Scored,
    protocols: Sequence[str | Protocol],
    *,
    resamples: int,
    seed: int,
    confidence: float,
) -> ScoredPair:
    """Differences, first minus second, with intervals of a paired bootstrap.

    Args:
        first, second: detections of the same videos with the same ground truth; classes may be ordered differently.
        protocols: entries of `tc3net.evaluation.PROTOCOLS` or their names.
        resamples, seed, confidence: of the bootstrap.

    Raises:
        UserError: different ground truth; different time bases where a protocol needs a grid; fewer than 100 resamples.
    """
    check_resampling(resamples, confidence)
    names = (first.name, second.name)
    truth, other = first.annotated.truth, second.annotated.truth
    check_same_truth(truth, other, names)
    label_of = {name: label for label, name in enumerate(truth.classes)}
    to_first = np.array([label_of[name] for name in other.classes])
    detections = first.detections, replace(second.detections, label=to_first[second.detections.label])
    grid = grid_for(first.annotated, protocols)
    comparisons = []
    for protocol in protocols:
        a, b = (match_localization(protocol, truth, found, time_base=grid) for found in detections)
        comparisons.append(compare(a, b, resamples=resamples, seed=seed, confidence=confidence))
    columns = np.argsort(to_first)
    classification = _video_level(first, second, columns, resamples=resamples, seed=seed, confidence=confidence)
    return ScoredPair(names, tuple(comparisons), classification)


def _video_level(
    first: Scored, second: Scored, columns: np.ndarray, *, resamples: int, seed: int, confidence: float
) -> ClassificationComparison | None:
    """Difference in classification mAP, where both have scores of the same labelled videos.

    Args:
        first, second: the two sides.
        columns: [C] column of the second's scores for each class of the first.
        resamples, seed, confidence: of the bootstrap.
    """
    a, b = first.videos, second.videos
    if a is None or b is None or set(a.video_ids) != set(b.video_ids):
        return None
    row_of = {name: row for row, name in enumerate(b.video_ids)}
    rows = [row_of[name] for name in a.video_ids]
    scores, labels = b.scores[rows][:, columns], b.labels[rows][:, columns]
    if not np.array_equal(a.labels, labels):
        return None
    return compare_classification(a.scores, scores, labels, resamples=resamples, seed=seed, confidence=confidence)


def write_comparison(folder: str | Path, pair: ScoredPair) -> None:
    """Writes comparison.json and tables.

    Args:
        folder: created if absent.
        pair: both sides.
    """
    folder = Path(folder)
    for comparison in pair.localization:
        of_map, of_classes = pair.tables_of(comparison)
        write_tables(folder, f"comparison_{comparison.first.protocol}", [of_map])
        write_tables(folder, f"comparison_per_class_{comparison.first.protocol}", [of_classes])
    write_json(folder / "comparison.json", comparison_dict(pair))


def comparison_dict(pair: ScoredPair) -> dict[str, Any]:
    """Both sides and their differences, for JSON."""
    found: dict[str, Any] = {"first": pair.names[0], "second": pair.names[1]}
    for comparison in pair.localization:
        protocol = comparison.first.protocol
        found[protocol] = {
            "version": find_protocol(protocol).version,
            "confidence": comparison.confidence,
            "resamples": comparison.resamples,
            "seed": comparison.seed,
            "tious": list(comparison.first.tious),
            "classes": list(comparison.first.classes),
            "first_ap_fraction": comparison.first.ap.tolist(),
            "second_ap_fraction": comparison.second.ap.tolist(),
            "ap_difference": _difference_dict(comparison.ap),
            "map_difference": _difference_dict(comparison.map),
            "average_map_difference": {name: _difference_dict(d) for name, d in comparison.averages.items()},
        }
    if pair.classification is not None:
        found["classification"] = {
            "first_map_fraction": pair.classification.first,
            "second_map_fraction": pair.classification.second,
            "difference": _difference_dict(pair.classification.difference),
        }
    return found


def _difference_dict(difference: Difference) -> dict[str, Any]:
    return {name: plain(np.asarray(value)) for name, value in vars(difference).items()}
