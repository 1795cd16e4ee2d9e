"""The ablation: its arithmetic by hand, and the command from start through an interruption to the table."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tc3net.common.errors import UserError
from tc3net.evaluation import PROTOCOLS
from tc3net.experiments.ablation import FULL, VARIANTS, columns, differences, markdown, write_report
from tc3net.experiments.repeated_runs import ExperimentFolder
from tc3net.losses import LossConfig
from tests.support.forked_commands import LIMIT_S, Command, run


def scalars(value: float, protocol: str = "thumos14") -> dict[str, float]:
    return dict.fromkeys(columns(protocol).values(), value) | {f"{protocol}/mAP@0.50": value}


RESULTS = {FULL: {0: scalars(0.3), 1: scalars(0.5)}, "cls": {0: scalars(0.2), 1: scalars(0.2), 2: scalars(0.9)}}


def test_differences_pair_the_seeds() -> None:
    assert differences(RESULTS, "cls", "thumos14") == pytest.approx([-0.1, -0.3])
    assert differences({"cls": RESULTS["cls"]}, "cls", "thumos14") == []


def test_the_table_by_hand() -> None:
    lines = markdown(RESULTS, "thumos14", "what").splitlines()
    assert lines[0] == "what"
    cells = [cell.strip() for cell in next(line for line in lines if line.startswith("| CLS ")).split("|")[1:-1]]
    # 0.2, 0.2, 0.9: mean 0.4333, sample deviation 0.4041; differences -0.1, -0.3: -0.2 and 0.1414.
    assert cells == ["CLS", "3", *["43.3 ± 40.4"] * 6, "-20.0 ± 14.1", "-7.5"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_report_of_any_protocol_is_complete(protocol: str, tmp_path: Path) -> None:
    results = {FULL: {0: scalars(0.3, protocol) | {f"{protocol}/mAP@0.5:0.95": 0.1}}, "cls": {}}
    table = write_report(tmp_path, results, protocol, "caption", {"settings": {}})
    assert (tmp_path / "ablation.md").read_text() == table and "30.0" in table
    found = json.loads((tmp_path / "ablation.json").read_text())
    assert list(found["variants"]) == [FULL] and found["variants"][FULL]["seeds"]["0"]
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_every_variant_changes_one_choice_of_the_loss() -> None:
    settings = []
    for name, variant in VARIANTS.items():
        choices = dict(flag.lstrip("-").split("=") for flag in variant.flags)
        kinds = {key: type(getattr(LossConfig(), key)) for key in choices}
        config = LossConfig(**{key: kinds[key](value) for key, value in choices.items()})
        assert (config == LossConfig()) == (name == FULL)
        settings.append(config)
    assert len(set(settings)) == len(VARIANTS)


def test_a_folder_from_when_thumos14_was_the_kit_is_continued_as_such_or_not_at_all(tmp_path: Path) -> None:
    common = {"alpha": "--alpha=1", "checkpoint": "last"}
    old = {**common, "protocol": "thumos14", "protocols": "--protocols=thumos14,reference"}
    runs = {"cls-seed0": {"thumos14/mAP@0.50": 0.25, "classification/mAP": 0.5}}
    (tmp_path / "results.json").write_text(json.dumps({"settings": old, "runs": runs}))
    now = {"protocol": "thumos14 (version 2)", "protocols": "--protocols=thumos14 (version 2),reference"}
    cure = "or give the earlier settings, --protocol=thumos14_kit, --protocols=thumos14_kit,reference."
    with pytest.raises(UserError, match=re.escape(cure)):
        ExperimentFolder(tmp_path, {**common, **now})
    kit = {**common, "protocol": "thumos14_kit", "protocols": "--protocols=thumos14_kit,reference"}
    for _ in range(2):  # the second time from what the first one wrote
        ablation = ExperimentFolder(tmp_path, kit)
        assert ablation.runs == {"cls-seed0": {"thumos14_kit/mAP@0.50": 0.25, "classification/mAP": 0.5}}


def test_the_command_resumes_and_refuses_other_settings(dataset_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "ablation"
    command = (
        "tc3net.ablate", "--flagfile=configs/ablation.cfg", f"--dataset_dir={dataset_dir}", f"--output_dir={out}",
        "--seeds=1", "--variants=3c-net,cls", "--iterations=60", "--log_every=1", "--batch_size=4", "--notensorboard",
    )  # fmt: skip
    log, results = out / "logs" / "3c-net-seed0.log", out / "results.json"
    process, waited = Command(command), time.monotonic()
    while not (log.is_file() and "step  3/60" in log.read_text()):
        assert process.poll() is None and time.monotonic() - waited < LIMIT_S, process.printed()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    stopped = process.finish()
    assert stopped.returncode == 128 + signal.SIGTERM and "The same command resumes" in stopped.stdout, stopped
    assert json.loads(results.read_text())["runs"] == {}
    done = run(command)
    assert "Written to" in done.stdout, done
    assert "Resuming after step" in log.read_text()
    runs = json.loads(results.read_text())["runs"]
    assert set(runs) == {"3c-net-seed0", "cls-seed0"} and "thumos14/mAP@0.50" in runs["cls-seed0"]
    metrics = json.loads((out / "runs" / "cls-seed0" / "evaluation" / "metrics.json").read_text())
    assert metrics["localization"]["thumos14"]
    assert "last checkpoint (nothing was selected)" in (out / "ablation.md").read_text()
    refused = run([*command, "--learning_rate=1e-2", "--log_every=7"])
    assert refused.returncode == 1 and "(learning_rate): --learning_rate=0.0001 there" in refused.stderr, refused
