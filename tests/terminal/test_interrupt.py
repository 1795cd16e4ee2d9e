"""Ctrl-C: one line and status 130, also while TensorFlow is imported; nothing of it in processes started meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tc3net.terminal import interrupt
from tests.support.forked_commands import LIMIT_S, Command

# A command that needs TensorFlow as soon as it runs.
IMPORTS_TENSORFLOW = """
from tc3net.terminal.deferred import defer_imports
defer_imports()
import tensorflow as tf
from tc3net.terminal.command import run_main
run_main(lambda argv: print(tf.constant(1)))
"""


@pytest.mark.parametrize("library", ["numpy", "tensorflow"])
def test_during_imports(library: str, tmp_path: Path) -> None:
    """Both are imported by the command itself, NumPy before TensorFlow."""
    command = Command(["-c", IMPORTS_TENSORFLOW], tmp_path, new_process=True)
    maps, deadline = Path(f"/proc/{command.pid}/maps"), time.monotonic() + LIMIT_S
    while library not in maps.read_text():
        assert command.poll() is None and time.monotonic() < deadline, command.printed()
        time.sleep(0.005)
    command.send_signal(signal.SIGINT)
    done = command.finish()
    assert done.returncode == 130
    said = [line for line in done.stderr.splitlines() if line]
    assert said[-1] == interrupt.LINE and "Traceback" not in done.stderr


def test_a_library_leaves_signals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    for program, given in (
        (["notebook.py"], ["python", "notebook.py"]),
        (["-m"], ["python", "-m", "pytest"]),
        (["-m"], ["python", "-m"]),
    ):
        monkeypatch.setattr(sys, "argv", program)
        monkeypatch.setattr(sys, "orig_argv", given)
        interrupt.leave_at_once_while_importing()
        assert signal.getsignal(signal.SIGINT) is before


def test_a_command_answers_at_once_until_its_imports_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(sys, "argv", ["-m", "--run_dir=x"])
        monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "tc3net.train", "--run_dir=x"], raising=False)
        interrupt.leave_at_once_while_importing()
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        interrupt.as_exception()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_children_never_get_it() -> None:
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with interrupt.not_for_children():
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "True\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
