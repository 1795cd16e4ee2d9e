"""NaN and Inf end a run before anything bad is saved, and the message says where they come from."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.pipeline import InputConfig, training_batches
from tc3net.data.split import open_split
from tc3net.model import ThreeCNet
from tc3net.optimization.optimizers import make_optimizer
from tc3net.runs.checkpoints import latest
from tc3net.training.divergence import video_id
from tc3net.training.observers import Evaluation, IntervalFacts, Observer
from tc3net.training.trainer import Trainer, TrainerConfig
from tests.support.data import make_video, write_dataset
from tests.support.rehearsal import Rehearsal

INPUTS = InputConfig(batch_size=4, crop_segments=8, seed=3)


@functools.cache
def rehearsal(learning_rate: float = 1e-3) -> Rehearsal:
    def make() -> ThreeCNet:
        model = ThreeCNet(3, 4)
        model.compile(make_optimizer(learning_rate))
        return model

    return Rehearsal(make)


def make_trainer(
    run_dir: Path, learning_rate: float = 1e-3, observer: Observer | None = None, **config: int
) -> Trainer:
    settings = TrainerConfig(**{"iterations": 20, "log_every": 5, "checkpoint_every": 1, **config})
    return rehearsal(learning_rate).trainer(settings, run_dir, observers=[observer] if observer else [])


def values_are_finite(run_dir: Path) -> bool:
    paths = list((run_dir / "checkpoints").glob("step-*.index"))
    assert paths
    readers = [tf.train.load_checkpoint(str(path.with_suffix(""))) for path in paths]
    values = [reader.get_tensor(name) for reader in readers for name in reader.get_variable_to_shape_map()]
    return all(np.isfinite(value).all() for value in values if isinstance(value, np.ndarray))


def test_video_ids_are_found_by_position(dataset_dir: Path) -> None:
    split = open_split(dataset_dir, "validation")
    assert [video_id(split, i) for i in range(10)] == [f"video_validation_{i:03d}" for i in range(10)]


@pytest.mark.parametrize(("bad", "checkpoint_every"), [(np.nan, 1), (np.inf, 4)])
def test_a_bad_feature_row_is_traced_to_its_video(tmp_path: Path, bad: float, checkpoint_every: int) -> None:
    videos = [make_video(i, "validation", 8) for i in range(10)]
    videos[6].features["rgb"][3, 2] = bad
    split = open_split(write_dataset(tmp_path / "data", {"validation": videos}), "validation")
    batches = enumerate(training_batches(split, INPUTS), start=1)
    expected = next(step for step, batch in batches if 6 in batch["video"].numpy())
    with pytest.raises(UserError) as error:
        make_trainer(tmp_path / "run", checkpoint_every=checkpoint_every).train(split, INPUTS)
    message = str(error.value)
    assert f"Step {expected} gave NaN or Inf in" in message
    assert "loss, " in message and "classification_flow" not in message and "center_flow" not in message
    assert "video_validation_006 in 1 of the 8 segments" in message
    assert "video_validation_001 in" not in message
    last_good = (expected - 1) // checkpoint_every * checkpoint_every
    if last_good:
        assert f"the newest checkpoint is {tmp_path / 'run' / 'checkpoints' / f'step-{last_good}'}." in message
        assert latest(tmp_path / "run" / "checkpoints").endswith(f"step-{last_good}")
        assert values_are_finite(tmp_path / "run")
    else:
        assert "the newest checkpoint is none" in message
        assert not list((tmp_path / "run").glob("checkpoints/step-*"))


def test_a_diverging_learning_rate_ends_the_run(dataset_dir: Path, tmp_path: Path) -> None:
    split = open_split(dataset_dir, "validation")
    with pytest.raises(UserError) as error:
        make_trainer(tmp_path / "run", learning_rate=1e30).train(split, INPUTS)
    message = str(error.value)
    assert "training diverged" in message and "lower --learning_rate" in message
    batch = next(iter(training_batches(split, INPUTS, start_step=1)))
    assert message.startswith("Step 2 gave NaN or Inf in loss")
    assert ", ".join(f"video_validation_{i:03d}" for i in batch["video"].numpy()) in message
    assert values_are_finite(tmp_path / "run")


def test_bad_weights_are_never_saved(dataset_dir: Path, tmp_path: Path) -> None:
    """The loss of a step is computed before its update, so it can be finite and the weights bad."""

    class Poison(Observer):
        def on_log(self, facts: IntervalFacts) -> None:
            if facts.step == 3:
                trainer._model.named_variables()["flow_fc2_bias"].assign([np.inf, 0, 0, 0])

    trainer = make_trainer(tmp_path / "run", observer=Poison(), log_every=1)
    with pytest.raises(UserError, match=r"Step 3 gave NaN or Inf in network/flow_fc2_bias\..*checkpoints/step-2\."):
        trainer.train(open_split(dataset_dir, "validation"), INPUTS)
    assert latest(tmp_path / "run" / "checkpoints").endswith("step-2")
    assert values_are_finite(tmp_path / "run")


def test_nothing_bad_is_evaluated_or_kept_as_best(dataset_dir: Path, tmp_path: Path) -> None:
    evaluated = []
    model = rehearsal(1e30).model

    def evaluate() -> Evaluation:
        evaluated.append(all(np.isfinite(v).all() for v in model.named_variables().values()))
        return Evaluation({}, float(len(evaluated)), "")

    config = TrainerConfig(iterations=20, log_every=50, eval_every=1, checkpoint_every=50)
    trainer = rehearsal(1e30).trainer(config, tmp_path, evaluate)
    with pytest.raises(UserError, match="Step 2 gave NaN or Inf"):
        trainer.train(open_split(dataset_dir, "validation"), INPUTS)
    assert evaluated == [True, True]  # before the first step, and after it
    assert latest(tmp_path / "best").endswith("step-1")
