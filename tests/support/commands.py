"""The commands as a user types them: `python -m ...`, what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import forked_commands

ROOT = Path(__file__).parents[2]
TRAIN = (
    "tc3net.train",
    f"--flagfile={ROOT / 'configs' / 'demo.cfg'}",
    "--iterations=4",
    "--eval_every=2",
    "--log_every=2",
)


def command(*arguments: str, cwd: Path = ROOT, expect_failure: bool = False, new_process: bool = False) -> str:
    """Runs `python -m ...`; returns its output. A fork of a process with TensorFlow unless `new_process`."""
    if new_process:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
        result = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
        )
        status, output = result.returncode, result.stdout + result.stderr
    else:
        status, output = forked_commands.run(arguments, cwd)
    assert (status != 0) == expect_failure, output
    if expect_failure:
        assert "Traceback" not in output, output
    return output
