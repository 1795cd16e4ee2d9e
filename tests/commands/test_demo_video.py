"""The demo from video files: its commands one after the other, with a network that needs no weights, and its words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tc3net import demo_video
from tc3net.common.errors import UserError
from tc3net.demo_video import SHOWN, closing_screen, commands, found_lines, own_video
from tests.support.commands import command
from tests.support.needs import VIDEO, needs
from tests.support.video_files import grey_levels, write_video

TOY = "tests.support.toy_backbone:means"


@needs(VIDEO)
def test_from_its_first_command_to_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_video, "_NUM_TRAIN", 2)
    folder = tmp_path / "demo"
    mine = write_video(tmp_path / "mine.avi", grey_levels(120))
    own = own_video(folder, str(mine), 3.2)
    assert own == folder / "own" / "mine.mp4"
    short = {"tc3net.train": ["--iterations=2"]}
    for name, *arguments in commands(folder, own, TOY):
        command(name, *arguments, *short.get(name, []))
    prediction = folder / "prediction"
    assert sorted(json.loads((prediction / "detections.json").read_text())["results"]) == ["mine", SHOWN]
    page = (prediction / "report.html").read_text()
    assert "trained on generated videos of a moving ball" in page
    assert f'"url":"../videos/{SHOWN}.mp4"' in page and '"url":"../own/mine.mp4"' in page
    screen = closing_screen(folder, own, 7.0)
    assert "videos of a ball that were made up" in screen and "MEAN NOTHING" in screen and "report.html" in screen
    assert "MEAN NOTHING" not in closing_screen(folder, None, 7.0)
    assert (folder / "features" / "mine.json").is_file()  # kept with the others
    with pytest.raises(UserError, match="a name that a video of the demo has"):
        own_video(folder, f"{SHOWN}.mp4", 3.0)


def test_with_i3d_it_fetches_the_weights_and_asks_kinetics_first() -> None:
    names = [line[0] for line in commands(Path("out"), Path("own/match.mp4"), None)]
    assert names[:3] == ["data_prep.synthetic_videos", "data_prep.weights", "data_prep.extract"]
    look, small = [
        line for line in commands(Path("out"), Path("own/match.mp4"), None) if line[0] == "data_prep.extract"
    ]
    assert "--kinetics_classes=3" in look and not any("size" in word for word in look)
    assert {"--short_side=128", "--size=112", "--streams=rgb"} <= set(small)


def test_what_was_found_is_told_by_overlap() -> None:
    instances = [{"label": "a", "segment": [1.0, 3.0]}, {"label": "b", "segment": [5.0, 6.0]}]
    found = [
        {"label": "a", "segment": [2.0, 4.0], "score": 1},
        {"label": "a", "segment": [1.0, 2.5], "score": 0.5},
        {"label": "a", "segment": [5.0, 6.0], "score": 0.5},
    ]
    lines = [" ".join(line.split()) for line in found_lines(instances, found)]
    assert lines[1:] == ["a 1.0 to 3.0 s 1.0 to 2.5 s 0.75", "b 5.0 to 6.0 s nothing 0.00"]
