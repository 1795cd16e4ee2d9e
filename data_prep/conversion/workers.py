"""Runs the steps of a conversion, video by video, in this process or in several.

A step is a module-level function of (reader, task) whose result is JSON, so that results can be kept on the disk and
cross any process boundary. Processes are spawned, not forked: TensorFlow's threads do not survive a fork. They end by
themselves when their parent dies, however it dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from data_prep.features import FeatureReader
from data_prep.inputs.options import InputOptions, open_inputs
from tc3net.common.errors import UserError
from tc3net.common.extensions import load_extensions, loaded_extensions
from tc3net.terminal.interrupt import not_for_children

Task = TypeVar("Task")
Step = Callable[[FeatureReader, Task], Any]
# Tasks handed over per process: enough to keep it busy, few enough that memory does not grow with the data set.
_AHEAD = 2


@contextlib.contextmanager
def named(video_id: str) -> Iterator[None]:
    """Makes errors say which video they are about; what the user cannot correct keeps its traceback.

    Raises:
        UserError: for a UserError or OSError inside.
        RuntimeError: for another exception inside.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"video {video_id!r}: {error}") from None
    except OSError as error:
        raise UserError(
            f"video {video_id!r}: its files cannot be read ({error}); expected readable files. Check the disk."
        ) from None
    except Exception as error:
        raise RuntimeError(f"video {video_id!r}: {type(error).__name__}: {error}") from error


class Workers(Protocol):
    """Something that runs steps; every way of running them gives the same results."""

    def run(self, step: Step[Task], tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """Yields (index of the task, result) in any order, each as soon as it is known.

        Raises:
            OSError, UserError: of a step; the others are given up then.
        """


def open_elsewhere(options: InputOptions, extensions: Sequence[str]) -> FeatureReader:
    """The features, opened in another process than the one that was given the options.

    Args:
        options: the inputs.
        extensions: modules that were loaded there: the inputs may be in a format of theirs.

    Raises:
        UserError: see `open_inputs`; or a module cannot be imported here.
    """
    load_extensions(extensions)
    return open_inputs(options).reader


class LocalWorkers:
    """Runs steps in this process, or in `num_workers` others; a context manager that ends them.

    Args:
        num_workers: 1 for this process.
        options: the inputs, which every process opens for itself.
        reader: the features as opened here, used with one worker.
    """

    def __init__(self, num_workers: int, options: InputOptions, reader: FeatureReader) -> None:
        self._num_workers = num_workers
        self._options = options
        self._reader = reader
        self._pool: ProcessPoolExecutor | None = None
        self._stop: Event | None = None

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None and self._stop is not None:
            self._stop.set()
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                for process in multiprocessing.active_children():  # some may still import TensorFlow
                    process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, step: Step[Task], tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """See `Workers.run`."""
        if self._num_workers == 1:
            for index, task in enumerate(tasks):
                yield index, step(self._reader, task)
        elif tasks:
            yield from self._run_in_pool(step, tasks)

    def _run_in_pool(self, step: Step[Task], tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        pool = self._start()
        waiting = iter(enumerate(tasks))
        running: dict[Future[Any], int] = {}
        try:
            while True:
                while len(running) < _AHEAD * self._num_workers:
                    following = next(waiting, None)
                    if following is None:
                        break
                    with not_for_children():  # the pool starts its processes when it is given tasks
                        future = pool.submit(_run_step, step, following[1])
                    running[future] = following[0]
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise UserError(
                f"one of {self._num_workers} worker processes was ended from outside (out of memory?); expected all to "
                "run to the end. Run the same command again, with fewer --num_workers if memory is short: it goes on "
                "from what is finished."
            ) from None

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            resource_tracker.ensure_running()  # before: starting it would make `not_for_children` end too early
            self._stop = context.Event()
            known = (self._options, loaded_extensions(), self._stop)
            self._pool = ProcessPoolExecutor(self._num_workers, context, _initialize, known)
        return self._pool


class Interrupted(BaseException):
    """Ends a step in a worker process whose results nobody waits for any more; nothing may catch it as an error."""


# What a worker process holds from one task to the next; the pool offers no other place.
_worker: dict[str, Any] = {}


def _initialize(options: InputOptions, extensions: Sequence[str], stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what to do
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(options=options, extensions=extensions, stop=stop)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # at once, in the middle of whatever is being written: nobody would take it over


def _run_step(step: Step[Task], task: Task) -> Any:
    # Opened with the first task and not in the initializer, whose exceptions would be lost.
    if "reader" not in _worker:
        _worker["reader"] = open_elsewhere(_worker["options"], _worker["extensions"])
    return step(_Interruptible(_worker["reader"], _worker["stop"]), task)


class _Interruptible:
    """A reader that stops at the next video once the parent has given up."""

    def __init__(self, reader: FeatureReader, stop: Event) -> None:
        self._reader = reader
        self._stop = stop

    @property
    def streams(self) -> tuple[str, ...]:
        return self._reader.streams

    def video_ids(self) -> list[str]:
        return self._reader.video_ids()

    def num_segments(self, video_id: str) -> int:
        return self._reader.num_segments(video_id)

    def read(self, video_id: str) -> tuple[np.ndarray, ...]:
        if self._stop.is_set():
            raise Interrupted
        return self._reader.read(video_id)
