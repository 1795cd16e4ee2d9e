"""The definitions of average precision that the protocols use, from ranked true-positive flags.

The two differ whenever a precision is lower than one further down the ranking: the interpolated one replaces it by the
best precision at that recall or beyond, the other takes it as it is. Ranking and matching happen before this.
"""

from __future__ import annotations

import numpy as np


def interpolated_average_precision(
    true_positive: np.ndarray, num_instances: int, ignored: np.ndarray | None = None
) -> np.ndarray:
    """Area under the precision envelope (Pascal VOC 2011; the ActivityNet toolkit and the public 3C-Net evaluator).

    The envelope at a rank is the highest precision at this rank or a lower one; each true positive adds a recall step
    of 1 / num_instances times the envelope.

    Args:
        true_positive: [..., n] bool, best-ranked detection first; every other detection is a false positive.
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
    precision = np.cumsum(hits, axis=-1) / np.maximum(_counted(hits, ignored), 1)  # [..., n]
    return np.asarray(np.sum(_envelope(precision) * hits, axis=-1) / num_instances)


def normalized_average_precision(
    true_positive: np.ndarray, num_instances: int, standard: float, ignored: np.ndarray | None = None
) -> np.ndarray:
    """AP_N of DETAD (Alwassel et al. 2018, Eq. 1): interpolated AP as if the class had `standard` instances.

    Precision depends on how frequent a class is. Here the precision at a rank with recall R and F false positives is
    R N / (R N + F), with the same N for all, so that groups of instances of different size can be compared.

    Args:
        true_positive, num_instances, ignored: as for `interpolated_average_precision`.
        standard: N, above 0.

    Returns:
        [...] float64, 0 to 1.
    """
    _require_instances(num_instances)
    hits = np.asarray(true_positive, bool)
    true = np.cumsum(hits, axis=-1)
    false = _counted(hits, ignored) - true
    weighted = true * (standard / num_instances)
    precision = np.zeros(weighted.shape)
    np.divide(weighted, weighted + false, out=precision, where=true > 0)
    return np.asarray(np.sum(_envelope(precision) * hits, axis=-1) / num_instances)


def mean_precision_at_hits(
    true_positive: np.ndarray, num_instances: int, ignored: np.ndarray | None = None
) -> np.ndarray:
    """Sum of the precision at each true positive, over the number of instances (the THUMOS14 kit; no interpolation).

    Args:
        true_positive, num_instances, ignored: as for `interpolated_average_precision`.

    Returns:
        [...] float64, 0 to 1; 0 without detections.

    Raises:
        ValueError: num_instances is not positive.
    """
    _require_instances(num_instances)
    hits = np.asarray(true_positive, bool)
    precision = np.cumsum(hits, axis=-1) / np.maximum(_counted(hits, ignored), 1)
    return np.asarray(np.sum(precision * hits, axis=-1) / num_instances)


def _counted(hits: np.ndarray, ignored: np.ndarray | None) -> np.ndarray:
    """[..., n]: how many detections count up to and including each one."""
    counted = np.ones_like(hits) if ignored is None else hits | ~np.asarray(ignored, bool)
    return np.asarray(np.cumsum(counted, axis=-1))


def _envelope(precision: np.ndarray) -> np.ndarray:
    """[..., n]: the highest precision at each rank or beyond."""
    return np.asarray(np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1])


def _require_instances(num_instances: int) -> None:
    if num_instances < 1:
        raise ValueError(f"num_instances is {num_instances}; average precision needs at least one instance.")
