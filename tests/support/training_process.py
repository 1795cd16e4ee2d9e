"""Real `python -m tc3net.train` processes for tests: started, watched, interrupted."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.forked_commands import LIMIT_S, Command


class TrainingProcess:
    """One process of the training command.

    Args:
        run_dir: folder of the run.
        arguments: flags.
        tf_config: value of TF_CONFIG.
        new_process: not a fork of the one that other forks come from, so that its sets have an order of their own.
    """

    def __init__(
        self, run_dir: Path, arguments: Sequence[str], tf_config: object = None, new_process: bool = False
    ) -> None:
        self._run_dir = run_dir
        environment = {} if tf_config is None else {"TF_CONFIG": json.dumps(tf_config)}
        command = ["tc3net.train", f"--run_dir={run_dir}", "--notensorboard", *arguments]
        self._process = Command(command, environment=environment, new_process=new_process)

    def _logged(self) -> int:
        path = self._run_dir / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def wait_until_logged(self, lines: int) -> None:
        """Returns when `metrics.jsonl` has at least that many lines; fails if the process ends before."""
        deadline = time.monotonic() + LIMIT_S
        while self._logged() < lines:
            assert self._process.poll() is None, f"ended with {self._process.returncode}: {self.finish()[1]}"
            assert time.monotonic() < deadline, f"{self._logged()} lines after {LIMIT_S} s"
            time.sleep(0.005)

    def send(self, number: int) -> None:
        """Sends a signal; the process must still be there."""
        assert self._process.poll() is None, self.finish()
        self._process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Exit status and output."""
        return self._process.wait(), "".join(self._process.printed())


def cluster(processes: int) -> list[dict]:
    """One TF_CONFIG value per process, on free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(processes)]
    hosts = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}} for i in range(processes)]
