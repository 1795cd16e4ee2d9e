"""Which engine runs the tasks: `--engine` and `--engine_option`, and the table of what can be named there."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from absl import flags

from tc3net.common.errors import UserError
from tc3net.engines.outcomes import results

LOCAL = "local"


class TaskFailedError(Exception):
    """A task ended in a way that is no outcome: a bug, or the end of the process that ran it.

    Args:
        task: its position.
        reason: what happened, for the message.
    """

    def __init__(self, task: int, reason: str) -> None:
        super().__init__(task, reason)
        self.task, self.reason = task, reason


class Engine(Protocol):
    """Runs a function on every item, wherever its workers are."""

    def run(self, work: Callable[[Any], str], items: Sequence[Any]) -> Iterator[str]:
        """Yields what `work` returns for each of the items, in any order, as soon as it is known.

        Args:
            work: a function that workers find by name, or a `functools.partial` of one; it gives an `outcome_line`. It
                may be called twice with the same item, also at the same time.
            items: what pickle can send.

        Raises:
            TaskFailedError: of an item.
            UserError: the engine cannot be reached.
        """


@dataclass(frozen=True)
class EngineChoice:
    """What runs the tasks.

    Attributes:
        name: one of `names()`.
        options: of the engine, each `name=value`.
    """

    name: str = LOCAL
    options: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether this process and its own workers do."""
        return self.name == LOCAL


@dataclass(frozen=True)
class _Row:
    module: str  # has `Runner`, a context manager that is an Engine, of (options, shared folder)
    package: str  # that has to be importable
    project: str  # as users know it


# Each is an extra of the package, `pip install tc3net[<name>]`.
_TABLE = {
    "beam": _Row("tc3net.engines.beam", "apache_beam", "Apache Beam"),
    "dask": _Row("tc3net.engines.dask", "distributed", "Dask distributed"),
    "spark": _Row("tc3net.engines.spark", "pyspark", "Apache Spark"),
}


def names() -> tuple[str, ...]:
    """All that `--engine` takes."""
    return (LOCAL, *_TABLE)


def require(name: str, otherwise: str) -> None:
    """Raises UserError where an engine's package is not installed.

    Args:
        name: of an engine that is not local.
        otherwise: how to do without, for the message.
    """
    row = _TABLE[name]
    try:
        importlib.import_module(row.package)
    except ImportError as error:
        raise UserError(
            f"{row.project} cannot be imported ({error}); expected the package {row.package.replace('_', '-')}. Run "
            f"`pip install tc3net[{name}]`, or {otherwise}"
        ) from None


def open_engine(choice: EngineChoice, folder: Path) -> AbstractContextManager[Engine]:
    """The engine; entered, it is connected.

    Args:
        choice: not local; its package is there (`require`).
        folder: an empty folder that this process and all workers see.

    Raises:
        UserError: an option is unknown.
    """
    engine: AbstractContextManager[Engine] = importlib.import_module(_TABLE[choice.name].module).Runner(
        choice.options, folder
    )
    return engine


def run_tasks(
    engine: Engine, work: Callable[[tuple[int, Any]], str], tasks: Sequence[Any], where: str
) -> Iterator[tuple[int, Any]]:
    """Runs a function on every task; yields (position of the task, result) in any order, each as soon as it is known.

    Args:
        engine: entered.
        work: of (position, task), see `Engine.run`.
        tasks: their `str` names in messages what they are about.
        where: the engine, for messages.

    Raises:
        UserError: of a task; one cannot be run to its end; or the engine ended without an error before all were done.
        OSError: of a task.
    """
    try:
        yield from results(engine.run(work, list(enumerate(tasks))), len(tasks), where)
    except TaskFailedError as error:
        raise UserError(f"{tasks[error.task]}: {error.reason}") from error


def define_engine_flags(flag_values: flags.FlagValues) -> None:
    """Defines `--engine` and `--engine_option`."""
    flags.DEFINE_enum(
        "engine",
        LOCAL,
        names(),
        "What runs the tasks: this machine, or a cluster (docs/large-data.md).",
        flag_values=flag_values,
    )
    flags.DEFINE_multi_string(
        "engine_option",
        [],
        "name=value for --engine, such as address=tcp://host:8786 (dask) or master=spark://host:7077 (spark); may be "
        "repeated.",
        flag_values=flag_values,
    )


def engine_choice(values: flags.FlagValues) -> EngineChoice:
    """What the flags of `define_engine_flags` say.

    Raises:
        UserError: options without an engine that takes them.
    """
    choice = EngineChoice(values.engine, tuple(values.engine_option))
    if choice.is_local and choice.options:
        raise UserError(
            f"--engine_option={choice.options[0]} found without an engine; expected --engine={' or '.join(_TABLE)}. "
            "Add it, or drop the option."
        )
    return choice


def pairs(options: Sequence[str], engine: str) -> dict[str, str]:
    """Options written as `name=value`.

    Raises:
        UserError: one is not, or is given twice.
    """
    found: dict[str, str] = {}
    for option in options:
        name, is_assigned, value = option.partition("=")
        if not is_assigned or not name or name in found:
            raise UserError(
                f"--engine_option={option} found for {engine}; expected name=value, each name once. Correct it."
            )
        found[name] = value
    return found
