"""Losses, attention and centers against the float64 transcription of the paper, for every option; tolerance 1e-5."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net import losses
from tc3net.losses import LossConfig
from tc3net.losses.center import center_delta, update_centers
from tests.support import oracle

TOLERANCE = 1e-5  # relative, float32 against float64


def random_batch(seed: int, videos: int = 4, classes: int = 5, dim: int = 6) -> dict[str, Any]:
    """Float64 inputs; the first video has one segment, the second a single label, the last no label."""
    rng = np.random.default_rng(seed)
    lengths = [1, *rng.integers(2, 20, videos - 1)]
    labels = (rng.random((videos, classes)) < 0.4).astype(float)
    labels[:, 0] = np.maximum(labels[:, 0], labels.sum(axis=1) == 0)
    labels[1] = np.eye(classes)[1]
    labels[-1] = 0
    # Counts up to 12 in videos down to one segment: both sides of "below_length" occur.
    counts = labels * rng.integers(1, 12, labels.shape)
    return {
        "tcams": [rng.normal(size=(s, classes)) * 2 for s in lengths],
        "features": [rng.random((s, dim)) for s in lengths],
        "labels": labels,
        "counts": counts,
        "known": rng.random(labels.shape) < 0.7,
        "full": np.array([True, *(rng.random(videos - 1) < 0.7)]),
        "centers": rng.normal(size=(classes, dim)),
    }


def ragged(parts: list[np.ndarray], dtype: Any = np.float32) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_lengths(np.concatenate(parts).astype(dtype), [len(p) for p in parts])


def value(term: losses.Term) -> tf.Tensor:
    return tf.math.divide_no_nan(term.total, term.weight**term.power)


def gradient_of(function: Any, *parts: list[np.ndarray]) -> list[np.ndarray]:
    """Loss gradients with respect to ragged inputs, as concatenated rows."""
    tensors = [ragged(p) for p in parts]
    with tf.GradientTape() as tape:
        flats = [t.flat_values for t in tensors]
        for flat in flats:
            tape.watch(flat)
        loss = function(*[t.with_flat_values(f) for t, f in zip(tensors, flats)])
    return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, flats)]


def expected_gradient(function: Any, parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([oracle.numerical_gradient(function, part) for part in parts])


@pytest.mark.parametrize(("seed", "divisor"), [(0, 8), (1, 8), (2, 3), (3, 1)])
def test_classification_loss_and_gradient_agree_with_the_paper(seed: int, divisor: int) -> None:
    batch = random_batch(seed)
    labels = batch["labels"].astype(np.float32)

    def loss(tcam: tf.RaggedTensor) -> tf.Tensor:
        return value(losses.classification_loss(tcam=tcam, labels=labels, top_k_divisor=divisor))

    expected = oracle.classification(batch["tcams"], batch["labels"], divisor)
    assert oracle.relative_error(loss(ragged(batch["tcams"])), expected) < TOLERANCE
    (found,) = gradient_of(loss, batch["tcams"])
    wanted = expected_gradient(lambda: oracle.classification(batch["tcams"], batch["labels"], divisor), batch["tcams"])
    assert oracle.relative_error(found, wanted) < TOLERANCE


CENTER_OPTIONS = list(
    itertools.product(("time", "class"), ("median", "mean"), ("videos", "pairs_squared"), (True, False))
)


@pytest.mark.parametrize(("axis", "threshold", "normalization", "multi_label"), CENTER_OPTIONS)
def test_center_loss_gradient_and_update_agree_with_the_paper(
    axis: str, threshold: str, normalization: str, multi_label: bool
) -> None:
    batch = random_batch(len(axis) + len(threshold), videos=5)
    config = LossConfig(attention_axis=axis, attention_threshold=threshold, center_normalization=normalization)
    options = {"axis": axis, "threshold": threshold, "normalization": normalization, "multi_label": multi_label}

    def center(features: tf.RaggedTensor, tcam: tf.RaggedTensor) -> losses.CenterLoss:
        return losses.center_loss(
            features=features,
            tcam=tcam,
            labels=batch["labels"].astype(np.float32),
            centers=tf.constant(batch["centers"], tf.float32),
            use_multi_label=multi_label,
            config=config,
        )

    def expected() -> tuple[float, np.ndarray]:
        return oracle.center(batch["features"], batch["tcams"], batch["labels"], batch["centers"], **options)

    found = center(ragged(batch["features"]), ragged(batch["tcams"]))
    wanted, delta = expected()
    assert oracle.relative_error(value(found.term), wanted) < TOLERANCE
    assert oracle.relative_error(center_delta(found.offset_sum, found.pair_count), delta) < TOLERANCE
    gradients = gradient_of(lambda x, c: value(center(x, c).term), batch["features"], batch["tcams"])
    for gradient, part in zip(gradients, ("features", "tcams")):
        assert oracle.relative_error(gradient, expected_gradient(lambda: expected()[0], batch[part])) < TOLERANCE


COUNT_OPTIONS = list(itertools.product(("time", "class"), ("all", "below_length"), ("relative", "absolute")))


@pytest.mark.parametrize(("axis", "positives", "error"), COUNT_OPTIONS)
def test_count_loss_and_gradient_agree_with_the_paper(axis: str, positives: str, error: str) -> None:
    batch = random_batch(11, videos=5)
    batch["counts"][1, 1], batch["known"][1, 1], batch["full"][1] = 1, True, True  # below the length in any case
    config = LossConfig(attention_axis=axis, count_positives=positives, count_error=error)

    def loss(tcam: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        terms = losses.count_loss(
            tcam=tcam,
            counts=tf.constant(batch["counts"], tf.float32),
            counts_known=tf.constant(batch["known"]),
            full_length=tf.constant(batch["full"]),
            config=config,
        )
        return value(terms[0]), value(terms[1])

    def expected() -> tuple[float, float]:
        return oracle.counting(
            batch["tcams"], batch["counts"], batch["known"], batch["full"], axis=axis, positives=positives, error=error
        )

    assert min(expected()) > 0  # both parts are exercised
    for part in (0, 1):
        assert oracle.relative_error(loss(ragged(batch["tcams"]))[part], expected()[part]) < TOLERANCE
        (found,) = gradient_of(lambda tcam, part=part: loss(tcam)[part], batch["tcams"])
        wanted = expected_gradient(lambda part=part: expected()[part], batch["tcams"])
        assert oracle.relative_error(found, wanted) < TOLERANCE


def all_values(batch: dict[str, Any], order: list[int]) -> np.ndarray:
    """Every loss value and center statistic of the batch, its videos in the given order."""
    config = LossConfig()
    tcam, features = (ragged([batch[k][i] for i in order]) for k in ("tcams", "features"))
    labels = tf.constant(batch["labels"][order], tf.float32)
    center = losses.center_loss(
        features=features, tcam=tcam, labels=labels, centers=tf.constant(batch["centers"], tf.float32), config=config
    )
    counts = losses.count_loss(
        tcam=tcam,
        counts=tf.constant(batch["counts"][order], tf.float32),
        counts_known=tf.constant(batch["known"][order]),
        full_length=tf.constant(batch["full"][order]),
        config=config,
    )
    terms = [losses.classification_loss(tcam=tcam, labels=labels), center.term, *counts]
    return np.concatenate(
        [[float(t.total) for t in terms], [float(t.weight) for t in terms], np.ravel(center.offset_sum)]
    )


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_order_of_videos_changes_nothing(seed: int, data: Any) -> None:
    batch = random_batch(seed)
    order = data.draw(st.permutations(range(4)))
    assert oracle.relative_error(all_values(batch, order), all_values(batch, [0, 1, 2, 3])) < TOLERANCE


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000), length=st.integers(1, 300))
def test_padding_changes_nothing(seed: int, length: int) -> None:
    """An unlabelled video without counts lengthens the padding of the others; it must not change any sum."""
    batch = random_batch(seed)
    alone = all_values(batch, [0, 1, 2])
    rng = np.random.default_rng(seed)
    batch["tcams"][3] = 100 * rng.normal(size=(length, 5))
    batch["features"][3] = 100 * rng.normal(size=(length, 6))
    batch["known"][3] = False
    assert oracle.relative_error(all_values(batch, [0, 1, 2, 3]), alone) < TOLERANCE


def test_classification_loss_of_equal_scores_is_log_classes() -> None:
    term = losses.classification_loss(tcam=ragged([np.zeros((5, 7))]), labels=tf.one_hot([3], 7))
    assert float(value(term)) == pytest.approx(math.log(7), rel=1e-6)


def test_classification_loss_pools_the_top_eighth() -> None:
    """16 segments: k = 2, so r = (4 + 2) / 2 = 3 for the class, 0 for the other; loss = log(1 + e^-3)."""
    tcam = np.zeros((16, 2))
    tcam[3, 0], tcam[9, 0] = 4, 2
    term = losses.classification_loss(tcam=ragged([tcam]), labels=tf.constant([[1.0, 0.0]]))
    assert float(value(term)) == pytest.approx(math.log1p(math.exp(-3)), rel=1e-6)


def test_count_of_a_flat_tcam_is_its_height() -> None:
    """Attention sums to 1 over time, so Eq. 9 of a constant T-CAM of height h is h, whatever the length."""
    tcam = ragged([np.full((9, 2), 3.0), np.full((4, 2), -1.0)])
    np.testing.assert_allclose(losses.predicted_counts(tcam), [[3, 3], [-1, -1]], rtol=1e-6)


def test_center_update_of_one_video_moves_half_of_the_learning_rate() -> None:
    """n_j = 1, so Δc = (c - f) / 2: from 0 with learning rate 0.1 the center moves to 0.05 f; absent classes stay."""
    centers = tf.Variable(np.zeros((3, 2), np.float32))
    offset = tf.constant([[0.0, 0.0], [-4.0, -8.0], [0.0, 0.0]])
    update_centers(centers, offset, tf.constant([0.0, 1.0, 0.0]), learning_rate=0.1)
    np.testing.assert_allclose(centers, [[0, 0], [0.2, 0.4], [0, 0]], rtol=1e-6)


def test_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    """Attention 0.1 0.2 0.3 0.4: median 0.25 keeps the upper two; the mean of 0.3 x1 and 0.4 x2 over 0.7."""
    tcam = np.log([[0.1], [0.2], [0.3], [0.4]])
    features = np.array([[1.0], [10.0], [100.0], [1000.0]])
    found = losses.aggregate_features(
        features=ragged([features]),
        tcam=ragged([tcam]),
        pairs=tf.constant([[0, 0]], tf.int64),
        attention_axis="time",
        attention_threshold="median",
    )
    assert float(found[0, 0]) == pytest.approx((30 + 400) / 0.7, rel=1e-6)


def test_a_batch_without_labels_or_counts_gives_zero_and_no_nan() -> None:
    batch = random_batch(0)
    batch["labels"][:], batch["known"][:] = 0, False
    found = all_values(batch, [0, 1, 2, 3])
    assert np.all(found == 0)


def test_no_gradient_flows_into_the_centers() -> None:
    batch = random_batch(4)
    centers = tf.constant(batch["centers"], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(centers)
        term = losses.center_loss(
            features=ragged(batch["features"]),
            tcam=ragged(batch["tcams"]),
            labels=tf.constant(batch["labels"], tf.float32),
            centers=centers,
            config=LossConfig(),
        ).term
    assert tape.gradient(value(term), centers) is None


def test_every_option_of_the_loss_is_covered_here() -> None:
    """A new choice must be added to the products above."""
    covered = {"attention_axis", "attention_threshold", "center_normalization", "count_positives", "count_error"}
    covered |= {"classification_tcams"}  # in test_model.py
    covered |= {"count_estimator"}  # in test_count_estimators.py
    found = {f.name for f in dataclasses.fields(LossConfig) if f.metadata["choices"]}
    assert found == covered
