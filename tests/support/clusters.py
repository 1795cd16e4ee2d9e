"""Clusters of several processes that talk over TCP on this machine, and what the tests of all engines do with one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.conversion import shards
from data_prep.conversion.engine_workers import EngineWorkers, convert_on
from data_prep.conversion.pipeline import convert
from tc3net.common.errors import UserError
from tc3net.detection import DetectionConfig
from tc3net.engines.engine import EngineChoice, open_engine
from tc3net.prediction.engine_scoring import predict_on
from tc3net.prediction.tasks import Task, run_task
from tc3net.runs.folder import CheckpointChoice
from tc3net.runs.scoring import DatasetChoice, Scoring
from tests.support import cluster_steps
from tests.support.conversion import write_inputs
from tests.support.untrained_run import save_untrained_run

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[bytes]
LIMIT_S = 300  # for a machine with much else to do


def environment() -> dict[str, str]:
    """Of every process: what a worker needs to find tc3net and these tests."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYSPARK_PYTHON": sys.executable,
    }


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Cluster:
    """A cluster under way.

    Attributes:
        choice: how to reach it.
        workers: the processes that can be killed.
        start: adds a worker.
    """

    choice: EngineChoice
    workers: list[Process]
    start: Callable[[], None]


@contextlib.contextmanager
def processes() -> Iterator[list[Process]]:
    """A list that processes are put into by `started`; all of them and their children are ended at the end."""
    known: list[Process] = []
    try:
        yield known
    finally:
        for process in known:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def started(known: list[Process], log: Path, *command: str, **variables: str) -> Process:
    """A process in a group of its own, in another working directory than the driver's."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=log.parent, env={**environment(), **variables}, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    known.append(process)
    return process


def wait_for(ready: Callable[[], bool], what: str, log: Path | None = None) -> None:
    """Waits until a function says yes."""
    deadline = time.monotonic() + LIMIT_S
    while not ready():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} not after {LIMIT_S} s: {log.read_text()[-2000:] if log else ''}")
        time.sleep(0.05)


def many_videos(count: int) -> dict[str, dict[str, object]]:
    """Annotations of so many videos, a third of them of the test subset."""
    return {
        f"v{number:03d}": {
            "subset": "training" if number % 3 else "test",
            "duration": 6.4,
            "annotations": [{"label": "Run" if number % 2 else "Jump", "segment": [0.5, 1.5 + number / 100]}],
        }
        for number in range(count)
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Every file's bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def check_conversion(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes as the local conversion's, the index too; and the progress bars hear of tasks one by one."""
    options = replace(write_inputs(tmp_path, many_videos(12)), videos_per_shard=3)
    convert(replace(options, output_dir=tmp_path / "local"))
    told: dict[str, list[int]] = {"checking": [], "writing": []}

    @contextlib.contextmanager
    def bar(_: object, words: str, *__: object, **___: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(update=told[words].append)

    monkeypatch.setattr(shards, "progress_bar", bar)
    convert_on(cluster.choice, options, "")
    assert {words: sum(done) for words, done in told.items()} == {"checking": 12, "writing": 12}
    assert (len(told["checking"]), len(told["writing"])) == (2, 5)
    assert contents(tmp_path / "out") == contents(tmp_path / "local")
    assert "dataset.index" in contents(tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()


def check_killed_worker(cluster: Cluster, tmp_path: Path) -> None:
    """A worker that is killed with SIGKILL while it works costs nothing but time."""
    options = replace(write_inputs(tmp_path, many_videos(40)), videos_per_shard=1)
    convert(replace(options, output_dir=tmp_path / "local"))
    victim, killed = cluster.workers.pop(), []

    def kill_in_the_middle() -> None:
        finished = tmp_path / "out.partial" / "done"
        wait_for(lambda: finished.is_dir() and any(finished.iterdir()), "a first shard")
        os.killpg(victim.pid, signal.SIGKILL)
        killed.append(len(list(finished.iterdir())))

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    convert_on(cluster.choice, options, "")
    killer.join()
    assert victim.wait() == -signal.SIGKILL
    assert killed[0] < 40  # shards were still to be written
    assert contents(tmp_path / "out") == contents(tmp_path / "local")


def check_poisoned_task(cluster: Cluster, tmp_path: Path, workers_stay: bool) -> None:
    """What is wrong with a video is said with its name, be it the user's to correct or a bug.

    Args:
        cluster: it is asked for.
        tmp_path: for the files.
        workers_stay: from one conversion to the next, so that they may know files that are no longer there.
    """
    options = write_inputs(tmp_path)
    np.save(tmp_path / "features" / "rgb" / "v2.npy", np.full((10, 2), np.nan, np.float32))
    with pytest.raises(UserError, match=r"v2: .*NaN"):
        convert_on(cluster.choice, options, "")
    np.save(tmp_path / "features" / "rgb" / "v2.npy", np.zeros((10, 2), np.float32))
    five = {f"v{number}": video for number, video in enumerate(many_videos(5).values(), start=1)}
    if workers_stay:
        convert_on(cluster.choice, options, "")  # the same workers see the corrected file, and new ones
    (tmp_path / "a.json").write_text(json.dumps({"database": five}))
    for stream in ("rgb", "flow"):
        for name in five:
            np.save(tmp_path / "features" / stream / f"{name}.npy", np.ones((10, 2), np.float32))
    if workers_stay:
        assert sum(split.videos for split in convert_on(cluster.choice, options, "").splits.values()) == 5
    workers = EngineWorkers(open_engine(cluster.choice, tmp_path), options.inputs)
    with workers as running:
        assert dict(running.run(cluster_steps.count_rows, ["v1", "v2"])) == {0: 10, 1: 10}
        with pytest.raises(UserError, match=r"video 'v2': ZeroDivisionError"):
            list(running.run(cluster_steps.fail_with_v2, ["v1", "v2", "v3"]))
        (tmp_path / "features" / "rgb" / "v2.npy").write_bytes(b"no array")
        with pytest.raises(UserError, match=r"video 'v2': .*v2\.npy"):
            list(running.run(cluster_steps.count_rows, ["v1", "v2"]))


def check_scoring(cluster: Cluster, dataset_dir: Path, tmp_path: Path) -> None:
    """The same bytes as `tc3net.predict` writes task by task; a damaged record names its shard."""
    run_dir = save_untrained_run(tmp_path / "run")
    scoring = Scoring(str(run_dir), CheckpointChoice(), DatasetChoice(str(dataset_dir), "test"), DetectionConfig())
    opened = scoring.open()
    for index in range(3):
        run_task(opened.scorer, opened.split, scoring.detection, Task(index, 3), tmp_path / "local")
    predict_on(cluster.choice, scoring, tmp_path / "out", 3)
    assert contents(tmp_path / "out") == contents(tmp_path / "local")
    shard = sorted(dataset_dir.glob("test-*"))[-1]
    damaged = bytearray(shard.read_bytes())
    damaged[-20] ^= 255
    shard.write_bytes(bytes(damaged))
    with pytest.raises(UserError, match=r"a record of subset 'test' is damaged"):
        predict_on(cluster.choice, scoring, tmp_path / "out", 3)
    assert not (tmp_path / "out" / Task(2, 3).file_name).exists()
