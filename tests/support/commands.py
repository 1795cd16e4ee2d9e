"""The commands as a user types them: `python -m ...`, what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path

from tests.support import forked_commands
from tests.support.forked_commands import ROOT

TRAIN = (
    "tc3net.train",
    f"--flagfile={ROOT / 'configs' / 'paper.cfg'}",  # the paper's rule of detection is quick on a network of 4 steps
    "--batch_size=16",
    "--crop_segments=200",
    "--learning_rate=1e-3",
    "--weight_decay=5e-4",
    "--protocols=thumos14,reference",
    "--iterations=4",
    "--eval_every=2",
    "--log_every=2",
    "--notensorboard",
)


def command(*arguments: str, cwd: Path = ROOT, expect_failure: bool = False, new_process: bool = False) -> str:
    """Runs `python -m ...`; returns its output. A fork of a process with TensorFlow unless `new_process`."""
    done = forked_commands.run(arguments, cwd, new_process)
    output = done.stdout + done.stderr
    assert (done.returncode != 0) == expect_failure, output
    if expect_failure:
        assert "Traceback" not in output, output
    return output
