"""What tensorflow-addons adds: against independent NumPy, on replicas, resumed; and how it is refused without it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.stack import build_optimizer, learning_rate_of, optimizer_variables
from tc3net.data.pipeline import InputConfig
from tc3net.data.split import open_split
from tc3net.losses import LossConfig
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.averaging import OptimizerAverage, make_average
from tc3net.optimization.optimizers import OptimizerConfig, add_l2, clip_shares, make_optimizer
from tc3net.optimization.schedules import ScheduleConfig, make_schedule
from tc3net.runs.checkpoints import latest, restore_network
from tc3net.training.trainer import Trainer, TrainerConfig
from tests.support.needs import ADDONS, WITHOUT_ADDONS, needs
from tests.support.replicas import strategy_of

on_addons = needs(ADDONS)
on_keras_3 = needs(WITHOUT_ADDONS)
INPUTS = InputConfig(batch_size=4, crop_segments=8, seed=3)
START = np.array([[1.0, -2.0], [0.5, 3.0]])
TARGET = np.array([[0.3, 0.1], [-0.7, 0.9]])
Step = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def gradient(weight: np.ndarray) -> np.ndarray:
    """Of a quadratic whose curvature differs between the weights."""
    return np.array([[1.0, 5.0], [0.2, 2.0]]) * (weight - TARGET)


def trained(config: OptimizerConfig, steps: int, rate: Any = 0.1) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights after each step, and the average that evaluation would use."""
    weight = tf.Variable(START, dtype=tf.float32)
    optimizer = make_optimizer(rate, config, [weight])
    build_optimizer(optimizer, [weight])
    average = make_average(optimizer, {"w": weight}, config.ema_decay)
    weights, averages = [], []
    for step in range(steps):
        optimizer.apply_gradients([(tf.constant(gradient(weight.numpy()), tf.float32), weight)])
        weights.append(weight.numpy())
        if average is not None:
            average.update(tf.constant(step, tf.int64))
            averages.append(average.variables["w"].numpy())
    return weights, averages


