"""The evaluation command on files of detections: what a user of another tool types, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tc3net.evaluation import PROTOCOLS
from tc3net.report import load_input
from tests.support.commands import command
from tests.support.forked_commands import run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """annotations.json, good.json (all instances) and bad.json (half of them), as other tools write them."""
    instances = {f"v{i}": [{"label": "Jump" if i % 2 else "Run", "segment": [i, i + 4.5]}] for i in range(12)}
    database = {
        video: {"subset": "validation", "duration": 30, "annotations": items} for video, items in instances.items()
    }
    good: dict[str, Any] = {video: [{**items[0], "score": 0.5}] for video, items in instances.items()}
    good["v0"].append({"label": "Swim", "score": 0.9, "segment": [0, 1]})
    bad = {video: items for i, (video, items) in enumerate(good.items()) if i % 4 < 2}
    (tmp_path / "annotations.json").write_text(json.dumps({"version": "1.2", "database": database}))
    (tmp_path / "good.json").write_text(json.dumps({"version": "x", "results": good, "external_data": {}}))
    (tmp_path / "bad.json").write_text(json.dumps({"results": bad}))
    return tmp_path


def test_detections_of_another_tool(files: Path) -> None:
    truth = (f"--annotations={files / 'annotations.json'}", "--subset=validation")
    more = ("--protocols=reference", "--bootstrap=200", "--analysis", "--tious=0.1,0.7,0.95")
    screen = command("tc3net.evaluate", f"--detections={files / 'bad.json'}", *truth, *more)
    for text in (
        "label 'Swim' is unknown: 1 detection ignored",
        "6 annotated videos have no detections; instances missed (v2, v3, v6, ...)",
        "reference: grid of TimeBase(fps=25.0, frames_per_segment=16, stride_frames=16) assumed",
        "reference     50.0   50.0   50.0",
        "95 % low",
        "Average recall [%], labels ignored: AR@1 50.0",
        "missed instances          -      50.0",
    ):
        assert text in screen
    out = files / "bad_evaluation"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["out_of_scope"]["unknown_labels"] == {"Swim": 1}
    assert metrics["out_of_scope"]["videos_without_detections"] == ["v2", "v3", "v6", "v7", "v10", "v11"]
    assert set(metrics["localization"]) == {"reference"} and "classification" not in metrics
    assert metrics["localization"]["reference"]["tious"] == [0.1, 0.7, 0.95]
    (again,) = load_input(out).assessment.localization  # what the report shows
    assert (again.tious, again.map.tolist()) == ((0.1, 0.7, 0.95), metrics["localization"]["reference"]["map_fraction"])
    for name in ("errors", "sensitivity", "missed"):
        assert (out / "analysis" / f"{name}_reference.png").stat().st_size > 5000
    assert set(json.loads((out / "analysis" / "analysis.json").read_text())) == {"reference"}
    # The folder it wrote against the other tool's file, which is scored on the folder's ground truth.
    sides = f"--compare={files / 'good.json'},{out}"
    ten = "--tious=0.5,0.55,0.6,0.65,0.7,0.75,0.8,0.85,0.9,0.95"  # its own, which 0.9 stands for too
    screen = command("tc3net.evaluate", sides, "--protocols=activitynet", ten, f"--output_dir={files / 'compared'}")
    row = next(line for line in screen.splitlines() if line.startswith("mAP@0.5:0.95")).split()
    assert row[1:4] == ["100.0", "50.0", "50.0"]
    compared = json.loads((files / "compared" / "comparison.json").read_text())
    assert (compared["activitynet"]["resamples"], compared["activitynet"]["version"]) == (1000, 1)
    assert tuple(compared["activitynet"]["tious"]) == PROTOCOLS["activitynet"].tious
    assert compared["activitynet"]["map_difference"]["value"] == [0.5] * 10


# One process for all cases: importing TensorFlow takes longer than everything else.
MANY = """
import json, sys
from absl import flags
from absl.testing import flagsaver
from tc3net import evaluate
from tc3net.common.errors import UserError
evaluate.register_flags()
found = []
for arguments in json.loads(sys.argv[1]):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["evaluate"])
    with flagsaver.flagsaver():
        flags.FLAGS(["evaluate", *arguments])
        try:
            evaluate.main([])
            found.append("no error")
        except UserError as error:
            found.append(str(error))
print(json.dumps(found))
"""


def test_mistakes_are_refused(files: Path) -> None:
    good, truth = f"--detections={files / 'good.json'}", f"--annotations={files / 'annotations.json'}"
    (files / "detections.json").write_text((files / "good.json").read_text())
    mine = f"--detections={files / 'detections.json'}"
    cases = {
        "expected one of --annotations=FILE and --dataset_dir": [good],
        "it has ['validation']": [good, truth],
        "--bootstrap=5; expected 100": [good, truth, "--bootstrap=5"],
        "--tious=0.5,0.3: expected rising numbers": [good, truth, "--tious=0.5,0.3"],
        "--tious=0.3,0.30: expected rising numbers": [good, truth, "--tious=0.3,0.30"],
        "--tious=0,0.5: expected rising numbers above 0": [good, truth, "--tious=0,0.5"],
        "--tious=50: expected rising numbers": [good, truth, "--tious=50"],
        "--tious=0.5,nan: expected rising numbers": [good, truth, "--tious=0.5,nan"],
        "--tious=0.1:0.7: expected rising numbers": [good, truth, "--tious=0.1:0.7"],
        "leave out --run_dir": [good, truth, "--run_dir=x"],
        "are files of detections; expected ground truth": [f"--compare={files / 'good.json'},{files / 'bad.json'}"],
        "expected two": [f"--compare={files / 'good.json'}"],
        "would overwrite": [mine, truth, "--subset=validation", f"--output_dir={files}"],
        "Expected --run_dir and --dataset_dir, or": [],
    }
    result = run(["-c", MANY, json.dumps(list(cases.values()))])
    assert result.returncode == 0, result.stderr
    for message, found in zip(cases, json.loads(result.stdout.splitlines()[-1])):
        assert message in found
