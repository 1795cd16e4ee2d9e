"""Dask distributed: tasks go to the workers of a scheduler that is there already, a few per thread at a time."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tc3net.common.errors import UserError
from tc3net.engines.engine import TaskFailedError, pairs

_DEFAULTS = {"address": "", "scheduler_file": "", "wait_s": "60"}
_PER_THREAD = 3  # tasks handed over per thread: enough to keep it busy, few enough that memory does not grow
_LOOK_S = 5.0  # how often workers that have come or gone are looked for


class Runner:
    """Runs functions on a Dask cluster.

    Args:
        options: `address=tcp://host:8786` or `scheduler_file=path`; `wait_s`, how long to wait for the first worker.
        folder: not needed; results come over the connection.

    Raises:
        UserError: an option is unknown, or names no scheduler.
    """

    def __init__(self, options: Sequence[str], folder: Path) -> None:
        del folder
        given = pairs(options, "dask")
        if set(given) - set(_DEFAULTS) or bool(given.get("address")) == bool(given.get("scheduler_file")):
            raise UserError(
                f"--engine_option={','.join(options) or '(none)'} found for dask; expected address=tcp://host:8786 or "
                "scheduler_file=path, and perhaps wait_s=60. Correct --engine_option."
            )
        self._options = {**_DEFAULTS, **given}
        try:
            self._wait_s = float(self._options["wait_s"])
        except ValueError:
            raise UserError(f"--engine_option=wait_s={self._options['wait_s']} found; expected seconds.") from None
        self._distributed = importlib.import_module("distributed")
        self._client: Any = None

    @property
    def _scheduler(self) -> str:
        return self._options["address"] or self._options["scheduler_file"]

    def __enter__(self) -> Runner:
        where = {name: self._options[name] for name in ("address", "scheduler_file") if self._options[name]}
        try:
            self._client = self._distributed.Client(timeout=self._wait_s, set_as_default=False, **where)
            self._client.wait_for_workers(1, timeout=self._wait_s)
        except (OSError, ValueError, TimeoutError) as error:
            self._close()
            raise UserError(
                f"dask scheduler {self._scheduler}: it, or a worker of it, cannot be reached within "
                f"{self._wait_s:g} s ({type(error).__name__}: {error}); expected both running. Start them, or correct "
                "--engine_option."
            ) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):  # the scheduler may be gone, which was said before
                self._client.close()
            self._client = None

    def run(self, work: Callable[[Any], str], items: Sequence[Any]) -> Iterator[str]:
        """See `Engine.run`. A task whose worker dies is run again elsewhere, which Dask itself does."""
        waiting = iter(enumerate(items))
        running: dict[Any, int] = {}
        room = _Room(self._client, self._scheduler)
        try:
            while True:
                for _ in range(room.now(len(running)) - len(running)):
                    following = next(waiting, None)
                    if following is None:
                        break
                    future = self._client.submit(work, following[1], pure=False)
                    running[future] = following[0]
                if not running:
                    return
                for future in self._ended(running):
                    yield self._result(future, running.pop(future))
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                self._client.cancel(list(running))

    def _ended(self, running: Iterable[Any]) -> Iterable[Any]:
        """Those that have ended, as soon as one has; none after a while without."""
        with contextlib.suppress(TimeoutError), self._client.as_current():
            ended: Iterable[Any] = self._distributed.wait(list(running), _LOOK_S, "FIRST_COMPLETED").done
            return ended
        return ()

    def _result(self, future: Any, task: int) -> str:
        error = future.exception() if future.status == "error" else None
        if future.status not in ("finished", "error"):
            raise UserError(
                f"dask scheduler {self._scheduler}: a task was {future.status} there; expected all to run to the end. "
                "See that the scheduler runs and nothing else cancels its tasks, and run the same command again."
            )
        if isinstance(error, self._distributed.KilledWorker):
            raise TaskFailedError(
                task,
                f"every worker that was given it ended ({error}). Look into the workers' logs for what ended them "
                "(memory?); where machines come and go, raise distributed.scheduler.allowed-failures.",
            )
        if error is not None:
            raise TaskFailedError(task, f"{type(error).__name__}: {error}") from error
        return str(future.result())


class _Room:
    """How many tasks the cluster may hold; says once when it has no workers any more."""

    def __init__(self, client: Any, scheduler: str) -> None:
        self._client, self._scheduler = client, scheduler
        self._next, self._room, self._told = 0.0, 1, False

    def now(self, running: int) -> int:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LOOK_S
            threads = sum(self._client.nthreads().values())
            if not threads and running and not self._told:
                print(f"dask scheduler {self._scheduler}: no workers any more; waiting for some", file=sys.stderr)
            self._told = not threads
            self._room = max(1, _PER_THREAD * threads)
        return self._room
