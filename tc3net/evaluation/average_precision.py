"""The two definitions of average precision that the protocols use, from ranked true-positive flags.

They differ whenever a precision is lower than one further down the ranking: the interpolated one replaces it by the
best precision at that recall or beyond, the other takes it as it is. Ranking and matching happen before this.
"""

from __future__ import annotations

import numpy as np


def interpolated_average_precision(true_positive: np.ndarray, num_instances: int) -> np.ndarray:
    """Area under the precision envelope (Pascal VOC 2011; the ActivityNet toolkit and the public 3C-Net evaluator).

    The envelope at a rank is the highest precision at this rank or a lower one; each true positive adds a recall step
    of 1 / num_instances times the envelope.

    Args:
        true_positive: [..., n] bool, best-ranked detection first; every other detection is a false positive.
        num_instances: positives, also those that no detection found.

    Returns:
        [...] float64, 0 to 1; 0 without detections.

    Raises:
        ValueError: num_instances is not positive.
    """
    _require_instances(num_instances)
    hits = np.asarray(true_positive, bool)
    precision = np.cumsum(hits, axis=-1) / np.arange(1, hits.shape[-1] + 1)  # [..., n]
    envelope = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray(np.sum(envelope * hits, axis=-1) / num_instances)


def mean_precision_at_hits(
    true_positive: np.ndarray, num_instances: int, ignored: np.ndarray | None = None
) -> np.ndarray:
    """Sum of the precision at each true positive, over the number of instances (the THUMOS14 kit; no interpolation).

    Args:
        true_positive: [..., n] bool, best-ranked detection first.
        num_instances: positives, also those that no detection found.
        ignored: [n] or [..., n] bool, detections that are not false positives when they match nothing. A true
            positive counts whether or not it is ignored.

    Returns:
        [...] float64, 0 to 1; 0 without detections.

    Raises:
        ValueError: num_instances is not positive.
    """
    _require_instances(num_instances)
    hits = np.asarray(true_positive, bool)
    counted = np.ones_like(hits) if ignored is None else hits | ~np.asarray(ignored, bool)  # [..., n]
    rank = np.maximum(np.cumsum(counted, axis=-1), 1)  # 0 only ahead of the first counted one, where nothing is a hit
    precision = np.cumsum(hits, axis=-1) / rank
    return np.asarray(np.sum(precision * hits, axis=-1) / num_instances)


def _require_instances(num_instances: int) -> None:
    if num_instances < 1:
        raise ValueError(f"num_instances is {num_instances}; average precision needs at least one instance.")
