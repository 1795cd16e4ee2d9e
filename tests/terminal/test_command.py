"""How a command ends: a line and a status for all that a user can meet, a traceback for bugs alone."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

import pytest
import tensorflow as tf
from absl import app, flags

from tc3net.common.errors import UsageError, UserError, user_error_of
from tc3net.terminal import command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str]]:
    """Runs a main; exit status and standard error."""

    def call_main(main: Callable[[list[str]], None], argv: list[str], flags_parser: object) -> None:
        main(["program"])

    def run(error: BaseException) -> tuple[object, str]:
        def main(argv: object) -> None:
            raise error

        monkeypatch.setattr(sys, "argv", ["program"])
        monkeypatch.setattr(app, "run", call_main)
        monkeypatch.setattr(command, "define_extensions_flag", lambda: None)
        monkeypatch.setattr(command, "say_interrupted", lambda: 130)
        monkeypatch.setattr(os, "dup2", lambda *_: None)
        monkeypatch.setattr(flags, "FLAGS", {"verbosity": type("Flag", (), {"present": 1, "value": 0})})
        with pytest.raises(SystemExit) as stopped:
            command.run_main(main)
        return stopped.value.code, capsys.readouterr().err

    return run


FULL = "expected room for what is written. Free some space"
RIGHTS = "expected a path that may be read, or written where results go. Change its rights"


def tf_error(kind: type, message: str) -> Exception:
    return kind(None, None, message)


@pytest.mark.parametrize(
    ("error", "found", "cure"),
    [
        (OSError(errno.ENOSPC, "x", "run/metrics.jsonl"), "run/metrics.jsonl: no space left on device", FULL),
        (OSError(errno.ENOSPC, "x"), "a file: no space left on device", FULL),
        (OSError("8000 requested and 4096 written"), "a file: no space left on device", FULL),
        (OSError(errno.EDQUOT, "x", "run/a"), "run/a: ", FULL),
        (OSError(errno.EROFS, "x", "run/a"), "run/a: read-only file system", RIGHTS),
        (PermissionError(errno.EACCES, "x", "run/a"), "run/a: permission denied", RIGHTS),
        (
            NotADirectoryError(errno.ENOTDIR, "x", f"{__file__}/a/b"),
            f"{__file__}: not a directory",
            "expected a folder",
        ),
        (FileExistsError(errno.EEXIST, "x", __file__), f"{__file__}: file exists", "expected a folder"),
        (IsADirectoryError(errno.EISDIR, "x", b"run"), "run: is a directory", "expected a file"),
        (FileNotFoundError(errno.ENOENT, "x", "run/a"), "run/a: no such file", "Check the path"),
        (OSError(errno.EIO, "x", "run/a"), "run/a: input/output error", "Check the disk"),
        (OSError(errno.EMFILE, "x", "run/a"), "run/a: too many open files", "ulimit -n"),
        (
            tf_error(tf.errors.ResourceExhaustedError, "{{node Save}} run/step-4_temp/part-0; No space left on device"),
            "run/step-4_temp/part-0: no space left on device",
            FULL,
        ),
        (
            tf_error(tf.errors.PermissionDeniedError, "run/a; Read-only file system [Op:Save]"),
            "run/a: read-only",
            RIGHTS,
        ),
        (tf_error(tf.errors.FailedPreconditionError, "run/a; Not a directory"), "run/a: not a directory", "a folder"),
    ],
)
def test_what_the_system_says_about_disks_is_one_line(run, error: Exception, found: str, cure: str) -> None:
    status, said = run(error)
    assert status == 1
    (line,) = said.strip().splitlines()
    assert line.startswith(f"error: {found}") and "found; expected" in line and cure in line
    assert "Traceback" not in said


def test_the_commands_own_folders_are_named_where_the_error_names_none() -> None:
    told = user_error_of(OSError(errno.ENOSPC, "x"), ["RUN (--run_dir)"])
    assert str(told).startswith("RUN (--run_dir): no space left on device found; ")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bug"),
        ConnectionResetError(errno.ECONNRESET, "x"),
        tf_error(tf.errors.ResourceExhaustedError, "OOM when allocating tensor with shape[8,9]"),
        tf_error(tf.errors.InvalidArgumentError, "shapes"),
    ],
)
def test_anything_else_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    assert user_error_of(error) is None

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(app, "run", fail)
    monkeypatch.setattr(command, "define_extensions_flag", lambda: None)
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(type(error)):
        command.run_main(fail)


def test_a_users_error_ctrl_c_and_a_reader_that_has_gone(run) -> None:
    assert run(UserError("Found a, expected b. Do c.")) == (1, "\nerror: Found a, expected b. Do c.\n")
    assert run(UsageError("--a is missing.")) == (2, "\nerror: --a is missing.\n")
    assert run(KeyboardInterrupt()) == (130, "")
    assert run(BrokenPipeError(errno.EPIPE, "x")) == (141, "")


def test_arguments_that_could_not_be_decoded_are_refused() -> None:
    command.check_decoded(["--run_dir=läuft", "x"])
    with pytest.raises(UserError, match="expected a UTF-8 environment"):
        command.check_decoded(["--run_dir=l\udcc3\udca4uft"])
