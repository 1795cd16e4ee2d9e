"""The cross-entropy with pseudo segments: by hand, against float64 with gradients, and what must not change it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.data.pipeline import InputConfig, training_batches
from tc3net.data.split import open_split
from tc3net.losses import LossConfig, LossInputs, make_objective
from tc3net.losses.pseudo_segments import PseudoSegmentTerm, PseudoTargets, pseudo_segment_loss
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import OptimizerConfig, make_optimizer
from tests.support import oracle
from tests.support.replicas import strategy_of

CLASSES = 3
LENGTHS = (5, 0, 8, 3)  # of the training videos; of the last no class has targets


def make_targets(seed: int = 0) -> PseudoTargets:
    rng = np.random.default_rng(seed)
    first = np.full((len(LENGTHS), CLASSES), -1, np.int64)
    filled = 0
    for video, label in ((2, 0), (0, 1), (2, 2), (1, 1)):  # in any order
        first[video, label] = filled
        filled += LENGTHS[video]
    return PseudoTargets(first, rng.random(filled).astype(np.float32), rng.random(filled).astype(np.float32))


def loss(
    rows: list[Any], videos: list[int], starts: list[int], targets: PseudoTargets, usable: list[bool] | None = None
) -> tuple[float, float]:
    flat = np.concatenate([np.asarray(r, np.float32).reshape(-1, CLASSES) for r in rows])
    tcam = tf.RaggedTensor.from_row_lengths(tf.constant(flat), [len(r) for r in rows])
    total, weight, power = pseudo_segment_loss(
        tcam=tcam,
        video=tf.constant(videos, tf.int64),
        first_segment=tf.constant(starts, tf.int64),
        usable=tf.constant(usable or [True] * len(videos)),
        targets=targets,
    )
    assert power == 1
    return float(total), float(weight)


def by_loops(rows: list[np.ndarray], videos: list[int], starts: list[int], targets: PseudoTargets) -> float:
    """The module's formula, one segment at a time."""
    total = 0.0
    for c, video, start in zip(rows, videos, starts):
        for label in range(CLASSES):
            first = targets.first[video, label]
            for t in range(len(c) if first >= 0 else 0):
                y, w = float(targets.target[first + start + t]), float(targets.weight[first + start + t])
                p = 1 / (1 + math.exp(-c[t, label]))
                total -= w * (y * math.log(p) + (1 - y) * math.log(1 - p)) / len(c)
    return total


def random_rows(lengths: tuple[int, ...] = LENGTHS, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, CLASSES)) for length in lengths]


def test_by_hand() -> None:
    """A T-CAM of 0 says one half: ln 2 for each segment whatever its target, so is their mean, times the weights."""
    targets = dataclasses.replace(make_targets(), weight=np.ones(26, np.float32))
    total, weight = loss([np.zeros((n, CLASSES)) for n in LENGTHS], [0, 1, 2, 3], [0] * 4, targets)
    assert total == pytest.approx(3 * math.log(2))  # (0, 1), (2, 0), (2, 2); video 1 has no segment
    assert weight == 3  # videos with targets
    half = dataclasses.replace(targets, weight=np.full(26, 0.5, np.float32))
    assert loss([np.zeros((5, CLASSES))], [0], [0], half) == pytest.approx((0.5 * math.log(2), 1))
    sure = PseudoTargets(np.array([[0]]), np.array([1, 0], np.float32), np.ones(2, np.float32))
    right = tf.RaggedTensor.from_row_lengths(tf.constant([[40.0], [-40.0]]), [2])
    zero = tf.zeros([1], tf.int64)
    options = {"video": zero, "first_segment": zero, "usable": tf.constant([True]), "targets": sure}
    assert float(pseudo_segment_loss(tcam=right, **options).total) == pytest.approx(0, abs=1e-7)
    assert float(pseudo_segment_loss(tcam=-right, **options).total) == pytest.approx(40)


def test_it_equals_loops_with_gradients_also_of_crops() -> None:
    targets, rows, videos, starts = make_targets(), random_rows((5, 4, 3, 2)), [0, 2, 3, 2], [0, 3, 0, 6]
    assert loss(rows, videos, starts, targets)[0] == pytest.approx(by_loops(rows, videos, starts, targets), rel=1e-5)
    flat = tf.Variable(np.concatenate(rows), dtype=tf.float32)
    with tf.GradientTape() as tape:
        total = pseudo_segment_loss(
            tcam=tf.RaggedTensor.from_row_lengths(flat, [5, 4, 3, 2]),
            video=tf.constant(videos, tf.int64),
            first_segment=tf.constant(starts, tf.int64),
            usable=tf.constant([True] * 4),
            targets=targets,
        ).total
    at, bounds = np.concatenate(rows), np.cumsum([5, 4, 3])
    expected = oracle.numerical_gradient(lambda: by_loops(np.split(at, bounds), videos, starts, targets), at)
    assert oracle.relative_error(tf.convert_to_tensor(tape.gradient(total, flat)).numpy(), expected) < 1e-5


def test_order_company_and_unusable_videos_change_nothing() -> None:
    targets, rows = make_targets(), random_rows()
    whole = loss(rows, [0, 1, 2, 3], [0] * 4, targets)
    alone = [loss([rows[video]], [video], [0], targets) for video in range(4)]
    assert whole == pytest.approx(tuple(np.sum(alone, axis=0)), rel=1e-6)
    order = [2, 0, 3, 1]
    assert loss([rows[v] for v in order], order, [0] * 4, targets) == pytest.approx(whole, rel=1e-6)
    assert loss(rows, [0, 1, 2, 3], [0] * 4, targets, [True, True, False, True]) == pytest.approx(
        loss([rows[0], rows[1]], [0, 1], [0, 0], targets), rel=1e-6
    )
    nothing = np.full((3, CLASSES), np.nan)  # no class of this video has targets
    assert loss([rows[0], nothing], [0, 3], [0, 0], targets) == pytest.approx(loss([rows[0]], [0], [0], targets))
    assert loss([rows[0]], [0], [0], targets, [False]) == (0, 0)


