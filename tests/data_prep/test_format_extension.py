"""A format from outside the package: named by --extensions, it is an annotation format like those that are built in."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from data_prep.annotations import AnnotationFormat, AnnotationSet, add_format, format_names, formats, read_annotations
from data_prep.inspection.verify import verify
from tc3net.common.errors import UserError
from tests.support import forked_commands
from tests.support.docs import code_blocks

ROOT = Path(__file__).parents[2]
TOY = "tests.support.toy_extensions.toy_format"
LINES = "v1|training|6.4|Run@0.5-1.5;Jump@2-3\nv2|training|6.4|Run@1-2.25\nv3|test|6.4|\n"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A file in the toy's format, and features of 10 segments."""
    (tmp_path / "labels.toy").write_text(LINES)
    for number, stream in enumerate(("rgb", "flow")):
        (tmp_path / "features" / stream).mkdir(parents=True)
        for video in range(1, 4):
            values = np.random.default_rng([number, video]).random((10, 2), np.float32)
            np.save(tmp_path / "features" / stream / f"v{video}.npy", values)
    return tmp_path


def run(folder: Path, name: str, *arguments: str, extension: str = TOY) -> tuple[int, str]:
    return forked_commands.screen([f"data_prep.{name}", f"--extensions={extension}", *arguments], folder)


def test_every_command_reads_it(inputs: Path) -> None:
    status, output = run(inputs, "inspect", "labels.toy", "--features=features")
    assert status == 0, output
    assert "annotations: labels.toy (toy lines), 3 videos" in output
    status, output = run(inputs, "to_json", "--annotations=labels.toy", "--output=a.json")
    assert status == 0, output
    database = json.loads((inputs / "a.json").read_text())["database"]
    assert database["v1"]["annotations"][1] == {"label": "Jump", "segment": [2.0, 3.0]}
    assert database["v3"] == {"subset": "test", "duration": 6.4, "annotations": []}
    status, output = run(inputs, "convert", "--helpfull")
    assert f"{'|'.join(format_names())}|toy_lines" in "".join(output.split())
    status, output = run(inputs, "inspect", "labels.toy", "--annotation_format=toy_lines")
    assert status == 0, output
    (inputs / "labels.toy").write_text(LINES + "v4|test|6.4|Run")
    status, output = run(inputs, "inspect", "labels.toy")
    assert status == 1
    assert "labels.toy:4: found 'v4|test|6.4|Run'; expected video|subset" in output


