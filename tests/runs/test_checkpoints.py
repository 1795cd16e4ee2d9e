"""Damaged checkpoints: found, named, and passed over by a resumed run, but never by inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.stack import optimizer_variables
from tc3net.model import ThreeCNet
from tc3net.optimization.optimizers import make_optimizer
from tc3net.runs.checkpoints import CheckpointFolder, damage, latest, restore_network


def make_model() -> ThreeCNet:
    model = ThreeCNet(3, 4)
    model.compile(make_optimizer())
    return model


def fill(model: ThreeCNet, value: float) -> None:
    for variable in model.named_variables().values():
        variable.assign(np.full(variable.shape, value))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of steps 2, 4 and 6; all weights of step n are n."""
    model = make_model()
    checkpoints = CheckpointFolder(tmp_path / "checkpoints", model, keep=3)
    for step in (2, 4, 6):
        fill(model, step)
        checkpoints.save(step, notes={"step": step})
    return tmp_path / "checkpoints"


def data_file(folder: Path, step: int) -> Path:
    return folder / f"step-{step}.data-00000-of-00001"


def truncate_data(folder: Path, step: int) -> None:
    path = data_file(folder, step)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit_of_data(folder: Path, step: int) -> None:
    path = data_file(folder, step)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def empty_data(folder: Path, step: int) -> None:
    data_file(folder, step).write_bytes(b"")


def remove_data(folder: Path, step: int) -> None:
    data_file(folder, step).unlink()


def garbage_index(folder: Path, step: int) -> None:
    (folder / f"step-{step}.index").write_bytes(np.random.default_rng(step).bytes(500))


def truncate_index(folder: Path, step: int) -> None:
    path = folder / f"step-{step}.index"
    path.write_bytes(path.read_bytes()[:-30])


def remove_index(folder: Path, step: int) -> None:
    (folder / f"step-{step}.index").unlink()


DAMAGES = [
    truncate_data, flip_a_bit_of_data, empty_data, remove_data, garbage_index, truncate_index, remove_index,
]  # fmt: skip


def restored(folder: Path) -> tuple[str | None, float, ThreeCNet]:
    model = make_model()
    path = CheckpointFolder(folder, model, keep=3).restore_latest()
    return path, float(model.named_variables()["centers_rgb"][0, 0]), model


def test_an_undamaged_folder_gives_its_newest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, value, _ = restored(folder)
    assert (path, value) == (str(folder / "step-6"), 6)
    assert capsys.readouterr().err == ""
    assert damage(str(folder / "step-6")) is None


@pytest.mark.parametrize("spoil", DAMAGES)
def test_a_damaged_newest_falls_back_loudly(folder: Path, capsys: pytest.CaptureFixture[str], spoil: Any) -> None:
    spoil(folder, 6)
    path, value, _ = restored(folder)
    assert (path, value) == (str(folder / "step-4"), 4)
    said = capsys.readouterr().err
    assert f"{folder / 'step-6'}: the checkpoint cannot be read" in said
    assert f"Used instead: {folder / 'step-4'}" in said


@pytest.mark.parametrize("spoil", DAMAGES)
def test_inference_refuses_a_damaged_newest(folder: Path, spoil: Any) -> None:
    spoil(folder, 6)
    with pytest.raises(UserError, match=r"step-6: the checkpoint (cannot be read|is absent)"):
        restore_network(latest(folder), ThreeCNet(3, 4))


def test_a_damaged_one_is_set_aside_and_its_step_can_be_saved_again(folder: Path) -> None:
    truncate_data(folder, 6)
    model = make_model()
    checkpoints = CheckpointFolder(folder, model, keep=2)
    checkpoints.restore_latest()
    fill(model, 60)
    checkpoints.save(6)
    assert restored(folder)[1] == 60
    assert {path.name for path in folder.glob("step-*")} == {
        "step-4.index", "step-4.data-00000-of-00001", "step-6.index", "step-6.data-00000-of-00001",
        "step-6.index.damaged", "step-6.data-00000-of-00001.damaged",
    }  # fmt: skip


def test_several_damaged_ones_are_all_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truncate_data(folder, 6)
    garbage_index(folder, 4)
    path, value, _ = restored(folder)
    assert (path, value) == (str(folder / "step-2"), 2)
    said = capsys.readouterr().err
    assert "step-6: the checkpoint cannot be read" in said and "step-4: the checkpoint cannot be read" in said


def test_without_any_readable_one_the_run_is_refused(folder: Path) -> None:
    for step in (2, 4, 6):
        truncate_data(folder, step)
    with pytest.raises(UserError, match=r"step-6: .*step-4: .*step-2: .*No other checkpoint is there"):
        restored(folder)


def test_a_state_file_that_names_an_absent_checkpoint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "checkpoint").write_text('model_checkpoint_path: "step-8"\n')
    with pytest.raises(UserError, match=r"step-8: the checkpoint is absent.*step-6.*step-4"):
        latest(folder)
    assert restored(folder)[:2] == (str(folder / "step-6"), 6)
    assert f"{folder / 'step-8'}.index is absent" in capsys.readouterr().err


def test_a_state_file_of_garbage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "checkpoint").write_bytes(b"\xff\x00 no names here")
    with pytest.raises(UserError, match="expected the name of the newest checkpoint"):
        latest(folder)
    assert restored(folder)[1] == 6
    assert "expected the name of the newest checkpoint" in capsys.readouterr().err


def test_a_save_that_did_not_finish_is_passed_over_and_swept_away(folder: Path) -> None:
    """Killed before the state file was replaced: the earlier checkpoint stays in force."""
    (folder / "checkpoint").write_text('model_checkpoint_path: "step-4"\n')
    (folder / "step-8_temp").mkdir()
    (folder / "step-8_temp" / "part-0").write_bytes(b"x")
    path, value, model = restored(folder)
    assert (path, value) == (str(folder / "step-4"), 4)
    CheckpointFolder(folder, model, keep=2).save(5)
    names = {path.stem for path in folder.glob("step-*.index")}
    assert names == {"step-4", "step-5"}
    assert not (folder / "step-8_temp").exists()


def test_notes_come_back_with_the_checkpoint_they_were_saved_with(folder: Path) -> None:
    checkpoints = CheckpointFolder(folder, make_model(), keep=3)
    assert checkpoints.restore(str(folder / "step-4")) == {"step": 4}
    checkpoints.save(7)
    assert checkpoints.restore(str(folder / "step-7")) is None


def test_a_folder_written_by_tensorflows_manager_is_read(tmp_path: Path) -> None:
    """As earlier runs did: the optimizer as a list, a save counter, no notes."""
    model = make_model()
    fill(model, 3)
    variables = optimizer_variables(model.optimizer)
    checkpoint = tf.train.Checkpoint(network=model.named_variables(), optimizer=variables)
    tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=1, checkpoint_name="step").save(3)
    assert restored(tmp_path)[:2] == (str(tmp_path / "step-3"), 3)
