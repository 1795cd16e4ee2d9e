"""The one exception type that a user's input can cause, and the wrapper that prints it for command-line mains.

An error message here always states what was found, what was expected, and the cure, and names the file or video.
Anything else that is raised is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging


class UserError(ValueError):
    """Input, configuration or files that the user can correct."""


def run_main(main: Callable[[Sequence[str]], None], *, positional: str = "") -> None:
    """Runs a command-line main under absl; a `UserError` ends the process with status 1 and only its message.

    Args:
        main: takes the positional arguments left over after flag parsing (program name first).
        positional: what positional arguments are, for a main that takes any ("PATH"); without it they are refused,
            since most are a flag whose dashes were forgotten.
    """

    def guarded(argv: Sequence[str]) -> Any:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # TensorFlow logs its own bookkeeping at INFO
        try:
            if len(argv) > 1 and not positional:
                raise UserError(
                    f"Found positional arguments {list(argv[1:])}; expected only --flag=value. "
                    "Write every option as --name=value (run with --help for the list)."
                )
            main(argv)
        except UserError as error:
            sys.stdout.flush()
            print(f"\nerror: {error}", file=sys.stderr)
            return 1
        return None

    app.run(guarded)
