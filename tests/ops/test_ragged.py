"""Reductions over time against float64 NumPy loops over single videos."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.ops import ragged

CLASSES = 3


@st.composite
def batches(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows [R, C] with many ties, and lengths [N], some 0."""
    lengths = np.asarray(draw(st.lists(st.integers(0, 20), min_size=1, max_size=9)))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    rows = rng.normal(size=(lengths.sum(), CLASSES))
    return (np.round(rows) if draw(st.booleans()) else rows).astype(np.float32), lengths


def videos_of(rows: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(rows.astype(np.float64), np.cumsum(lengths)[:-1])


def ragged_of(rows: np.ndarray, lengths: np.ndarray) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_lengths(tf.constant(rows), lengths)


@pytest.mark.parametrize("rounding", ["ceil", "floor"])
@settings(max_examples=40, deadline=None)
@given(batch=batches(), divisor=st.integers(1, 9))
def test_top_k_mean_is_the_mean_of_the_sorted_values(
    rounding: str, batch: tuple[np.ndarray, np.ndarray], divisor: int
) -> None:
    rows, lengths = batch
    expected = np.zeros((len(lengths), CLASSES))
    for n, video in enumerate(videos_of(rows, lengths)):
        if len(video):
            k = -(-len(video) // divisor) if rounding == "ceil" else max(1, len(video) // divisor)
            expected[n] = np.sort(video, axis=0)[::-1][:k].mean(axis=0)
    found = ragged.top_k_mean(ragged_of(rows, lengths), divisor=divisor, rounding=rounding)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(batch=batches())
def test_gradient_of_top_k_mean_goes_to_the_largest_values_and_ties_share(batch: tuple[np.ndarray, np.ndarray]) -> None:
    rows, lengths = batch
    variable = tf.constant(rows)
    upstream = np.arange(1.0, 1 + len(lengths) * CLASSES).reshape(-1, CLASSES).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        means = ragged.top_k_mean(tf.RaggedTensor.from_row_lengths(variable, lengths))
    found = tf.convert_to_tensor(tape.gradient(means, variable, upstream))
    expected = []
    for n, video in enumerate(videos_of(rows, lengths)):
        k = -(-len(video) // 8)
        weights = np.zeros_like(video)
        for c in range(CLASSES if k else 0):
            kth = np.sort(video[:, c])[::-1][k - 1]
            above, equal = video[:, c] > kth, video[:, c] == kth
            weights[:, c] = above + equal * (k - above.sum()) / equal.sum()
        expected.append(weights * upstream[n] / max(k, 1))
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(batch=batches(), divisor=st.integers(1, 9))
def test_what_only_cpus_can_do_gives_the_same_bits(batch: tuple[np.ndarray, np.ndarray], divisor: int) -> None:
    """Values and gradients, with ties, empty videos, and numbers beyond float32's in the place of padding."""
    rows, lengths = batch
    rows[::7] *= 1e38
    found = []
    for portable in (True, False):
        variable = tf.constant(rows)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            values = tf.RaggedTensor.from_row_lengths(variable, lengths)
            means = ragged.top_k_mean(values, divisor=divisor, portable=portable)
        found.append((means.numpy(), tf.convert_to_tensor(tape.gradient(means, variable)).numpy()))
    for sorted_, selected in zip(*found):
        np.testing.assert_array_equal(sorted_, selected)


def test_top_k_mean_of_many_videos_has_their_order() -> None:
    """More videos than groups of similar length, in no order of length."""
    lengths = np.random.default_rng(0).integers(1, 300, 50)
    rows = np.random.default_rng(1).normal(size=(lengths.sum(), CLASSES)).astype(np.float32)
    found = ragged.top_k_mean(ragged_of(rows, lengths))
    alone = [
        ragged.top_k_mean(ragged_of(v.astype(np.float32), np.array([len(v)])))[0] for v in videos_of(rows, lengths)
    ]
    np.testing.assert_allclose(found, alone, rtol=1e-5)


def test_a_plateau_gives_its_own_value_however_long_it_is() -> None:
    """So that classes with equal values stay equal: 11 times 0.125 weighted by 6/11 is not 0.75 in float32."""
    rows = np.full((11, CLASSES), 0.125, np.float32)
    rows[0, 0] = 0
    found = ragged.top_k_mean(ragged_of(rows, np.array([11])), divisor=2)
    np.testing.assert_array_equal(found, np.full((1, CLASSES), 0.125, np.float32))


def test_a_nan_is_not_hidden() -> None:
    rows = np.zeros((20, CLASSES), np.float32)
    rows[3, 1] = np.nan
    assert np.isnan(ragged.top_k_mean(ragged_of(rows, np.array([20]))).numpy()[0, 1])
    assert np.isnan(ragged.softmax_over_time(ragged_of(rows, np.array([20]))).flat_values.numpy()[:, 1]).all()


@settings(max_examples=40, deadline=None)
@given(batch=batches())
def test_sums_and_softmax(batch: tuple[np.ndarray, np.ndarray]) -> None:
    rows, lengths = batch
    values = ragged_of(rows, lengths)
    videos = videos_of(rows, lengths)
    np.testing.assert_allclose(
        ragged.sum_over_time(values.flat_values, values), [v.sum(axis=0) for v in videos], rtol=1e-5, atol=1e-5
    )
    exps = [np.exp(v - v.max(axis=0)) if len(v) else v for v in videos]
    np.testing.assert_allclose(ragged.exp_over_time(values), np.concatenate(exps), rtol=1e-5)
    softmax = np.concatenate([e / e.sum(axis=0) for e in exps])
    np.testing.assert_allclose(ragged.softmax_over_time(values).flat_values, softmax, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(batch=batches(), extra=st.integers(1, 5))
def test_median(batch: tuple[np.ndarray, np.ndarray], extra: int) -> None:
    lengths = batch[1] + extra
    values = np.random.default_rng(extra).normal(size=lengths.sum()).astype(np.float32)
    found = ragged.median_over_time(ragged_of(values, lengths))
    np.testing.assert_allclose(found, [np.median(v) for v in videos_of(values, lengths)], rtol=1e-6)


def test_padded_takes_the_videos_asked_for() -> None:
    values = ragged_of(np.arange(12, dtype=np.float32).reshape(6, 2), np.array([2, 0, 3, 1]))
    found = ragged.padded(values, tf.constant([2, 1]), -1.0)
    np.testing.assert_array_equal(found, [[[4.0, 5.0], [6.0, 7.0], [8.0, 9.0]], [[-1.0, -1.0]] * 3])
    assert ragged.padded(values, tf.constant([1]), 0.0).shape == (1, 1, 2)
