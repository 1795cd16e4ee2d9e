"""Scoring on Beam gives the files of the local tasks; without Beam, its command says what to install."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tc3net.common.errors import UserError
from tc3net.detection import DetectionConfig
from tc3net.engines.beam import read_outcomes
from tc3net.engines.outcomes import outcome_line
from tc3net.predict_beam import predict_on_beam
from tc3net.prediction.tasks import Task, run_task
from tc3net.runs.folder import CheckpointChoice
from tc3net.runs.scoring import DatasetChoice, Scoring
from tests.support.forked_commands import run
from tests.support.needs import BEAM, needs
from tests.support.untrained_run import save_checkpoint, save_untrained_run

DIRECT = ["runner=DirectRunner"]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run folder with a last and a best checkpoint."""
    return save_untrained_run(tmp_path / "run")


@pytest.fixture
def scoring(run_dir: Path, dataset_dir: Path) -> Scoring:
    choice = DatasetChoice(str(dataset_dir), "test")
    return Scoring(str(run_dir), CheckpointChoice(), choice, DetectionConfig(rgb_weight=0.5))


def damage_last_record(dataset: Path) -> Path:
    """Changes a byte of the last record; the shard's size stays."""
    shard = sorted(dataset.glob("test-*"))[-1]
    content = bytearray(shard.read_bytes())
    content[-20] ^= 255
    shard.write_bytes(content)
    return shard


def test_without_beam_the_package_is_named(scoring: Scoring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(UserError, match=r"pip install tc3net\[beam\].*python -m tc3net\.predict "):
        predict_on_beam(scoring, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_outcomes_come_back_as_they_were(tmp_path: Path) -> None:
    def fail(error: Exception) -> None:
        raise error

    lines = [outcome_line(1, lambda: {"a": [0.1]}), outcome_line(0, lambda: None)]
    (tmp_path / "x-0").write_text(lines[0] + "\n")
    (tmp_path / "x-1").write_text(lines[1] + "\n")
    assert list(read_outcomes(tmp_path, "x", 2)) == [(1, {"a": [0.1]}), (0, None)]
    with pytest.raises(UserError, match=r"results of 2 of 3 tasks found .*missing: 2.*under the same path"):
        list(read_outcomes(tmp_path, "x", 3))
    for error in (UserError("é: wrong"), OSError("disk full")):
        (tmp_path / "x-1").write_text(outcome_line(1, lambda error=error: fail(error)) + "\n")
        with pytest.raises(type(error), match=str(error)):
            list(read_outcomes(tmp_path, "x", 2))
    with pytest.raises(ZeroDivisionError):  # a bug of ours is no outcome
        outcome_line(0, lambda: 1 / 0)


@needs(BEAM)
@pytest.mark.parametrize("num_tasks", [1, 3])
def test_the_direct_runner_gives_the_same_bytes(
    scoring: Scoring, tmp_path: Path, num_tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = scoring.open()
    tasks = [Task(index, num_tasks) for index in range(num_tasks)]
    local = [run_task(opened.scorer, opened.split, scoring.detection, t, tmp_path / "local") for t in tasks]
    assert any(b'"segment"' in path.read_bytes() for path in local)
    # Several blocks per task, which must come into order again.
    monkeypatch.setattr("tc3net.prediction.tasks.BLOCK_VIDEOS", 1)
    written = predict_on_beam(scoring, tmp_path / "out", num_tasks, DIRECT)
    assert [path.name for path in written] == [path.name for path in local]
    assert sorted(os.listdir(tmp_path / "out")) == [path.name for path in written]
    for mine, theirs in zip(written, local):
        assert mine.read_bytes() == theirs.read_bytes()


@needs(BEAM)
def test_a_task_without_videos_is_written_too(scoring: Scoring, tmp_path: Path) -> None:
    from tc3net.prediction.beam_inference import BlockHandler, Loaded, blocks_of_tasks, write_task

    todo = blocks_of_tasks(2, 3)
    assert todo == [(0, range(0, 0)), (1, range(0, 1)), (2, range(1, 2))]
    opened = scoring.open()
    ((task, part),) = BlockHandler(scoring, opened.source).run_inference(todo[:1], Loaded(opened))
    write_task((task, [part]), 3, tmp_path / "out")
    empty = run_task(opened.scorer, opened.split, scoring.detection, Task(0, 8), tmp_path / "local")  # of 6 videos
    assert (tmp_path / "out" / Task(0, 3).file_name).read_bytes() == empty.read_bytes()


@needs(BEAM)
def test_a_damaged_record_names_the_shard_and_leaves_no_file_of_its_task(scoring: Scoring, tmp_path: Path) -> None:
    shard = damage_last_record(Path(scoring.videos.dataset_dir))
    with pytest.raises(UserError, match=rf"{shard}: a record of subset 'test' is damaged"):
        predict_on_beam(scoring, tmp_path / "out", 3, DIRECT)
    assert sorted(os.listdir(tmp_path / "out")) == [Task(index, 3).file_name for index in (0, 1)]


@needs(BEAM)
def test_what_is_wrong_from_the_beginning_is_said_before_anything_is_written(
    scoring: Scoring, run_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--num_tasks=0"):
        predict_on_beam(scoring, tmp_path / "out", 0, DIRECT)
    (run_dir / "checkpoints" / "checkpoint").unlink()
    with pytest.raises(UserError, match="no checkpoint found"):
        predict_on_beam(scoring, tmp_path / "out", 1, DIRECT)
    assert not (tmp_path / "out").exists()


@needs(BEAM)
def test_errors_of_a_worker_that_cannot_load_are_results(scoring: Scoring, run_dir: Path) -> None:
    from tc3net.prediction.beam_inference import BlockHandler

    handler = BlockHandler(scoring, scoring.open().source)
    save_checkpoint(run_dir / "checkpoints", 6, seed=1)  # the run went on
    ((task, (first, error)),) = handler.run_inference([(2, range(4, 6))], handler.load_model())
    assert (task, first) == (2, 4)
    assert isinstance(error, UserError) and "step-6 (averaged weights); expected" in str(error)
    (run_dir / "run.json").unlink()
    ((_, (_, error)),) = handler.run_inference([(0, range(2))], handler.load_model())
    assert isinstance(error, UserError) and "run.json: no such file" in str(error)


@needs(BEAM)
def test_the_command_in_other_processes_takes_the_flags_of_predict(
    run_dir: Path, dataset_dir: Path, tmp_path: Path
) -> None:
    flags = [f"--run_dir={run_dir}", f"--dataset={dataset_dir}", "--subset=validation", "--checkpoint=best"]
    flags += ["--weights=raw", "--threshold=range", "--threshold_levels=0.3,0.6"]
    local = run(["tc3net.predict", *flags, f"--output_dir={tmp_path / 'local'}"])
    assert local.returncode == 0, local.stderr
    # One other process, which takes seconds to begin; tests/data_prep/test_beam.py has two.
    processes = ["--beam_option=direct_num_workers=1", "--beam_option=direct_running_mode=multi_processing"]
    beamed = run(["tc3net.predict_beam", *flags, f"--output_dir={tmp_path / 'out'}", *processes])
    assert beamed.returncode == 0, beamed.stderr
    name = Task().file_name
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
