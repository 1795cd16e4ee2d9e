"""W-TALC's co-activity similarity: closed forms, the float64 oracle, and what must not matter."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.losses import CoActivity, LossInputs
from tc3net.losses.other_methods.co_activity import co_activity_loss
from tests.support import oracle, term_oracle
from tests.support.replicas import strategy_of
from tests.support.term_cases import gradients, ragged, random_videos, value

TOLERANCE = 1e-5
BIG = 200.0  # attention on one segment alone


def loss(features: Any, tcams: Any, labels: Any) -> Any:
    return co_activity_loss(features, tcams, tf.cast(labels, tf.float32))


def of(batch: dict[str, Any], order: Any = slice(None)) -> tuple[float, float]:
    """Total and weight of some videos of a batch."""
    chosen = list(range(len(batch["labels"])))[order] if isinstance(order, slice) else list(order)
    term = loss(
        ragged([batch["features"][i] for i in chosen]), ragged([batch["tcams"][i] for i in chosen]),
        batch["labels"][chosen],
    )  # fmt: skip
    return float(term.total), float(term.weight)


@pytest.mark.parametrize("seed", range(2))
def test_value_and_gradients_agree_with_the_oracle(seed: int) -> None:
    batch = random_videos(seed, [1, 7, 2, 5, 6])
    expected = term_oracle.co_activity(batch["features"], batch["tcams"], batch["labels"])
    total, weight = of(batch)
    present = batch["labels"].sum(axis=0)
    assert weight == (present * (present - 1) / 2).sum() > 1
    assert expected > 0 and total / weight == pytest.approx(expected, rel=TOLERANCE)
    found = gradients(lambda x, c: loss(x, c, batch["labels"]), batch["features"], batch["tcams"])

    def again() -> float:
        return term_oracle.co_activity(batch["features"], batch["tcams"], batch["labels"])

    for gradient, name in zip(found, ("features", "tcams")):
        wanted = np.concatenate([oracle.numerical_gradient(again, part) for part in batch[name]])
        assert oracle.relative_error(gradient, wanted) < TOLERANCE, name


@pytest.mark.parametrize(
    ("action", "other_action", "background", "expected"),
    [
        ([1, 0], [1, 0], [0, 1], 0.0),  # alike where they act, unlike elsewhere: 0 - 1 + ½ < 0
        ([1, 0], [1, 0], [1, 0], 0.5),  # nothing differs: 0 - 0 + ½
        ([1, 0], [0, 1], [1, 0], 1.0),  # d(H, H') = 1; d(H, L') = 0 and d(L, H') = 1: ½ (1 + ½) + ½ (½)
    ],
)
def test_two_videos_with_attention_on_one_segment(
    action: list[int], other_action: list[int], background: list[int], expected: float
) -> None:
    """Two segments, attention 1 on the first: H is its feature, L the other's."""
    features = ragged([np.array([action, background], float), np.array([other_action, background], float)])
    tcams = ragged([np.array([[BIG], [0.0]])] * 2)
    term = loss(features, tcams, [[1], [1]])
    assert float(term.weight) == 1
    assert float(value(term)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("labels", [np.zeros((3, 2)), np.eye(3)[:, :2], [[1, 0], [0, 1], [0, 0]]])
def test_without_a_pair_there_is_nothing_and_no_nan(labels: Any) -> None:
    batch = random_videos(0, [4, 1, 5], classes=2)
    term = loss(ragged(batch["features"]), ragged(batch["tcams"]), labels)
    assert float(term.total) == 0 and float(term.weight) == 0
    found = gradients(lambda x, c: loss(x, c, labels), batch["features"], batch["tcams"])
    assert all(np.all(gradient == 0) for gradient in found)


def test_features_of_zero_and_videos_of_one_segment_give_finite_gradients() -> None:
    batch = random_videos(0, [1, 1, 4, 3])
    batch["features"][0][:], batch["features"][2][:] = 0, 0
    batch["labels"][:] = 1
    found = gradients(lambda x, c: loss(x, c, batch["labels"]), batch["features"], batch["tcams"])
    assert all(np.all(np.isfinite(gradient)) for gradient in found)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_order_of_videos_and_videos_without_label_change_nothing(seed: int, data: Any) -> None:
    batch = random_videos(seed, [3, 9, 1, 6, 5])
    order = data.draw(st.permutations(range(5)))
    np.testing.assert_allclose(of(batch, order), of(batch), rtol=TOLERANCE)
    np.testing.assert_allclose(of(batch), of(batch, range(4)), rtol=TOLERANCE)  # the last has no label


@pytest.mark.parametrize(("replicas", "shares"), [(2, [4, 2]), (2, [6, 0]), (4, [1, 3, 0, 2])])
def test_replicas_give_the_sum_and_the_gradient_of_all_pairs(replicas: int, shares: list[int]) -> None:
    """Pairs across replicas included: the values add up, and so do the gradients, by the videos' own rows."""
    batch = random_videos(5, [3, 7, 1, 4, 6, 2])
    whole = gradients(lambda x, c: loss(x, c, batch["labels"]), batch["features"], batch["tcams"])
    total, weight = of(batch)
    strategy = strategy_of(replicas)
    bounds = [0, *itertools.accumulate(shares)]

    def share(context: Any) -> Any:
        at = slice(*bounds[context.replica_id_in_sync_group :][:2])
        empty = {"features": np.zeros((0, 5)), "tcams": np.zeros((0, 4))}
        parts = {n: batch[n][at] or [empty[n]] for n in empty}
        lengths = np.array([len(p) for p in batch["features"][at]], np.int64)
        rows = [tf.constant(np.concatenate(parts[n]), tf.float32) for n in empty]
        return (*rows, tf.constant(lengths), tf.constant(batch["labels"][at], tf.float32))

    @tf.function(autograph=False)
    def step(shares: Any) -> Any:
        def one(x: Any, c: Any, lengths: Any, labels: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch((x, c))
                term = loss(*(tf.RaggedTensor.from_row_lengths(rows, lengths) for rows in (x, c)), labels)
            return tape.gradient(term.total, (x, c)), term.total, term.weight

        return strategy.run(one, args=shares)

    found = step(strategy.experimental_distribute_values_from_function(share))
    local = strategy.experimental_local_results
    assert sum(float(v) for v in local(found[1])) == pytest.approx(total, rel=TOLERANCE)
    assert sum(float(v) for v in local(found[2])) == weight
    for part, wanted in zip(found[0], whole):
        joined = np.concatenate([v.numpy() for v in local(part)])
        assert oracle.relative_error(joined / weight, wanted) < TOLERANCE


def inputs(batch: dict[str, Any], streams: tuple[str, ...]) -> LossInputs:
    """The batch's features are every stream's, times 1, 2, ...; its T-CAMs too, and the fused one is the first."""
    outputs = {"tcam_fused": ragged(batch["tcams"])}
    for i, name in enumerate(streams, start=1):
        outputs[f"features_{name}"] = ragged([x**i for x in batch["features"]])
        outputs[f"tcam_{name}"] = ragged([c * i for c in batch["tcams"]])
    labels = tf.constant(batch["labels"], tf.float32)
    return LossInputs({"labels": labels}, outputs, dict.fromkeys(streams, tf.zeros([])), tf.constant(0))


@pytest.mark.parametrize("streams", [("i3d",), ("rgb", "flow"), ("rgb", "flow", "audio")])
def test_any_number_of_streams_side_by_side_or_each_by_itself(streams: tuple[str, ...]) -> None:
    batch = random_videos(2, [3, 7, 4, 5])
    powers = range(1, len(streams) + 1)
    beside = [np.concatenate([x**i for i in powers], axis=1) for x in batch["features"]]
    found = CoActivity(1.0).compute(inputs(batch, streams))
    assert float(value(found)) == pytest.approx(
        term_oracle.co_activity(beside, batch["tcams"], batch["labels"]), rel=TOLERANCE
    )
    each = [
        term_oracle.co_activity([x**i for x in batch["features"]], [c * i for c in batch["tcams"]], batch["labels"])
        for i in powers
    ]
    found = CoActivity(1.0, "streams").compute(inputs(batch, streams))
    assert float(value(found)) == pytest.approx(np.mean(each), rel=TOLERANCE)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_impossible_weights_are_refused(weight: float) -> None:
    with pytest.raises(UserError, match="--co_activity_weight="):
        CoActivity(weight)
