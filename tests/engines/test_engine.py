"""What is said of engines before one is there, and what becomes of tasks that one leaves undone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from absl import flags

from tc3net.common.errors import UserError
from tc3net.engines import spark
from tc3net.engines.engine import (
    EngineChoice,
    TaskFailedError,
    define_engine_flags,
    engine_choice,
    names,
    open_engine,
    pairs,
    require,
    run_tasks,
)
from tc3net.engines.outcomes import outcome_line, results
from tests.support.needs import DASK, SPARK, needs
from tests.support.plain_steps import echo


class Careless:
    """Runs tasks in this process, in the order that it is told: some twice, some never."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = order

    def run(self, work: Callable[[Any], str], items: Sequence[Any]) -> Iterator[str]:
        for place in self._order:
            if place < 0:
                raise TaskFailedError(-place, "its worker ended")
            yield work(items[place])


def test_results_come_as_they_are_known_each_task_once() -> None:
    assert list(run_tasks(Careless([2, 0, 2, 1, 0]), echo, ["a", "b", "c"], "x")) == [(2, "c"), (0, "a"), (1, "b")]
    assert list(run_tasks(Careless([]), echo, [], "x")) == []


@pytest.mark.parametrize("order", [[0, 2], [2, 2, 0]])
def test_an_engine_that_ends_well_with_a_task_undone_is_caught(order: list[int]) -> None:
    found = []
    with pytest.raises(UserError, match=r"cluster: results of 2 of 3 tasks found after it had ended.*missing: 1\)"):
        for result in run_tasks(Careless(order), echo, ["a", "b", "c"], "cluster"):
            found.append(result)
    assert len(found) == 2  # what was done is not lost


def test_results_of_other_tasks_are_caught() -> None:
    with pytest.raises(UserError, match="results of 3 of 2 tasks"):
        list(results([outcome_line(task, lambda: None) for task in range(3)], 2, "x"))


def test_a_task_that_cannot_be_run_is_named() -> None:
    with pytest.raises(UserError, match="video 'v2': its worker ended"):
        list(run_tasks(Careless([0, -1]), echo, ["video 'v1'", "video 'v2'"], "x"))


@pytest.mark.parametrize("name, package", [("beam", "apache_beam"), ("dask", "distributed"), ("spark", "pyspark")])
def test_without_its_package_an_engine_names_it(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    expected = rf"package {package.replace('_', '-')}\. Run `pip install tc3net\[{name}\]`, or do without"
    with pytest.raises(UserError, match=expected):
        require(name, "do without")


def test_flags_choose_an_engine() -> None:
    def chosen(*arguments: str) -> EngineChoice:
        values = flags.FlagValues()
        define_engine_flags(values)
        values(["program", *arguments])
        return engine_choice(values)

    assert names() == ("local", "beam", "dask", "spark")
    assert chosen() == EngineChoice("local") and chosen().is_local
    option = "--engine_option=address=tcp://a:1"
    assert chosen("--engine=dask", option) == EngineChoice("dask", ("address=tcp://a:1",))
    with pytest.raises(UserError, match=r"address=tcp://a:1 found without an engine; expected --engine="):
        chosen(option)
    with pytest.raises(flags.IllegalFlagValueError, match="ray"):
        chosen("--engine=ray")


@pytest.mark.parametrize("wrong", [["address"], ["=x"], ["a=1", "a=2"]])
def test_options_are_pairs(wrong: list[str]) -> None:
    assert pairs(["a=b=c", "d="], "x") == {"a": "b=c", "d": ""}
    with pytest.raises(UserError, match="name=value"):
        pairs(wrong, "x")


@needs(DASK)
@pytest.mark.parametrize("wrong", [[], ["adress=tcp://a:1"], ["address=a", "scheduler_file=b"], ["wait_s=1"]])
def test_dask_says_what_it_expects(wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected address=tcp://host:8786 or scheduler_file=path"):
        open_engine(EngineChoice("dask", tuple(wrong)), tmp_path)


@needs(DASK)
def test_a_dask_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    choice = EngineChoice("dask", ("address=tcp://127.0.0.1:9", "wait_s=0.2"))
    with pytest.raises(UserError, match=r"dask scheduler tcp://127\.0\.0\.1:9: .*cannot be reached within 0\.2 s"):
        open_engine(choice, tmp_path).__enter__()
    with pytest.raises(UserError, match="wait_s=long found; expected seconds"):
        open_engine(EngineChoice("dask", ("address=a", "wait_s=long")), tmp_path)


def test_spark_s_messages_are_brought_down_to_what_the_worker_said() -> None:
    of_python = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 2 in stage 1.0 failed 4 times, most recent
Traceback (most recent call last):
  File "x.py", line 1, in named
ZeroDivisionError: division by zero

The above exception was the direct cause of the following exception:
RuntimeError: video 'v2': ZeroDivisionError: division by zero

\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:1)
"""
    assert spark.reason(of_python) == "video 'v2': ZeroDivisionError: division by zero"
    assert spark.reason("x\nTypeError: f() takes no arguments\n\tat a.b.C") == "TypeError: f() takes no arguments"
    lost = "z:\n: org.a.SparkException: Job aborted: Task 0 in stage 3.0 failed 4 times: ExecutorLostFailure\nmore"
    assert "Task 0 in stage 3.0 failed 4 times: ExecutorLostFailure" in spark.reason(lost)
    assert "executors' logs" in spark.reason(lost)


@needs(SPARK)
def test_spark_says_what_it_expects(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"memory=4g found for spark; expected master=\.\.\. or a setting of Spark"):
        open_engine(EngineChoice("spark", ("memory=4g",)), tmp_path)
