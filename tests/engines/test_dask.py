"""Conversion, extraction and scoring on a Dask scheduler and two workers, processes that talk over TCP."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.extraction.jobs.engine_extraction import extract_on
from data_prep.extraction.videos import list_videos
from tc3net.common.errors import UserError
from tc3net.engines.engine import EngineChoice, open_engine, run_tasks
from tests.support import clusters
from tests.support.cluster_extraction import RECIPE, check_extraction, check_killed_extraction
from tests.support.needs import DASK, VIDEO, needs
from tests.support.plain_steps import die, echo

pytestmark = needs(DASK)


def start_worker(known: list[clusters.Process], folder: Path, number: int) -> clusters.Process:
    options = ["--nthreads=1", "--no-nanny", "--no-dashboard", "--memory-limit=0", f"--name=w{number}"]
    file = f"--scheduler-file={folder / 'scheduler.json'}"
    return clusters.started(
        known,
        folder / f"worker{number}.log",
        sys.executable,
        "-m",
        "dask",
        "worker",
        file,
        "--host=127.0.0.1",
        *options,
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Cluster]:
    folder = tmp_path_factory.mktemp("dask")
    with clusters.processes() as known:
        file, log = folder / "scheduler.json", folder / "scheduler.log"
        options = ["--host=127.0.0.1", "--port=0", "--no-dashboard", f"--scheduler-file={file}"]
        clusters.started(known, log, sys.executable, "-m", "dask", "scheduler", *options)
        clusters.wait_for(file.is_file, "a scheduler", log)
        workers = [start_worker(known, folder, number) for number in range(2)]
        address = json.loads(file.read_text())["address"]
        assert address.startswith("tcp://127.0.0.1:")
        choice = EngineChoice("dask", (f"address={address}", f"wait_s={clusters.LIMIT_S}"))
        yield clusters.Cluster(choice, workers, lambda: workers.append(start_worker(known, folder, len(known))))


def test_the_conversion_gives_the_same_bytes(
    cluster: clusters.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters.check_conversion(cluster, tmp_path, monkeypatch)


def test_a_poisoned_task_is_named(cluster: clusters.Cluster, tmp_path: Path) -> None:
    clusters.check_poisoned_task(cluster, tmp_path, workers_stay=True)


def test_scoring_gives_the_same_bytes(cluster: clusters.Cluster, dataset_dir: Path, tmp_path: Path) -> None:
    clusters.check_scoring(cluster, dataset_dir, tmp_path)


def test_more_tasks_than_are_handed_over_at_a_time(cluster: clusters.Cluster, tmp_path: Path) -> None:
    with open_engine(cluster.choice, tmp_path) as engine:
        assert dict(run_tasks(engine, echo, [f"t{i}" for i in range(50)], "x")) == {i: f"t{i}" for i in range(50)}


@needs(VIDEO)
def test_extraction_gives_the_same_files(cluster: clusters.Cluster, tmp_path: Path) -> None:
    check_extraction(cluster, tmp_path)
    wrong = replace(RECIPE, backbone="tests.support.toy_backbone:breaks")
    videos = list_videos(tmp_path / "videos" / "v0.avi")
    with pytest.raises(UserError, match=r"v0\.avi: video 'v0': .*ZeroDivisionError"):
        extract_on(cluster.choice, wrong, wrong.open(), tmp_path / "wrong", videos)


@needs(VIDEO)
def test_a_worker_killed_while_it_extracts_costs_nothing_but_time(cluster: clusters.Cluster, tmp_path: Path) -> None:
    check_killed_extraction(cluster, tmp_path)


def test_a_killed_worker_costs_nothing_but_time(cluster: clusters.Cluster, tmp_path: Path) -> None:
    clusters.check_killed_worker(cluster, tmp_path)


def test_a_task_that_ends_every_worker_is_named(cluster: clusters.Cluster, tmp_path: Path) -> None:
    for _ in range(4):  # one more than Dask tries by itself
        cluster.start()
    with open_engine(cluster.choice, tmp_path) as engine, pytest.raises(UserError, match=r"video 'v7': every worker"):
        list(run_tasks(engine, die, ["video 'v7'"], "x"))