def term(batches: str = "full", weight: float = 3.0, targets: PseudoTargets | None = None) -> PseudoSegmentTerm:
    return PseudoSegmentTerm(targets or make_targets(), weight, batches, {"sha256": "abc"})


def test_what_run_json_keeps_and_what_training_does_not_know() -> None:
    assert term().as_dict() == {"weight": 3.0, "batches": "full", "tcams": "fused", "sha256": "abc"}
    assert make_objective(LossConfig(beta=0.0), (term(),)).seen_as == {"pseudo_segments": "pseudo_videos"}
    tcam = tf.RaggedTensor.from_row_lengths(tf.zeros([2, CLASSES]), [2])
    inputs = LossInputs({"full_length": tf.constant([True])}, {"tcam_fused": tcam}, {}, tf.constant(0, tf.int64))
    assert [float(value) for value in term().compute(inputs)] == [0, 0, 1]  # a held-out video


def test_of_all_tcams_it_is_their_sum_and_one_stream_does_not_count_twice() -> None:
    lengths, videos = (5, 8), tf.constant([0, 2], tf.int64)
    rows = {name: random_rows(lengths, seed) for seed, name in enumerate(("rgb", "flow", "fused"))}
    outputs = {
        f"tcam_{name}": tf.RaggedTensor.from_row_lengths(np.concatenate(of).astype(np.float32), lengths)
        for name, of in rows.items()
    }
    batch = {"video": videos, "first_segment": tf.zeros([2], tf.int64), "full_length": tf.constant([True, True])}
    alone = {name: by_loops(of, [0, 2], [0, 0], make_targets()) for name, of in rows.items()}
    for choice, streams, expected in (
        ("fused", ("rgb", "flow"), alone["fused"]),
        ("all", ("rgb", "flow"), sum(alone.values())),
        ("all", ("rgb",), alone["fused"]),
    ):
        shown = {f"tcam_{name}": outputs[f"tcam_{name}"] for name in (*streams, "fused")}
        features = {f"features_{name}": outputs["tcam_fused"] for name in streams}
        inputs = LossInputs(batch, {**shown, **features}, {}, tf.constant(0, tf.int64))
        found = dataclasses.replace(term(), tcams=choice).compute(inputs)
        assert float(found.total) == pytest.approx(expected, rel=1e-5) and float(found.weight) == 2


@pytest.fixture(scope="module")
def truth() -> PseudoTargets:
    """Targets of a class in each of the 12 videos of the test data set, whatever its length."""
    rng = np.random.default_rng(5)
    first = np.full((12, CLASSES), -1, np.int64)
    first[np.arange(12), np.arange(12) % CLASSES] = np.arange(12) * 40
    return PseudoTargets(first, rng.random(480).astype(np.float32), rng.random(480).astype(np.float32))


def test_batches_say_where_their_crops_begin(dataset_dir: Any) -> None:
    """Features 0 and 1 of the data set are the video and the segment."""
    split = open_split(dataset_dir, "validation")
    for batch in training_batches(split, InputConfig(batch_size=4, crop_segments=3, seed=3)).take(4):
        for features, video, first in zip(batch["features"], batch["video"], batch["first_segment"]):
            np.testing.assert_array_equal(features[:, 1], int(first) + np.arange(len(features)))
            assert features[0, 0] == features[-1, 0] and int(video) < split.num_videos


@pytest.mark.parametrize("replicas", [2, 4])
def test_any_number_of_replicas_gives_the_same(dataset_dir: Any, truth: PseudoTargets, replicas: int) -> None:
    split, inputs = open_split(dataset_dir, "validation"), InputConfig(batch_size=4, crop_segments=3, seed=3)
    targets = PseudoTargets(truth.first[: split.num_videos], truth.target, truth.weight)
    pseudo = dataclasses.replace(term("all", targets=targets), tcams="all")
    found = []
    for count in (1, replicas):
        strategy = strategy_of(count)
        with strategy.scope():
            model = ThreeCNet(CLASSES, 4, ModelConfig(dropout=0.0))
            model.compile(
                make_optimizer(0.1, OptimizerConfig(optimizer="sgd")),
                loss_config=LossConfig(alpha=0.0, beta=0.0),
                terms=(pseudo,),
                weight_decay=0.0,
            )
        shares = [batch for batch in training_batches(split, inputs, num_replicas=count).take(2 * count)]
        step = tf.function(lambda share: strategy.run(model.update, args=(share,)), autograph=False)  # noqa: B023
        for first in (0, count):
            one = shares[first] if count == 1 else _per_replica(strategy, shares[first : first + count])
            values = step(one)
        values = {name: strategy.experimental_local_results(value)[0] for name, value in values.items()}
        assert float(values["pseudo_videos"]) == 4
        found.append((float(values["pseudo_segments"]), {n: v.numpy() for n, v in model.named_variables().items()}))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    for name, value in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def _per_replica(strategy: tf.distribute.Strategy, shares: list[Any]) -> Any:
    return strategy.experimental_distribute_values_from_function(
        lambda context: shares[context.replica_id_in_sync_group]
    )
