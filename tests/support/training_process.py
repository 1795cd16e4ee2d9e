"""Real `python -m tc3net.train` processes for tests: started, watched, interrupted."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 500  # for a machine with much else to do


class TrainingProcess:
    """One process of the training command.

    Args:
        run_dir: folder of the run.
        arguments: flags.
        tf_config: value of TF_CONFIG.
    """

    def __init__(self, run_dir: Path, arguments: Sequence[str], tf_config: object = None) -> None:
        self._run_dir = run_dir
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
        environment.pop("TF_CONFIG", None)
        if tf_config is not None:
            environment["TF_CONFIG"] = json.dumps(tf_config)
        command = [sys.executable, "-m", "tc3net.train", f"--run_dir={run_dir}", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)

    def _logged(self) -> int:
        path = self._run_dir / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def wait_until_logged(self, lines: int) -> None:
        """Returns when `metrics.jsonl` has at least that many lines; fails if the process ends before."""
        deadline = time.monotonic() + TIMEOUT_S
        while self._logged() < lines:
            assert self._process.poll() is None, f"ended with {self._process.returncode}: {self.finish()[1]}"
            assert time.monotonic() < deadline, f"{self._logged()} lines after {TIMEOUT_S} s"
            time.sleep(0.005)

    def send(self, number: int) -> None:
        """Sends a signal; the process must still be there."""
        assert self._process.poll() is None, self.finish()
        self._process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Exit status and output."""
        try:
            output, _ = self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
            raise AssertionError(f"still running after {TIMEOUT_S} s: {output}") from None
        return self._process.returncode, output


def cluster(processes: int) -> list[dict]:
    """One TF_CONFIG value per process, on free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(processes)]
    hosts = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}} for i in range(processes)]
