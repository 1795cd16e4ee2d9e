"""Terms that read pairs, ranks and lengths: the same training on two replicas, resumed to the bit."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.data.pipeline import InputConfig
from tc3net.data.split import open_split
from tc3net.losses import (
    CoActivity,
    FeatureMagnitude,
    LossConfig,
    LossTerm,
    SnippetContrast,
    UniformBackground,
)
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import OptimizerConfig, make_optimizer
from tc3net.training.metrics_log import read_metrics
from tc3net.training.trainer import TrainerConfig
from tests.support import oracle
from tests.support.rehearsal import Rehearsal
from tests.support.replicas import strategy_of

INPUTS = InputConfig(batch_size=8, seed=3)  # of whole videos, long enough for hard segments
TERMS: tuple[LossTerm, ...] = (
    CoActivity(1.0),
    FeatureMagnitude(0.1),
    UniformBackground(1.0),
    SnippetContrast(1.0),
)
NAMES = [term.name for term in TERMS]


def make_model() -> ThreeCNet:
    model = ThreeCNet(3, 4, ModelConfig(dropout=0.0), seed=1)
    model.compile(make_optimizer(1e-2, OptimizerConfig(optimizer="sgd")), loss_config=LossConfig(beta=0.0), terms=TERMS)
    return model


@functools.cache
def rehearsal(replicas: int) -> Rehearsal:
    return Rehearsal(make_model, strategy_of(replicas))


def run(dataset_dir: Path, run_dir: Path, iterations: int, replicas: int = 1) -> dict[str, np.ndarray]:
    """Trains to `iterations` and gives the weights."""
    training = rehearsal(replicas)
    config = TrainerConfig(iterations=iterations, log_every=1, checkpoint_every=2)
    training.trainer(config, run_dir).train(open_split(dataset_dir, "validation"), INPUTS)
    return training.weights()


def test_two_replicas_give_the_same_training(dataset_dir: Path, tmp_path: Path) -> None:
    """Losses and weights agree, though replicas hold different videos. (Four: tests/losses/test_co_activity.py.)"""
    one = run(dataset_dir, tmp_path / "one", 4)
    many = run(dataset_dir, tmp_path / "many", 4, replicas=2)
    logs = [read_metrics(tmp_path / name) for name in ("one", "many")]
    for name in NAMES:
        found, expected = ([entry[name] for entry in log] for log in reversed(logs))
        assert any(value > 0 for value in expected), name
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6, err_msg=name)
    for name, value in one.items():
        assert oracle.relative_error(many[name], value) < 1e-3, name


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(dataset_dir: Path, tmp_path: Path) -> None:
    whole = run(dataset_dir, tmp_path / "whole", 6)
    run(dataset_dir, tmp_path / "parts", 4)
    parts = run(dataset_dir, tmp_path / "parts", 6)
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value, err_msg=name)
    logs: list[Any] = [[entry["loss"] for entry in read_metrics(tmp_path / name)] for name in ("whole", "parts")]
    assert logs[0] == logs[1] and len(logs[0]) == 6
