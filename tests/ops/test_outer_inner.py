"""Outer-inner contrast: closed forms, the float64 oracle with its gradient, and what must not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tc3net.ops.outer_inner import contrast_of, heat_of
from tests.support import boundary_oracle
from tests.support.term_cases import ragged


def contrast(heat: Any, *spans: tuple[float, float]) -> np.ndarray:
    start, end = (tf.constant(values, tf.float64) for values in zip(*spans))
    return contrast_of(ragged([np.array(heat, float)]), tf.zeros(len(spans), tf.int64), start, end).numpy()


BOX = [0.0] * 10 + [1.0] * 8 + [0.0] * 10  # an action in segments 10 to 17


def test_exact_boundaries_have_a_contrast_of_0_and_shifted_ones_what_they_miss_and_touch() -> None:
    """Shifted by d, up to the border b = 8/4: d/8 of the inside is cold, and d of the border's 2b = 4 is warm."""
    np.testing.assert_allclose(contrast(BOX, (10, 18)), [0.0], atol=1e-12)
    for d in (0.25, 0.5, 1.0, 1.75, 2.0):
        expected = 0.5 * (d / 4 + d / 8)
        np.testing.assert_allclose(contrast(BOX, (10 + d, 18 + d), (10 - d, 18 - d)), [expected] * 2, atol=1e-6)
    narrow, wide = contrast(BOX, (11, 17), (9, 19))  # borders of 1.5 and 2.5 segments
    assert narrow == pytest.approx(0.5 * 2 / 3) and wide == pytest.approx(0.5 * 0.2)
    assert contrast(BOX, (2, 4))[0] == 0.5  # nothing stands out
    assert contrast(1 - np.array(BOX), (10, 18))[0] == 1.0  # the worst there is


def test_a_border_is_one_segment_at_least() -> None:
    spike = [0.0, 0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(contrast(spike, (3, 4), (3.25, 3.75)), [0.0, 0.5 * (0.5 / 2)], atol=1e-6)


def test_beyond_the_video_there_is_no_heat_and_the_border_counts_it() -> None:
    begins = [1.0, 1, 1, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(contrast(begins, (0, 4), (-1, 4)), [0.0, 0.5 * (1 - 4 / 5)], atol=1e-6)
    np.testing.assert_allclose(contrast(begins[::-1], (4, 8), (4, 12)), [0.0, 0.25], atol=1e-6)
    np.testing.assert_allclose(contrast([0.5] * 6, (0, 6), (-5, -2), (8, 9)), [0.25, 0.5, 0.5], atol=1e-6)


def test_heat_is_the_track_between_its_minimum_and_maximum_and_0_in_a_constant_one() -> None:
    tracks = ragged([np.array([1.0, 3, 2]), np.array([5.0]), np.array([-2.0, -4]), np.full(4, 0.1)])
    assert heat_of(tracks).to_list() == [[0, 1, 0.5], [0], [1, 0], [0] * 4]


TRACKS = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1, width=32))


@settings(deadline=None, max_examples=15)
@given(TRACKS, st.lists(st.tuples(st.floats(-5, 35), st.floats(0.1, 20)), min_size=1, max_size=6))
def test_it_is_the_oracles_and_lies_in_0_to_1(heat: np.ndarray, spans: list[tuple[float, float]]) -> None:
    spans = [(start, start + width) for start, width in spans]
    found = contrast(heat, *spans)
    np.testing.assert_allclose(found, [boundary_oracle.contrast(heat, *span) for span in spans], atol=1e-5)
    assert np.all((found > -1e-9) & (found < 1 + 1e-9))


@pytest.mark.parametrize("seed", range(3))
def test_its_gradient_is_the_oracles_and_none_reaches_the_heat(seed: int) -> None:
    """Two tracks, intervals with borders of 1 and of a quarter, some beyond the video."""
    rng = np.random.default_rng(seed)
    tracks = [rng.random(40), rng.random(7)]
    track = rng.integers(0, 2, 60)
    start = np.where(track == 0, rng.uniform(-2, 38, 60), rng.uniform(-2, 6, 60))
    end = start + rng.uniform(0.3, 12, 60)
    heat = ragged(tracks)
    x1, x2 = tf.constant(start), tf.constant(end)
    with tf.GradientTape() as tape:
        tape.watch((x1, x2, heat.flat_values))
        total = tf.reduce_sum(contrast_of(heat, tf.constant(track), x1, x2))
    *found, by_heat = tape.gradient(total, [x1, x2, heat.flat_values])
    float32 = [part.astype(np.float32).astype(float) for part in tracks]
    wanted = [boundary_oracle.contrast_gradient(float32[i], a, b) for i, a, b in zip(track, start, end)]
    np.testing.assert_allclose(np.stack(found, axis=1), wanted, atol=1e-5)
    assert by_heat is None
    step = 1e-4  # and the oracle's own derivative is that of its value
    for i, a, b, (by_start, by_end) in zip(track, start, end, wanted):
        kinks = np.array([a, b, a - max((b - a) / 4, 1), b + max((b - a) / 4, 1)])
        if np.abs(kinks - np.round(kinks)).min() > 2 * step and abs(b - a - 4) > 4 * step:
            h = float32[i]
            slope = boundary_oracle.contrast(h, a + step, b) - boundary_oracle.contrast(h, a - step, b)
            assert slope / (2 * step) == pytest.approx(by_start, abs=1e-4)
            slope = boundary_oracle.contrast(h, a, b + step) - boundary_oracle.contrast(h, a, b - step)
            assert slope / (2 * step) == pytest.approx(by_end, abs=1e-4)


def test_other_tracks_change_no_bit() -> None:
    rng = np.random.default_rng(4)
    tracks = [rng.random(n) for n in (5, 300, 17)]
    start = tf.constant(rng.uniform(0, 16, 50))
    end = start + 1.7
    alone = contrast_of(ragged(tracks[2:]), tf.zeros(50, tf.int64), start, end)
    strange = np.full(9, np.nan)
    beside = contrast_of(ragged([tracks[1], strange, *tracks]), tf.fill([50], tf.constant(4, tf.int64)), start, end)
    np.testing.assert_array_equal(alone, beside)
