"""Random and hand-written T-CAMs, and what is detected in them.

Values are multiples of 1/8, so that plateaus and ties occur and every sum is exact in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tc3net.detection import DetectionConfig, detect

Found = tuple[int, int, int, int, float]  # video, class, first segment, end segment, score


@st.composite
def tcams(draw: Any, max_videos: int = 4) -> list[np.ndarray]:
    """T-CAMs [s, C] of a few videos, some of them empty."""
    classes = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(0, 12), min_size=1, max_size=max_videos))
    elements = st.integers(*draw(st.sampled_from([(-2, 2), (-8, 8), (-3, -1), (1, 3), (0, 1)])))
    values = draw(hnp.arrays(np.int8, (sum(lengths), classes), elements=elements))
    return np.split(values.astype(np.float32) / 8, np.cumsum(lengths)[:-1])


def ragged(videos: list[np.ndarray]) -> tf.RaggedTensor:
    rows = np.concatenate(videos).astype(np.float32)
    return tf.RaggedTensor.from_row_lengths(rows, np.array([len(v) for v in videos], np.int64))


def found(videos: list[np.ndarray], config: DetectionConfig = DetectionConfig(), divisor: int = 8) -> list[Found]:
    columns = {name: column.numpy() for name, column in detect(ragged(videos), config, divisor).items()}
    assert list(columns) == ["video", "label", "start_cell", "end_cell", "score"]
    return list(zip(*(column.tolist() for column in columns.values())))


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, np.newaxis]
