"""Subtitles as players read them, and which detections are handed out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.intervals.players import Shown, label_studio_tasks, read_shown, srt, webvtt

TWO = [Shown("Run <fast> & far", 0.875, 1.5, 3661.25), Shown("Jump\nhigh", 0.5, 2.0, 2.0004), Shown("Swim", 1, 2, 3)]


def test_webvtt() -> None:
    assert webvtt(TWO) == (
        "WEBVTT\n\n00:00:01.500 --> 01:01:01.250\nRun &lt;fast&gt; &amp; far 0.88\n\n"
        "00:00:02.000 --> 00:00:03.000\nSwim 1.00\n"
    )
    assert webvtt([]) == "WEBVTT\n"


def test_srt() -> None:
    assert srt(TWO) == (
        "1\n00:00:01,500 --> 01:01:01,250\nRun <fast> & far 0.88\n\n2\n00:00:02,000 --> 00:00:03,000\nSwim 1.00\n"
    )
    assert srt([]) == ""


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.floats(0, 1), st.floats(0, 90_000), st.floats(0, 100)), max_size=6))
def test_every_cue_can_be_read_back(found: list[tuple[str, float, float, float]]) -> None:
    shown = [Shown(label, score, start, start + length) for label, score, start, length in found]
    cues = re.findall(
        r"^(\d+):(\d\d):(\d\d)\.(\d{3}) --> \d+:\d\d:\d\d\.\d{3}\n.* \d\.\d\d$", webvtt(shown), flags=re.M
    )
    lasting = [one for one in shown if round(1000 * one.end_s) > round(1000 * one.start_s)]
    assert len(cues) == len(lasting)
    for (h, m, s, ms), one in zip(cues, lasting):
        assert abs(int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000 - one.start_s) < 0.00051


def write(path: Path, **results: object) -> Path:
    path.write_text(json.dumps({"results": results}))
    return path


def test_the_best_of_each_video_in_the_order_of_time(tmp_path: Path) -> None:
    entries = [{"label": "Run", "score": score, "segment": [start, start + 2]} for score, start in
               ((0.9, 8), (0.2, -1), (0.5, 3))]  # fmt: skip
    path = write(tmp_path / "d.json", a=entries, b=[])
    assert [one.score for one in read_shown(path)["a"]] == [0.2, 0.5, 0.9]
    assert read_shown(path, most=2) == {"a": [Shown("Run", 0.5, 3, 5), Shown("Run", 0.9, 8, 10)], "b": []}
    assert [one.score for one in read_shown(path, min_score=0.6)["a"]] == [0.9]
    assert read_shown(path)["a"][0].start_s == 0.0


def test_what_is_no_detection_is_refused(tmp_path: Path) -> None:
    for wrong, said in (([{"label": "Run"}], "has no score and no segment"), ({}, "expected a list")):
        with pytest.raises(UserError, match=said):
            read_shown(write(tmp_path / "d.json", a=wrong))


def test_label_studio_ranges_hold_at_least_a_frame() -> None:
    (task,) = label_studio_tasks({"v": TWO[1:2]}, 25, "/v/{video}.mp4", "m", control="c", media="n")
    assert task["data"] == {"video": "/v/v.mp4", "video_id": "v", "fps": 25}
    (result,) = task["predictions"][0]["result"]
    assert result["value"] == {"ranges": [{"start": 51, "end": 51}], "timelinelabels": ["Jump\nhigh"]}
    assert (result["from_name"], result["to_name"], task["predictions"][0]["score"]) == ("c", "n", 0.5)
