"""Scoring a data set in tasks: the same bytes however it is divided."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.data.split import Split, open_split
from tc3net.detection import DetectionConfig, detect_videos
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.model import ThreeCNet
from tc3net.prediction.tasks import Task, merge_tasks, run_task
from tests.support.data import CLASSES, FEATURE_DIM

CONFIG = DetectionConfig(rgb_weight=0.5)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(ThreeCNet(len(CLASSES), FEATURE_DIM, seed=1))


@pytest.fixture
def split(dataset_dir: Path) -> Split:
    return open_split(dataset_dir, "validation")


@given(st.integers(0, 50), st.integers(1, 12))
def test_tasks_divide_the_videos(count: int, total: int) -> None:
    parts = [Task(index, total).videos(count) for index in range(total)]
    assert [video for part in parts for video in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_any_division_gives_the_same_bytes(
    scorer: Scorer, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run_task(scorer, split, CONFIG, Task(), tmp_path / "one").read_bytes()
    monkeypatch.setattr("tc3net.prediction.tasks.BLOCK_VIDEOS", 2)
    for total in (2, split.num_videos + 1):  # with an empty task
        folder = tmp_path / str(total)
        for index in reversed(range(total)):
            run_task(scorer, split, CONFIG, Task(index, total), folder)
        assert merge_tasks(folder, total).read_bytes() == expected


def test_the_results_are_those_of_an_evaluation(scorer: Scorer, split: Split, tmp_path: Path) -> None:
    written = json.loads(run_task(scorer, split, CONFIG, Task(), tmp_path).read_text())["results"]
    scores = score_videos(scorer, split, keep_streams=True)
    found = detect_videos(scores, CONFIG)
    assert list(written) == list(scores.video_ids)
    assert sum(map(len, written.values())) == len(found) > 0
    for video, video_id in enumerate(scores.video_ids):
        mine = np.array([[*d["segment"], d["score"]] for d in written[video_id]]).reshape(-1, 3)
        of_video = found.video == video
        theirs = np.stack([found.start_s, found.end_s, found.score], axis=1)[of_video]
        order = (-theirs[:, 2]).argsort(kind="stable")
        np.testing.assert_allclose(mine, theirs[order], rtol=1e-5, atol=1e-6)


def test_a_missing_or_repeated_part_is_refused(scorer: Scorer, split: Split, tmp_path: Path) -> None:
    for index in (0, 2):
        run_task(scorer, split, CONFIG, Task(index, 4), tmp_path)
    with pytest.raises(UserError, match=r"2 of 4 tasks are missing; run those with --task_index=1,3 first"):
        merge_tasks(tmp_path, 4)
    assert not (tmp_path / "detections.json").exists()
    for index in (1, 3):
        (tmp_path / Task(index, 4).file_name).write_bytes((tmp_path / Task(0, 4).file_name).read_bytes())
    with pytest.raises(UserError, match="is in another task's file too"):
        merge_tasks(tmp_path, 4)


@pytest.mark.parametrize(("index", "total"), [(-1, 2), (2, 2), (0, 0)])
def test_impossible_tasks_are_refused(index: int, total: int) -> None:
    with pytest.raises(UserError, match=f"--task_index={index} with --num_tasks={total}"):
        Task(index, total)
