"""Error analysis in one call: types of errors, and sensitivity to characteristics of the instances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tc3net.evaluation.error_analysis import ErrorAnalysis, analyse_errors
from tc3net.evaluation.localization import Matches
from tc3net.evaluation.sensitivity import SensitivityAnalysis, analyse_sensitivity
from tc3net.intervals.columns import GroundTruth


@dataclass(frozen=True)
class Analysis:
    """Both analyses of one set of detections under one protocol; see the two classes."""

    errors: ErrorAnalysis
    sensitivity: SensitivityAnalysis


def analyse(matches: Matches, truth: GroundTruth, duration_s: np.ndarray) -> Analysis:
    """Analyses the errors of detections.

    Args:
        matches: from `match_localization`, with the same ground truth.
        truth: m instances in V videos.
        duration_s: [V] seconds by video of the ground truth; NaN where unknown.
    """
    return Analysis(analyse_errors(matches), analyse_sensitivity(matches, truth, duration_s))