def test_it_is_converted_by_one_process_and_by_several_to_the_same_bytes(inputs: Path) -> None:
    outputs = []
    for workers in (1, 2):
        out = inputs / f"out{workers}"
        done = subprocess.run(
            [sys.executable, "-m", "data_prep.convert", f"--extensions={TOY}", "--annotations=labels.toy", "--name=toy",
             "--features=features", f"--output_dir={out}", f"--num_workers={workers}", "--videos_per_shard=1"],
            cwd=inputs, env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert outputs[0] == outputs[1]
    written = verify(inputs / "out1")
    assert (written.manifest.classes, written.findings.errors()) == (("Jump", "Run"), ())
    assert [item.start_s for item in written.annotations.videos[0].instances] == [0.5, 2.0]
    assert written.counts == {"v1": {"Jump": 1, "Run": 1}, "v2": {"Run": 1}, "v3": {}}


def test_without_its_module_nothing_knows_it(inputs: Path) -> None:
    with pytest.raises(
        UserError, match=r"labels\.toy: begins with 'v1\|training\|6\.4\|Run@0\.5-1\.5;Jump@2-3'; expec"
    ):
        read_annotations(inputs / "labels.toy")
    status, output = run(inputs, "inspect", "labels.toy", extension="no.such.module")
    assert status == 1
    assert "--extensions=no.such.module: the module cannot be imported" in output
    assert "Traceback" not in output


def toy(name: str, **changes) -> AnnotationFormat:
    parts = {"words": "a toy", "expected": f"{name}'s file", "recognises": lambda path: path.suffix == ".csv"}
    return AnnotationFormat(name=name, read=lambda path, subset: AnnotationSet((subset or "",), ()), **parts | changes)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table as it is, whatever a test adds."""
    monkeypatch.setattr(formats, "_FORMATS", list(formats._FORMATS))


@pytest.mark.usefixtures("table")
def test_a_name_is_taken_once() -> None:
    add_format(toy("mine"))
    for name in ("mine", "auto", "instance_csv"):
        with pytest.raises(UserError, match=f"annotation format '{name}' found twice; expected a name that is not one"):
            add_format(toy(name))
    assert format_names()[-2:] == ("elan_folder", "mine")


@pytest.mark.usefixtures("table")
def test_formats_that_recognise_the_same_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("video,class\nv,Run\n")
    add_format(toy("mine"))
    with pytest.raises(
        UserError, match=r"a\.csv: both of a CSV table of videos .* and mine's file found; .*video_csv\. or .*=mine\."
    ):
        read_annotations(tmp_path / "a.csv")
    assert read_annotations(tmp_path / "a.csv", "mine")[1] == "a toy"
    assert len(read_annotations(tmp_path / "a.csv", "video_csv")[0].videos) == 1
    add_format(toy("yours"))
    with pytest.raises(UserError, match=r"all of .*, mine's file and yours's file found"):
        read_annotations(tmp_path / "a.csv")


@pytest.mark.usefixtures("table")
def test_what_a_format_says_of_itself_is_what_is_asked(tmp_path: Path) -> None:
    add_format(toy("folder", is_folder=True, takes_subset=True, near_miss=lambda path: "nearly. Look again."))
    with pytest.raises(UserError, match=r"^[^:]*/x: nearly\. Look again\.$"):
        read_annotations(tmp_path / "x")
    (tmp_path / "f.csv").mkdir()
    assert read_annotations(tmp_path / "f.csv", subset="test")[0].classes == ("test",)
    with pytest.raises(UserError, match=r"--subset=test .*ActivityNet JSON says itself .* \(instance_csv, .*, f"):
        read_annotations(tmp_path / "f.csv", "activitynet_json", "test")
    add_format(toy("other", is_folder=True, recognises=lambda path: False))
    with pytest.raises(UserError, match="nearly"):
        read_annotations(tmp_path)


def test_the_module_of_the_guide_does_what_the_guide_says(tmp_path: Path) -> None:
    found = {kind: code_blocks("extending.md", "An annotation format", kind)[-1] for kind in ("python", "text", "sh")}
    (tmp_path / "my_formats.py").write_text(found["python"], encoding="utf-8")
    (tmp_path / "actions.txt").write_text(found["text"], encoding="utf-8")
    for stream in ("rgb", "flow"):
        (tmp_path / "features" / stream).mkdir(parents=True)
        for number, video in enumerate(("jump_001", "walk_007", "empty_003")):
            values = np.random.default_rng([number, len(stream)]).random((10, 2), np.float32)
            np.save(tmp_path / "features" / stream / f"{video}.npy", values)
    commands = [shlex.split(line) for line in found["sh"].splitlines()]
    assert [words[:2] for words in commands] == [["python", "-m"]] * 3
    for words in commands:
        status, output = forked_commands.screen(words[2:], tmp_path)
        assert status == 0, output
        assert "our tool's actions" in output
    written = verify(tmp_path / "dataset")
    assert (written.manifest.classes, written.findings.errors()) == (("High jump", "Walk"), ())
    assert [item.start_s for item in written.annotations.videos[0].instances] == [0.5, 2.0]
    assert written.counts == {"jump_001": {"High jump": 2}, "walk_007": {"Walk": 1}, "empty_003": {}}
    database = json.loads((tmp_path / "annotations.json").read_text())["database"]
    assert database["empty_003"] == {"subset": "test", "duration": 6.4, "annotations": []}
    with open(tmp_path / "actions.txt", "a", encoding="utf-8") as file:
        file.write("walk_008 test\n")
    status, output = forked_commands.screen(commands[0][2:], tmp_path)
    assert status == 1
    assert "actions.txt:8: found 'walk_008 test'; expected `video subset seconds`" in output


def test_the_guide_names_what_a_format_has() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page.partition("| of `AnnotationFormat` |")[2], re.MULTILINE)
    assert named[: len(fields(AnnotationFormat))] == [field.name for field in fields(AnnotationFormat)]
