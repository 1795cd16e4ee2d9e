"""Killed, interrupted and resumed: nothing is lost, and the result has the same bits."""

from __future__ import annotations

import functools
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.data.pipeline import InputConfig
from tc3net.data.split import open_split
from tc3net.model import ThreeCNet
from tc3net.optimization.optimizers import make_optimizer
from tc3net.runs.checkpoints import latest
from tc3net.terminal.interruption import Interrupted, Interruptions
from tc3net.training.metrics_log import read_metrics
from tc3net.training.observers import Evaluation, IntervalFacts, Observer
from tc3net.training.trainer import Trainer, TrainerConfig
from tests.support.rehearsal import Rehearsal
from tests.support.training_process import TrainingProcess

SPEED = {"steps_per_second", "segments_per_second", "input_wait_share"}


def checkpoint_bits(run_dir: Path) -> dict[str, bytes]:
    """Every number of the newest checkpoint: weights, centers, optimizer."""
    reader = tf.train.load_checkpoint(latest(run_dir / "checkpoints"))
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    return {name: value.tobytes() for name, value in values.items() if isinstance(value, np.ndarray)}


def metrics_without_speed(run_dir: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if k not in SPEED} for entry in read_metrics(run_dir)]


def test_kill_dash_nine_at_random_moments_changes_no_bit(dataset_dir: Path, tmp_path: Path) -> None:
    """With dropout and crops. Checkpoints lie inside logging intervals, whose means must not change either."""
    flags = [
        f"--dataset_dir={dataset_dir}", "--deterministic", "--batch_size=4", "--crop_segments=8", "--iterations=150",
        "--log_every=3", "--checkpoint_every=7", "--eval_every=40",
    ]  # fmt: skip
    whole = TrainingProcess(tmp_path / "whole", flags, new_process=True)
    rng = random.Random(5)
    logged = 0
    for _ in range(2):
        part = TrainingProcess(tmp_path / "parts", flags)
        part.wait_until_logged(logged + 12)
        time.sleep(rng.random() * 0.15)
        part.send(signal.SIGKILL)
        assert part.finish()[0] == -signal.SIGKILL
        logged = len(read_metrics(tmp_path / "parts"))
    status, output = TrainingProcess(tmp_path / "parts", flags).finish()
    assert (status, "Resuming after step" in output) == (0, True), output
    assert whole.finish()[0] == 0
    assert latest(tmp_path / "parts" / "checkpoints").endswith("step-150")
    assert checkpoint_bits(tmp_path / "parts") == checkpoint_bits(tmp_path / "whole")
    assert metrics_without_speed(tmp_path / "parts") == metrics_without_speed(tmp_path / "whole")


class Signal(Observer):
    """Sends this process a signal after a step."""

    def __init__(self, step: int, number: int) -> None:
        self._step, self._number = step, number

    def on_log(self, facts: IntervalFacts) -> None:
        if facts.step == self._step:
            os.kill(os.getpid(), self._number)


@functools.cache
def rehearsal() -> Rehearsal:
    def make() -> ThreeCNet:
        model = ThreeCNet(3, 4)
        model.compile(make_optimizer())
        return model

    return Rehearsal(make)


def make_trainer(run_dir: Path, observer: Observer | None = None, evaluate: Any = None) -> Trainer:
    config = TrainerConfig(iterations=6, log_every=1, eval_every=4, checkpoint_every=100)
    return rehearsal().trainer(config, run_dir, evaluate, [observer] if observer else [])


def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(dataset_dir: Path, tmp_path: Path) -> None:
    split, inputs = open_split(dataset_dir, "validation"), InputConfig(batch_size=2)
    assert make_trainer(tmp_path, Signal(2, signal.SIGINT)).train(split, inputs) == signal.SIGINT
    # The signal came while step 2 was logged, so step 3 was the current one.
    assert latest(tmp_path / "checkpoints").endswith("step-3")
    assert make_trainer(tmp_path).train(split, inputs) is None
    assert [entry["step"] for entry in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_signal_during_an_evaluation_ends_it_at_once_and_it_is_repeated(dataset_dir: Path, tmp_path: Path) -> None:
    split, inputs = open_split(dataset_dir, "validation"), InputConfig(batch_size=2)
    finished = []

    def evaluate(interrupt: bool) -> Evaluation:
        if interrupt and finished:
            os.kill(os.getpid(), signal.SIGTERM)
        finished.append(True)
        return Evaluation({}, 0.5, "")

    assert make_trainer(tmp_path, evaluate=lambda: evaluate(True)).train(split, inputs) == signal.SIGTERM
    assert len(finished) == 1
    assert latest(tmp_path / "checkpoints").endswith("step-4")
    assert make_trainer(tmp_path, evaluate=lambda: evaluate(False)).train(split, inputs) is None
    assert [e["step"] for e in read_metrics(tmp_path) if "evaluation" in e] == [0, 4, 6]


def test_the_first_signal_is_noted_and_the_second_acts_as_usual() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruptions() as interruptions:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruptions.received is signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_immediate_raises_also_for_a_signal_that_came_before() -> None:
    with Interruptions() as interruptions:
        with interruptions.immediate():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), interruptions.immediate():
            raise AssertionError("not reached")
