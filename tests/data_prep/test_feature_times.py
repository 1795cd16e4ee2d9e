"""The time that an extractor leaves beside its features is that of the data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.inputs.feature_times import times_beside_features
from data_prep.inputs.options import InputOptions, open_inputs
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase


def extracted(folder: Path, video: str, fps: float, step: int, rows: int = 5) -> None:
    """What video_features leaves of one video, written as it does: scalars, and milliseconds as OpenCV rounds them."""
    folder.mkdir(parents=True, exist_ok=True)
    for stream in ("rgb", "flow"):
        np.save(folder / f"{video}_{stream}.npy", np.random.default_rng(rows).random((rows, 4), np.float32))
    np.save(folder / f"{video}_fps.npy", np.array(fps))
    np.save(folder / f"{video}_timestamps_ms.npy", np.round((np.arange(rows) + 1) * step / fps * 1000, 2))


def test_rate_and_step_are_taken_from_the_files(tmp_path: Path) -> None:
    extracted(tmp_path / "f", "v1", 29.97, 64)
    extracted(tmp_path / "f", "v2", 25.0, 24)
    extracted(tmp_path / "f", "v3", 19.62, 16, rows=1)  # nothing tells the step
    entry = {"subset": "training", "annotations": [{"label": "A", "segment": [0, 0.4]}]}
    database = {f"v{i}": entry for i in (1, 2, 3)}
    (tmp_path / "a.json").write_text(json.dumps({"database": database}))
    inputs = open_inputs(InputOptions(tmp_path / "a.json", tmp_path / "f"))
    assert inputs.time_bases == {
        "v1": TimeBase(29.97, 64, 64), "v2": TimeBase(25.0, 24, 24), "v3": TimeBase(19.62, 16, 16)
    }  # fmt: skip
    line = next(line for line in inputs.descriptions if line.startswith("time base"))
    assert "19.62 to 29.97 fps and stride 16 to 64 as the files beside the features say; --fps sets another" in line
    assert inputs.reader.video_ids() == ["v1", "v2", "v3"]  # these files are no videos
    stated = open_inputs(InputOptions(tmp_path / "a.json", tmp_path / "f", time_base=TimeBase(30.0), fps_given=True))
    assert set(stated.time_bases.values()) == {TimeBase(30.0)}


def test_the_users_frames_stay_and_other_videos_have_the_flags_time(tmp_path: Path) -> None:
    extracted(tmp_path / "f", "v1", 25.0, 8)
    found = times_beside_features(tmp_path / "f", ["v1", "v2"], TimeBase(30.0, 32, 16), frames_given=True)
    assert {name: info.time_base for name, info in found.items()} == {"v1": TimeBase(25.0, 32, 8)}
    assert times_beside_features(tmp_path / "f" / "v1_rgb.npy", ["v1"], TimeBase(), frames_given=False) == {}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("v1_fps.npy", np.array([25.0, 30.0]), "expected one number, the video's fps"),
        ("v1_fps.npy", np.array(0.0), "expected one number"),
        ("v1_timestamps_ms.npy", np.array([0.0, 500.0, 1000.0]), r"12\.50 frames apart at 25 fps"),
        ("v1_timestamps_ms.npy", np.array([9.0, 5.0, 1.0]), "frames apart"),
        ("v1_timestamps_ms.npy", np.ones((2, 2)), "expected a time stamp for each row"),
    ],
)
def test_files_that_say_something_else_are_named(name: str, values: np.ndarray, message: str, tmp_path: Path) -> None:
    extracted(tmp_path, "v1", 25.0, 16)
    np.save(tmp_path / name, values)
    with pytest.raises(UserError, match=message) as caught:
        times_beside_features(tmp_path, ["v1"], TimeBase(), frames_given=False)
    assert name in str(caught.value)
