"""Rows that span the whole of their video, however many they are: their time follows from the duration."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from hypothesis import given
from hypothesis import strategies as st

from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.inputs.options import InputOptions, define_input_flags, input_options, open_inputs
from tc3net.common.errors import UserError
from tc3net.data.schema import load_manifest
from tc3net.data.timebase import TimeBase, boundary_seconds, spanning
from tests.support.conversion import read_split

DURATIONS_S = {"v1": 63.2, "v2": 117.9, "v3": 8.0}
ROWS = {"v1": 100, "v2": 100, "v3": 40}


def write_inputs(folder: Path, durations_s: dict[str, float] = DURATIONS_S) -> InputOptions:
    """Joint features [rows, 2 x 3], and one instance in the second half of each video."""
    database = {
        name: {
            "subset": "training",
            "duration": duration,
            "annotations": [{"label": "Run", "segment": [duration / 2, duration]}],
        }
        for name, duration in durations_s.items()
    }
    (folder / "a.json").write_text(json.dumps({"database": database}))
    (folder / "features").mkdir(exist_ok=True)
    for name, rows in ROWS.items():
        np.save(folder / "features" / f"{name}.npy", np.random.default_rng(ord(name[1])).random((rows, 6), np.float32))
    return InputOptions(folder / "a.json", folder / "features", feature_layout="npy_joint", rescaled_rows=True)


@given(st.floats(0.1, 1e5), st.integers(1, 10_000), st.floats(1, 60))
def test_rows_tile_the_duration(duration_s: float, rows: int, fps: float) -> None:
    base = spanning(duration_s, rows)
    assert base.boundary_s(0) == 0
    assert base.boundary_s(rows) == pytest.approx(duration_s, rel=1e-12)
    assert base.duration_s(rows) == pytest.approx(duration_s, rel=1e-12)
    # The stride that is stated of such features elsewhere, in frames of the video's own rate.
    stride = duration_s * fps / rows
    middle = boundary_seconds(rows // 2, fps=fps, frames_per_segment=stride, stride_frames=stride, cells_per_segment=1)
    assert base.boundary_s(rows // 2) == pytest.approx(middle, rel=1e-9)


def test_rows_need_a_duration() -> None:
    for duration_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError):
            spanning(duration_s, 100)


def test_each_video_gets_its_own_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ConvertOptions(write_inputs(tmp_path), tmp_path / "out", "Mine")
    manifest = convert(options)
    line = "time base:   rows span the duration of their video (--rescaled_rows), 0.848 to 5 rows per second"
    assert line in capsys.readouterr().out
    for example in read_split(tmp_path / "out", "training"):
        name = example["id"].decode()
        assert (example["frames_per_segment"], example["stride_frames"]) == (1, 1)
        assert example["fps"] == ROWS[name] / DURATIONS_S[name]
        assert example["duration"] == DURATIONS_S[name]
        assert example["counts"].tolist() == [1]
    assert manifest.rescaled_rows and load_manifest(tmp_path / "out").rescaled_rows
    assert set(manifest.source["findings"]) == {"duration_of_instance", "one_class"}  # of these small annotations


def test_other_data_sets_say_nothing_of_it(tmp_path: Path) -> None:
    inputs = replace(write_inputs(tmp_path), rescaled_rows=False)
    manifest = convert(ConvertOptions(inputs, tmp_path / "out", "Mine"))
    assert not manifest.rescaled_rows and manifest.time_base == TimeBase()
    assert "rescaled" not in (tmp_path / "out" / "dataset.json").read_text()


def test_durations_come_from_a_table(tmp_path: Path) -> None:
    options = write_inputs(tmp_path)
    (tmp_path / "labels.csv").write_text("video,class\n" + "".join(f"{name},Run\n" for name in ROWS))
    options = replace(options, annotations=tmp_path / "labels.csv")
    with pytest.raises(UserError, match=r"labels\.csv: the durations of 3 of 3 videos are not known \(v1, v2, v3\)"):
        open_inputs(options)
    (tmp_path / "times.csv").write_text("video,duration_s\n" + "".join(f"{v},{s}\n" for v, s in DURATIONS_S.items()))
    inputs = open_inputs(replace(options, time_base_file=tmp_path / "times.csv"))
    assert inputs.time_bases == {name: spanning(DURATIONS_S[name], rows) for name, rows in ROWS.items()}
    assert {video.video_id: video.duration_s for video in inputs.annotations.videos} == DURATIONS_S


def test_unusable_videos_are_left_to_the_validation(tmp_path: Path) -> None:
    options = write_inputs(tmp_path)
    (tmp_path / "features" / "v1.npy").write_bytes(b"damaged")
    (tmp_path / "features" / "v2.npy").unlink()
    inputs = open_inputs(options)
    assert inputs.time_bases == {"v1": TimeBase(), "v2": TimeBase(), "v3": spanning(8.0, 40)}


def test_flags_that_contradict_are_refused(tmp_path: Path) -> None:
    values = flags.FlagValues()
    define_input_flags(values)
    values(["convert", "--annotations=a", "--features=f", "--rescaled_rows", "--fps=25", "--stride_frames=4"])
    with pytest.raises(UserError, match="--rescaled_rows and --fps and --stride_frames found; expected one"):
        input_options(values)
    options = replace(write_inputs(tmp_path), rescaled_rows=False, time_base_file=tmp_path / "times.csv")
    (tmp_path / "times.csv").write_text("video,stride_frames\n" + "".join(f"{name},11.37\n" for name in ROWS))
    with pytest.raises(UserError, match=r"times\.csv:2: stride_frames is '11\.37'; .* give --rescaled_rows"):
        open_inputs(options)
