"""`tc3net COMMAND`, help, completion, and exit statuses, in processes that have not imported TensorFlow."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import tc3net.__main__ as console
from tc3net.terminal.completion import completion_script
from tc3net.terminal.console import COMMANDS, typed_as
from tests.support import forked_commands
from tests.support.docs import ROOT


def told(*arguments: str) -> tuple[int, str, str]:
    """Status and output of `tc3net ...`, where it answers by itself."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = console.run(list(arguments))
    return status, out.getvalue(), err.getvalue()


def test_the_overview_names_every_command() -> None:
    for arguments in ([], ["--help"], ["-h"]):
        status, out, err = told(*arguments)
        assert (status, err) == (0, "")
        assert re.findall(r"^  ([a-z-]+)  ", out, flags=re.M) == [*COMMANDS, "completion"]


def test_versions_of_what_results_depend_on() -> None:
    assert re.fullmatch(r"tc3net [\d.]+, Python [\d.]+, tensorflow \S+, keras \S+, numpy \S+\n", told("--version")[1])


@pytest.mark.parametrize(("wrong", "meant"), [("trian", "train"), ("eval", "evaluate"), ("complete", "completion")])
def test_an_unknown_command_gets_the_nearest(wrong: str, meant: str) -> None:
    status, out, err = told(wrong, "--run_dir=x")
    assert (status, out) == (2, "") and f"no command '{wrong}'" in err and f"Did you mean {meant}?" in err


def test_a_shell_that_has_no_completion_here_is_refused() -> None:
    assert told("completion", "fish")[0] == told("completion")[0] == 2


def test_a_command_is_run_as_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tc3net", "report", "RUN", "--output=x"])
    with mock.patch("runpy.run_module") as started:
        console.run(sys.argv[1:])
    started.assert_called_once_with("tc3net.report", run_name="__main__", alter_sys=True)
    assert sys.argv == ["tc3net", "RUN", "--output=x"]
    assert typed_as("tc3net.report.__main__") == "report" and typed_as("tc3net.train") == "train"


def test_every_runnable_module_is_a_command_and_the_other_way() -> None:
    runnable = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__main__", "")
        for package in ("tc3net", "data_prep")
        for path in (ROOT / package).rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    assert runnable - {"tc3net"} == {command.module for command in COMMANDS.values()}


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What `--help` and `--helpfull` of every command print, all of one process."""
    code = """
import json, sys
from absl import app, flags
from tc3net.common.extensions import define_extensions_flag
from tc3net.terminal.console import COMMANDS, flags_definer
from tc3net.terminal.help import help_text
define_extensions_flag()
found = {}
for name, command in COMMANDS.items():
    define, before = flags_definer(name), set(flags.FLAGS)
    define()
    for full in (False, True):
        found[f"{name} {full}"] = help_text(command.module, "DOC", full=full)
    for flag in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, flag)
