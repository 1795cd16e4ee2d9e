"""Estimated numbers of instances against loops in float64, against what they are the mean of, and by hand."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tc3net.common.errors import UserError
from tc3net.detection import DetectionConfig, detect
from tc3net.losses import LossConfig, count_loss, count_share, estimated_counts, predicted_counts
from tc3net.losses.count_estimators import ESTIMATORS, SMALLEST_RANGE, count_instances, decision, window_reach
from tc3net.ops.filters import gaussian_over_time, shifted
from tests.support import oracle

TOLERANCE = 1e-5
OPTIONS = list(itertools.product(ESTIMATORS, (0.1, 0.4), (0.0, 0.8), (1, 4)))
# Three actions of 5 segments in 24, as a track of one class.
BUMPS = np.repeat([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0], [2, 5, 3, 5, 1, 5, 3])[:, None]


def ragged(videos: list[np.ndarray]) -> tf.RaggedTensor:
    rows = np.concatenate(videos).astype(np.float32)
    return tf.RaggedTensor.from_row_lengths(rows, np.array([len(v) for v in videos], np.int64))


def counts(
    videos: list[np.ndarray], estimator: str, temperature: float = 0.1, smoothing: float = 0.0, length: int = 5
) -> np.ndarray:
    options = {"temperature": temperature, "smoothing": smoothing, "length": length}
    return count_instances(ragged(videos), estimator, **options).numpy()


@functools.cache
def graph_of(estimator: str, temperature: float, smoothing: float, length: int, classes: int) -> Any:
    spec = tf.RaggedTensorSpec([None, None, classes], tf.float32, ragged_rank=1)

    @tf.function(input_signature=[spec], autograph=False)
    def estimate(tcam: tf.RaggedTensor) -> tf.Tensor:
        return count_instances(tcam, estimator, temperature=temperature, smoothing=smoothing, length=length)

    return estimate


def counts_by_graph(
    videos: list[np.ndarray], estimator: str, temperature: float = 0.1, smoothing: float = 0.0, length: int = 5
) -> np.ndarray:
    """`counts`, for many videos with the same settings."""
    return graph_of(estimator, temperature, smoothing, length, videos[0].shape[1])(ragged(videos)).numpy()


def random_videos(seed: int, lengths: tuple[int, ...] = (1, 7, 2, 13)) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, 3)) * 2 - 0.5 for length in lengths]


@pytest.mark.parametrize(("estimator", "temperature", "smoothing", "length"), OPTIONS)
def test_estimates_and_gradients_agree_with_the_oracle(
    estimator: str, temperature: float, smoothing: float, length: int
) -> None:
    videos, options = random_videos(3), {"temperature": temperature, "smoothing": smoothing, "length": length}
    expected = [oracle.instances(video, estimator, **options) for video in videos]
    assert oracle.relative_error(counts(videos, estimator, **options), expected) < TOLERANCE
    tcam = ragged(videos)
    upstream = np.random.default_rng(0).normal(size=(len(videos), 3))
    with tf.GradientTape() as tape:
        tape.watch(tcam.flat_values)
        total = tf.reduce_sum(count_instances(tcam, estimator, **options) * upstream.astype(np.float32))
    found = tf.convert_to_tensor(tape.gradient(total, tcam.flat_values))
    rows = []
    for video, weights in zip(videos, upstream):
        frozen = oracle.threshold_and_range(oracle.gaussian(video, smoothing))  # carry no gradient

        def value(video: Any = video, weights: Any = weights, frozen: Any = frozen) -> float:
            return float((oracle.instances(video, estimator, frozen=frozen, **options) * weights).sum())

        rows.append(oracle.numerical_gradient(value, video))
    # The gradient's mean over time is taken off, which costs digits where it is large.
    assert oracle.relative_error(found, np.concatenate(rows)) < 5 * TOLERANCE


@pytest.mark.parametrize(("seed", "smoothing"), [(3, 0.0), (4, 0.8), (5, 0.0)])
def test_windows_from_the_data_agree_with_the_oracle(seed: int, smoothing: float) -> None:
    videos, rng = random_videos(seed, (1, 40, 2, 90, 13)), np.random.default_rng(seed)
    true = rng.integers(0, 6, (5, 3)).astype(float)
    options = {"temperature": 0.1, "smoothing": smoothing, "length": 0}
    expected = [oracle.instances(video, "peaks", counts=n, **options) for video, n in zip(videos, true)]
    tcam, upstream = ragged(videos), rng.normal(size=(5, 3))
    with tf.GradientTape() as tape:
        tape.watch(tcam.flat_values)
        found = count_instances(tcam, "peaks", counts=tf.constant(true, tf.float32), **options)
        total = tf.reduce_sum(found * upstream.astype(np.float32))
    assert oracle.relative_error(found, expected) < TOLERANCE
    rows, reaches = [], set()
    for video, n, weights in zip(videos, true, upstream):
        smooth = oracle.gaussian(video, smoothing)
        eta, span = oracle.threshold_and_range(smooth)
        reach = oracle.own_reach(1 / (1 + np.exp(-(smooth - smooth.mean(axis=0) - eta) / (0.1 * span))), n)
        reaches |= set(reach)

        def value(
            video: Any = video, weights: Any = weights, frozen: Any = (eta, span), n: Any = n, reach: Any = reach
        ) -> float:
            counted = oracle.instances(video, "peaks", frozen=frozen, counts=n, reach=reach, **options)
            return float((counted * weights).sum())

        rows.append(oracle.numerical_gradient(value, video))
    assert len(reaches) > 4
    gradient = tf.convert_to_tensor(tape.gradient(total, tcam.flat_values))
    assert oracle.relative_error(gradient, np.concatenate(rows)) < 5 * TOLERANCE


def test_windows_follow_the_length_of_the_instances() -> None:
    """As many equal actions as annotated are counted right, however long they are; a fixed window counts long ones
    more than once."""
    for length in (2, 5, 20):
        track = np.tile(np.repeat([0.0, 1.0], [3 * length, length]), 3)[:, None]
        found = count_instances(
            ragged([track]), "peaks", temperature=0.02, smoothing=0.0, length=0, counts=tf.constant([[3.0]])
        )
        assert float(found[0, 0]) == pytest.approx(3, rel=0.25)
        assert counts([track], "peaks", 0.02, length=5)[0, 0] == pytest.approx({2: 3, 5: 4.1, 20: 13}[length], rel=0.05)
    flat = tf.constant(np.zeros((400, 1)), tf.float32)
    above = tf.RaggedTensor.from_row_lengths(tf.concat([flat - 5, flat + 5, flat[:0]], 0), [400, 400, 0])
    assert window_reach(above, tf.constant([[9.0], [0.0], [2.0]])).numpy().tolist() == [[1], [32], [1]]


def test_neither_other_videos_nor_unknown_counts_change_a_window() -> None:
    videos, rng = random_videos(6, (1, 9, 30, 4)), np.random.default_rng(6)
    true, known = rng.integers(0, 4, (4, 3)), rng.random((4, 3)) < 0.8
    config = LossConfig(count_estimator="peaks", count_length=0, count_error="log", count_tolerance=0.2)
    whole = loss_of(videos, true, known, config)
    order = [2, 0, 3, 1]
    moved = loss_of([videos[i] for i in order], true[order], known[order], config)
    np.testing.assert_allclose(moved, whole, rtol=1e-5)
    parts = sum(loss_of(videos[i : i + 2], true[i : i + 2], known[i : i + 2], config) for i in (0, 2))
    np.testing.assert_allclose(whole, parts, rtol=1e-5)
    unknown = np.where(known, true, -1)  # what is not known is stored as -1
    np.testing.assert_allclose(loss_of(videos, unknown, known, config), whole, rtol=1e-6)


def test_a_count_within_the_tolerance_is_right() -> None:
    videos, true, known = [BUMPS], np.array([[6]]), np.array([[True]])
    error = abs(math.log(4 / 7))
    assert loss_of(videos, true, known, config_of_edges(0.0))[0, 0] == pytest.approx(error, rel=1e-3)
    assert loss_of(videos, true, known, config_of_edges(0.25))[0, 0] == pytest.approx(error - 0.25, rel=1e-3)
    assert loss_of(videos, true, known, config_of_edges(0.6))[0, 0] == 0
    for choices in ({"count_tolerance": 0.1}, {"count_length": 0}, {"count_estimator": "mass", "count_length": 0}):
        with pytest.raises(UserError, match=r"--count_(tolerance|length)="):
            LossConfig(**choices)


def config_of_edges(tolerance: float) -> LossConfig:
    return LossConfig(count_estimator="edges", count_error="log", count_temperature=0.02, count_tolerance=tolerance)


TRACKS = hnp.arrays(np.int8, st.integers(1, 9), elements=st.integers(-8, 8))


@settings(deadline=None, max_examples=40)
@given(track=TRACKS, temperature=st.sampled_from([0.1, 0.3, 1.0]))
def test_edges_is_the_mean_number_of_runs_above_one_random_threshold(track: np.ndarray, temperature: float) -> None:
    """Between two neighbouring values of p the runs stay the same; the threshold lies there with their difference."""
    video = track[:, None] / 8
    p = tf.sigmoid(decision(ragged([video]), temperature).flat_values).numpy()[:, 0].astype(float)
    levels = np.unique(np.concatenate([[0.0], p]))
    expected = 0.0
    for low, high in zip(levels, levels[1:]):
        above = np.concatenate([[False], p > low])
        expected += (high - low) * np.sum(above[1:] & ~above[:-1])
    assert counts_by_graph([video], "edges", temperature)[0, 0] == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=30)
@given(track=TRACKS, temperature=st.sampled_from([0.1, 0.3, 1.0]))
def test_runs_is_the_mean_number_of_runs_above_a_threshold_per_segment(track: np.ndarray, temperature: float) -> None:
    video = track[:, None] / 8
    p = tf.sigmoid(decision(ragged([video]), temperature).flat_values).numpy()[:, 0].astype(float)
    expected = 0.0
    for above in itertools.product((0, 1), repeat=len(p)):
        chance = np.prod(np.where(above, p, 1 - p))
        expected += chance * sum(now and not before for before, now in zip((0, *above), above))
    assert counts_by_graph([video], "runs", temperature)[0, 0] == pytest.approx(expected, rel=1e-4)


@settings(deadline=None, max_examples=25)
@given(track=hnp.arrays(np.int8, st.integers(2, 40), elements=st.sampled_from([-3, -2, -1, 1, 2, 3])))
def test_a_sharp_threshold_counts_the_detections(track: np.ndarray) -> None:
    """-3 and 3 are always there, so that the midpoint is 0, where no value lies."""
    video = np.concatenate([[3, -3], track])[:, None].astype(float)
    found = detect(ragged([video]), DetectionConfig(class_filter="all"))["video"]
    for estimator in ("edges", "runs"):
        assert counts_by_graph([video], estimator, 0.01)[0, 0] == pytest.approx(len(found), rel=1e-5)


def test_three_rectangular_bumps() -> None:
    """Sharp: p is 0 or 1. In windows of 5, a plateau of 5 alone has the peaks 1/3 + 1/4 + 1/5 + 1/4 + 1/3; where the
    next one begins after a gap of 1, the window of its last segment holds 4 high segments, not 3."""
    for estimator, expected in (("edges", 3), ("runs", 3), ("mass", 3), ("peaks", 41 / 10 - 2 / 12)):
        assert counts([BUMPS], estimator, 0.02)[0, 0] == pytest.approx(expected, rel=1e-5), estimator
    low = 1 / (1 + math.exp(5))  # p of the background at the default temperature
    assert counts([BUMPS], "edges")[0, 0] == pytest.approx(low + 3 * (1 - 2 * low), rel=1e-5)
    spikes = np.zeros((20, 1))
    spikes[[2, 9, 17]] = 1
    assert counts([spikes], "peaks", 0.02)[0, 0] == pytest.approx(3, rel=1e-5)
    assert counts([-spikes], "edges", 0.02)[0, 0] == pytest.approx(4, rel=1e-5)  # three gaps make four runs


def test_a_flat_tcam_has_a_stated_count() -> None:
    """p = 1/2 everywhere, whatever the height."""
    videos = [np.full((9, 2), 3.0), np.full((1, 2), -1.0), np.zeros((4, 2))]
    np.testing.assert_allclose(counts(videos, "edges"), [[0.5, 0.5]] * 3)
    np.testing.assert_allclose(counts(videos, "runs")[:, 0], [0.5 + 8 / 4, 0.5, 0.5 + 3 / 4])
    np.testing.assert_allclose(counts(videos, "mass")[:, 0], [9 / 10, 1 / 10, 4 / 10], rtol=1e-6)
    np.testing.assert_allclose(
        counts(videos, "peaks", length=3)[:, 0], [0.5 * (7 / 3 + 1), 0.5, 0.5 * (2 / 3 + 1)], rtol=1e-6
    )


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_are_finite_also_of_constant_single_and_missing_segments(estimator: str, smoothing: float) -> None:
    tiny = np.full((6, 2), 7.0) + 1e-7 * np.arange(12).reshape(6, 2)  # constant but for rounding
    tcam = ragged([np.full((5, 2), 100.0), np.zeros((1, 2)), np.zeros((0, 2)), tiny, np.zeros((0, 2))])
    with tf.GradientTape() as tape:
        tape.watch(tcam.flat_values)
        found = count_instances(tcam, estimator, temperature=0.1, smoothing=smoothing, length=3)
    gradient = tf.convert_to_tensor(tape.gradient(found, tcam.flat_values)).numpy()
    assert np.isfinite(found.numpy()).all() and np.isfinite(gradient).all()
    assert np.abs(gradient).max() <= 2 / (4 * 0.1 * SMALLEST_RANGE) * (1 if estimator != "peaks" else 5)
    assert found.shape == (5, 2) and not found.numpy()[[2, 4]].any()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), estimator=st.sampled_from(ESTIMATORS), data=st.data())
def test_neither_the_other_videos_nor_scale_and_offset_change_an_estimate(seed: int, estimator: str, data: Any) -> None:
    videos = random_videos(seed, (1, 9, 30, 4))
    alone = np.concatenate([counts_by_graph([video], estimator, smoothing=0.7) for video in videos])
    order = data.draw(st.permutations(range(4)))
    np.testing.assert_allclose(
        counts_by_graph([videos[i] for i in order], estimator, smoothing=0.7), alone[order], rtol=1e-5
    )
    moved = [video * 8 - 64 for video in videos]
    np.testing.assert_allclose(counts_by_graph(moved, estimator, smoothing=0.7), alone, rtol=1e-3)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_gradient_moves_the_offset_of_a_tcam(estimator: str) -> None:
    tcam = ragged(random_videos(4))
    with tf.GradientTape() as tape:
        tape.watch(tcam.flat_values)
        found = count_instances(tcam, estimator, temperature=0.1, smoothing=0.0, length=5)
    gradient = tf.convert_to_tensor(tape.gradient(found, tcam.flat_values))
    assert np.abs(gradient).max() > 0.01
    np.testing.assert_allclose(tcam.with_flat_values(gradient).to_tensor().numpy().sum(axis=1), 0, atol=1e-5)


def test_smoothing_removes_jitter_but_no_action() -> None:
    rng = np.random.default_rng(0)
    noisy = BUMPS + 0.35 * rng.normal(size=BUMPS.shape)
    rough, smooth = (counts([noisy], "edges", smoothing=s)[0, 0] for s in (0.0, 1.0))
    assert abs(smooth - 3) < 0.5 < abs(rough - 3)


def loss_of(videos: list[np.ndarray], true: np.ndarray, known: np.ndarray, config: LossConfig) -> np.ndarray:
    terms = count_loss(
        tcam=ragged(videos),
        counts=tf.constant(true, tf.float32),
        counts_known=tf.constant(known),
        full_length=tf.ones([len(videos)], tf.bool),
        config=config,
    )
    return np.array([[float(term.total), float(term.weight)] for term in terms])


@pytest.mark.parametrize("error", ["relative", "absolute", "log"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_loss_of_a_batch_is_the_sum_over_its_replicas(estimator: str, error: str) -> None:
    videos, rng = random_videos(8, (1, 12, 5, 20)), np.random.default_rng(1)
    true, known = rng.integers(0, 4, (4, 3)), rng.random((4, 3)) < 0.8
    config = LossConfig(count_estimator=estimator, count_error=error)
    whole = loss_of(videos, true, known, config)
    parts = sum(loss_of(videos[i : i + 2], true[i : i + 2], known[i : i + 2], config) for i in (0, 2))
    np.testing.assert_allclose(whole, parts, rtol=1e-5)
    expected = [0.0, 0.0]
    for video, n, usable in zip(videos, true, known):
        m = oracle.instances(video, estimator)
        errors = {
            "relative": np.abs(m - n) / np.maximum(n, 1),
            "absolute": np.abs(m - n),
            "log": np.abs(np.log((1 + m) / (1 + n))),
        }[error]
        expected[0] += errors[usable & (n > 0)].sum()
        expected[1] += m[usable & (n == 0)].sum()
    np.testing.assert_allclose(whole[:, 0], expected, rtol=1e-5)


def test_the_papers_estimate_is_the_default() -> None:
    tcam = ragged(random_videos(0))
    np.testing.assert_array_equal(estimated_counts(tcam, LossConfig()), predicted_counts(tcam))
    with pytest.raises(UserError, match="--count_error=log with --count_estimator=attention"):
        LossConfig(count_error="log")


def test_the_weight_of_the_counting_loss_waits_then_rises() -> None:
    assert count_share(LossConfig(), tf.constant(0)) == 1.0
    config = LossConfig(count_start_step=10, count_ramp_steps=3)
    shares = [float(count_share(config, tf.constant(step, tf.int64))) for step in (0, 9, 10, 11, 12, 13, 99)]
    assert shares == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    sudden = LossConfig(count_start_step=10)
    assert [float(count_share(sudden, tf.constant(step))) for step in (9, 10, 11)] == [0, 1, 1]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), steps=st.integers(-7, 7), sigma=st.sampled_from([0.5, 1.0, 2.0]))
def test_shifting_and_smoothing_stay_inside_a_video(seed: int, steps: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    videos = [rng.normal(size=(length, 2)) for length in rng.integers(0, 8, 5)]
    tcam = ragged(videos)
    found = tf.RaggedTensor.from_row_splits(
        shifted(tcam.flat_values, tcam.value_rowids(), steps, fill=9.0), tcam.row_splits
    )
    smooth = gaussian_over_time(tcam, sigma)
    for index, video in enumerate(videos):
        moved = [video[t - steps] if 0 <= t - steps < len(video) else np.full(2, 9.0) for t in range(len(video))]
        np.testing.assert_allclose(found[index], np.reshape(moved, (-1, 2)), rtol=1e-6)
        np.testing.assert_allclose(smooth[index], oracle.gaussian(video, sigma), rtol=1e-4, atol=1e-5)
