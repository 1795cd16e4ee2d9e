"""Two processes on this machine train what one process trains, and stop together."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import tensorflow as tf

from tc3net.runs.checkpoints import latest
from tc3net.training.metrics_log import read_metrics
from tests.support.training_process import TrainingProcess, cluster


def checkpoint_values(run_dir: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(latest(run_dir / "checkpoints"))
    names = [
        name for name in reader.get_variable_to_shape_map() if name.startswith(("network", "optimizer", "averages"))
    ]
    return {name: reader.get_tensor(name) for name in names}


def test_two_processes_give_the_training_of_one(dataset_dir: Path, tmp_path: Path) -> None:
    """20 steps; after about half of them one worker is asked to stop, both do, and both resume."""
    flags = [
        f"--dataset_dir={dataset_dir}", "--batch_size=4", "--crop_segments=8", "--dropout=0", "--ema_decay=0.9",
        "--iterations=20", "--log_every=1", "--eval_every=10", "--checkpoint_every=100", "--early_stopping_patience=5",
    ]  # fmt: skip
    alone = TrainingProcess(tmp_path / "one", flags)
    two = tmp_path / "two"

    def start() -> list[TrainingProcess]:
        return [
            TrainingProcess(two, [*flags, "--strategy=multi_worker"], config, new_process=number == 1)
            for number, config in enumerate(cluster(2))
        ]

    workers = start()
    workers[0].wait_until_logged(4)
    workers[1].send(signal.SIGTERM)
    results = [worker.finish() for worker in workers]
    assert [status for status, _ in results] == [128 + signal.SIGTERM] * 2, results
    step = int(latest(two / "checkpoints").rpartition("-")[2])
    assert 4 <= step < 20
    assert f"Stopped by SIGTERM after step {step}" in results[0][1]

    results = [worker.finish() for worker in start()]
    assert [status for status, _ in results] == [0, 0], results
    assert f"Resuming after step {step}" in results[0][1]
    assert "step" not in results[1][1]  # the chief alone speaks
    assert alone.finish()[0] == 0
    one_log, two_log = read_metrics(tmp_path / "one"), read_metrics(two)
    assert [e["step"] for e in two_log] == [e["step"] for e in one_log]
    for name in ("loss", "selection", "segments_per_second"):
        assert [name in e for e in two_log] == [name in e for e in one_log]
    losses = [[e["loss"] for e in log if "loss" in e] for log in (one_log, two_log)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    one, many = checkpoint_values(tmp_path / "one"), checkpoint_values(two)
    assert set(one) == set(many)
    for name, value in one.items():
        assert np.max(np.abs(many[name] - value)) <= 1e-5 * np.max(np.abs(value)), name


def test_a_killed_worker_ends_the_others_and_all_resume_to_the_bits_of_an_uninterrupted_run(
    dataset_dir: Path, tmp_path: Path
) -> None:
    """The worker is killed between two checkpoints; what follows is compared with two workers that were left alone."""
    flags = [
        f"--dataset_dir={dataset_dir}", "--batch_size=2", "--crop_segments=8", "--log_every=1", "--ema_decay=0.9",
        "--strategy=multi_worker", "--test_subset=", "--checkpoint_every=3", "--deterministic",
    ]  # fmt: skip

    def start(run: str, iterations: int) -> list[TrainingProcess]:
        # It could not be told beforehand at which step the kill arrives: the first run ends with it, whenever that is.
        return [TrainingProcess(tmp_path / run, [*flags, f"--iterations={iterations}"], c) for c in cluster(2)]

    workers = start("killed", 100_000)
    workers[0].wait_until_logged(4)
    workers[1].send(signal.SIGKILL)
    status, output = workers[0].finish()
    assert status == 1
    assert "Another worker is gone" in output and "resumes from its newest checkpoint" in output
    assert "Traceback" not in output
    assert workers[1].finish()[0] == -signal.SIGKILL

    step = int(latest(tmp_path / "killed" / "checkpoints").rpartition("-")[2])
    assert step >= 3 and step % 3 == 0
    for run in ("killed", "left_alone"):
        results = [worker.finish() for worker in start(run, step + 4)]
        assert [status for status, _ in results] == [0, 0], results
        assert (f"Resuming after step {step}" in results[0][1]) == (run == "killed")
    resumed, whole = checkpoint_values(tmp_path / "killed"), checkpoint_values(tmp_path / "left_alone")
    assert set(resumed) == set(whole)
    assert {name.partition("/")[0] for name in whole} == {"network", "optimizer", "averages"}
    assert [name for name, value in whole.items() if not np.array_equal(resumed[name], value)] == []
    losses = [[(e["step"], e["loss"]) for e in read_metrics(tmp_path / run)] for run in ("killed", "left_alone")]
    assert losses[0] == losses[1] and len(losses[0]) == step + 4
