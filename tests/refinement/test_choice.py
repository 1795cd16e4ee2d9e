"""Which finds become pseudo segments, and the targets they give: by hand, and against loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.refinement.choice import ACTION, OTHER, UNSURE, PseudoConfig, PseudoSegments, choose, finds_of, targets_of

# One video of 20 segments, two cells a segment: (class, start, end, score).
FOUND = [(1, 0, 4, 0.9), (1, 1, 3, 0.8), (1, 10, 14, 0.5), (1, 20, 24, 0.4), (1, 30, 33, 0.1), (2, 6, 8, 0.3)]


def chosen(counts: dict[int, float] = {}, found: list[Any] = FOUND, **choices: Any) -> PseudoSegments:  # noqa: B006
    label, start, end, score = map(np.array, zip(*found))
    known = np.full((1, 3), np.nan)
    for of, count in counts.items():
        known[0, of] = count
    columns = {
        "video": np.zeros(len(found), np.int64), "label": label, "start_cell": start, "end_cell": end, "score": score,
    }  # fmt: skip
    return choose(
        columns,
        cells_per_segment=2,
        video_ids=("a",),
        num_segments=np.array([20]),
        counts=known,
        config=PseudoConfig(**choices),
    )


def states(found: PseudoSegments, label: int = 1) -> list[int]:
    return found.state[found.label == label].tolist()


def test_a_find_is_what_no_better_one_overlaps() -> None:
    start, end, score = np.array([0.0, 1, 4, 2]), np.array([4.0, 3, 6, 5]), np.array([0.5, 0.9, 0.7, 0.8])
    assert finds_of(start, end, score, 0.0).tolist() == [1, 2]  # the one at 2 overlaps the best, the one at 0 too
    assert finds_of(start, end, score, 0.25).tolist() == [
        1,
        3,
        2,
    ]  # a quarter is not more than a quarter; the one at 0 has a half
    assert finds_of(start, end, score, 1.0).tolist() == [1, 3, 2, 0]
    assert finds_of(start[:2], end[:2], np.array([0.5, 0.5]), 0.0).tolist() == [0]  # the earlier of equal ones


def test_as_many_as_counted_else_by_score() -> None:
    found = chosen({1: 2})
    np.testing.assert_array_equal(found.start, [0, 5, 10, 15, 3])
    np.testing.assert_allclose(found.share, np.array([9, 5, 4, 1, 9]) / 9)
    assert states(found) == [ACTION, ACTION, OTHER, OTHER]
    assert states(chosen({1: 9})) == [ACTION] * 4  # fewer finds than instances
    assert states(chosen({2: 1})) == [ACTION, ACTION, OTHER, OTHER]  # 0.5 >= 0.5 * 0.9 > 0.4
    assert states(chosen({1: 1}, pseudo_selection="relative")) == [ACTION, ACTION, OTHER, OTHER]
    assert states(chosen(pseudo_share=0.1)) == [ACTION, ACTION, ACTION, ACTION]
    assert states(chosen({1: 1}, pseudo_unsure=1.5)) == [ACTION, UNSURE, UNSURE, OTHER]
    assert states(chosen({1: 2}, pseudo_max_tiou=1.0)) == [ACTION, ACTION, OTHER, OTHER, OTHER]  # the same find twice
    negative = chosen({1: 1}, [(1, 0, 4, -2.0), (1, 10, 14, -1.0)])
    assert negative.share.tolist() == [1, 0] and negative.start.tolist() == [5, 0]


def test_targets_by_hand() -> None:
    targets = targets_of(chosen({1: 1, 2: 1}, [(1, 1, 4, 1.0), (1, 10, 14, 0.5), (2, 0, 2, 1.0)]), PseudoConfig())
    np.testing.assert_array_equal(targets.first, [[-1, 0, 20]])
    np.testing.assert_array_equal(targets.target[:20], [0.5, 1, *[0] * 18])  # from cell 1: half of segment 0
    np.testing.assert_array_equal(targets.weight, 1)
    found = chosen({1: 1}, [(1, 0, 4, 1.0), (1, 10, 13, 0.5)], pseudo_unsure=1.0)
    targets = targets_of(found, PseudoConfig())
    np.testing.assert_array_equal(targets.weight, [*[1] * 5, 0, 0.5, *[1] * 13])
    # u: 0 in the action of full score; 0.5 in the other find, were it background; 0 elsewhere.
    weights = targets_of(chosen({1: 1}, [(1, 0, 4, 1.0), (1, 10, 14, 0.5)]), PseudoConfig(pseudo_uncertainty=2.0))
    np.testing.assert_allclose(weights.weight, [*[1] * 5, *[math.exp(-1)] * 2, *[1] * 13], rtol=1e-6)
    both = targets_of(chosen({1: 2}, [(1, 0, 4, 1.0), (1, 10, 14, 0.5)]), PseudoConfig(pseudo_uncertainty=2.0))
    np.testing.assert_allclose(both.weight, [*[1] * 5, *[math.exp(-1)] * 2, *[1] * 13], rtol=1e-6)


detections = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 9), st.integers(1, 20)), min_size=1, max_size=12
)


@settings(max_examples=40, deadline=None)
@given(detections, st.integers(1, 4), st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.5]))
def test_targets_against_loops(found: list[Any], count: int, unsure: float, uncertainty: float) -> None:
    rows = [(label, start, start + length, float(score)) for label, start, length, score in found]
    config = PseudoConfig(pseudo_unsure=unsure, pseudo_uncertainty=uncertainty)
    segments = chosen({0: count, 1: count, 2: count}, rows, pseudo_unsure=unsure)
    targets = targets_of(segments, config)
    for label in range(3):
        mine = [
            (a, b, r, s)
            for a, b, r, s, c in zip(segments.start, segments.end, segments.share, segments.state, segments.label)
            if c == label
        ]
        assert (targets.first[0, label] >= 0) == bool(mine)
        assert sum(s == ACTION for *_, s in mine) == min(count, len(mine))
        for (a, b, *_), (c, d, *_) in ((x, y) for i, x in enumerate(mine) for y in mine[:i]):
            assert b <= c or d <= a  # apart
        for t in range(20 if mine else 0):
            part = [(max(0.0, min(b, t + 1) - max(a, t)), r, s) for a, b, r, s in mine]
            y = max([p for p, _, s in part if s == ACTION], default=0)
            w = 1 if y else 1 - max([p for p, _, s in part if s == UNSURE], default=0)
            r = max(p * share for p, share, _ in part)
            w *= math.exp(-uncertainty * (y * (1 - r) + (1 - y) * r))
            place = targets.first[0, label] + t
            assert targets.target[place] == pytest.approx(y) and targets.weight[place] == pytest.approx(w, rel=1e-5)


def test_without_any_detection() -> None:
    columns = {name: np.zeros(0, np.int64) for name in ("video", "label", "start_cell", "end_cell", "score")}
    found = choose(
        columns, cells_per_segment=1, video_ids=("a", "b"), num_segments=np.array([3, 4]),
        counts=np.full((2, 3), np.nan), config=PseudoConfig(),
    )  # fmt: skip
    targets = targets_of(found, PseudoConfig())
    assert (targets.first == -1).all() and targets.first.shape == (2, 3) and not len(targets.target)


@pytest.mark.parametrize(
    ("name", "value"),
    [("pseudo_weight", 0.0), ("pseudo_share", 1.5), ("pseudo_max_tiou", -0.1), ("pseudo_unsure", -1.0),
     ("pseudo_uncertainty", float("nan"))],
)  # fmt: skip
def test_what_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"--{name}="):
        PseudoConfig(**{name: value})
