"""Several commands in one process, one after another, each with flags of its own: for storage that ends with it."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
from pathlib import Path
from unittest import mock

from absl import flags

_KNOWN: set[str] = set()  # of the libraries


def run_here(module: str, *arguments: str, expect_failure: bool = False) -> str:
    """Runs `python -m module ...` here; returns its output.

    Args:
        module: of the command.
        arguments: its own.
        expect_failure: whether it must end with a message of its own instead of success.
    """
    _KNOWN.update(() if _KNOWN else flags.FLAGS)
    for name in set(flags.FLAGS) - _KNOWN:
        delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
    output, argv, status = io.StringIO(), sys.argv, 0
    sys.argv = [module, *arguments]
    try:
        ended = mock.patch("tc3net.terminal.command._leave", sys.exit)  # which would end this process
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), ended:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = argv
    assert bool(status) == expect_failure, f"{module} {' '.join(arguments)}\n{output.getvalue()}"
    return output.getvalue()


def nothing_named_as_a_scheme(folder: Path) -> None:
    """Raises AssertionError where a remote path was taken for a folder of the disk."""
    wrong = [path.name for path in folder.iterdir() if path.name.endswith(":")]
    assert not wrong, wrong
