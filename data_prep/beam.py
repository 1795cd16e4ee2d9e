"""The conversion as an Apache Beam pipeline, `python -m data_prep.beam` with the flags of `data_prep.convert`.

For data beyond one machine. The driver plans, judges and puts the folder in its place exactly as the local conversion
does; only the steps that read features run on the cluster, so that shards and manifest are the same to the byte.
Features and output have to lie where the driver and every worker see them under the same path.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from absl import flags

from data_prep.convert import define_flags as define_convert_flags
from data_prep.convert import options_from_flags
from data_prep.features import FeatureReader
from data_prep.inputs import InputOptions, open_inputs
from data_prep.pipeline import ConvertOptions, convert_with
from data_prep.workers import Step, Task
from tc3net.errors import UserError, run_main
from tc3net.schema import Manifest


def import_beam() -> Any:
    """The module `apache_beam`.

    Raises:
        UserError: it is not installed.
    """
    try:
        importlib.import_module("apache_beam.options.pipeline_options")
        return importlib.import_module("apache_beam")
    except ImportError as error:
        raise UserError(
            f"Apache Beam cannot be imported ({error}); expected the package apache-beam. Run "
            "`pip install tc3net[beam]`, or convert without it: python -m data_prep.convert --num_workers=..."
        ) from None


@functools.lru_cache(maxsize=1)
def _reader(options: InputOptions) -> FeatureReader:
    """Opened once per worker process."""
    return open_inputs(options).reader


def _run_step(numbered: tuple[int, Task], step: Step[Task], options: InputOptions) -> str:
    """One line of JSON: the task's number and its result, or the message of an error that the user can correct."""
    number, task = numbered
    try:
        return json.dumps({"task": number, "result": step(_reader(options), task)}, allow_nan=False)
    except (UserError, OSError) as error:
        # As a value: Beam would retry the step, and wrap the message into its own traceback.
        return json.dumps({"task": number, "error": str(error), "is_user_error": isinstance(error, UserError)})


class BeamWorkers:
    """Runs steps as Beam pipelines, one per call of `run`; results pass through text files in a shared folder.

    Args:
        options: the inputs, which every worker opens for itself.
        folder: an empty folder that the driver and all workers see.
        beam_options: options of Beam and its runner, as `name` or `name=value`.
    """

    def __init__(self, options: InputOptions, folder: Path, beam_options: Sequence[str] = ()) -> None:
        self._options = options
        self._folder = folder
        self._beam = import_beam()
        self._beam_flags = [f"--{option}" for option in beam_options]
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
        with beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions(self._beam_flags)) as pipeline:
            _ = (
                pipeline
                | "tasks" >> beam.Create(list(enumerate(tasks)))
                | "distribute" >> beam.Reshuffle()
                | step.__name__ >> beam.Map(_run_step, step, self._options)
                | "results" >> beam.io.WriteToText(str(self._folder / prefix))
            )
        for path in sorted(self._folder.glob(f"{prefix}-*")):
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    outcome = json.loads(line)
                    if "error" in outcome:
                        raise (UserError if outcome["is_user_error"] else OSError)(outcome["error"])
                    yield outcome["task"], outcome["result"]


def convert_on_beam(options: ConvertOptions, beam_options: Sequence[str] = ()) -> Manifest:
    """Converts one data set; the same files and manifest as `data_prep.pipeline.convert`.

    Args:
        options: what to convert; `num_workers` must be 1, since the runner has its own options for that.
        beam_options: see `BeamWorkers`.

    Returns:
        The manifest, as written to `dataset.json`.

    Raises:
        UserError: Beam is not installed, or see `data_prep.pipeline.convert`.
    """
    if options.num_workers != 1:
        raise UserError(
            f"--num_workers={options.num_workers} found; expected none, since the runner decides. Use its own option, "
            "for example --beam_option=direct_num_workers=4."
        )
    import_beam()  # before anything is read or written
    return convert_with(options, lambda _, folder: BeamWorkers(options.inputs, folder, beam_options))


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of the conversion, and those of Beam."""
    define_convert_flags(flag_values)
    flags.DEFINE_multi_string(
        "beam_option",
        [],
        "An option of Apache Beam or its runner, for example --beam_option=runner=FlinkRunner; may be repeated.",
        flag_values=flag_values,
    )


def main(argv: Sequence[str]) -> None:
    """Runs the conversion that the flags describe."""
    del argv
    convert_on_beam(options_from_flags(flags.FLAGS), flags.FLAGS.beam_option)


if __name__ == "__main__":
    define_flags()
    run_main(main)
