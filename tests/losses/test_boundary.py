"""AutoLoc's term: closed forms, the float64 oracle with its gradients, and what must not matter."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.losses import Boundary, LossInputs, Term
from tc3net.losses.other_methods.boundary import boundary_loss, choose_boundaries
from tests.support import boundary_oracle, oracle
from tests.support.replicas import strategy_of
from tests.support.term_cases import gradients, ragged, random_videos, value

TOLERANCE = 1e-5
ANCHORS = (1.0, 2.0, 5.0, 12.0)


def random_batch(seed: int, lengths: list[int]) -> dict[str, Any]:
    """T-CAMs that rise and fall, labels, and boundaries about each segment; none at an end, where F has a kink."""
    batch, rng = random_videos(seed, lengths), np.random.default_rng(seed)
    batch["tcams"] = [np.cumsum(tcam, axis=0) for tcam in batch["tcams"]]
    bounds = []
    for s in lengths:
        center = np.clip(np.arange(s)[:, None] + 0.5 + ANCHORS * rng.uniform(-0.5, 0.5, (s, len(ANCHORS))), 0, s)
        half = ANCHORS * rng.uniform(0.3, 0.8, (s, len(ANCHORS)))
        spans = np.stack([np.maximum(center - half, 0.01), np.minimum(center + half, s - 0.01)], axis=2)
        bounds.append(spans.astype(np.float32).astype(float))
    batch["tcams"] = [tcam.astype(np.float32).astype(float) for tcam in batch["tcams"]]
    return {**batch, "bounds": bounds}


def loss(tcams: Any, bounds: Any, labels: Any) -> Term:
    return boundary_loss(tcam=tcams, boundaries=bounds, labels=tf.cast(labels, tf.float32))


def of(batch: dict[str, Any], order: Any) -> tuple[float, float]:
    """Total and weight of some videos of a batch."""
    parts = (ragged([batch[name][i] for i in order]) for name in ("tcams", "bounds"))
    term = loss(*parts, batch["labels"][list(order)])
    return float(term.total), float(term.weight)


BOX = np.array([0.0] * 6 + [1.0] * 4 + [0.0] * 6)[:, np.newaxis]


def everywhere(start: float, end: float, segments: int = 16) -> np.ndarray:
    """[s, 1, 2]: every segment has the same boundaries."""
    return np.tile(np.array([start, end]), (segments, 1, 1))


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(6.0, 10.0)], 0.0),
        ([(6.5, 10.5)], 0.5 * (0.5 / 2 + 0.5 / 4)),
        ([(6.5, 10.5), (6.0, 10.0)], 0.0),  # the better anchor
        ([(0.0, 4.0)], None),  # 0.5 (0 - 0 + 1) is below 0.7: kept, though nothing is there
        ([(1.0, 15.0)], 0.5 * (1 - 4 / 14)),
    ],
)
def test_a_box_in_closed_form(spans: list[tuple[float, float]], expected: float | None) -> None:
    """Four warm segments, which propose the same interval: one is left after NMS."""
    bounds = np.concatenate([everywhere(*span) for span in spans], axis=1)
    term = loss(ragged([BOX]), ragged([bounds]), [[1]])
    assert float(term.weight) == 1
    assert float(value(term)) == pytest.approx(0.5 if expected is None else expected, abs=1e-6)


def test_what_is_cold_absent_or_constant_proposes_nothing() -> None:
    for tcam, bounds, labels in (
        (1 - BOX, everywhere(6.5, 9.5), [[1]]),  # OIC above 0.7
        (BOX, everywhere(6, 10), [[0]]),
        (np.full((16, 1), 3.0), everywhere(6, 10), [[1]]),
        (BOX[:1], everywhere(0, 1, 1), [[1]]),
    ):
        term = loss(ragged([tcam]), ragged([bounds]), labels)
        assert float(term.total) == 0 and float(term.weight) == 0 and float(value(term)) == 0
        found = gradients(lambda c, b, y=labels: loss(c, b, y), [tcam], [bounds])
        assert all(np.all(gradient == 0) for gradient in found)


@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradients_agree_with_the_oracle(seed: int) -> None:
    batch = random_batch(seed, [1, 20, 2, 33, 9])
    expected = boundary_oracle.loss(batch["tcams"], batch["bounds"], batch["labels"])
    term = loss(ragged(batch["tcams"]), ragged(batch["bounds"]), batch["labels"])
    assert expected > 0.1 and float(value(term)) == pytest.approx(expected, rel=TOLERANCE)
    by_tcam, by_bounds = gradients(lambda c, b: loss(c, b, batch["labels"]), batch["tcams"], batch["bounds"])
    wanted = np.concatenate(boundary_oracle.loss_gradient(batch["tcams"], batch["bounds"], batch["labels"]))
    assert np.abs(wanted).max() > 1e-3 and oracle.relative_error(by_bounds, wanted) < TOLERANCE
    assert np.all(by_tcam == 0)  # the heat is held fixed: the classifier is not moved


def test_the_proposals_are_the_oracles_one_by_one() -> None:
    batch = random_batch(7, [60])
    for column in range(4):
        heat = boundary_oracle.heat_of(batch["tcams"][0][:, column])
        rows = tf.range(60, dtype=tf.int64)
        found = choose_boundaries(ragged([heat]), rows, tf.constant(batch["bounds"][0], tf.float32))
        wanted = [(t, m) for _, t, m in boundary_oracle.thinned(heat, batch["bounds"][0])]
        assert len(wanted) > 3 and list(zip(found.row.numpy(), found.anchor.numpy())) == wanted


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_order_of_videos_and_other_videos_change_nothing(seed: int, data: Any) -> None:
    """However long they are: nothing is padded."""
    batch = random_batch(seed, [3, 40, 1, 17])
    order = data.draw(st.permutations(range(4)))
    np.testing.assert_allclose(of(batch, order), of(batch, range(4)), rtol=TOLERANCE)
    apart = np.sum([of(batch, [i]) for i in range(4)], axis=0)
    np.testing.assert_allclose(of(batch, range(4)), apart, rtol=TOLERANCE)


@pytest.mark.parametrize(("replicas", "shares"), [(2, [4, 2]), (2, [6, 0]), (4, [1, 3, 0, 2])])
def test_replicas_give_the_sum_and_the_gradient_of_all_videos(replicas: int, shares: list[int]) -> None:
    batch = random_batch(5, [3, 27, 1, 14, 16, 2])
    whole = gradients(lambda c, b: loss(c, b, batch["labels"]), batch["tcams"], batch["bounds"])[1]
    total, weight = of(batch, range(6))
    bounds = [0, *itertools.accumulate(shares)]
    strategy = strategy_of(replicas)

    def share(context: Any) -> Any:
        at = slice(*bounds[context.replica_id_in_sync_group :][:2])
        empty = {"tcams": np.zeros((0, 4)), "bounds": np.zeros((0, len(ANCHORS), 2))}
        rows = [tf.constant(np.concatenate(batch[n][at] or [empty[n]]), tf.float32) for n in empty]
        lengths = np.array([len(part) for part in batch["tcams"][at]], np.int64)
        return (*rows, tf.constant(lengths), tf.constant(batch["labels"][at], tf.float32))

    @tf.function(autograph=False)
    def step(shares: Any) -> Any:
        def one(tcam: Any, spans: Any, lengths: Any, labels: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(spans)
                term = loss(*(tf.RaggedTensor.from_row_lengths(rows, lengths) for rows in (tcam, spans)), labels)
            return tape.gradient(term.total, spans), term.total, term.weight

        return strategy.run(one, args=shares)

    found = step(strategy.experimental_distribute_values_from_function(share))
    local = strategy.experimental_local_results
    assert sum(float(v) for v in local(found[1])) == pytest.approx(total, rel=TOLERANCE)
    assert sum(float(v) for v in local(found[2])) == weight
    joined = np.concatenate([tf.convert_to_tensor(v).numpy() for v in local(found[0])])
    assert oracle.relative_error(joined / weight, whole) < TOLERANCE


def test_the_term_reads_the_fused_tcam_and_the_heads_boundaries() -> None:
    batch = random_batch(2, [12, 25, 8])
    outputs = {"tcam_fused": ragged(batch["tcams"]), "boundaries": ragged(batch["bounds"])}
    labels = tf.constant(batch["labels"], tf.float32)
    term = Boundary(1.0).compute(LossInputs({"labels": labels}, outputs, {}, tf.constant(0)))
    expected = boundary_oracle.loss(batch["tcams"], batch["bounds"], batch["labels"])
    assert float(value(term)) == pytest.approx(expected, rel=TOLERANCE)
    assert Boundary.needs == ("boundaries",) and not Boundary().active


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_impossible_weights_are_refused(weight: float) -> None:
    with pytest.raises(UserError, match="--boundary_weight="):
        Boundary(weight)
