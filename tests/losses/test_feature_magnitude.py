"""UM's terms on the lengths of features: closed forms, the float64 oracle, and what must not matter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.losses import FeatureMagnitude, LossInputs, UniformBackground
from tc3net.losses.other_methods.feature_magnitude import by_magnitude, feature_magnitude_loss, uniform_background_loss
from tests.support import oracle, term_oracle
from tests.support.term_cases import gradients, ragged, random_videos, value

TOLERANCE = 1e-5
MARGIN = 1.3


def magnitude(features: Any, labels: Any, margin: float = MARGIN) -> Any:
    return feature_magnitude_loss(features, tf.constant(labels, tf.float32), margin)


def uniform(features: Any, tcams: Any, labels: Any) -> Any:
    return uniform_background_loss(features, tcams, tf.constant(labels, tf.float32))


@pytest.mark.parametrize("seed", range(2))
def test_values_and_gradients_agree_with_the_oracle(seed: int) -> None:
    batch = random_videos(seed, [1, 9, 2, 40, 5])
    x, c, y = batch["features"], batch["tcams"], batch["labels"]
    term = magnitude(ragged(x), y)
    assert float(term.weight) == 3  # one has no label, one no second segment
    wanted = term_oracle.feature_magnitude(x, y, MARGIN)
    assert float(value(term)) == pytest.approx(wanted, rel=TOLERANCE)
    (found,) = gradients(lambda x: magnitude(x, y), x)
    numerical = [oracle.numerical_gradient(lambda: term_oracle.feature_magnitude(x, y, MARGIN), part) for part in x]
    assert oracle.relative_error(found, np.concatenate(numerical)) < TOLERANCE

    assert float(value(uniform(ragged(x), ragged(c), y))) == pytest.approx(
        term_oracle.uniform_background(x, c, y), rel=TOLERANCE
    )
    at_features, at_tcam = gradients(lambda x, c: uniform(x, c, y), x, c)
    numerical = [oracle.numerical_gradient(lambda: term_oracle.uniform_background(x, c, y), part) for part in c]
    assert oracle.relative_error(at_tcam, np.concatenate(numerical)) < TOLERANCE
    assert np.all(at_features == 0)  # lengths choose, and are not trained by it


def test_magnitudes_of_a_video_by_hand() -> None:
    """18 segments along one axis: the 2 longest are 10 and 8, mean 9; the 4 shortest 0, 0, 0, 2, mean ½.

    With m = 12: (3 + ½)²; with m = 5, which the actions exceed, (0 + ½)².
    """
    x = np.zeros((18, 3))
    x[:, 1] = [5, 4, 10, 3, 3, 3, 0, 3, 3, 0, 3, 3, 8, 3, 3, 0, 2, 3]
    found = by_magnitude(ragged([x]), tf.ones([1, 2]))
    assert np.flatnonzero(found.action).tolist() == [2, 12]
    assert np.flatnonzero(found.background).tolist() == [6, 9, 15, 16]
    assert float(value(magnitude(ragged([x]), [[1, 0]], 12.0))) == pytest.approx(3.5**2)
    assert float(value(magnitude(ragged([x]), [[1, 0]], 5.0))) == pytest.approx(0.25)


@pytest.mark.parametrize("classes", [2, 5])
def test_a_background_of_no_class_has_the_smallest_loss(classes: int) -> None:
    """Equal scores: the entropy of 1/C, -(1/C ln 1/C + (1 - 1/C) ln (1 - 1/C)); any other scores give more."""
    x, share = np.ones((8, 2)), 1 / classes
    flat = uniform(ragged([x]), ragged([np.full((8, classes), 3.0)]), [[1] * classes])
    smallest = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    assert float(value(flat)) == pytest.approx(smallest, rel=1e-6)
    sure = np.zeros((8, classes))
    sure[:, 0] = 200.0
    term = uniform(ragged([x]), ragged([sure]), [[1] * classes])
    assert smallest < float(value(term)) < float("inf")


def test_features_of_zero_have_no_gradient_and_no_nan() -> None:
    (found,) = gradients(lambda x: magnitude(x, [[1.0]]), [np.zeros((9, 4))])
    assert np.all(found == 0)
    term = magnitude(ragged([np.zeros((9, 4))]), [[0.0]])
    assert float(term.total) == float(term.weight) == 0


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_order_of_videos_and_other_videos_change_nothing(seed: int, data: Any) -> None:
    batch = random_videos(seed, [13, 40, 1, 26])

    def values(chosen: Any) -> list[float]:
        x, c = (ragged([batch[name][i] for i in chosen]) for name in ("features", "tcams"))
        y = batch["labels"][list(chosen)]
        return [float(part) for term in (magnitude(x, y), uniform(x, c, y)) for part in term[:2]]

    order = data.draw(st.permutations(range(4)))
    np.testing.assert_allclose(values(order), values(range(4)), rtol=TOLERANCE)
    apart = np.sum([values([i]) for i in range(4)], axis=0)
    np.testing.assert_allclose(values(range(4)), apart, rtol=TOLERANCE)


@pytest.mark.parametrize("streams", [("i3d",), ("rgb", "flow", "audio")])
def test_they_read_all_streams_and_the_margin_follows_the_number_of_features(streams: tuple[str, ...]) -> None:
    batch = random_videos(4, [24, 43, 9])
    powers = range(1, len(streams) + 1)
    outputs = {"tcam_fused": ragged(batch["tcams"])}
    for i, name in zip(powers, streams):
        outputs[f"features_{name}"] = ragged([x**i for x in batch["features"]])
    labels = tf.constant(batch["labels"], tf.float32)
    inputs = LossInputs({"labels": labels}, outputs, dict.fromkeys(streams, tf.zeros([])), tf.constant(0))
    beside = [np.concatenate([x**i for i in powers], axis=1) for x in batch["features"]]
    margin = 100 * math.sqrt(5 * len(streams) / 2048)
    for term, wanted in (
        (FeatureMagnitude(1.0), term_oracle.feature_magnitude(beside, batch["labels"], margin)),
        (FeatureMagnitude(1.0, 3.0), term_oracle.feature_magnitude(beside, batch["labels"], 3.0)),
        (UniformBackground(1.0), term_oracle.uniform_background(beside, batch["tcams"], batch["labels"])),
    ):
        assert float(value(term.compute(inputs))) == pytest.approx(wanted, rel=TOLERANCE)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("kind", "name"),
    [(FeatureMagnitude, "feature_magnitude_weight"), (FeatureMagnitude, "feature_magnitude_margin"),
     (UniformBackground, "uniform_background_weight")],
)  # fmt: skip
def test_impossible_choices_are_refused(kind: Any, name: str, bad: float) -> None:
    with pytest.raises(UserError, match=f"--{name}="):
        kind(**{name: bad})
