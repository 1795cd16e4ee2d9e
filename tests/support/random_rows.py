"""Random ground truth and detections, full of ties, as rows for slow evaluators and as columns."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tc3net.intervals.columns import Detections, GroundTruth

VIDEOS = ("a", "b", "c")
CLASSES = ("Dive", "Throw")
SECONDS_PER_SEGMENT = 16 / 25


def columns(instances, ambiguous, detections) -> tuple[GroundTruth, Detections]:
    """Rows (video, class, start, end), (video, start, end), (video, class, start, end, score) as columns."""
    v, c, s, e = (np.array(column) for column in zip(*instances))
    av, as_, ae = np.array(ambiguous, np.float64).reshape(-1, 3).T
    dv, dc, ds, de, score = np.array(detections, np.float64).reshape(-1, 5).T
    truth = GroundTruth(CLASSES, VIDEOS, v, c, s, e, av.astype(np.int64), as_, ae)
    return truth, Detections(VIDEOS, dv.astype(np.int64), dc.astype(np.int64), ds, de, score)


@st.composite
def cases(draw):
    """Times on a coarse grid of one of three steps, so that ties, duplicates and exact thresholds are frequent."""
    step = draw(st.sampled_from([0.5, 0.1, SECONDS_PER_SEGMENT / 2]))

    def interval():
        return st.tuples(st.integers(0, 24), st.integers(0, 10)).map(lambda x: (x[0] * step, (x[0] + x[1]) * step))

    # Mostly one video and class: only there do detections compete for instances.
    video, label = st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from([0, 0, 0, 1])
    score = st.integers(0, 5).map(lambda x: x / 4)
    instances = draw(st.lists(st.tuples(video, label, interval()), min_size=1, max_size=12))
    ambiguous = draw(st.lists(st.tuples(video, interval()), max_size=2))
    detections = draw(st.lists(st.tuples(video, label, interval(), score), max_size=30))
    return (
        [(v, c, *i) for v, c, i in instances],
        [(v, *i) for v, i in ambiguous],
        [(v, c, *i, x) for v, c, i, x in detections],
    )
