"""How every command-line main runs: extensions first, then its flags, then `main`, with a user's errors as one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from tc3net.common.errors import UserError, user_error_of
from tc3net.common.extensions import define_extensions_flag, load_extensions, requested
from tc3net.terminal.encoding import write_every_sign
from tc3net.terminal.interrupt import as_exception, say_interrupted

# Flags that name where results go; of those a command has, an error names the ones that were given.
_PLACES = ("run_dir", "output_dir", "export_dir", "output")


def run_main(
    main: Callable[[Sequence[str]], None], register_flags: Callable[[], None] | None = None, *, positional: str = ""
) -> None:
    """Runs a command-line main under absl.

    A `UserError`, and what the system says about disks and paths, ends the process with status 1 and only its message;
    Ctrl-C with status 130 and one line; a reader of the output that has gone (`| head`) with status 141 and none.

    Args:
        main: takes the positional arguments left over after flag parsing (program name first).
        register_flags: defines the command's flags, after the modules of `--extensions` are loaded.
        positional: what positional arguments are, for a main that takes any ("PATH"); without it they are refused,
            since most are a flag whose dashes were forgotten.
    """

    def guarded(argv: Sequence[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # TensorFlow logs its own bookkeeping at INFO
        if len(argv) > 1 and not positional:
            raise UserError(
                f"Found positional arguments {list(argv[1:])}; expected only --flag=value. "
                "Write every option as --name=value (run with --help for the list)."
            )
        main(argv)
        sys.stdout.flush()  # here, where an error still has its message

    write_every_sign()
    define_extensions_flag()
    try:
        as_exception()
        check_decoded(sys.argv[1:])
        load_extensions(requested(sys.argv[1:]))
        if register_flags is not None:
            register_flags()
        app.run(guarded)
    except KeyboardInterrupt:
        sys.exit(say_interrupted())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left to write has no reader
        sys.exit(141)
    except Exception as error:
        refused = user_error_of(error, _given_places())
        if refused is None:
            raise
        sys.exit(_refused(refused))


def check_decoded(arguments: Sequence[str]) -> None:
    """Raises UserError for an argument that Python could not decode: it can be passed on, but written nowhere."""
    for argument in arguments:
        if any("\ud800" <= sign <= "\udfff" for sign in argument):
            raise UserError(
                f"{argument}: signs found that this environment's encoding ({sys.getfilesystemencoding()}) does not "
                "have; expected a UTF-8 environment for such paths. Set LC_ALL=C.UTF-8 or PYTHONUTF8=1."
            )


def _given_places() -> list[str]:
    """The values of the flags that name where results go."""
    known = [flags.FLAGS[name] for name in _PLACES if name in flags.FLAGS]
    return [f"{flag.value} (--{flag.name})" for flag in known if flag.value]


def _refused(error: UserError) -> int:
    """Prints the message; the exit status."""
    try:
        sys.stdout.flush()
    except OSError:  # a full disk again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    print(f"\nerror: {error}", file=sys.stderr)
    return 1
