"""A full disk, a read-only one, a file where a folder should be: one line, status 1, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tc3net.runs.lock import training_lock
from tests.support import forked_commands
from tests.support.once import state

# In one process that forks for each command. At the disk's end every file that is opened to write, and every folder
# that is made, fails as on a full disk; `after` lets so many be written before.
INJECT = """
import builtins, errno, io, json, os, runpy, sys, tempfile
import tc3net.ablate, tc3net.evaluate, tc3net.export, tc3net.predict, tc3net.report.content, tc3net.train, tc3net.tune
cases, number, folder = json.loads(sys.argv[1]), getattr(errno, sys.argv[2]), sys.argv[3]

def failing(number, left):
    def wrap(function):
        def made(*arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(number, os.strerror(number))
            return function(*arguments, **options)
        return made
    return wrap

found = {}
for name, (after, module, *arguments) in cases.items():
    path = os.path.join(folder, name)
    child = os.fork()
    if child == 0:
        status = 99
        try:
            output = os.open(path, os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            wrap = failing(number, after)
            tempfile.mkstemp, tempfile.mkdtemp = wrap(tempfile.mkstemp), wrap(tempfile.mkdtemp)
            for loaded in [m for m in sys.modules if m == module or m == f"{module}.__main__"]:
                del sys.modules[loaded]
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found[name] = status, open(path, errors="replace").read()
print(json.dumps(found))
"""


def run_all(cases: dict[str, list], number: str, folder: Path) -> dict[str, tuple[int, str]]:
    """Exit status and output of commands, of which every write after the first so many fails."""
    folder.mkdir()
    result = forked_commands.run(["-c", INJECT, json.dumps(cases), number, str(folder)])
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def commands(work: Path, evaluation: Path, out: Path) -> dict[str, list]:
    """Every command that writes results, with how many files it may write before the disk is full."""
    run, data, scores = f"--run_dir={work / 'run'}", f"--dataset_dir={work / 'dataset'}", evaluation / "raw_scores.npz"
    video = next(iter((work / "raw" / "features" / "rgb").glob("*test*"))).name
    streams = [f"--{s}={work / 'raw' / 'features' / s / video}" for s in ("rgb", "flow")]
    common = ["--flagfile=configs/demo.cfg", data, "--iterations=4", "--notensorboard"]
    return {
        "train": [0, "tc3net.train", *common, f"--run_dir={out / 'run'}"],
        "train_flags": [1, "tc3net.train", *common, f"--run_dir={out / 'run2'}"],
        "evaluate": [0, "tc3net.evaluate", f"--scores={scores}"],
        "evaluate_later": [3, "tc3net.evaluate", f"--scores={scores}", "--analysis"],
        "report": [0, "tc3net.report", str(evaluation)],
        "tune": [
            0,
            "tc3net.tune",
            f"--scores={scores}",
            "--test_subset=",
            "--budget=1",
            f"--output_dir={out / 'tuned'}",
        ],
        "predict": [0, "tc3net.predict", run, *streams, f"--output_dir={out / 'predicted'}"],
        "predict_picture": [1, "tc3net.predict", run, *streams, f"--output_dir={out / 'predicted2'}"],
        "export": [0, "tc3net.export", run, f"--export_dir={out / 'export'}"],
        "ablate": [0, "tc3net.ablate", *common, f"--output_dir={out / 'ablation'}", "--seeds=1", "--variants=cls"],
    }


@pytest.mark.parametrize(
    ("number", "said"), [("ENOSPC", "no space left on device"), ("EROFS", "read-only file system")]
)
def test_a_full_or_read_only_disk(work: Path, evaluated: Path, tmp_path: Path, number: str, said: str) -> None:
    evaluation = tmp_path / "evaluation"
    shutil.copytree(evaluated, evaluation)
    (tmp_path / "out").mkdir()
    before = state(evaluation)
    cases = commands(work, evaluation, tmp_path / "out")
    if number == "EROFS":  # the same lines of code: some are enough
        cases = {name: cases[name] for name in ("train", "evaluate", "export")}
    for name, (status, output) in run_all(cases, number, tmp_path / "printed").items():
        assert status == 1, f"{name}: {output}"
        (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
        assert f": {said} found; expected" in line and str(tmp_path) in line, f"{name}: {line}"
        assert "Traceback" not in output and output.rstrip().endswith(line), f"{name}: {output}"
    assert state(evaluation) == before
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert set(left) <= {"training.lock", "run.json", "detections.json"}, left  # complete, each of them


def test_a_file_where_a_folder_should_be(work: Path, evaluated: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    cases = commands(work, evaluated, tmp_path / "file")
    for name in ("train_flags", "evaluate_later", "report", "predict_picture"):
        del cases[name]
    cases["evaluate"] += [f"--output_dir={tmp_path / 'file' / 'x'}"]
    cases["report"] = [9, "tc3net.report", str(evaluated), f"--output={tmp_path / 'file' / 'x' / 'report.html'}"]
    many = {name: [99, *case[1:]] for name, case in cases.items()}
    for name, (status, output) in run_all(many, "ENOSPC", tmp_path / "printed").items():
        assert status == 1, f"{name}: {output}"
        (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
        begin = f"error: {tmp_path / 'file'}: "
        assert line.startswith(begin) and "expected a folder" in line, f"{name}: {line}"
        assert "Traceback" not in output, f"{name}: {output}"
    assert (tmp_path / "file").read_text() == "precious"


def test_a_second_training_is_refused(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "run", tmp_path / "run")
    before = state(tmp_path / "run")
    arguments = [f"--flagfile={tmp_path / 'run' / 'flags.cfg'}", f"--run_dir={tmp_path / 'run'}", "--iterations=6"]
    with training_lock(tmp_path / "run"):
        status, output = forked_commands.screen(["tc3net.train", *arguments])
    assert status == 1 and "Traceback" not in output
    assert f"{tmp_path / 'run'} is being trained in by process" in output
    after = state(tmp_path / "run")
    assert {name: after[name] for name in before if name != "training.lock"} == {
        name: facts for name, facts in before.items() if name != "training.lock"
    }
