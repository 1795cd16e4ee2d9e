"""What our Apache Beam pipelines share: Beam itself where it is installed, its options, and results that come back.

Workers leave one line of JSON per task in a folder that the driver sees too. An error that the user can correct is
such a line as well: raised in a worker, Beam would retry it, and wrap the message into its own traceback.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from tc3net.common.errors import UserError


def import_beam(otherwise: str) -> Any:
    """The module `apache_beam`.

    Args:
        otherwise: how to do without, for the error message.

    Raises:
        UserError: it is not installed.
    """
    try:
        importlib.import_module("apache_beam.options.pipeline_options")
        return importlib.import_module("apache_beam")
    except ImportError as error:
        raise UserError(
            f"Apache Beam cannot be imported ({error}); expected the package apache-beam. Run "
            f"`pip install tc3net[beam]`, or {otherwise}"
        ) from None


def define_beam_flag(flag_values: flags.FlagValues) -> None:
    """Defines `--beam_option`."""
    flags.DEFINE_multi_string(
        "beam_option",
        [],
        "An option of Apache Beam or its runner, for example --beam_option=runner=FlinkRunner; may be repeated.",
        flag_values=flag_values,
    )


def pipeline_options(beam: Any, options: Sequence[str]) -> Any:
    """Beam's `PipelineOptions` of options written as `name` or `name=value`."""
    return beam.options.pipeline_options.PipelineOptions([f"--{option}" for option in options])


def outcome_line(task: int, work: Callable[[], Any]) -> str:
    """One line of JSON: the task's number with what `work` returns, or with the error that the user can correct."""
    try:
        return json.dumps({"task": task, "result": work()}, allow_nan=False)
    except (UserError, OSError) as error:
        return json.dumps({"task": task, "error": str(error), "is_user_error": isinstance(error, UserError)})


def read_outcomes(folder: Path, prefix: str, count: int) -> Iterator[tuple[int, Any]]:
    """The task numbers and results of the lines that a pipeline left.

    Args:
        folder: where it left them.
        prefix: what their files' names begin with.
        count: number of tasks.

    Raises:
        UserError: a worker met one; or tasks left no line, because workers do not see the driver's folder.
        OSError: a worker met one.
    """
    found = 0
    for path in sorted(folder.glob(f"{prefix}-*")):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                outcome = json.loads(line)
                if "error" in outcome:
                    raise (UserError if outcome["is_user_error"] else OSError)(outcome["error"])
                found += 1
                yield outcome["task"], outcome["result"]
    if found != count:
        raise UserError(
            f"{folder}: results of {found} of {count} tasks found after the pipeline had ended; expected that every "
            "worker writes here. Use a folder that the workers see under the same path."
        )
