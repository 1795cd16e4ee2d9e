"""No command imports TensorFlow, NumPy, matplotlib or OpenCV before it knows that it has to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tc3net.terminal.console import COMMANDS
from tests.support.forked_commands import Command

HEAVY = (
    "tensorflow", "keras", "matplotlib", "numpy", "cv2", "av", "scipy", "h5py", "apache_beam", "distributed", "pyspark",
)  # fmt: skip
# In one new process: what every command has imported once its flags are defined. A module that waits to be filled is
# in sys.modules, but nothing of it is.
DEFINE_ALL = """
import json, sys
from tc3net.terminal.deferred import defer_imports
defer_imports()
from absl import flags
from tc3net.terminal.console import COMMANDS, flags_definer
heavy, found = sys.argv[1].split(","), {}
for name in COMMANDS:
    values, before, define = flags.FLAGS, set(flags.FLAGS), flags_definer(name)
    define()
    for flag in set(values) - before:
        delattr(values, flag)
    found[name] = sorted({m.partition(".")[0] for m in sys.modules if "." in m} & set(heavy))
print(json.dumps(found))
"""


def test_no_command_imports_what_is_slow_before_its_flags_are_read() -> None:
    done = subprocess.run([sys.executable, "-c", DEFINE_ALL, ",".join(HEAVY)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: [] for name in COMMANDS}


# Runs a command as `python -m` does, and then says which of the slow modules have been imported.
TELL = """
import atexit, sys
heavy = sys.argv.pop(1).split(",")
atexit.register(lambda: print("IMPORTED", *sorted({m.partition(".")[0] for m in sys.modules if "." in m} & set(heavy))))
module = sys.argv.pop(1)
from tc3net.terminal.deferred import defer_imports
defer_imports()
import runpy
sys.argv[0] = module
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["tc3net.train", "--help"], 0, "--dataset_dir"),
        (["tc3net.train", "--dataset_dri=x"], 2, "--dataset_dir"),
        (["tc3net.evaluate", "--run_dir=nowhere", "--dataset_dir=nowhere"], 1, "nowhere/run.json: no such file"),
        (["data_prep.convert", "--annotations=nowhere", "--features=x", "--output_dir=y", "--name=z"], 1, "nowhere"),
        (["data_prep.inspect", "nowhere.csv"], 1, "nowhere.csv"),
    ],
)
def test_help_mistakes_and_refused_input_are_answered_without_them(
    arguments: list[str], status: int, said: str, tmp_path: Path
) -> None:
    module, *flags = arguments
    done = Command(["-c", TELL, ",".join(HEAVY), module, *flags], cwd=tmp_path, new_process=True).finish()
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "IMPORTED"
    assert list(tmp_path.iterdir()) == []