print(json.dumps(found))
"""
    done = forked_commands.run(["-c", code])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_the_flags_that_everybody_needs(helps: dict[str, str], name: str) -> None:
    short, full = helps[f"{name} False"], helps[f"{name} True"]
    needed, _, others = short.partition("Others (--helpfull explains them):")
    assert re.findall(r"^  --(?:\[no\])?(\w+)", needed, flags=re.M) == list(COMMANDS[name].first)
    assert len(COMMANDS[name].first) <= 5 and len(short.splitlines()) < 60
    listed = {word for line in others.splitlines() for word in line.split() if "_" in word or word.isalnum()}
    explained = set(re.findall(r"^  --(?:\[no\])?(\w+)", full, flags=re.M))
    assert explained >= set(COMMANDS[name].first) and explained - set(COMMANDS[name].first) <= listed
    assert max(map(len, [*short.splitlines(), *full.splitlines()])) < 600  # a list of allowed values is one word


def test_groups_are_in_the_order_of_a_users_thinking(helps: dict[str, str]) -> None:
    groups = re.findall(r"^([A-Z]\w+):$", helps["train True"], flags=re.M)
    assert groups == ["Data", "Model", "Losses", "Optimization", "Detection", "Evaluation", "Output", "Running"]
    losses = helps["train True"].partition("Losses:")[2].partition("Optimization:")[0]
    assert "--alpha=" in losses and "--learning_rate" not in losses


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    return {shell: completion_script(shell) for shell in ("bash", "zsh")}


def complete(script: str, line: str, folder: Path) -> list[str]:
    """What bash offers at the end of a line."""
    words = re.findall(r"=|[^\s=]+", line) + ([""] if line[-1] in " " else [])
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _tc3net; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    code = f"{script}\ncompopt() {{ :; }}\n{asked}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


def test_bash_completes_commands_flags_values_and_files(scripts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    script = scripts["bash"]
    assert complete(script, "tc3net ev", tmp_path) == ["evaluate"]
    assert complete(script, "tc3net train --dataset", tmp_path) == ["--dataset_dir="]
    assert complete(script, "tc3net train --strategy=mi", tmp_path) == ["mirrored"]
    assert complete(script, "tc3net train --strategy=", tmp_path) == ["auto", "one_device", "mirrored", "multi_worker"]
    assert complete(script, "tc3net train --flagfile=thumos14_p", tmp_path) == ["thumos14_plus.cfg"]
    assert complete(script, "tc3net train --dataset_dir=da", tmp_path) == ["dataset"]
    assert complete(script, "tc3net report da", tmp_path) == ["dataset"]


def test_zsh_gets_every_command_and_flag(scripts: dict[str, str]) -> None:
    for name in COMMANDS:
        assert f"    {name}) flags=(" in scripts["zsh"]
    assert "'--dataset_dir=[Folder written by `python -m data_prep.convert`.]:dataset_dir:_files'" in scripts["zsh"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["tc3net.train"], 2, "--dataset_dir is missing"),
        (["tc3net.train", "--strategy=mirored"], 2, "Did you mean mirrored?"),
        (["tc3net.train", "--iterations=many"], 2, "--iterations=many"),
        (["tc3net.export", "RUN"], 2, "positional"),
        (["tc3net.train", "--flagfile=thumos41.cfg"], 2, "Did you mean thumos14.cfg?"),
        (["data_prep.convert", "--annotation=x"], 2, "Did you mean --annotations?"),
        (
            ["tc3net.evaluate", "--run_dir=nowhere", "--dataset_dir=x", "--protocols=thumos15"],
            1,
            "Did you mean thumos14?",
        ),
        (["tc3net.report"], 2, "expected one folder"),
    ],
)
def test_mistakes_are_told_on_standard_error_with_their_status(
    arguments: list[str], status: int, said: str, tmp_path: Path
) -> None:
    done = forked_commands.run(arguments, tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr and "Traceback" not in done.stderr and done.stderr.count("error: ") == 1


def test_json_alone_on_standard_output(work: Path, evaluated: Path, tmp_path: Path) -> None:
    arguments = ["tc3net.evaluate", f"--scores={evaluated / 'raw_scores.npz'}", f"--output_dir={tmp_path / 'out'}"]
    done = forked_commands.run([*arguments, "--json"], tmp_path)
    printed = json.loads(done.stdout)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert printed == {"output_dir": str(tmp_path / "out"), **written} and "thumos14" in done.stderr
    pair = f"--compare={evaluated},{tmp_path / 'out'}"
    done = forked_commands.run(["tc3net.evaluate", pair, "--bootstrap=100", "--json"], tmp_path)
    compared = json.loads(done.stdout)
    assert set(compared) >= {"first", "second", "thumos14"}
    done = forked_commands.run(["data_prep.inspect", str(work / "dataset"), "--json"], tmp_path)
    assert json.loads(done.stdout)["errors"] == 0
    assert done.returncode == 0
    plain = forked_commands.run(["data_prep.inspect", str(work / "dataset")], tmp_path)
    assert plain.stdout.strip() and plain.stdout.strip() in done.stderr


def test_without_a_home_the_console_runs_from_anywhere(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tc3net", "synthetic", "--output_dir=raw", "--num_train=1", "--num_test=1",
         "--feature_dim=2", "--num_classes=1"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "raw" / "annotations.json").is_file()
