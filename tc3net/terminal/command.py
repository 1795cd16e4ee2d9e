"""How every command-line main runs: extensions first, then its flags, then `main`, with a user's errors as one line."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from absl import app, flags, logging

from tc3net.common.errors import UsageError, UserError, user_error_of
from tc3net.common.extensions import define_extensions_flag, load_extensions, requested
from tc3net.common.storage.reaching import plug_in_loaded
from tc3net.terminal import devices
from tc3net.terminal.arguments import parse
from tc3net.terminal.encoding import write_every_sign
from tc3net.terminal.flagfiles import expanded
from tc3net.terminal.interrupt import as_exception, say_interrupted
from tc3net.terminal.remote_flags import refuse_remote

# Flags that name where results go; of those a command has, an error names the ones that were given.
_PLACES = ("run_dir", "output_dir", "export_dir", "output")
_answers: list[TextIO] = []  # where the result alone goes while --json is given


def run_main(
    main: Callable[[Sequence[str]], None], register_flags: Callable[[], None] | None = None, *, positional: str = ""
) -> None:
    """Runs a command-line main under absl.

    The exit status is 0 where all was done; 1 with the message alone for a `UserError`, and for what the system says
    about disks and paths; 2 for a command line that is not understood; 130 with one line for Ctrl-C; 141 with none
    where the reader of the output has gone (`| head`). Messages go to standard error.

    Args:
        main: takes the positional arguments left over after flag parsing (program name first).
        register_flags: defines the command's flags, after the modules of `--extensions` are loaded.
        positional: what positional arguments are, for a main that takes any ("PATH"); without it they are refused,
            since most are a flag whose dashes were forgotten.
    """
    try:
        _run(main, register_flags, positional)
    except SystemExit as end:
        if not plug_in_loaded():
            raise
        _leave(end.code)


def _leave(code: Any) -> None:
    """Ends the process as `sys.exit(code)` would, but without the exit handlers of the C library.

    Those of the plug-in for s3:// abort: a command that has done everything would end with status 134
    (https://github.com/tensorflow/io/issues/2039).
    """
    if not isinstance(code, (int, type(None))):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _run(main: Callable[[Sequence[str]], None], register_flags: Callable[[], None] | None, positional: str) -> None:
    """See `run_main`; absl ends with SystemExit."""
    spec, doc = (getattr(main, "__globals__", {}).get(name) for name in ("__spec__", "__doc__"))
    module = spec.name if spec else sys.argv[0]

    def guarded(argv: Sequence[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # TensorFlow logs its own bookkeeping at INFO
        if len(argv) > 1 and not positional:
            raise UsageError(
                f"Found positional arguments {list(argv[1:])}; expected only --flag=value. "
                "Write every option as --name=value (run with --help for the list)."
            )
        refuse_remote(module, argv[1:], flags.FLAGS)
        with _answer_alone() if "json" in flags.FLAGS and flags.FLAGS.json else contextlib.nullcontext():
            main(argv)
        sys.stdout.flush()  # here, where an error still has its message

    write_every_sign()
    devices.tell_once()
    define_extensions_flag()
    try:
        as_exception()
        check_decoded(sys.argv[1:])
        arguments = expanded(sys.argv[1:])
        load_extensions(requested(arguments))
        if register_flags is not None:
            register_flags()
        parser = functools.partial(parse, module=module, doc=doc or "")
        app.run(guarded, [sys.argv[0], *arguments], flags_parser=parser)
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
    return 2 if isinstance(error, UsageError) else 1


def define_json_flag(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines `--json`, for a command that ends with `print_json`."""
    text = "Print the result as one JSON object on standard output; everything else goes to standard error."
    flags.DEFINE_bool("json", False, text, flag_values=flag_values)


@contextlib.contextmanager
def _answer_alone() -> Iterator[None]:
    _answers.append(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _answers.pop()


def print_json(value: Any) -> None:
    """The result of a command to which `--json` was given; does nothing where it was not."""
    if _answers:
        print(json.dumps(value, indent=1, allow_nan=False), file=_answers[-1], flush=True)
