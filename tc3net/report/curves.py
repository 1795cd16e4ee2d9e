"""T-CAM curves small enough for a page: one byte per value, and extremes of neighbours where there are too many."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

MOST_POINTS = 1000
_LEVELS = 255


def packed(values: np.ndarray, most: int = MOST_POINTS) -> dict[str, Any]:
    """A curve for the page.

    Args:
        values: [s] T-CAM of one class, finite.
        most: more values than this are shown as lowest and highest of `group` neighbours.

    Returns:
        "group"; "low" and "high", the values of bytes 0 and 255; "data", base64 of [s] bytes where group is 1, else
        of [ceil(s / group), 2] bytes: lowest and highest of each group.
    """
    low, high = float(values.min()), float(values.max())
    group = -(-len(values) // most)
    points = values.astype(np.float64)
    if group > 1:
        full = np.pad(points, (0, -len(points) % group), mode="edge").reshape(-1, group)
        points = np.stack([full.min(axis=1), full.max(axis=1)], axis=1)
    scale = _LEVELS / (high - low) if high > low else 0.0
    levels = np.rint((points - low) * scale).astype(np.uint8)
    return {"group": group, "low": low, "high": high, "data": base64.b64encode(levels.tobytes()).decode()}
