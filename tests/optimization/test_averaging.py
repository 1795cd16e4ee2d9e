"""The moving average of the weights: its closed form, on any number of replicas, in checkpoints, and in evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tc3net.data.pipeline import InputConfig, training_batches
from tc3net.data.split import open_split
from tc3net.losses import LossConfig
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.averaging import WeightAverage, decay_at
from tc3net.optimization.optimizers import OptimizerConfig, make_optimizer
from tc3net.optimization.schedules import ScheduleConfig, make_schedule
from tc3net.runs.checkpoints import CheckpointFolder, latest, restore_network
from tc3net.training.trainer import TrainerConfig
from tests.support.rehearsal import Rehearsal
from tests.support.replicas import strategy_of

INPUTS = InputConfig(batch_size=4, crop_segments=8, seed=3)
SGD = OptimizerConfig(optimizer="sgd", weight_decay=0.1, weight_decay_mode="decoupled")


def make_model(dropout: float = 0.0, ema_decay: float = 0.9, loss: LossConfig = LossConfig()) -> ThreeCNet:
    """With everything on: schedule, momentum, decoupled decay, a clipping that acts, averaging."""
    model = ThreeCNet(3, 4, ModelConfig(dropout=dropout), seed=1)
    rate = make_schedule(ScheduleConfig("cosine", warmup_steps=2), 0.05, 10)
    optimizer = make_optimizer(rate, SGD, model.trainable_variables)
    model.compile(optimizer, loss_config=loss, weight_decay=SGD.l2, clip_norm=0.5, ema_decay=ema_decay)
    return model


def state_of(model: ThreeCNet) -> dict[str, np.ndarray]:
    """Network, centers and averages."""
    assert model.average is not None
    averages = {f"average {name}": v.numpy() for name, v in model.average.variables.items()}
    return {**{name: v.numpy() for name, v in model.named_variables().items()}, **averages}


def test_the_decay_rises_to_its_full_value() -> None:
    found = [float(decay_at(0.9, tf.constant(t, tf.int64))) for t in (0, 1, 10, 80, 81, 10**6)]
    assert found == pytest.approx([1 / 10, 2 / 11, 11 / 20, 81 / 90, 0.9, 0.9])


def test_averages_have_the_closed_form() -> None:
    weight = tf.Variable([0.0, 5.0])
    average = WeightAverage({"w": weight}, 0.5)
    expected = np.array([0.0, 5.0])
    for t in range(20):
        weight.assign([t**2, -t])
        average.update(tf.constant(t, tf.int64))
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * np.array([t**2, -t])
        np.testing.assert_allclose(average.variables["w"], expected, rtol=1e-5)


def test_the_average_follows_the_network_and_not_the_centers(dataset_dir: Path) -> None:
    model = make_model()
    assert model.average is not None
    expected = {name: v.numpy().astype(np.float64) for name, v in model.network_variables().items()}
    assert not any("center" in name for name in expected)
    for t, batch in enumerate(training_batches(open_split(dataset_dir, "validation"), INPUTS).take(4)):
        model.update(batch)
        decay = (1 + t) / (10 + t)
        for name, variable in model.network_variables().items():
            expected[name] = decay * expected[name] + (1 - decay) * variable.numpy()
    assert set(model.average.variables) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(model.average.variables[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_replicas_change_nothing(dataset_dir: Path) -> None:
    """Rates, norms before clipping, weights, centers and averages within 1e-4, after 4 steps on 1 and on 4 devices."""
    results = []
    split = open_split(dataset_dir, "validation")
    for count in (1, 4):
        strategy = strategy_of(count)
        with strategy.scope():
            model = make_model()

        def pipeline(_: object, count: int = count) -> tf.data.Dataset:
            return training_batches(split, INPUTS, num_replicas=count)

        batches = iter(strategy.distribute_datasets_from_function(pipeline) if count > 1 else pipeline(None))
        reported = []
        for _ in range(4):
            values = strategy.run(model.update, args=(next(batches),))
            last = {name: strategy.experimental_local_results(value)[-1] for name, value in values.items()}
            reported.append(last)
        keys = ("learning_rate", "gradient_norm", "center_norm_rgb", "loss")
        results.append(({key: [float(values[key]) for values in reported] for key in keys}, state_of(model)))
    (one, one_state), (many, many_state) = results
    assert min(one["gradient_norm"]) > 0.5  # clipping acts in every step
    rate = make_schedule(ScheduleConfig("cosine", warmup_steps=2), 0.05, 10)
    np.testing.assert_allclose(one["learning_rate"], [float(rate(t)) for t in range(4)], rtol=1e-6)
    for key, values in one.items():
        np.testing.assert_allclose(many[key], values, rtol=1e-4, err_msg=key)
    for name, value in one_state.items():
        np.testing.assert_allclose(many_state[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_resumed_run_has_the_same_averages_to_the_last_bit(dataset_dir: Path, tmp_path: Path) -> None:
    """Also the schedule goes on and the momentum is kept."""
    rehearsal = Rehearsal(lambda: make_model(dropout=0.5, loss=LossConfig(alpha=0.0, beta=0.0)))

    def run(name: str, iterations: int) -> dict[str, np.ndarray]:
        config = TrainerConfig(iterations=iterations, log_every=1, checkpoint_every=2)
        rehearsal.trainer(config, tmp_path / name).train(open_split(dataset_dir, "validation"), INPUTS)
        return state_of(rehearsal.model)

    whole = run("whole", 5)
    run("parts", 2)
    parts = run("parts", 5)
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value, err_msg=name)


def test_inference_uses_the_averages_unless_told_otherwise(tmp_path: Path) -> None:
    model = make_model()
    assert model.average is not None
    for number, variable in enumerate(model.average.variables.values()):
        variable.assign(tf.fill(variable.shape, 10.0 + number))
    CheckpointFolder(tmp_path, model, keep=1).save(1)
    for weights in ("averaged", "raw"):
        restored = ThreeCNet(3, 4)
        assert restore_network(latest(tmp_path), restored, weights) == (weights == "averaged")
        expected = {**model.named_variables(), **(model.average.variables if weights == "averaged" else {})}
        for name, variable in restored.named_variables().items():
            np.testing.assert_array_equal(variable, expected[name], err_msg=name)


def test_a_checkpoint_without_averages_gives_its_weights(tmp_path: Path) -> None:
    model = make_model(ema_decay=0.0)
    CheckpointFolder(tmp_path, model, keep=1).save(1)
    restored = ThreeCNet(3, 4, seed=7)
    assert not restore_network(latest(tmp_path), restored)
    for name, variable in restored.named_variables().items():
        np.testing.assert_array_equal(variable, model.named_variables()[name], err_msg=name)
