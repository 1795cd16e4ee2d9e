"""Features in memory give the same batches and the same training as features read from disk."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.cache import TrainingSource
from tc3net.data.pipeline import InputConfig
from tc3net.data.split import open_split
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import make_optimizer
from tc3net.training.trainer import Trainer, TrainerConfig
from tests.support.data import make_video, write_dataset
from tests.support.rehearsal import Rehearsal
from tests.support.replicas import strategy_of

INPUTS = InputConfig(batch_size=4, crop_segments=8, max_segments=20, seed=3)


def source(dataset_dir: Path, cache: str, config: InputConfig = INPUTS) -> TrainingSource:
    return TrainingSource(open_split(dataset_dir, "validation"), config, cache, tf.distribute.get_strategy())


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name == "features":
            np.testing.assert_array_equal(value.row_lengths(), other[name].row_lengths())
            np.testing.assert_array_equal(value.flat_values, other[name].flat_values)
            assert value.dtype == other[name].dtype == tf.float32
        else:
            np.testing.assert_array_equal(value, other[name])


@pytest.mark.parametrize("cache", ["host", "device"])
@pytest.mark.parametrize("batches", ["alternate", "cropped", "full"])
def test_batches_are_the_same_as_from_disk(dataset_dir: Path, cache: str, batches: str) -> None:
    config = InputConfig(batch_size=4, crop_segments=8, max_segments=20, seed=3, batches=batches)
    read, cached = source(dataset_dir, "none", config), source(dataset_dir, cache, config)
    for start_step, replicas, worker in ((0, 1, (0, 1)), (5, 2, (0, 1)), (3, 4, (1, 2))):
        expected = read.batches(start_step, replicas, worker).take(8)
        found = cached.batches(start_step, replicas, worker).take(8)
        for one, other in zip(expected, found):
            assert_same(read.fill(one), cached.fill(other))


def test_float16_features_stay_float16_in_memory(tmp_path: Path) -> None:
    made = [make_video(i, "validation", 5 + i) for i in range(4)]
    videos = [replace(v, features={n: f.astype(np.float16) for n, f in v.features.items()}) for v in made]
    folder = write_dataset(tmp_path / "half", {"validation": videos})
    read, cached = source(folder, "none"), source(folder, "device")
    assert cached.bytes == sum(len(v.features["rgb"]) * 2 * 4 * 2 for v in videos) and read.bytes == 0
    for one, other in zip(read.batches(0, 1).take(3), cached.batches(0, 1).take(3)):
        assert_same(one, cached.fill(other))


def test_a_batch_that_cannot_be_shared_is_refused(dataset_dir: Path) -> None:
    with pytest.raises(UserError, match="cannot be divided among 3 devices"):
        source(dataset_dir, "host").batches(0, 3)


def make_model() -> ThreeCNet:
    model = ThreeCNet(3, 4, ModelConfig(dropout=0.0), seed=1)
    model.compile(make_optimizer(1e-2))
    return model


@functools.cache
def from_host() -> Rehearsal:
    return Rehearsal(make_model)


@pytest.mark.parametrize(("cache", "replicas"), [("host", 1), ("device", 1), ("device", 2)])
def test_training_is_the_same(dataset_dir: Path, tmp_path: Path, cache: str, replicas: int) -> None:
    def config(cache: str) -> TrainerConfig:
        return TrainerConfig(iterations=3, log_every=3, eval_every=0, checkpoint_every=3, cache=cache)

    split = open_split(dataset_dir, "validation")
    from_host().trainer(config("none"), tmp_path / "none").train(split, INPUTS)
    expected = from_host().weights()
    if cache == "host":
        from_host().trainer(config(cache), tmp_path / cache).train(split, INPUTS)
        found = from_host().weights()
    else:  # a cache on the device is read in the step itself, which is traced for it
        strategy = strategy_of(replicas)
        with strategy.scope():
            model = make_model()
        Trainer(model, strategy, config(cache), tmp_path / cache).train(split, INPUTS)
        found = {name: variable.numpy() for name, variable in model.named_variables().items()}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-7)
