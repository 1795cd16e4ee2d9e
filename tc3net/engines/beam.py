"""Apache Beam: a pipeline per call; results pass through text files in a folder that the driver sees too."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from absl import flags

from tc3net.engines.outcomes import results


def define_beam_flag(flag_values: flags.FlagValues) -> None:
    """Defines `--beam_option`."""
    flags.DEFINE_multi_string(
        "beam_option",
        [],
        "An option of Apache Beam or its runner, for example --beam_option=runner=FlinkRunner; may be repeated.",
        flag_values=flag_values,
    )


def pipeline_options(options: Sequence[str]) -> Any:
    """Beam's `PipelineOptions` of options written as `name` or `name=value`."""
    module = importlib.import_module("apache_beam.options.pipeline_options")
    return module.PipelineOptions([f"--{option}" for option in options])


def read_lines(folder: Path, prefix: str) -> Iterator[str]:
    """The lines that a pipeline left in files whose names begin so."""
    for path in sorted(folder.glob(f"{prefix}-*")):
        with open(path, encoding="utf-8") as lines:
            yield from lines


def read_outcomes(folder: Path, prefix: str, count: int) -> Iterator[tuple[int, Any]]:
    """See `results`, of lines that a pipeline left."""
    return results(read_lines(folder, prefix), count, f"The pipeline that writes to {folder}")


class Runner:
    """Runs functions as Beam pipelines.

    Args:
        options: of Beam and its runner, as `name` or `name=value`.
        folder: an empty folder that the driver and all workers see.
    """

    def __init__(self, options: Sequence[str], folder: Path) -> None:
        self._beam = importlib.import_module("apache_beam")
        self._options = pipeline_options(options)
        self._folder = folder
        self._runs = 0

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """A pipeline has ended when `run` has; there is nothing to end."""

    def run(self, work: Callable[[Any], str], items: Sequence[Any]) -> Iterator[str]:
        """See `Engine.run`; yields after the pipeline has ended. What Beam raises is passed on."""
        if not items:
            return
        beam, prefix = self._beam, f"results-{self._runs}"
        self._runs += 1
        with beam.Pipeline(options=self._options) as pipeline:
            _ = (
                pipeline
                | "tasks" >> beam.Create(list(items))
                | "distribute" >> beam.Reshuffle()
                | "work" >> beam.Map(work)
                | "results" >> beam.io.WriteToText(str(self._folder / prefix))
            )
        yield from read_lines(self._folder, prefix)
