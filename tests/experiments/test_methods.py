"""The comparison of methods: names, choices on held-out videos alone, the table by hand, resuming; training is stood in
for by a run folder with the weights of its seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.data.sampling import InputConfig
from tc3net.data.split import open_split
from tc3net.detection import DetectionConfig
from tc3net.experiments import method_runs
from tc3net.experiments.method_runs import COMMON, OWN, TUNED, Contest, MethodRuns
from tc3net.experiments.method_tables import Standing, gain, markdown, picture
from tc3net.experiments.methods import METHODS, find_method, find_methods, known_methods
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.runs.checkpoints import CheckpointFolder
from tc3net.runs.description import RunInfo, TrainingChoices
from tc3net.runs.folder import save_run
from tc3net.runs.provenance import dataset_checksum
from tc3net.terminal.flagfiles import config_of


def test_every_method_that_comes_along_has_a_name_and_is_found() -> None:
    assert {"cls", "cls_cl", "3c_net"} <= set(known_methods())
    for name in known_methods():
        method = find_method(name)
        assert method.name == name and method.title and method.flagfile == METHODS / f"{name}.cfg"
        assert method.title.count("(") == method.title.count(")") and len(method.title) < 100
    assert find_method("3c_net").title == "3C-Net (Narayan et al. 2019)" and find_method("3c_net").published == (
        26.6,
        None,
    )


def test_a_second_stage_and_a_flagfile_of_ones_own(tmp_path: Path) -> None:
    own, stage = tmp_path / "mine.cfg", tmp_path / "twice.cfg"
    own.write_text("# My method: with a twist.\n--alpha=0\n")
    stage.write_text("# Two rounds.\n")
    method = find_method(f"{own}+refine:{stage}")
    assert (method.name, method.title) == ("mine+refine-twice", "My method, then Two rounds")
    assert method.first is not None and method.first.title == "My method" and method.flagfile == stage
    shipped = find_method("cls+refine")
    assert (shipped.name, shipped.title) == ("cls+refine", "CLS, second stage") and shipped.flagfile.is_file()


@pytest.mark.parametrize("names", [[], ["cls", "cls"], ["clss"], ["no/such.cfg"], ["cls+refine!"]])
def test_what_is_no_method_is_refused(names: list[str]) -> None:
    with pytest.raises(UserError, match="--methods"):
        find_methods(names)


def test_a_flagfile_has_to_say_what_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "nameless.cfg").write_text("--alpha=0\n")
    with pytest.raises(UserError, match="expected a comment that says what the method"):
        find_method(str(tmp_path / "nameless.cfg"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, dataset_dir: Path) -> list[list[str]]:
    """The arguments of every training; each leaves a run with untrained weights of its seed."""
    calls: list[list[str]] = []

    def train_run(run_dir: Path, arguments: list[str], log: Path, command: str = "tc3net.train") -> None:
        calls.append([command, run_dir.name, *arguments])
        given = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
        run_dir = run_dir / "round2" if command == "tc3net.refine" else run_dir
        manifest = open_split(dataset_dir, "validation").manifest
        seed = int(given["seed"])
        training = TrainingChoices(
            InputConfig(seed=seed),
            holdout_fraction=float(given.get("holdout_fraction", 0)),
            train_subset="validation",
            shards={name: [shard.sha256 for shard in info.shards] for name, info in manifest.splits.items()},
        )
        run = RunInfo(
            manifest.title, manifest.classes, manifest.streams, manifest.time_base, ModelConfig(), DetectionConfig(),
            training, dataset_checksum=dataset_checksum(manifest),
        )  # fmt: skip
        save_run(run_dir, run)
        model = ThreeCNet(len(manifest.classes), manifest.streams, seed=seed)
        model.compile()
        CheckpointFolder(run_dir / "checkpoints", model, keep=1).save(2)

    monkeypatch.setattr(method_runs, "train_run", train_run)
    return calls


def contest(folder: Path, dataset_dir: Path, **changed) -> Contest:
    choices = {
        "folder": folder,
        "dataset_dir": str(dataset_dir),
        "train_subset": "validation",
        "test_subset": "test",
        "protocol": "thumos14",
        "common_flags": ("--iterations=2",),
        "alternatives": ("--learning_rate=1e-3", "--learning_rate=1e-4"),
        "holdout_fraction": 0.7,
        "trials": 3,
        "common_rule": DetectionConfig(class_filter="all", threshold="range", threshold_levels="0.3,0.6"),
    }
    return Contest(**{**choices, **changed})


def test_a_method_is_chosen_on_held_out_videos_trained_on_all_and_scored_under_three_rules(
    trained: list[list[str]], dataset_dir: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    runs = MethodRuns(contest(tmp_path, dataset_dir), said.append)
    method = find_method("cls_cl")
    scalars = runs.run(method, 1)
    final = trained[-1]
    # Two alternatives without the held-out videos, then the better one with all; none of them sees the test subset.
    assert [call[1] for call in trained] == ["cls_cl-0", "cls_cl-1", "cls_cl-seed1"]
    assert all("--test_subset=" in call and "--iterations=2" in call for call in trained)
    assert all("--holdout_fraction=0.7" in call for call in trained[:2])
    assert not any(flag.startswith("--holdout_fraction") for flag in final) and "--seed=1" in final
    chosen = runs.choose(method)
    assert chosen.alternative in final and set(chosen.held_out) == set(runs.contest.alternatives)
    assert max(chosen.held_out.values()) == chosen.held_out[chosen.alternative]
    assert len(trained) == 3 and len(said) == 2  # choosing again trains nothing
    for rule in (OWN, COMMON, TUNED):
        assert 0 <= scalars[f"{rule}:thumos14/mAP@0.50"] <= 1
        assert runs.samples(method, 1)[rule].shape == (method_runs.RESAMPLES, 2)
    written = (tmp_path / "settings" / "cls_cl" / "detection.cfg").read_text()
    assert f"--threshold={chosen.detection.threshold}\n" in written and "held-out" in written
    again = MethodRuns(runs.contest, said.append)
    assert again.choose(method) == chosen and again.run(method, 1) == scalars


def test_the_tuned_rule_is_never_worse_on_the_held_out_videos_than_those_it_starts_from(
    trained: list[list[str]], dataset_dir: Path, tmp_path: Path
) -> None:
    runs = MethodRuns(contest(tmp_path, dataset_dir, alternatives=("",)), lambda line: None)
    runs.choose(find_method("cls"))
    tried = json.loads((tmp_path / "settings" / "cls" / "tuning.json").read_text())["trials"]
    best = json.loads((tmp_path / "settings" / "cls.json").read_text())["held_out"][""]
    assert best >= max(trial["objective"] for trial in tried[:2])


def test_a_second_stage_starts_from_the_first_ones_runs_and_detections(
    trained: list[list[str]], dataset_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "stage.cfg").write_text("# One more round.\n")
    runs = MethodRuns(contest(tmp_path / "out", dataset_dir), lambda line: None)
    method = find_method(f"cls+refine:{tmp_path / 'stage.cfg'}")
    assert method.first is not None
    runs.run(method, 0)
    refined = [call for call in trained if call[0] == "tc3net.refine"]
    first = runs.choose(method.first)
    assert [call[1] for call in refined] == ["cls+refine-stage-0" if first.alternative.endswith("3") else
                                             "cls+refine-stage-1", "cls+refine-stage-seed0"]  # fmt: skip
    assert f"--first_run={runs.run_dir(method.first, 0)}" in refined[1]
    found = tmp_path / "out" / "settings" / "cls" / "detection.cfg"
    assert f"--first_detection={found}" in refined[1]
    assert config_of(DetectionConfig, str(found), "first_detection") == first.detection
    assert [flag for flag in refined[0] if flag.startswith("--flagfile=")] == [
        f"--flagfile={METHODS / 'cls.cfg'}", f"--flagfile={tmp_path / 'stage.cfg'}"
    ]  # fmt: skip
    begun = next(flag for flag in refined[0] if flag.startswith("--first_run="))
    assert begun.startswith(f"--first_run={tmp_path / 'out' / 'held_out'}/cls-")


def standing(name: str, values: dict[int, float], shift: float = 0.0) -> Standing:
    runs = {
        seed: {f"{rule}:{tag}": value for rule in (OWN, COMMON, TUNED)
               for tag in ("thumos14/mAP@0.50", "thumos14/mAP@0.1:0.7", "classification/mAP")}
        for seed, value in values.items()
    }  # fmt: skip
    spread = np.linspace(-0.01, 0.01, 1000)
    samples = {seed: dict.fromkeys((OWN, COMMON, TUNED), np.stack([spread, spread + shift], 1)) for seed in values}
    return Standing(find_method(name), runs, samples)


def test_the_gain_by_hand() -> None:
    """0.5 and 0.7 against 0.4 and 0.5: +10 and +20 points; the resamples differ by the shift alone, in every draw."""
    first, other = standing("cls_cl", {0: 0.4, 1: 0.5, 2: 0.9}), standing("3c_net", {0: 0.5, 1: 0.7}, 0.15)
    found = gain(other, first, TUNED, 1, "thumos14/mAP@0.1:0.7")
    assert found is not None and found.by_seed == pytest.approx([0.1, 0.2])
    assert (found.low, found.high) == pytest.approx((0.15, 0.15))
    assert found.words() == "+15.0 ± 7.1 [+15.0, +15.0]"
    assert gain(first, first, TUNED, 1, "thumos14/mAP@0.1:0.7") is None
    table = markdown([first, other], "thumos14", "what").splitlines()
    cells = [cell.strip() for cell in next(line for line in table if line.startswith("| 3C-Net")).split("|")[1:-1]]
    assert cells[1:3] == ["2", "60.0 ± 14.1"] and cells[-2:] == ["+15.0 ± 7.1 [+15.0, +15.0]", "26.6 / –"]
    axes = picture([first, other], "thumos14", "what").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [first.method.title, other.method.title]


def test_the_common_rule_is_found_by_name_and_holds_detection_flags_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    by_name, by_path = (
        config_of(DetectionConfig, name, "detection") for name in ("thumos14_plus.cfg", "configs/thumos14_plus.cfg")
    )
    assert by_name == by_path != DetectionConfig()
    (tmp_path / "more.cfg").write_text("--nms=hard\n--alpha=0\n")
    with pytest.raises(UserError, match=r"--detection=more\.cfg: .*alpha.*; expected flags of DetectionConfig alone"):
        config_of(DetectionConfig, "more.cfg", "detection")
