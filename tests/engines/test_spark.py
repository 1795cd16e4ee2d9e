"""Conversion, extraction and scoring on a standalone Spark master and two workers, processes that talk over TCP."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tc3net.common.errors import UserError
from tc3net.engines.engine import EngineChoice, open_engine, run_tasks
from tests.support import clusters
from tests.support.cluster_extraction import check_killed_extraction
from tests.support.needs import SPARK, VIDEO, needs
from tests.support.plain_steps import die, echo

pytestmark = needs(SPARK)
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # of a Java that ends before compiling well pays


def start_jvm(known: list[clusters.Process], log: Path, kind: str, *arguments: str) -> clusters.Process:
    """A master or a worker, as Spark's own scripts start them."""
    found = importlib.util.find_spec("pyspark")
    assert found is not None and found.origin is not None
    home = Path(found.origin).parent
    name = f"org.apache.spark.deploy.{kind.lower()}.{kind}"
    where = ("--host", "127.0.0.1", "--webui-port", "0")
    variables = {"SPARK_HOME": str(home), "SPARK_WORKER_DIR": str(log.parent / "work"), "SPARK_DAEMON_MEMORY": "256m"}
    variables["SPARK_DAEMON_JAVA_OPTS"] = f"-Dspark.master.rest.enabled=false {SHORT_LIVED}"  # its port may be taken
    return clusters.started(known, log, str(home / "bin" / "spark-class"), name, *where, *arguments, **variables)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Cluster]:
    folder, port = tmp_path_factory.mktemp("spark"), clusters.free_port()
    master = f"spark://127.0.0.1:{port}"
    with clusters.processes() as known:
        log = folder / "master.log"
        start_jvm(known, log, "Master", "--port", str(port))
        clusters.wait_for(lambda: "New state: ALIVE" in log.read_text(), "a master", log)
        workers: list[clusters.Process] = []

        def start() -> None:
            number = len(known)
            arguments = ("--cores", "1", "--memory", "1g", master)
            workers.append(start_jvm(known, folder / f"worker{number}.log", "Worker", *arguments))
            clusters.wait_for(lambda: log.read_text().count("Registering worker") >= number, "a worker", log)

        start()
        start()
        settings = {
            "master": master,
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executor.memory": "512m",
            "spark.executor.extraJavaOptions": SHORT_LIVED,
            "spark.driver.extraJavaOptions": SHORT_LIVED,
            "spark.ui.enabled": "false",
            "spark.executorEnv.PYTHONPATH": str(clusters.ROOT),
            "spark.network.timeout": "60s",
            "spark.executor.heartbeatInterval": "5s",
        }
        options = tuple(f"{name}={value}" for name, value in settings.items())
        yield clusters.Cluster(EngineChoice("spark", options), workers, start)


def with_options(cluster: clusters.Cluster, *options: str) -> clusters.Cluster:
    """The same cluster, asked for with more settings."""
    return replace(cluster, choice=EngineChoice("spark", (*cluster.choice.options, *options)))


def test_the_conversion_gives_the_same_bytes(
    cluster: clusters.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters.check_conversion(cluster, tmp_path, monkeypatch)


def test_a_poisoned_task_is_named(cluster: clusters.Cluster, tmp_path: Path) -> None:
    # The worker's Python ends with a task that fails and imports everything anew for the next try; that there are
    # several tries is tested below.
    once = with_options(cluster, "spark.task.maxFailures=1", "spark.cores.max=1")
    clusters.check_poisoned_task(once, tmp_path, workers_stay=False)


def test_scoring_gives_the_same_bytes(cluster: clusters.Cluster, dataset_dir: Path, tmp_path: Path) -> None:
    clusters.check_scoring(cluster, dataset_dir, tmp_path)


def test_more_tasks_than_a_job_has_and_one_that_ends_every_process(cluster: clusters.Cluster, tmp_path: Path) -> None:
    with open_engine(with_options(cluster, "spark.cores.max=1").choice, tmp_path) as engine:
        assert dict(run_tasks(engine, echo, [f"t{i}" for i in range(20)], "x")) == {i: f"t{i}" for i in range(20)}
        with pytest.raises(UserError, match=r"video 'v7': .*4 times"):
            list(run_tasks(engine, die, ["video 'v7'"], "x"))


@needs(VIDEO)
def test_a_worker_killed_while_it_extracts_costs_nothing_but_time(cluster: clusters.Cluster, tmp_path: Path) -> None:
    check_killed_extraction(cluster, tmp_path)


def test_a_killed_worker_costs_nothing_but_time(cluster: clusters.Cluster, tmp_path: Path) -> None:
    clusters.check_killed_worker(cluster, tmp_path)
