"""Runs the conversion's steps that read features as Apache Beam pipelines.

It holds no command, so that worker processes find by name what is sent to them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from data_prep.conversion.workers import Step, Task, open_elsewhere
from data_prep.inputs.options import InputOptions
from tc3net.common.beam_support import outcome_line, pipeline_options, read_outcomes
from tc3net.common.extensions import loaded_extensions

_reader = functools.lru_cache(maxsize=1)(open_elsewhere)  # once per worker process


def _run_step(numbered: tuple[int, Task], step: Step[Task], options: InputOptions, extensions: tuple[str, ...]) -> str:
    """One line of JSON: the task's number and its result, or the message of an error that the user can correct."""
    number, task = numbered
    return outcome_line(number, lambda: step(_reader(options, extensions), task))


class BeamWorkers:
    """Runs steps as Beam pipelines, one per call of `run`; results pass through text files in a shared folder.

    Args:
        beam: the module `apache_beam`.
        options: the inputs, which every worker opens for itself.
        folder: an empty folder that the driver and all workers see.
        beam_options: options of Beam and its runner, as `name` or `name=value`.
    """

    def __init__(self, beam: Any, options: InputOptions, folder: Path, beam_options: Sequence[str] = ()) -> None:
        self._options = options
        self._folder = folder
        self._beam = beam
        self._beam_options = pipeline_options(beam, beam_options)
        self._runs = 0

    def __enter__(self) -> BeamWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """A pipeline has ended when `run` has; there is nothing to end."""

    def run(self, step: Step[Task], tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """See `Workers.run`; yields after the pipeline has ended."""
        if not tasks:
            return
        beam, prefix = self._beam, f"results-{self._runs}"
        self._runs += 1
        with beam.Pipeline(options=self._beam_options) as pipeline:
            _ = (
                pipeline
                | "tasks" >> beam.Create(list(enumerate(tasks)))
                | "distribute" >> beam.Reshuffle()
                | step.__name__ >> beam.Map(_run_step, step, self._options, loaded_extensions())
                | "results" >> beam.io.WriteToText(str(self._folder / prefix))
            )
        yield from read_outcomes(self._folder, prefix, len(tasks))
