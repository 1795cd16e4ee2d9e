"""Runs `python -m ...` in forks of a process that has imported TensorFlow, which takes longer than most commands do.

What a fork does is what a new process would do: TensorFlow is imported but never used before the fork, and of our own
modules none is loaded. `run` talks to that process; started as a script, this file is it.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

ROOT = Path(__file__).parents[2]
LIMIT_S = 300


@functools.cache
def _server() -> subprocess.Popen[str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    process = subprocess.Popen(
        [sys.executable, __file__],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.kill)
    return process


def run(arguments: Sequence[str], cwd: Path) -> tuple[int, str]:
    """Exit status and output (stdout and stderr) of `python -m ...`; negative: the signal that ended it.

    Args:
        arguments: the module and its arguments.
        cwd: working directory.
    """
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps({"arguments": list(arguments), "cwd": str(cwd)}) + "\n")
    server.stdin.flush()
    reply = json.loads(server.stdout.readline())
    return reply["status"], reply["output"]


def _become(arguments: Sequence[str], cwd: str, output: BinaryIO) -> int:
    """In the fork: runs the command; its exit status."""
    os.chdir(cwd)
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.alarm(LIMIT_S)
    sys.argv = list(arguments)
    sys.path[0] = cwd  # as `python -m` has it
    status: Any = 0
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        status = stop.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status if isinstance(status, int) else int(status is not None)


def serve() -> None:
    """Answers the lines of stdin until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    status = _become(request["arguments"], request["cwd"], output)
                finally:
                    os._exit(status)
            status = os.waitpid(child, 0)[1]
            status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
            output.seek(0)
            text = output.read().decode(errors="replace")
        answers.write(json.dumps({"status": status, "output": text}) + "\n")
        answers.flush()


if __name__ == "__main__":
    import keras  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import tensorflow  # noqa: F401

    serve()
