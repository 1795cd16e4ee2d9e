"""Runs the conversion's steps that read features on an engine: Apache Beam, Dask, Spark.

It holds no command, so that worker processes find by name what is sent to them.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from data_prep.conversion.pipeline import ConvertOptions, convert_with
from data_prep.conversion.workers import Step, Task, open_elsewhere
from data_prep.features import FeatureReader
from data_prep.inputs.options import InputOptions
from tc3net.common.errors import UserError
from tc3net.common.extensions import loaded_extensions
from tc3net.data.schema import Manifest
from tc3net.engines.engine import Engine, EngineChoice, open_engine, require, run_tasks
from tc3net.engines.outcomes import outcome_line

_kept = threading.local()  # what a worker's thread holds from one task to the next: readers seek in files


def _reader(options: InputOptions, extensions: tuple[str, ...], conversion: str) -> FeatureReader:
    # Opened anew for each conversion: a cluster's workers outlive it, and files may have changed since.
    if getattr(_kept, "conversion", None) != conversion:
        _kept.reader, _kept.conversion = open_elsewhere(options, extensions), conversion
    reader: FeatureReader = _kept.reader
    return reader


def _run_step(
    numbered: tuple[int, Task],
    step: Step[Task],
    options: InputOptions,
    extensions: tuple[str, ...],
    conversion: str,
) -> str:
    """One line of JSON: the task's number and its result, or the message of an error that the user can correct."""
    number, task = numbered
    return outcome_line(number, lambda: step(_reader(options, extensions, conversion), task))


def _everywhere(options: InputOptions) -> InputOptions:
    """The same inputs for processes with another working directory."""
    names = ("annotations", "features", "flow_features", "time_base_file", "videos", "class_list")
    paths = {name: getattr(options, name) for name in names}
    there = {
        name: os.path.abspath(path)
        for name, path in paths.items()
        if path is not None and (os.path.exists(path) or glob.has_magic(str(path)))
    }
    return replace(options, **there)


class EngineWorkers:
    """Runs steps on an engine.

    Args:
        opening: the engine, which is entered and left with this.
        options: the inputs, which every worker opens for itself.
        where: the engine in words, for messages.
    """

    def __init__(
        self, opening: contextlib.AbstractContextManager[Engine], options: InputOptions, where: str = "the engine"
    ) -> None:
        self._opening, self._options, self._where = opening, _everywhere(options), where
        self._conversion = uuid.uuid4().hex
        self._engine: Engine | None = None

    def __enter__(self) -> EngineWorkers:
        self._engine = self._opening.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opening.__exit__(kind, error, at)

    def run(self, step: Step[Task], tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """See `Workers.run`."""
        assert self._engine is not None
        known: dict[str, Any] = {
            "options": self._options,
            "extensions": loaded_extensions(),
            "conversion": self._conversion,
        }
        work = functools.partial(_run_step, step=step, **known)
        yield from run_tasks(self._engine, work, tasks, self._where)


def convert_on(choice: EngineChoice, options: ConvertOptions, otherwise: str) -> Manifest:
    """Converts one data set; the same files and manifest as `data_prep.conversion.pipeline.convert`.

    Args:
        choice: the engine, not local.
        options: what to convert; `num_workers` must be 1, since the engine has its own options for that.
        otherwise: how to do without the engine, where it is not installed.

    Returns:
        The manifest, as written to `dataset.json`.

    Raises:
        UserError: the engine is not installed or cannot be reached; or see `data_prep.conversion.pipeline.convert`.
    """
    if options.num_workers != 1:
        raise UserError(
            f"--num_workers={options.num_workers} found with the engine {choice.name}; expected none, since it has "
            "workers of its own. Use its own option, for example direct_num_workers=4 of Beam's DirectRunner."
        )
    require(choice.name, otherwise)  # before anything is read or written

    def start(_: object, folder: Path) -> EngineWorkers:
        return EngineWorkers(open_engine(choice, folder), options.inputs, choice.name)

    return convert_with(options, start)
