"""Feature readers: both layouts, and every kind of unusable features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.features.object_array import ObjectArrayReader
from data_prep.features.per_video_npy import PerVideoReader
from data_prep.layouts import open_features
from tc3net.errors import UserError

GOOD = np.arange(12, dtype=np.float32).reshape(3, 4)


def with_value(value: float, *segments: int) -> np.ndarray:
    features = GOOD.copy()
    features[list(segments), 1] = value
    return features


def per_video(folder: Path, rgb: np.ndarray, flow: np.ndarray) -> PerVideoReader:
    for stream, values in (("rgb", rgb), ("flow", flow)):
        (folder / stream).mkdir(parents=True, exist_ok=True)
        np.save(folder / stream / "v1.npy", values)
    return PerVideoReader(folder)


def object_array(path: Path, *rows) -> ObjectArrayReader:
    array = np.empty(len(rows), object)
    for index, row in enumerate(rows):
        array[index] = row
    np.save(path, array)
    return ObjectArrayReader(path, [f"v{index + 1}" for index in range(len(rows))])


def test_both_layouts_give_the_same_features(tmp_path):
    flow = -GOOD
    joint = np.concatenate([GOOD, flow], axis=1)
    object_array(tmp_path / "X-I3D-JOINTFeatures.npy", joint)
    per_video(tmp_path / "f", GOOD, flow)
    for path in ("X-I3D-JOINTFeatures.npy", "f"):
        reader, layout = open_features(tmp_path / path, ["v1"])
        assert layout
        assert reader.video_ids() == ["v1"]
        rgb, read_flow = reader.read("v1")
        np.testing.assert_array_equal(rgb, GOOD)
        np.testing.assert_array_equal(read_flow, flow)


def test_equally_long_videos_in_one_array(tmp_path):
    """NumPy merges rows of equal shape into one float array when asked carelessly; it reads the same."""
    np.save(tmp_path / "a.npy", np.ones((2, 3, 8), np.float32))
    rgb, flow = ObjectArrayReader(tmp_path / "a.npy", ["v1", "v2"]).read("v2")
    assert rgb.shape == flow.shape == (3, 4)


@pytest.mark.parametrize(
    ("rgb", "flow", "message"),
    [
        (GOOD, GOOD[:2], "rgb is [3, 4], flow is [2, 4]; expected the same number of segments"),
        (GOOD, GOOD[:, :3], "rgb is [3, 4], flow is [3, 3]; expected the same number of dims"),
        (GOOD[:0], GOOD[:0], "rgb is empty (shape [0, 4])"),
        (GOOD, GOOD[0], "flow has shape [4]; expected [segments, dims]"),
        (GOOD[None], GOOD, "rgb has shape [1, 3, 4]"),
        (GOOD.astype(int), GOOD, "rgb holds int64; expected floating point"),
        (with_value(np.nan, 1, 2), GOOD, "rgb holds 2 NaN or Inf values, the first in segment 1"),
        (GOOD, with_value(-np.inf, 2), "flow holds 1 NaN or Inf values, the first in segment 2"),
    ],
)
def test_unusable_features_name_file_and_video(tmp_path, rgb, flow, message):
    with pytest.raises(UserError) as caught:
        per_video(tmp_path, rgb, flow).read("v1")
    assert str(tmp_path) in str(caught.value)
    assert "v1" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (np.ones((3, 7), np.float32), "shape [3, 7] found; expected [segments, 2 x dims]"),
        (np.ones(8, np.float32), "shape [8] found"),
        ([1.0, 2.0], "list found"),
        (np.ones((0, 8), np.float32), "rgb is empty"),
        (np.ones((3, 8), np.int32), "rgb holds int32"),
        (np.full((3, 8), np.nan, np.float32), "rgb holds 12 NaN or Inf values, the first in segment 0"),
    ],
)
def test_unusable_rows_name_file_row_and_video(tmp_path, row, message):
    reader = object_array(tmp_path / "a.npy", np.ones((2, 8), np.float32), row)
    assert reader.read("v1")[0].shape == (2, 4)
    with pytest.raises(UserError) as caught:
        reader.read("v2")
    assert "a.npy, row 1 (video 'v2')" in str(caught.value)
    assert message in str(caught.value)


def test_wrong_number_of_rows(tmp_path):
    object_array(tmp_path / "a.npy", GOOD, GOOD)
    with pytest.raises(UserError, match=r"a\.npy: shape \[2\] found; expected 3 rows"):
        ObjectArrayReader(tmp_path / "a.npy", ["v1", "v2", "v3"])


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no folder rgb and no folder flow found"):
        PerVideoReader(tmp_path)
    (tmp_path / "rgb").mkdir()
    with pytest.raises(UserError, match=r"no folder flow found"):
        PerVideoReader(tmp_path)
    (tmp_path / "flow").mkdir()
    with pytest.raises(UserError, match=r"no \.npy files"):
        PerVideoReader(tmp_path)
    np.save(tmp_path / "rgb" / "v1.npy", GOOD)
    with pytest.raises(UserError, match=r"flow/v1\.npy: no such file"):
        PerVideoReader(tmp_path).read("v1")
    with pytest.raises(UserError, match=r"absent: neither a folder nor an existing \.npy file"):
        open_features(tmp_path / "absent", [])
    with pytest.raises(UserError, match=r"absent\.npy: no such file"):
        open_features(tmp_path / "absent.npy", [])
