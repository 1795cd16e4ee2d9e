"""The command of a second stage, from a trained run to the evaluation of its last round."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.commands import TRAIN, command

FLAGS = TRAIN[1:]  # without the module
QUICK = ("--flagfile=configs/refine.cfg", "--iterations=2", "--eval_every=0", "--rounds=1", "--notensorboard")


def test_a_refined_run_is_a_run_like_any_other(work: Path, tmp_path: Path) -> None:
    data, first = f"--dataset_dir={work / 'dataset'}", f"--first_run={work / 'run'}"
    flags = (*FLAGS, *QUICK, data, first, f"--run_dir={tmp_path}/refined")
    output = command("tc3net.refine", *flags)
    refined = tmp_path / "refined" / "round1"
    assert "Round 1 of 1" in output and "pseudo segments of" in output
    assert f"Evaluate with: python -m tc3net.evaluate --run_dir={refined}" in output
    info = json.loads((refined / "run.json").read_text())
    assert info["starts"][0]["command_line"].startswith("python -m tc3net.refine ")
    term, content = (
        info["training"]["terms"]["pseudo_segments"],
        json.loads((refined / "pseudo_segments.json").read_text()),
    )
    assert (term["weight"], term["sha256"]) == (10, content["sha256"])
    assert (info["training"]["beta"], info["detection"]["segment_scores"]) == (0, "sigmoid")
    # Its flags.cfg is the whole command: a finished refinement is recognised.
    output = command("tc3net.refine", f"--flagfile={refined / 'flags.cfg'}")
    assert "Resuming after step 2" in output and "pseudo segments of" not in output
    # The folder alone is enough for the other commands.
    alone = shutil.copytree(refined, tmp_path / "alone")
    (alone / "pseudo_segments.json").unlink()
    output = command("tc3net.evaluate", f"--run_dir={alone}", data)
    assert "step-2" in output
    output = command("tc3net.refine", *flags, f"--run_dir={alone}", expect_failure=True)
    assert "is the folder of a run; expected one for the rounds" in output
    output = command("tc3net.refine", *FLAGS, data, expect_failure=True)
    assert "error: --run_dir is missing" in output
