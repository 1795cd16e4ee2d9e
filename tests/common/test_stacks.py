"""The two stacks side by side: the same losses, each reads the other's files, and a resume across them is refused.

The environment variable TC3NET_OTHER_PYTHON names the other stack's interpreter; `make test` and `make test-addons` set
it where that stack is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.common.stack import NAME
from tc3net.runs.checkpoints import CheckpointFolder
from tests.support import stack_exchange
from tests.support.needs import OTHER_PYTHON, OTHER_STACK, needs

ROOT = Path(__file__).parents[2]
with_both = needs(OTHER_STACK)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each stack computes from its own and from the other's files, as "here", "there", "here of there", ..."""
    folder = tmp_path_factory.mktemp("stacks")
    here, there = folder / "here", folder / "there"
    stack_exchange.write(here)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [OTHER_PYTHON, str(ROOT / "tests" / "support" / "stack_exchange.py"), str(there), str(here)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    files = {"here": here / "report.json", "there": there / "report.json", "there of here": here / "read_by_other.json"}
    found = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items()}
    return {**found, "here of there": stack_exchange.read(there)}


@with_both
def test_the_other_interpreter_is_of_the_other_stack(reports: dict[str, dict[str, Any]]) -> None:
    assert {reports["here"]["stack"], reports["there"]["stack"]} == {"Keras 2", "Keras 3"}


@with_both
@pytest.mark.parametrize("other", ["there", "there of here", "here of there"])
def test_the_same_weights_and_batches_give_the_same_losses(reports: dict[str, dict[str, Any]], other: str) -> None:
    """Every reported value of three steps: losses, gradient norm, learning rate, centers; from either's TFRecords."""
    for step, (expected, found) in enumerate(zip(reports["here"]["losses"], reports[other]["losses"])):
        assert set(found) == set(expected) and found["loss"] > 0
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-7), f"step {step}: {name}"


@with_both
@pytest.mark.parametrize("weights", ["averaged", "raw"])
@pytest.mark.parametrize(("owner", "reader"), [("here", "there of here"), ("there", "here of there")])
def test_each_stack_evaluates_the_others_checkpoints(
    reports: dict[str, dict[str, Any]], owner: str, reader: str, weights: str
) -> None:
    expected, found = (np.array(reports[name]["scores"][weights]) for name in (owner, reader))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@with_both
def test_a_resume_goes_on_at_home_and_is_refused_across(reports: dict[str, dict[str, Any]]) -> None:
    assert reports["here"]["resumed"] == reports["there"]["resumed"] == ""
    for reader, owner in (("here of there", "there"), ("there of here", "here")):
        said = reports[reader]["resumed"]
        assert f"was written with {reports[owner]['stack']}, this is {reports[reader]['stack']}" in said
        assert "Resume the run in the environment that it was started in" in said


def test_a_checkpoint_of_the_other_stack_is_refused_before_anything_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "Keras 2" if NAME == "Keras 3" else "Keras 3"
    monkeypatch.setattr("tc3net.common.stack.NAME", other)
    CheckpointFolder(tmp_path, stack_exchange.make_model(), keep=1).save(1)
    monkeypatch.undo()
    model = stack_exchange.make_model()
    model.named_variables()["centers_rgb"].assign_add(np.ones([3, 4]))
    before = model.named_variables()["centers_rgb"].numpy()
    with pytest.raises(UserError, match=f"step-1: the state of the optimizer was written with {other}, this is {NAME}"):
        CheckpointFolder(tmp_path, model, keep=1).restore_latest()
    np.testing.assert_array_equal(model.named_variables()["centers_rgb"], before)
