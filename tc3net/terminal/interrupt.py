"""Ctrl-C ends every command with one line and status 130, while it still imports TensorFlow too."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

STATUS = 128 + signal.SIGINT
LINE = "Interrupted (Ctrl-C)."
_PACKAGES = {"tc3net", "data_prep"}


def is_command() -> bool:
    """Whether `python -m` is looking for one of our commands: only then are the process's signals ours."""
    if sys.argv[:1] != ["-m"]:  # what stands there while it looks
        return False
    given = list(getattr(sys, "orig_argv", ("-m", "tc3net")))  # Python 3.9 does not tell
    module = given[given.index("-m") + 1] if "-m" in given[:-1] else ""
    return module.partition(".")[0] in _PACKAGES


def _leave(number: int, frame: FrameType | None) -> None:
    del number, frame
    print(f"\n{LINE}", file=sys.stderr, flush=True)
    os._exit(STATUS)  # nothing is written yet; an exception would become an ImportError of whoever is being imported


def leave_at_once_while_importing(is_ours: bool | None = None) -> None:
    """From here to `as_exception`, Ctrl-C ends the process at once, if that is one of our commands.

    Args:
        is_ours: whether it is; None: by `is_command`.
    """
    ours = threading.current_thread() is threading.main_thread() and (is_command() if is_ours is None else is_ours)
    if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def as_exception() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, as Python has it: files are put away on the way out."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def say_interrupted() -> int:
    """The one line; returns the exit status. Another Ctrl-C ends the process at once, whatever it still waits for."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    print(f"\n{LINE}", file=sys.stderr, flush=True)
    return STATUS


@contextlib.contextmanager
def not_for_children() -> Iterator[None]:
    """Processes started inside never get Ctrl-C, from their first moment on, while their modules are imported too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
