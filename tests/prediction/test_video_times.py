"""Durations, time bases and instances of new videos, from a file of annotations or the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase, spanning
from tc3net.detection import DetectionConfig
from tc3net.inference.new_videos import score_features
from tc3net.model import ModelConfig
from tc3net.prediction.video_times import read_annotated, rescaled_time_bases, stated_durations
from tc3net.runs.description import RunInfo


def test_annotations_of_some_videos_only(tmp_path: Path) -> None:
    database = {
        "both": {"subset": "test", "duration": 12.5, "annotations": [{"label": "Run", "segment": [1, 2]}]},
        "time": {"subset": "test", "duration": "8"},
        "none": {"subset": "testing", "annotations": []},
        "empty": {"subset": "test", "annotations": []},
    }
    (tmp_path / "a.json").write_text(json.dumps({"database": database}))
    found = read_annotated(tmp_path / "a.json")
    assert found.instances == {"both": (("Run", 1.0, 2.0),), "empty": ()}
    assert found.duration_s == {"both": 12.5, "time": 8.0}


def test_durations_of_the_command_line() -> None:
    assert stated_durations([], ["a"]) == {}
    assert stated_durations(["63.2", "40"], ["b", "a"]) == {"b": 63.2, "a": 40.0}
    with pytest.raises(UserError, match=r"--duration_s has 1 values for 2 videos; .* order \(b, a\)"):
        stated_durations(["1"], ["b", "a"])
    with pytest.raises(UserError, match=r"--duration_s: .*'long'.* expected seconds"):
        stated_durations(["long"], ["a"])


def test_rescaled_rows_need_every_duration() -> None:
    assert rescaled_time_bases({"a": 100, "b": 40}, {"a": 50.0, "b": 8.0, "c": 1.0}) == {
        "a": spanning(50.0, 100),
        "b": spanning(8.0, 40),
    }
    with pytest.raises(UserError, match=r"the durations of 1 of 2 videos are not known \(b\).* Give --duration_s"):
        rescaled_time_bases({"a": 100, "b": 40}, {"a": 50.0})
    with pytest.raises(UserError, match=r"video 'a': a duration of -1 s found; expected a positive number"):
        rescaled_time_bases({"a": 100}, {"a": -1.0})


class _Scorer:
    top_k_divisor, streams = 8, ("rgb", "flow")

    def with_streams(self, features):
        rows = features.values.numpy()[:, :1]
        return {"tcam_fused": rows, "tcam_rgb": rows, "tcam_flow": rows, "pooled": rows[:1]}


def test_videos_are_scored_with_their_own_time() -> None:
    videos = {"a": np.ones((4, 2), np.float32), "b": np.ones((6, 2), np.float32)}
    bases = {"b": TimeBase(30.0, 16, 8), "a": spanning(10.0, 4)}
    scores = score_features(_Scorer(), videos, ("Run",), bases)
    assert scores.fps.tolist() == [0.4, 30.0]
    assert (scores.frames_per_segment.tolist(), scores.stride_frames.tolist()) == ([1, 16], [1, 8])
    assert scores.duration_s.tolist() == [pytest.approx(10.0), (5 * 8 + 16) / 30]
    same = score_features(_Scorer(), videos, ("Run",), TimeBase())
    assert same.fps.tolist() == [25.0, 25.0] and same.stride_frames.dtype == np.int64


@pytest.mark.parametrize("rescaled", [False, True])
def test_a_run_remembers_rescaled_rows_and_says_nothing_else(rescaled: bool) -> None:
    run = RunInfo("d", ("Run",), Streams.pair(4), TimeBase(), ModelConfig(), DetectionConfig(), rescaled_rows=rescaled)
    assert ("rescaled_rows" in run.as_dict()) == rescaled
    assert RunInfo.from_dict(json.loads(json.dumps(run.as_dict()))).rescaled_rows is rescaled
