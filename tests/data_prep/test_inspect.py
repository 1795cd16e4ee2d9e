"""The inspection as a command: what it takes, what it says, what it writes, and its exit status."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from absl import flags

from data_prep import inspect as command
from data_prep.conversion.pipeline import convert
from data_prep.inspection.findings import Inspection, to_json
from tc3net.common.errors import UserError
from tests.support.conversion import VIDEOS, write_inputs
from tests.support.forked_commands import run
from tests.support.needs import REAL_ANNOTATIONS, SHARED_DATA, needs


def inspect(*arguments: str) -> Inspection:
    values = flags.FlagValues()
    command.define_flags(values)
    rest = values(["inspect", *arguments])
    return command.inspect(values, rest[1:])


def rules(inspection: Inspection) -> dict[str, int]:
    return dict(Counter(problem.rule for problem in inspection.problems))


def test_annotations_alone(tmp_path):
    write_inputs(tmp_path)
    found = inspect(str(tmp_path / "a.json"))
    assert found.title == "a.json"
    assert "not given" in found.descriptions[1]
    assert found.numbers["total"]["videos"] == 3
    assert found.numbers["total"]["with_features"] == 0
    assert found.numbers["time_base"] is None
    assert found.errors() == ()
    expected = {"exact_duplicate": 1, "zero_length": 1, "labels_differ": 1, "no_labels": 1, "class_missing": 3}
    assert rules(found) == expected
    assert to_json(found) == to_json(inspect(f"--annotations={tmp_path / 'a.json'}"))


def test_raw_inputs_agree_with_the_conversion_and_its_result(tmp_path):
    options = write_inputs(tmp_path)
    raw = inspect(str(tmp_path / "a.json"), f"--features={tmp_path / 'features'}")
    manifest = convert(options)
    assert rules(raw) == manifest.source["findings"]
    converted = inspect(str(tmp_path / "out"))
    assert to_json(converted) != to_json(raw)
    for part in ("total", "subsets", "classes", "lengths", "time_base"):
        assert converted.numbers[part] == raw.numbers[part], part
    assert to_json(inspect(f"--dataset_dir={tmp_path / 'out'}")) == to_json(converted)


def test_every_injected_problem_is_found_where_it_is(tmp_path):
    videos = {f"v{index}": {**VIDEOS["v1"], "labels": ["Run", "Jump"]} for index in range(1, 8)}
    videos["V8 "] = videos.pop("v7")
    write_inputs(tmp_path, videos)
    for stream in ("rgb", "flow"):
        folder = tmp_path / "features" / stream
        values = {name: np.load(folder / f"{name}.npy") for name in ("v1", "v2", "v4", "v5")}
        values["v2"][3] = np.nan if stream == "rgb" else 1
        values["v4"][:2] = 0
        values["v5"][:] = 7
        for name in ("v2", "v4", "v5"):
            np.save(folder / f"{name}.npy", values[name])
        np.save(folder / "v6.npy", values["v1"])
        (folder / "V8 .npy").rename(folder / "v8.npy")
        (folder / "v3.npy").unlink()
    found = inspect(str(tmp_path / "a.json"), f"--features={tmp_path / 'features'}")
    raw_problems = {"exact_duplicate", "zero_length"}  # of every video's annotation
    assert {(p.video_id, p.rule) for p in found.problems if p.rule not in raw_problems} == {
        ("v2", "bad_features"),
        ("v3", "no_features"),
        ("v4", "zero_rows"),
        ("v5", "constant_features"),  # of both streams, so that their being the same is no news
        ("v1", "same_features"),
        ("v6", "same_features"),
        ("V8", "no_features"),
        ("v8", "no_annotation"),
    }
    (hint,) = [problem.message for problem in found.problems if problem.video_id == "v8"]
    assert "'V8' is there, which differs in case" in hint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), r"0 things to inspect found \(none\)"),
        (("a", "b"), r"2 things to inspect found \(a, b\)"),
        (("a", "--dataset_dir=b"), r"2 things to inspect found \(a, b\)"),
        (("--dataset_dir=b", "--features=c"), "b is converted data and --features=c raw"),
        (("--dataset_dir=nowhere",), r"nowhere/dataset\.json: no such file"),
        (("nowhere.json",), r"nowhere\.json"),
    ],
)
def test_command_lines_that_cannot_be_meant(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        inspect(*arguments)


def test_the_report_is_written_beside_other_files_but_not_into_a_data_set(tmp_path):
    options = write_inputs(tmp_path)
    convert(options)
    found = inspect(str(tmp_path / "out"))
    report = tmp_path / "report"
    report.mkdir()
    (report / "mine.txt").write_text("kept")
    for _ in range(2):
        command.check_output(report)
        command.write_report(found, report)
    assert sorted(os.listdir(report)) == ["inspection.html", "inspection.json", "mine.txt"]
    assert json.loads((report / "inspection.json").read_text()) == to_json(found)
    with pytest.raises(UserError, match="holds a converted data set"):
        command.check_output(tmp_path / "out")
    with pytest.raises(UserError, match=r"mine\.txt: a file; expected a folder"):
        command.check_output(report / "mine.txt")
    with pytest.raises(UserError, match="writing the report failed"):
        command.write_report(found, report / "mine.txt" / "below")
    convert(options)  # still recognised as its own output


def test_exit_status_and_output_of_the_command(tmp_path):
    write_inputs(tmp_path)
    good = run(["data_prep.inspect", str(tmp_path / "a.json"), f"--output_dir={tmp_path / 'report'}"])
    assert good.returncode == 0, good.stderr
    assert "warning   zero_length" in good.stdout
    assert (tmp_path / "report" / "inspection.html").is_file()
    late = {"v1": {"subset": "test", "duration": 5.0, "annotations": [{"label": "Run", "segment": [7, 8]}]}}
    (tmp_path / "late.json").write_text(json.dumps({"database": late}))
    bad = run(["data_prep.inspect", str(tmp_path / "late.json")])
    assert bad.returncode == 1
    assert "error     starts_after_video" in bad.stdout
    assert "error: late.json: 1 error found (starts_after_video); expected none." in bad.stderr
    assert "Traceback" not in bad.stderr


@pytest.mark.parametrize(
    ("positional", "arguments", "status"), [("PATH", ["x", "y"], 0), ("PATH", [], 0), ("", ["x"], 2), ("", [], 0)]
)
def test_positional_arguments_are_refused_unless_a_main_takes_them(positional, arguments, status):
    code = f"from tc3net.terminal.command import run_main as r; r(lambda a: print(a[1:]), positional={positional!r})"
    result = run(["-c", code, *arguments])
    assert result.returncode == status, result.stderr
    if status == 0:
        assert result.stdout.strip() == str(arguments)
    else:
        assert "Found positional arguments ['x']; expected only --flag=value" in result.stderr


@needs(REAL_ANNOTATIONS)
@pytest.mark.parametrize(
    ("folder", "videos", "annotated", "instances", "classes", "expected"),
    [
        ("thumos14", 2584, 412, 6365, 101, {"starts_after_video": 30, "labels_differ": 51}),
        ("thumos14-3cnet", 2584, 410, 6241, 101, {"starts_after_video": 4, "labels_differ": 38}),
        ("thumos14-reduced", 412, 412, 6365, 20, {"starts_after_video": 30, "labels_differ": 28}),
        ("activitynet1.2", 7202, 7202, 10733, 100, {"ends_after_video": 185, "zero_length": 10, "exact_duplicate": 34}),
    ],
)
def test_real_annotations(folder, videos, annotated, instances, classes, expected):
    found = inspect(str(SHARED_DATA / folder))
    total = found.numbers["total"]
    assert (total["videos"], total["annotated"], total["instances"]) == (videos, annotated, instances)
    assert total["classes"] == len(found.classes) == classes
    assert rules(found) == expected
    kept = inspect(str(SHARED_DATA / folder), "--keep_late_instances")
    assert kept.errors() == ()


def test_the_storage_dtype_is_checked(tmp_path):
    options = write_inputs(tmp_path)
    path = tmp_path / "features" / "rgb" / "v1.npy"
    np.save(path, np.load(path) + 1e5)
    sources = (str(tmp_path / "a.json"), f"--features={tmp_path / 'features'}")
    assert inspect(*sources).errors() == ()
    assert [problem.rule for problem in inspect(*sources, "--feature_dtype=float16").errors()] == ["feature_range"]
    with pytest.raises(UserError, match="float16 ends at"):
        convert(replace(options, feature_dtype="float16"))