def numpy_adam(beta_1: float, beta_2: float) -> Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]:
    """Bias-corrected first and second moments of the gradients given so far."""
    m, v = np.zeros_like(START), np.zeros_like(START)

    def moments(g: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        m[...] = beta_1 * m + (1 - beta_1) * g
        v[...] = beta_2 * v + (1 - beta_2) * g * g
        return m / (1 - beta_1**t), v / (1 - beta_2**t)

    return moments


@on_addons
@pytest.mark.parametrize("threshold", [5.0, 4.2])
def test_rectified_adam_is_the_papers(threshold: float) -> None:
    """Liu et al. 2020, Algorithm 2; the rectification begins within the 12 steps."""
    moments, weight, rectified = numpy_adam(0.8, 0.9), START.copy(), []
    config = OptimizerConfig(optimizer="radam", optimizer_options=f"beta_1=0.8,beta_2=0.9,sma_threshold={threshold}")
    found, _ = trained(config, 12)
    longest = 2 / (1 - 0.9) - 1
    for t in range(1, 13):
        m, v = moments(gradient(weight), t)
        length = longest - 2 * t * 0.9**t / (1 - 0.9**t)
        rectified.append(length >= threshold)
        if rectified[-1]:
            above, below = (length - 4) * (length - 2) * longest, (longest - 4) * (longest - 2) * length
            weight = weight - 0.1 * np.sqrt(above / below) * m / (np.sqrt(v) + 1e-8)
        else:
            weight = weight - 0.1 * m
        np.testing.assert_allclose(found[t - 1], weight, rtol=1e-4, err_msg=f"step {t}")
    assert set(rectified) == {False, True}


def test_lamb_is_the_papers() -> None:
    """You et al. 2020, Algorithm 2, with the identity as phi; the same on both stacks."""
    moments, weight = numpy_adam(0.8, 0.9), START.copy()
    found, _ = trained(OptimizerConfig(optimizer="lamb", optimizer_options="beta_1=0.8,beta_2=0.9"), 8)
    for t in range(1, 9):
        m, v = moments(gradient(weight), t)
        update = m / (np.sqrt(v) + 1e-6)
        weight = weight - 0.1 * np.linalg.norm(weight) / np.linalg.norm(update) * update
        np.testing.assert_allclose(found[t - 1], weight, rtol=1e-4, err_msg=f"step {t}")


@on_addons
def test_lookahead_is_the_papers_and_evaluation_gets_its_slow_weights() -> None:
    """Zhang et al. 2019, Algorithm 1, around plain SGD."""
    config = OptimizerConfig(
        optimizer="sgd", optimizer_options="momentum=0", lookahead_steps=3, lookahead_step_size=0.25
    )
    found, averages = trained(config, 8)
    fast, slow = START.copy(), START.copy()
    for t in range(1, 9):
        fast = fast - 0.1 * gradient(fast)
        if t % 3 == 0:
            slow = slow + 0.25 * (fast - slow)
            fast = slow.copy()
        np.testing.assert_allclose(found[t - 1], fast, rtol=1e-5, err_msg=f"step {t}")
        np.testing.assert_allclose(averages[t - 1], slow, rtol=1e-5, err_msg=f"step {t}")


@on_addons
@pytest.mark.parametrize(("start", "taken_after"), [(0, (3, 6, 9)), (1, (1, 4, 7, 10)), (5, (5, 8))])
def test_swa_is_the_mean_of_its_snapshots_and_before_them_the_weights(start: int, taken_after: tuple[int, ...]) -> None:
    config = OptimizerConfig(optimizer="sgd", swa_period=3, swa_start=start)
    plain, _ = trained(OptimizerConfig(optimizer="sgd"), 10)
    weights, averages = trained(config, 10)
    for t in range(1, 11):
        np.testing.assert_allclose(weights[t - 1], plain[t - 1], rtol=1e-6)  # training goes on as without it
        snapshots = [weights[s - 1] for s in taken_after if s <= t] or [weights[t - 1]]
        np.testing.assert_allclose(averages[t - 1], np.mean(snapshots, axis=0), rtol=1e-5, err_msg=f"step {t}")


WRAPPABLE = ["adadelta", "adagrad", "adam", "adamax", "adamw", "ftrl", "rmsprop", "sgd"]


@on_addons
@pytest.mark.parametrize("mode", ["l2", "decoupled"])
@pytest.mark.parametrize("name", WRAPPABLE)
def test_inside_a_wrapper_that_never_acts_an_optimizer_is_keras_own(name: str, mode: str) -> None:
    """Options, schedule and decoupled decay (times the learning rate) mean the same in both kinds of optimizers."""
    if (name, mode) == ("adamw", "l2"):
        return  # refused, see test_optimizers
    rate = make_schedule(ScheduleConfig("cosine", warmup_steps=2), 0.2, 8)
    common: dict[str, Any] = {"optimizer": name, "weight_decay_mode": mode, "weight_decay": 0.5}
    plain, _ = trained(OptimizerConfig(**common), 6, rate)
    wrapped, _ = trained(OptimizerConfig(**common, lookahead_steps=100), 6, rate)
    np.testing.assert_allclose(wrapped, plain, rtol=1e-4, atol=1e-6)


@on_addons
@pytest.mark.parametrize("wrapper", [{}, {"lookahead_steps": 2}, {"swa_period": 2}])
def test_the_rate_and_the_state_of_a_wrapped_optimizer_are_the_inner_ones(wrapper: dict[str, int]) -> None:
    weight = tf.Variable(START, dtype=tf.float32)
    rate = make_schedule(ScheduleConfig("cosine", warmup_steps=2), 1.0, 10)
    optimizer = make_optimizer(rate, OptimizerConfig(optimizer="radam", **wrapper), [weight])
    build_optimizer(optimizer, [weight])
    state = optimizer_variables(optimizer)
    assert len(state) == (4 if wrapper else 3)  # step, slow weights or mean, m, v: all there before the first step
    for step in range(4):
        assert float(learning_rate_of(optimizer)) == pytest.approx(float(rate(step)))
        optimizer.apply_gradients([(tf.ones_like(weight), weight)])
    assert [id(v) for v in optimizer_variables(optimizer)] == [id(v) for v in state]
    assert int(optimizer.iterations) == 4


# Everything at once: schedule, decay of either kind, clipping, averages.
RUNS: dict[str, dict[str, Any]] = {
    "radam": {"optimizer": "radam", "optimizer_options": "beta_2=0.9"},
    "radam, decoupled": {"optimizer": "radam", "weight_decay_mode": "decoupled"},
    "radam, average": {"optimizer": "radam", "optimizer_options": "beta_2=0.9", "ema_decay": 0.9},
    "lamb, decoupled": {"optimizer": "lamb", "weight_decay_mode": "decoupled"},
    "lookahead": {"optimizer": "radam", "optimizer_options": "beta_2=0.9", "lookahead_steps": 2},
    "lookahead, adamw": {"optimizer": "adamw", "weight_decay_mode": "decoupled", "lookahead_steps": 3},
    "swa": {"optimizer": "sgd", "swa_period": 2},
    "swa, late, decoupled": {"optimizer": "lamb", "weight_decay_mode": "decoupled", "swa_period": 1, "swa_start": 4},
}
each_run = pytest.mark.parametrize("choices", [pytest.param(value, id=name) for name, value in RUNS.items()])


def train_dense(choices: dict[str, Any], replicas: int, restart_after: int = -1) -> dict[str, np.ndarray]:
    """Six steps of least squares, each replica on its share of the rows; optionally through a restart."""
    rows = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    config = OptimizerConfig(**{"weight_decay": 0.1, **choices})
    strategy = strategy_of(replicas)

    def start() -> tuple[dict[str, tf.Variable], Any, Any]:
        rate = make_schedule(ScheduleConfig("cosine", warmup_steps=2), 0.1, 10)
        with strategy.scope():
            kernel = tf.Variable(np.random.default_rng(2).normal(size=(3, 2)).astype(np.float32))
            weights = {"kernel": kernel, "bias": tf.Variable([0.5, -0.5])}
            optimizer = make_optimizer(rate, config, list(weights.values()))
            build_optimizer(optimizer, list(weights.values()))
            return weights, optimizer, make_average(optimizer, weights, config.ema_decay)

    def step() -> None:
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        number = tf.cast(tf.convert_to_tensor(optimizer.iterations), tf.int64)
        share = tf.gather(rows, tf.range(4 // replicas) + rank * (4 // replicas))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(share @ weights["kernel"] + weights["bias"] - 1.0)) / 4
        variables = list(weights.values())
        gradients, _ = clip_shares(tape.gradient(loss, variables), 1.0)
        optimizer.apply_gradients(zip(add_l2(gradients, variables, config.l2), variables))
        if average is not None:
            average.update(number)

    def state() -> dict[str, tf.Variable]:
        averages = average.variables if average is not None else {}
        numbered = {f"optimizer {i}": v for i, v in enumerate(optimizer_variables(optimizer))}
        return {**weights, **{f"average {name}": v for name, v in averages.items()}, **numbered}

    weights, optimizer, average = start()
    for number in range(6):
        if number == restart_after:
            old = state()
            weights, optimizer, average = start()
            for name, variable in state().items():
                variable.assign(tf.convert_to_tensor(old[name]))
        strategy.run(step)
    return {name: tf.convert_to_tensor(variable).numpy() for name, variable in state().items()}


@on_addons
@each_run
def test_restarts_and_replicas_change_nothing(choices: dict[str, Any]) -> None:
    whole, restarted, two = train_dense(choices, 1), train_dense(choices, 1, restart_after=3), train_dense(choices, 2)
    for name, value in whole.items():
        np.testing.assert_array_equal(restarted[name], value, err_msg=name)
        np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


@on_addons
@pytest.mark.parametrize("name", ["lookahead, adamw", "swa"])
def test_a_resumed_training_is_the_same_to_the_last_bit(name: str, dataset_dir: Path, tmp_path: Path) -> None:
    """With the trainer, through checkpoints; inference then takes the averages."""

    def run(folder: str, iterations: int) -> dict[str, np.ndarray]:
        config = OptimizerConfig(**{"weight_decay": 0.1, **RUNS[name]})
        model = ThreeCNet(3, 4, ModelConfig(dropout=0.5), seed=1)
        rate = make_schedule(ScheduleConfig("cosine", warmup_steps=2), 0.02, 10)
        optimizer = make_optimizer(rate, config, model.trainable_variables)
        loss = LossConfig(alpha=0.0, beta=0.0)  # the parallel sums of the others differ between two runs
        model.compile(optimizer, loss_config=loss, weight_decay=config.l2, clip_norm=0.5)
        trainer_config = TrainerConfig(iterations=iterations, log_every=1, checkpoint_every=3)
        trainer = Trainer(model, tf.distribute.get_strategy(), trainer_config, tmp_path / folder)
        trainer.train(open_split(dataset_dir, "validation"), INPUTS)
        assert isinstance(model.average, OptimizerAverage)
        averages = {f"average {key}": v.numpy() for key, v in model.average.variables.items()}
        return {**{key: v.numpy() for key, v in model.named_variables().items()}, **averages}

    whole = run("whole", 5)
    run("parts", 3)
    parts = run("parts", 5)
    for key, value in whole.items():
        np.testing.assert_array_equal(parts[key], value, err_msg=key)
    restored = ThreeCNet(3, 4)
    assert restore_network(latest(tmp_path / "parts" / "checkpoints"), restored)
    for key, variable in restored.network_variables().items():
        np.testing.assert_array_equal(variable, whole[f"average {key}"], err_msg=key)
        assert "center" in key or (whole[key] != whole[f"average {key}"]).any()


@on_addons
def test_a_notebooks_own_wrapper_is_evaluated_by_its_average_too() -> None:
    import tensorflow_addons as tfa

    model = ThreeCNet(3, 4)
    model.compile(tfa.optimizers.Lookahead(keras.optimizers.legacy.SGD(0.1)))
    assert isinstance(model.average, OptimizerAverage)
    with pytest.raises(UserError, match="Choose one"):
        model.compile(tfa.optimizers.SWA(keras.optimizers.legacy.SGD(0.1)), ema_decay=0.9)


@on_keras_3
@pytest.mark.parametrize(
    ("changes", "nearest"),
    [
        ({"optimizer": "radam"}, "--optimizer=adam --warmup_steps=2000"),
        ({"lookahead_steps": 5}, "--ema_decay=0.999"),
        ({"swa_period": 5}, "--ema_decay=0.999"),
    ],
)
def test_keras_3_names_the_cure_and_the_nearest_choice(changes: dict[str, Any], nearest: str) -> None:
    asked = next(f"--{name}={value}" for name, value in changes.items())
    with pytest.raises(UserError) as caught:
        OptimizerConfig(**changes).check_stack()
    message = str(caught.value)
    assert message.startswith(
        f"{asked} needs tensorflow-addons, which cannot be imported with Keras {keras.__version__}"
    )
    assert "Install requirements-addons.txt" in message and "Python 3.9 to 3.11" in message and nearest in message


def test_without_the_library_keras_2_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tc3net.common.stack._is_keras_3", lambda: False)
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    with pytest.raises(UserError, match=r"radam needs tensorflow-addons, which is not installed.*Install req"):
        OptimizerConfig(optimizer="radam").check_stack()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lookahead_steps": -1}, "--lookahead_steps=-1; expected 0 or more"),
        ({"lookahead_step_size": 0.0}, r"--lookahead_step_size=0.0; expected a number in \(0, 1\]"),
        ({"swa_start": 5}, "--swa_start=5 without --swa_period"),
        ({"lookahead_steps": 5, "swa_period": 5}, "--lookahead_steps=5 with --swa_period=5: each gives the weights"),
        ({"ema_decay": 0.9, "swa_period": 5}, "--ema_decay=0.9 with --swa_period=5: each gives the weights"),
        ({"ema_decay": 0.9, "lookahead_steps": 5}, "--ema_decay=0.9 with --lookahead_steps=5: each gives the weights"),
    ],
)
def test_what_cannot_act_together_is_refused_on_both_stacks(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        OptimizerConfig(**changes)


@on_addons
@pytest.mark.parametrize("name", ["lion", "adafactor"])
def test_an_optimizer_that_cannot_be_wrapped_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"--swa_period=5 with --optimizer={name}: .*Choose one of adadelta.*radam"):
        OptimizerConfig(optimizer=name, swa_period=5).check_stack()


def test_a_run_records_the_choices_that_act() -> None:
    """So that an earlier run, which knew no wrappers, is still recognised."""
    assert not {name for name in OptimizerConfig().recorded() if name.startswith(("lookahead", "swa"))}
    chosen = OptimizerConfig(lookahead_steps=6).recorded()
    assert (chosen["lookahead_steps"], chosen["lookahead_step_size"]) == (6, 0.5) and "swa_start" not in chosen
