"""Commands as a user types them, in forks of a process that has imported TensorFlow, which takes longer than they do.

What a fork does is what a new process would do: TensorFlow is imported but never used before the fork, and of our own
modules none is loaded. Only the order of its sets is that of the other forks, where a new process has one of its own.
`Command` and `run` talk to that process; started as a script, this file is it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIMIT_S = 600  # for a machine with much else to do


def _environment() -> dict[str, str]:
    """Of every process: what the tests themselves run under tells it nothing but where our modules are."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    environment.pop("TF_CONFIG", None)
    return environment


@functools.cache
def _server() -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, __file__], env=_environment(), text=True, **pipes)
    assert process.stdin is not None
    atexit.register(process.stdin.close)  # which ends it
    return process


def _ask(**request: Any) -> Any:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


class Command:
    """A command under way, as far as its interface is that of `subprocess.Popen`.

    Args:
        arguments: the module and its arguments; or "-c", code and arguments.
        cwd: working directory.
        environment: variables to set.
        new_process: not a fork.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        new_process: bool = False,
    ) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None  # negative: the signal that ended it
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        changed, self._process = dict(environment or {}), None
        for path in self._files:
            path.touch()
        if new_process:
            with self._files[0].open("w") as out, self._files[1].open("w") as err:
                start = [] if self.args[0] == "-c" else ["-m"]
                self._process = subprocess.Popen(
                    [sys.executable, *start, *self.args], cwd=cwd, env={**_environment(), **changed},
                    stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                )  # fmt: skip
            self.pid = self._process.pid
        else:
            files = [str(path) for path in self._files]
            self.pid = _ask(arguments=self.args, cwd=str(cwd), environment=changed, files=files)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._process.poll() if self._process else _ask(ended=self.pid)
        return self.returncode

    def wait(self, timeout: float = LIMIT_S) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.args} still running after {timeout} s: {self.printed()}")
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def printed(self) -> list[str]:
        """stdout and stderr, as far as they are written."""
        return [path.read_text(encoding="utf-8", errors="replace") for path in self._files]

    def finish(self, timeout: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
        """Waits for its end."""
        return subprocess.CompletedProcess(self.args, self.wait(timeout), *self.printed())


def run(arguments: Sequence[str], cwd: Path = ROOT, new_process: bool = False) -> subprocess.CompletedProcess[str]:
    """What `python -m ...` prints, and its exit status."""
    return Command(arguments, cwd, new_process=new_process).finish()


def screen(arguments: Sequence[str], cwd: Path = ROOT) -> tuple[int, str]:
    """Exit status of `python -m ...`, and all that a user would see of it."""
    done = run(arguments, cwd)
    return done.returncode, done.stdout + done.stderr


def _execute(arguments: Sequence[str]) -> int:
    """In the fork: runs the command; its exit status."""
    status: Any = 0
    try:
        if arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = list(arguments)
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        status = stop.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    return status if isinstance(status, int) else int(status is not None)


def _become(request: dict[str, Any]) -> int:
    """In the fork: takes over working directory, environment and files, then runs the command."""
    os.setsid()  # signals of a terminal are for the tests
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(request["files"], start=1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    signal.alarm(LIMIT_S)  # should the tests be gone
    sys.path[0] = request["cwd"]  # as `python -m` has it
    status = _execute(request["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _ended(pid: int) -> int | None:
    """The exit status of a fork; None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def serve() -> None:
    """Answers each line of stdin: with the number of a new process, or the exit status of one. Kills what is left."""
    answers, running = os.fdopen(os.dup(1), "w"), set()
    for line in sys.stdin:
        request = json.loads(line)
        if "ended" in request:
            answer = _ended(request["ended"])
            if answer is not None:
                running.discard(request["ended"])
        else:
            answer = os.fork()
            if answer == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    status = _become(request)
                os._exit(status)
            running.add(answer)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    for child in running:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    import keras  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import tensorflow  # noqa: F401

    serve()
