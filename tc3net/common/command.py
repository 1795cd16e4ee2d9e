"""How every command-line main runs: extensions first, then its flags, then `main`, with a user's errors as one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from tc3net.common.errors import UserError
from tc3net.common.extensions import define_extensions_flag, load_extensions, requested


def run_main(
    main: Callable[[Sequence[str]], None], register_flags: Callable[[], None] | None = None, *, positional: str = ""
) -> None:
    """Runs a command-line main under absl; a `UserError` ends the process with status 1 and only its message.

    Args:
        main: takes the positional arguments left over after flag parsing (program name first).
        register_flags: defines the command's flags, after the modules of `--extensions` are loaded.
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
            return _refused(error)
        return None

    define_extensions_flag()
    try:
        load_extensions(requested(sys.argv[1:]))
    except UserError as error:
        sys.exit(_refused(error))
    if register_flags is not None:
        register_flags()
    app.run(guarded)


def _refused(error: UserError) -> int:
    sys.stdout.flush()
    print(f"\nerror: {error}", file=sys.stderr)
    return 1
