"""Apache Spark: jobs of a few tasks per core, two jobs at a time, whose results the driver collects."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from tc3net.common.errors import UserError
from tc3net.engines.engine import TaskFailedError, pairs

_JOBS = 2  # at a time, so that the last task of one does not leave the other cores idle
_PER_CORE = 2  # tasks of a job
_PYTHONS = re.compile(r"\w*(Error|Exception|Exit|Interrupt)\b")  # the last line of a traceback; Java's names have dots
_FAILED = re.compile(r"Task (\d+) in stage [\d.]+ failed \d+ times")


class Runner:
    """Runs functions as tasks of a Spark application.

    Args:
        options: `master=...`, and settings of Spark, whose names begin with `spark.`; what is not said, such as the
            master, is as `spark-submit` or `spark-defaults.conf` say.
        folder: not needed; results come over the connection.

    Raises:
        UserError: an option is unknown.
    """

    def __init__(self, options: Sequence[str], folder: Path) -> None:
        del folder
        self._settings = pairs(options, "spark")
        unknown = [name for name in self._settings if name != "master" and not name.startswith("spark.")]
        if unknown:
            raise UserError(
                f"--engine_option={unknown[0]}={self._settings[unknown[0]]} found for spark; expected master=... or a "
                "setting of Spark, such as spark.executor.memory=4g. Correct it."
            )
        self._pyspark = importlib.import_module("pyspark")
        self._context: Any = None

    def __enter__(self) -> Runner:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers run this version
        conf = self._pyspark.SparkConf().setAppName("tc3net")
        for name, value in self._settings.items():
            conf = conf.setMaster(value) if name == "master" else conf.set(name, value)
        try:
            self._context = self._pyspark.SparkContext(conf=conf)
        except Exception as error:  # Py4J's and Java's own, of many kinds
            raise UserError(
                f"Spark cannot be started with {self._settings or 'its defaults'} ({_first_line(error)}); expected a "
                "Java of the version that Spark needs, and a master that runs. Correct --engine_option."
            ) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._context is not None:
            with contextlib.suppress(Exception):  # it may be gone, which was said before
                self._context.stop()
            self._context = None

    def run(self, work: Callable[[Any], str], items: Sequence[Any]) -> Iterator[str]:
        """See `Engine.run`. A task whose executor dies is run again elsewhere, which Spark itself does."""
        waiting = list(items)
        first = 0
        running: dict[Future[list[str]], int] = {}
        pool = ThreadPoolExecutor(_JOBS)
        try:
            while first < len(waiting) or running:
                while first < len(waiting) and len(running) < _JOBS:
                    # As many as the cluster has cores by now.
                    some = waiting[first : first + max(1, _PER_CORE * self._context.defaultParallelism)]
                    running[pool.submit(self._job, work, some)] = first
                    first += len(some)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield from self._lines(future, running.pop(future))
        finally:
            with contextlib.suppress(Exception):  # it may be gone
                self._context.cancelAllJobs()
            pool.shutdown(wait=True, cancel_futures=True)

    def _job(self, work: Callable[[Any], str], items: list[Any]) -> list[str]:
        # A task each; what fails for good is told apart from the others of its job.
        lines: list[str] = self._context.parallelize(items, len(items)).map(work).collect()
        return lines

    def _lines(self, future: Future[list[str]], first: int) -> list[str]:
        try:
            return future.result()
        except Exception as error:  # Py4J's, with the worker's traceback in it
            failed = _FAILED.search(str(error))
            raise TaskFailedError(first + (int(failed[1]) if failed else 0), reason(str(error))) from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def reason(message: str) -> str:
    """The worker's own words in Py4J's message, where there are any."""
    lines = [line.strip() for line in message.splitlines()]
    own = [line for line in lines if _PYTHONS.match(line)]
    if own:
        return own[-1].removeprefix("RuntimeError: ")
    failed = next((line for line in lines if _FAILED.search(line)), "") or " ".join(lines[:3])
    return f"{failed} Look into the executors' logs for what ended them (memory?)."
