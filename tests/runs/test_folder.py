"""The run folder: who may use it, and what is read back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tc3net.common.errors import UserError
from tc3net.data.sampling import InputConfig
from tc3net.data.schema import Manifest
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.losses import LossConfig
from tc3net.model import ModelConfig
from tc3net.optimization.optimizers import OptimizerConfig
from tc3net.optimization.schedules import ScheduleConfig
from tc3net.runs.description import RunInfo, TrainingChoices
from tc3net.runs.folder import check_same_classes, claim_run_dir, load_run

RUN = RunInfo(
    dataset="d",
    classes=("a", "b"),
    streams=Streams.pair(4),
    time_base=TimeBase(fps=30.0),
    model=ModelConfig(dropout=0.5),
    detection=DetectionConfig(min_segments=2),
    training=TrainingChoices(InputConfig(seed=1), optimizer=OptimizerConfig(learning_rate=0.1)),
)


def test_a_new_folder_is_claimed_and_read_back(tmp_path: Path) -> None:
    assert claim_run_dir(tmp_path / "new" / "run", RUN) is False
    assert load_run(tmp_path / "new" / "run") == RUN


def test_the_same_run_resumes_also_with_other_detection_settings(tmp_path: Path) -> None:
    claim_run_dir(tmp_path, RUN)
    assert claim_run_dir(tmp_path, dataclasses.replace(RUN, detection=DetectionConfig())) is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "c")}, "another classes"),
        ({"training": TrainingChoices(InputConfig(seed=2))}, "seed is 1 there, 2 here"),
        ({"model": ModelConfig()}, "dropout is 0.5 there, 0.7 here"),
        ({"streams": Streams.of({"rgb": 4, "flow": 8})}, "flow is 4 there, 8 here"),
    ],
)
def test_another_run_is_refused_and_left_alone(tmp_path: Path, change: dict, message: str) -> None:
    claim_run_dir(tmp_path, RUN)
    with pytest.raises(UserError, match=message):
        claim_run_dir(tmp_path, dataclasses.replace(RUN, **change))
    assert load_run(tmp_path) == RUN


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="not empty and holds no run"):
        claim_run_dir(tmp_path, RUN)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_without_run_and_a_foreign_description_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.json: no such file"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text('{"classes": []}')
    with pytest.raises(UserError, match=r"run\.json: a field is missing"):
        load_run(tmp_path)


def test_a_data_set_with_other_classes_or_features_is_refused() -> None:
    manifest = Manifest("d", ("a", "b"), (), RUN.streams, "float32", TimeBase(), {})
    check_same_classes("run", RUN, "data", manifest)
    with pytest.raises(UserError, match=r"trained on 2 classes .*data has 3 classes"):
        check_same_classes("run", RUN, "data", dataclasses.replace(manifest, classes=("a", "b", "c")))
    with pytest.raises(UserError, match="streams rgb 4, then flow 4; data has audio 8"):
        check_same_classes("run", RUN, "data", dataclasses.replace(manifest, streams=Streams.of({"audio": 8})))


def test_every_start_is_noted(tmp_path: Path) -> None:
    starts = [{"command_line": "python -m tc3net.train", "git_revision": name} for name in ("a", "b")]
    for start in starts:
        claim_run_dir(tmp_path, dataclasses.replace(RUN, starts=(start,), dataset_checksum="00"))
    assert load_run(tmp_path) == dataclasses.replace(RUN, starts=tuple(starts), dataset_checksum="00")


def test_a_description_without_provenance_is_read_and_resumed(tmp_path: Path) -> None:
    """As earlier versions wrote it."""
    claim_run_dir(tmp_path, RUN)
    path = tmp_path / "run.json"
    raw = json.loads(path.read_text())
    del raw["starts"], raw["dataset_checksum"]
    path.write_text(json.dumps(raw))
    assert load_run(tmp_path) == RUN
    assert claim_run_dir(tmp_path, dataclasses.replace(RUN, starts=({"git_revision": "c"},))) is True
    assert load_run(tmp_path).starts == ({"git_revision": "c"},)


def test_every_choice_is_read_back_into_the_dataclass_that_wrote_it(tmp_path: Path) -> None:
    """Each field of each dataclass, with a value that is not its default; those that do not act are left out."""
    training = TrainingChoices(
        inputs=InputConfig(batch_size=3, crop_segments=4, max_segments=50, batches="full", seed=6),
        loss=LossConfig(
            alpha=0.5, beta=0.25, count_estimator="peaks", count_error="log", count_start_step=7, count_ramp_steps=8
        ),
        optimizer=OptimizerConfig(optimizer="sgd", lookahead_steps=5, lookahead_step_size=0.25).acting(),
        schedule=ScheduleConfig("cosine", warmup_steps=3, learning_rate_decay=0.125).acting(20),
        holdout_fraction=0.5,
        selected_by="something",
        train_subset="training",
        shards={"training": ["00", "11"]},
        terms={"toy": {"toy_weight": 0.5}},
    )
    run = dataclasses.replace(RUN, training=training, test_subset="", extensions=("my.terms",), heads={"h": {"x": 1}})
    claim_run_dir(tmp_path, run)
    assert load_run(tmp_path) == run
    assert training.schedule.decay_steps == 17
    with pytest.raises(UserError, match=r"--extensions=my\.terms; not loaded here: my\.terms"):
        load_run(tmp_path).make_heads()


def test_a_run_from_when_thumos14_was_the_kit_is_no_run_of_the_protocol_of_now(tmp_path: Path) -> None:
    before, kit, now = (
        dataclasses.replace(RUN, training=dataclasses.replace(RUN.training, selected_by=words))
        for words in (f"{protocol} mAP@0.50 on x" for protocol in ("thumos14", "thumos14_kit", "thumos14 (version 2)"))
    )
    claim_run_dir(tmp_path, before)
    assert load_run(tmp_path) == kit
    with pytest.raises(UserError, match=r"'thumos14_kit mAP@0\.50 on x' there, 'thumos14 \(version 2\) mAP"):
        claim_run_dir(tmp_path, now)
    assert claim_run_dir(tmp_path, kit)


def test_what_an_earlier_version_did_not_record_is_the_default(tmp_path: Path) -> None:
    claim_run_dir(tmp_path, RUN)
    path = tmp_path / "run.json"
    raw = json.loads(path.read_text())
    for name in ("count_ramp_steps", "weight_decay_mode", "holdout_fraction"):
        del raw["training"][name]
    del raw["test_subset"]
    path.write_text(json.dumps(raw))
    assert load_run(tmp_path) == RUN
    assert claim_run_dir(tmp_path, RUN) is True  # still the same run
    raw["training"]["a_choice_of_the_future"] = 1
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=r"a_choice_of_the_future.*another version"):
        load_run(tmp_path)
