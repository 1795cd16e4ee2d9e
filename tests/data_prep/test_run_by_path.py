"""Commands of data_prep run by path: the folder's inspect.py must not be taken for the standard library's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(path.stem for path in (ROOT / "data_prep").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("at_top", [True, False])
def test_one_line_says_how_to_run_it(tmp_path, name, at_top):
    path = Path("data_prep") / f"{name}.py"
    for installed in (True, False):  # whether the package is found without the folder
        done = subprocess.run(
            [sys.executable, str(path if at_top else ROOT / path), "--help"],
            cwd=ROOT if at_top else tmp_path,
            env={**os.environ, **({"PYTHONPATH": str(ROOT)} if installed else {})},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith("error: a command of data_prep was run by path; ")
        assert "python -m data_prep.convert" in line
