"""Scores of detections and of video-level classes: protocols, average precision, intervals, error analysis. NumPy only.

`PROTOCOLS` says what is measured how. `match_localization` decides which detection finds which instance;
`localization_result`, `bootstrap`, `compare` and `analyse` compute from those decisions. Pictures:
`tc3net.visualization`.
"""

from tc3net.evaluation.analysis import Analysis, analyse
from tc3net.evaluation.analysis_tables import (
    class_comparison_table,
    comparison_table,
    error_table,
    profile_table,
    proposals_line,
    sensitivity_table,
)
from tc3net.evaluation.average_precision import (
    interpolated_average_precision,
    mean_precision_at_hits,
    normalized_average_precision,
)
from tc3net.evaluation.classification import ClassificationResult, classification_map
from tc3net.evaluation.comparison import (
    ClassificationComparison,
    Comparison,
    Difference,
    check_same_truth,
    compare,
    compare_classification,
)
from tc3net.evaluation.error_analysis import TYPES, ErrorAnalysis, analyse_errors, corrected_map, error_types
from tc3net.evaluation.localization import (
    LocalizationResult,
    Matches,
    evaluate_localization,
    localization_result,
    match_localization,
)
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
from tc3net.evaluation.proposal_recall import AverageRecall, average_recall
from tc3net.evaluation.protocols import (
    ACTIVITYNET_EDGES,
    DEFAULT_PROTOCOL,
    PROTOCOLS,
    THUMOS14_EDGES,
    Protocol,
    add_protocol,
    find_protocol,
    recorded_protocol,
    recorded_signature,
)
from tc3net.evaluation.resampling import Bootstrap, bootstrap, check_resampling
from tc3net.evaluation.rules import Decisions, match_activitynet, match_reference, match_thumos14_kit, pairs_of_class
from tc3net.evaluation.sensitivity import Sensitivity, SensitivityAnalysis, analyse_sensitivity
from tc3net.evaluation.tables import Table, as_dict, class_table, format_table, long_table, summary_tables

__all__ = [
    "ACTIVITYNET_EDGES",
    "DEFAULT_PROTOCOL",
    "PROTOCOLS",
    "THUMOS14_EDGES",
    "TYPES",
    "Analysis",
    "AverageRecall",
    "Bootstrap",
    "ClassificationComparison",
    "ClassificationResult",
    "Comparison",
    "Decisions",
    "Difference",
    "ErrorAnalysis",
    "Intervals",
    "LocalizationResult",
    "Matches",
    "Pairs",
    "Protocol",
    "Sensitivity",
    "SensitivityAnalysis",
    "Table",
    "add_protocol",
    "analyse",
    "analyse_errors",
    "analyse_sensitivity",
    "as_dict",
    "average_recall",
    "bootstrap",
    "check_resampling",
    "check_same_truth",
    "class_comparison_table",
    "class_table",
    "classification_map",
    "compare",
    "compare_classification",
    "comparison_table",
    "corrected_map",
    "error_table",
    "error_types",
    "evaluate_localization",
    "find_protocol",
    "format_table",
    "interpolated_average_precision",
    "localization_result",
    "long_table",
    "match_activitynet",
    "match_by_instance",
    "match_by_score",
    "match_localization",
    "match_reference",
    "match_thumos14_kit",
    "mean_precision_at_hits",
    "normalized_average_precision",
    "pair_up",
    "pairs_in_same_group",
    "pairs_of_class",
    "profile_table",
    "proposals_line",
    "recorded_protocol",
    "recorded_signature",
    "sensitivity_table",
    "summary_tables",
    "tiou",
    "touches_any",
]
