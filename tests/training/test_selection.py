"""What selects a checkpoint, when training stops early, and that a restart remembers both."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.data.pipeline import InputConfig
from tc3net.data.split import open_split
from tc3net.losses import LossConfig
from tc3net.model import ThreeCNet
from tc3net.runs.checkpoints import latest
from tc3net.training.metrics_log import read_metrics
from tc3net.training.selection import Progress, SelectionConfig
from tc3net.training.trainer import Evaluation, Trainer, TrainerConfig
from tests.support.rehearsal import Rehearsal


@given(values=st.lists(st.floats(allow_nan=True), max_size=20), patience=st.integers(0, 4), cut=st.integers(0, 20))
def test_progress_is_that_of_the_first_best_value(values: list[float], patience: int, cut: int) -> None:
    """Also when the run was interrupted after `cut` evaluations."""
    progress = Progress(patience, values[:cut])
    for value in values[cut:]:
        progress.add(value)
    numbers = [value for value in values if value > float("-inf")]
    since = len(values) - 1 - values.index(max(numbers)) if numbers else len(values)
    assert progress.since_best == since
    assert progress.exhausted == (patience > 0 and since >= patience)


def test_what_selects() -> None:
    assert SelectionConfig().resolved(has_instances=True) == "localization"
    assert SelectionConfig().resolved(has_instances=False) == "classification"
    assert SelectionConfig(holdout_fraction=0.1).resolved(has_instances=True) == "loss"
    assert SelectionConfig(0.1, "localization").resolved(has_instances=False) == "localization"


@functools.cache
def rehearsal() -> Rehearsal:
    def make() -> ThreeCNet:
        model = ThreeCNet(3, 4)
        model.compile(loss_config=LossConfig(alpha=0.0, beta=0.0))
        return model

    return Rehearsal(make)


def run(dataset_dir: Path, run_dir: Path, iterations: int, patience: int, values: list[float]) -> tuple[Trainer, int]:
    """Trains, evaluating every second step; the i-th evaluation gives the i-th value. Also says how many were left."""
    remaining = iter(values)
    config = TrainerConfig(
        iterations=iterations, log_every=3, eval_every=2, early_stopping_patience=patience, checkpoint_every=100
    )
    trainer = rehearsal().trainer(config, run_dir, lambda: Evaluation({}, next(remaining), "", "x on y"))
    trainer.train(open_split(dataset_dir, "validation"), InputConfig(batch_size=4, crop_segments=8))
    return trainer, len(list(remaining))


def test_training_stops_after_the_given_number_of_worse_evaluations(
    dataset_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Evaluations after 0, 2, 4 (best), 6 and 8 steps; interrupted after 6; then with more patience."""
    run(dataset_dir, tmp_path, 6, 2, [0.1, 0.2, 0.5, 0.5])
    trainer, left = run(dataset_dir, tmp_path, 20, 2, [0.3, 9.0])
    assert (trainer.step, left) == (8, 1)
    assert "Stopped early after step 8: the last 2 evaluations were no better" in capsys.readouterr().out
    entries = read_metrics(tmp_path)
    assert [e["step"] for e in entries if "selection" in e] == [0, 2, 4, 6, 8]
    assert {e["selected_by"] for e in entries if "selection" in e} == {"x on y"}
    assert [e["step"] for e in entries if "loss" in e] == [3, 6, 8]
    assert latest(tmp_path / "best").endswith("step-4")
    assert latest(tmp_path / "checkpoints").endswith("step-8")
    # With more patience it goes on.
    trainer, left = run(dataset_dir, tmp_path, 12, 3, [0.6, 0.4])
    assert (trainer.step, left) == (12, 0)
    assert latest(tmp_path / "best").endswith("step-10")


def test_a_run_that_stopped_early_stays_stopped(dataset_dir: Path, tmp_path: Path) -> None:
    run(dataset_dir, tmp_path, 20, 1, [0.5, 0.4])
    trainer, left = run(dataset_dir, tmp_path, 20, 1, [9.0])
    assert (trainer.step, left) == (2, 1)


def test_patience_without_evaluations_is_refused() -> None:
    with pytest.raises(UserError, match="--early_stopping_patience=3 with --eval_every=0"):
        TrainerConfig(eval_every=0, early_stopping_patience=3)
