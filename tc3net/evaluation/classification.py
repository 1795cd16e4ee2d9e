"""Video-level classification: mean average precision of the video scores over the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tc3net.common.errors import UserError
from tc3net.evaluation.average_precision import mean_precision_at_hits


@dataclass(frozen=True)
class ClassificationResult:
    """Average precisions as fractions from 0 to 1.

    Attributes:
        ap: [C] float64; NaN for classes of which no video is positive.
        map: mean over the other classes.
    """

    ap: np.ndarray
    map: float


def classification_map(scores: np.ndarray, labels: np.ndarray) -> ClassificationResult:
    """Ranks the videos by each class's score and averages the precision at the positive videos.

    The AP of a class is the sum of the precision at each of its positive videos over their number; no interpolation.
    Of equal scores the earlier video comes first. A video without any label is a negative of every class. Classes
    without a positive video are left out of the mean.

    Args:
        scores: [n, C], higher is more certain.
        labels: [n, C], 0 or 1 (or bool).

    Raises:
        UserError: the shapes differ or are not [n, C]; a score is NaN or infinite; a label is neither 0 nor 1; no
            video is positive for any class.
    """
    scores = np.asarray(scores, np.float64)
    labels = np.asarray(labels)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise UserError(
            f"Video scores have shape {scores.shape} and labels {labels.shape}; expected the same "
            "[videos, classes] for both. Score every labelled video for every class."
        )
    bad_rows = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad_rows):
        raise UserError(
            f"Scores of {len(bad_rows)} videos (first: row {bad_rows[0]}) are not finite; expected numbers. "
            "Look for NaN or Inf in the model's output for that video."
        )
    if not np.isin(labels, (0, 1)).all():
        raise UserError("Labels hold other values than 0 and 1; expected 1 where a class occurs in a video, else 0.")
    positives = labels.sum(axis=0, dtype=np.int64)  # [C]
    if not positives.any():
        raise UserError(
            f"None of the {len(labels)} videos is labelled with any class; expected at least one positive. "
            "Evaluate a split with video labels."
        )

    order = np.argsort(-scores, axis=0, kind="stable")  # [n, C]
    ranked = np.take_along_axis(labels, order, axis=0).astype(bool)
    ap = np.array(
        [mean_precision_at_hits(ranked[:, c], int(count)) if count else np.nan for c, count in enumerate(positives)]
    )
    return ClassificationResult(ap, float(np.nanmean(ap)))
