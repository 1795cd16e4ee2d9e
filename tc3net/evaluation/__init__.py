"""Scores of detections and of video-level classes: protocols, average precision, tables. NumPy only."""

from tc3net.evaluation.average_precision import interpolated_average_precision, mean_precision_at_hits
from tc3net.evaluation.classification import ClassificationResult, classification_map
from tc3net.evaluation.matching import (
    Intervals,
    Pairs,
    match_by_instance,
    match_by_score,
    pair_up,
    pairs_in_same_group,
    tiou,
    touches_any,
)
from tc3net.evaluation.protocols import PROTOCOLS, LocalizationResult, evaluate_localization
from tc3net.evaluation.tables import as_dict, format_table

__all__ = [
    "PROTOCOLS",
    "ClassificationResult",
    "Intervals",
    "LocalizationResult",
    "Pairs",
    "as_dict",
    "classification_map",
    "evaluate_localization",
    "format_table",
    "interpolated_average_precision",
    "match_by_instance",
    "match_by_score",
    "mean_precision_at_hits",
    "pair_up",
    "pairs_in_same_group",
    "tiou",
    "touches_any",
]
