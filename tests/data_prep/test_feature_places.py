"""Where feature files lie and what they are called: folders, prefixes, crops, keys; and what only looks like them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_prep.conversion.pipeline import convert
from data_prep.features import FeatureReader
from data_prep.features.choices import FeatureChoices
from data_prep.features.layouts import open_features
from tc3net.common.errors import UserError
from tests.support.conversion import write_inputs

RGB = {name: np.random.default_rng(seed).random((rows, 4), np.float32) for seed, (name, rows) in
       enumerate({"v1": 3, "v2": 5}.items())}  # fmt: skip
FLOW = {name: -values for name, values in RGB.items()}
STREAMS = {"rgb": RGB, "flow": FLOW}


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def write(folder: Path, pattern: str) -> None:
    """Files of both videos and streams, named by a pattern of {s} and {v}; {c} is a folder for each video."""
    for stream, of in STREAMS.items():
        for name, values in of.items():
            save(folder / pattern.format(s=stream, v=name, c=f"class {name}"), values)


def assert_reads(reader: FeatureReader, streams: dict[str, dict[str, np.ndarray]] = STREAMS) -> None:
    assert sorted(reader.video_ids()) == sorted(RGB)
    for name in RGB:
        assert reader.num_segments(name) == len(streams["rgb"][name])
        for stream, read in zip(("rgb", "flow"), reader.read(name)):
            np.testing.assert_allclose(read, streams[stream][name], rtol=1e-6)


@pytest.mark.parametrize(
    "pattern",
    [
        "{s}/{c}/{v}.npy",
        "{c}/{s}/{v}.npy",
        "train/{c}/{v}_{s}.npy",
        "i3d/{s}_{v}.npy",
        "{s}_{v}.npy",
        "{s}/{s}_{v}.npy",
        "{s}/{v}-{s}.npy",
    ],
)
def test_files_in_folders_and_names_of_streams(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, pattern)
    assert_reads(open_features(tmp_path, list(RGB))[0])
    for path in list(tmp_path.rglob("*.npy")):
        path.rename(path.with_suffix(".NPY"))
    assert_reads(open_features(tmp_path, list(RGB))[0])


def test_a_stream_in_sub_folders(tmp_path: Path) -> None:
    write(tmp_path, "{s}-features/{c}/{v}.npy")
    choices = FeatureChoices(flow_features=tmp_path / "flow-features")
    assert_reads(open_features(tmp_path / "rgb-features", list(RGB), choices)[0])


def test_the_folder_of_both_streams_for_each_of_them(tmp_path: Path) -> None:
    write(tmp_path, "{s}/{v}.npy")
    assert_reads(open_features(tmp_path, list(RGB), FeatureChoices(flow_features=tmp_path))[0])


def test_links_without_content_of_one_stream_are_said(tmp_path: Path) -> None:
    write(tmp_path, "{s}-i3d/{v}.npy")
    (tmp_path / "flow-i3d" / "v1.npy").unlink()
    (tmp_path / "flow-i3d" / "v1.npy").symlink_to("/absent/dvc/v1")
    choices = FeatureChoices(flow_features=tmp_path / "flow-i3d")
    words = open_features(tmp_path / "rgb-i3d", list(RGB), choices)[1]
    assert "1 of 2 files without their content: Fetch it: dvc pull" in words


def test_files_above_count_alone(tmp_path: Path) -> None:
    write(tmp_path, "{s}/{v}.npy")
    save(tmp_path / "old" / "rgb" / "v1.npy", np.ones((1, 4), np.float32))
    assert_reads(open_features(tmp_path, list(RGB))[0])


def test_two_files_of_one_video_are_listed(tmp_path: Path) -> None:
    write(tmp_path, "{s}/train/{v}.npy")
    save(tmp_path / "rgb" / "test" / "v1.npy", RGB["v1"])
    with pytest.raises(UserError) as caught:
        open_features(tmp_path, list(RGB))
    assert "1 video with two files found" in str(caught.value)
    assert f"{tmp_path}/rgb/test/v1.npy and {tmp_path}/rgb/train/v1.npy" in str(caught.value)
    for suffix in ("h5", "hdf5"):
        with h5py.File(tmp_path / f"v1.{suffix}", "w") as file:
            file["rgb"], file["flow"] = RGB["v1"], FLOW["v1"]
    with pytest.raises(UserError, match=r"v1\.h5 and .*v1\.hdf5|v1\.hdf5 and .*v1\.h5"):
        open_features(tmp_path, [], FeatureChoices(layout="hdf5_keys"))


def test_links_to_folders_and_back(tmp_path: Path) -> None:
    write(tmp_path / "real", "{s}/{c}/{v}.npy")
    (tmp_path / "linked").mkdir()
    for stream in STREAMS:
        (tmp_path / "linked" / stream).symlink_to(tmp_path / "real" / stream)
    (tmp_path / "real" / "rgb" / "back").symlink_to(tmp_path / "real")
    assert_reads(open_features(tmp_path / "linked", list(RGB))[0])


def write_crops(folder: Path, pattern: str, crops: int = 3) -> None:
    for stream, of in STREAMS.items():
        for name, values in of.items():
            for crop in range(crops):
                save(folder / pattern.format(s=stream, v=name, k=crop), values + crop)


@pytest.mark.parametrize(
    "pattern",
    ["{s}/{v}__{k}.npy", "{v}_{s}__{k}.npy", "{v}__{k}_{s}.npy", "{s}/a/{v}__{k}.npy", "{s}/{v}_{s}__{k}.npy"],
)
def test_crops_in_files_of_their_own(tmp_path: Path, pattern: str) -> None:
    write_crops(tmp_path, pattern)
    reader, words = open_features(tmp_path, list(RGB))
    assert "mean over 3 crops (a file for each)" in words
    expected = {stream: {name: values + 1 for name, values in of.items()} for stream, of in STREAMS.items()}
    assert_reads(reader, expected)


def test_ten_crops_of_joint_arrays_as_networks_return_them(tmp_path: Path) -> None:
    for name, values in RGB.items():
        for crop in range(10):
            save(tmp_path / f"{name}__{crop}.npy", np.concatenate([values, FLOW[name]], 1)[None] + crop)
    reader, _ = open_features(tmp_path, list(RGB), FeatureChoices(layout="npy_joint"))
    expected = {stream: {name: values + 4.5 for name, values in of.items()} for stream, of in STREAMS.items()}
    assert_reads(reader, expected)


def test_missing_and_unequal_crops_are_named(tmp_path: Path) -> None:
    write_crops(tmp_path, "{s}/{v}__{k}.npy")
    (tmp_path / "rgb" / "v1__1.npy").unlink()
    save(tmp_path / "flow" / "v2__2.npy", FLOW["v2"][1:])
    reader, _ = open_features(tmp_path, list(RGB))
    with pytest.raises(UserError, match=r"2 files found for the crops of video 'v1'; expected 3"):
        reader.read("v1")
    with pytest.raises(UserError, match=r"v2__0\.npy: crops of shapes \[4, 4\], \[5, 4\] found"):
        reader.read("v2")


def test_numbered_names_that_are_annotated_are_no_crops(tmp_path: Path) -> None:
    write_crops(tmp_path, "{s}/{v}__{k}.npy")
    ids = [f"{name}__{crop}" for name in RGB for crop in range(3)]
    assert sorted(open_features(tmp_path, ids)[0].video_ids()) == sorted(ids)
    # Without annotations, numbers that differ from video to video are no crops.
    (tmp_path / "rgb" / "v1__2.npy").unlink()
    assert "v1__0" in open_features(tmp_path, [])[0].video_ids()


@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_keys_say_which_array_is_meant(tmp_path: Path, kind: str) -> None:
    def write_file(path: Path, **arrays: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "npz":
            np.savez(path.with_suffix(".npz"), **arrays)
        else:
            with h5py.File(path.with_suffix(".h5"), "w") as file:
                for name, array in arrays.items():
                    file[name] = array

    for name in RGB:
        both = np.concatenate([RGB[name], FLOW[name]], axis=1)
        write_file(tmp_path / "one" / name, both=both, other=both[:, :2], a=RGB[name], b=FLOW[name])
        for stream, of in STREAMS.items():
            write_file(tmp_path / "two" / stream / name, mean=of[name], max=of[name] + 1)
    reader, _ = open_features(tmp_path / "one", [], FeatureChoices(key="both", layout=f"{kind}_joint"))
    assert_reads(reader)
    assert_reads(open_features(tmp_path / "one", [], FeatureChoices(key="a, b"))[0])
    assert_reads(open_features(tmp_path / "two", [], FeatureChoices(key="mean"))[0])
    apart = FeatureChoices(key="mean", flow_features=tmp_path / "two" / "flow")
    assert_reads(open_features(tmp_path / "two" / "rgb", [], apart)[0])
    with pytest.raises(UserError, match=r"2 arrays found \(.*; expected one.*--feature_key="):
        open_features(tmp_path / "two", [])[0].read("v1")
    with pytest.raises(UserError, match=r"\(nothing\): arrays .* found; expected one named nothing"):
        open_features(tmp_path / "two", [], FeatureChoices(key="nothing"))[0].read("v1")
    for key in ("a,b,c", "a,", ""):
        with pytest.raises(UserError, match="expected the name of an array, or rgb's and flow's"):
            FeatureChoices(key=key)


def test_keys_in_groups(tmp_path: Path) -> None:
    for name in RGB:
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["i3d/rgb"], file["i3d/flow"], file["fps"] = RGB[name], FLOW[name], 25
    assert_reads(open_features(tmp_path, [], FeatureChoices(key="i3d/rgb,i3d/flow"))[0])


def test_what_macos_leaves_is_no_feature(tmp_path: Path) -> None:
    write(tmp_path, "{s}/{v}.npy")
    for folder in (tmp_path, tmp_path / "rgb", tmp_path / "__MACOSX" / "rgb"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (".DS_Store", "._v1.npy"):
            (folder / name).write_bytes(b"\0")
    assert_reads(open_features(tmp_path, list(RGB))[0])


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a.mp4", "x/b.MP4", "notes.md"], "there are 2 .mp4 (such as a.mp4), 1 .md (such as notes.md); features have"),
        (["rgb/v1.npy.dvc"], "there are 1 .dvc (such as rgb/v1.npy.dvc); .dvc files stand for data that `dvc pull`"),
        (["features.zip"], "there are 1 .zip (such as features.zip); unpack archives first"),
        ([".DS_Store"], "it is empty"),
        (["v1.f32", "README"], "there are 1 without suffix (such as README), 1 .f32 (such as v1.f32)"),
    ],
)  # fmt: skip
def test_what_is_there_instead_of_features_is_said(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for choices in (FeatureChoices(), FeatureChoices(flow_features=tmp_path)):
        with pytest.raises(UserError) as caught:
            open_features(tmp_path, [], choices)
        assert found in str(caught.value)


def test_a_video_file_is_no_feature_file(tmp_path: Path) -> None:
    (tmp_path / "v1.mkv").touch()
    with pytest.raises(UserError, match=r"v1\.mkv: a video file found; expected features\. .* to be extracted"):
        open_features(tmp_path / "v1.mkv", ["v1"])


ANNEXED = "../.git/annex/objects/aa/bb/SHA256E-s1--c.npy/SHA256E-s1--c.npy"


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda path: path.symlink_to(ANNEXED), r"a link of git-annex .* Fetch it: git annex get .*v1\.npy"),
        (lambda path: path.symlink_to("/absent/dvc/cache/ab/cd"), r"a link of DVC .* Fetch it: dvc pull .*v1\.npy"),
        (lambda path: path.symlink_to("/absent/v1.npy"), r"a link to /absent/v1\.npy, which is not there.* Mount or"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n"), "git lfs pull"),
    ],
)
def test_files_that_are_there_by_name_only(tmp_path: Path, make: Callable[[Path], None], cure: str) -> None:
    write(tmp_path, "{s}/{v}.npy")
    (tmp_path / "rgb" / "v1.npy").unlink()
    make(tmp_path / "rgb" / "v1.npy")
    reader, words = open_features(tmp_path, list(RGB))
    assert ("npy, 1 of 4 files without their content: " in words) == (tmp_path / "rgb" / "v1.npy").is_symlink()
    with pytest.raises(UserError, match=rf"rgb/v1\.npy: {cure}" if "lfs" not in cure else cure):
        reader.read("v1")
    reader.read("v2")
    if (tmp_path / "rgb" / "v1.npy").is_symlink():
        (tmp_path / "all.npy").symlink_to(os.readlink(tmp_path / "rgb" / "v1.npy"))
        with pytest.raises(UserError, match=r"all\.npy: a link "):
            open_features(tmp_path / "all.npy", list(RGB))


def test_nothing_but_links_is_one_line(tmp_path: Path) -> None:
    for stream in STREAMS:
        (tmp_path / stream).mkdir()
        for name in RGB:
            (tmp_path / stream / f"{name}.npy").symlink_to(f"../{ANNEXED}")
    with pytest.raises(UserError, match=r"flow/v1\.npy: a link of git-annex .*git annex get .*\(and 3 more like it\)$"):
        open_features(tmp_path, list(RGB))


def test_a_video_without_content_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = write_inputs(tmp_path)
    video = tmp_path / "features" / "rgb" / "v1.npy"
    video.unlink()
    video.symlink_to(f"../{ANNEXED}")
    with pytest.raises(UserError, match=r"v1: .*rgb/v1\.npy: a link of git-annex .* Fetch it: git annex get"):
        convert(options)
    manifest = convert(replace(options, skip_bad_videos=True))
    assert [one["video"] for one in manifest.left_out] == ["v1"]
    assert "1 of 6 files without their content: Fetch it: git annex get" in capsys.readouterr().out


@pytest.mark.parametrize(("rgb_rows", "flow_rows"), [(6, 5), (5, 6), (7, 5), (5, 5)])
def test_streams_cut_to_the_shorter(tmp_path: Path, rgb_rows: int, flow_rows: int) -> None:
    rows = np.random.default_rng(0).random((9, 4), np.float32)
    for name, (a, b) in {"v1": (rgb_rows, flow_rows), "v2": (3, 3), "v3": (9, 4)}.items():
        save(tmp_path / "rgb" / f"{name}.npy", rows[:a])
        save(tmp_path / "flow" / f"{name}.npy", -rows[:b])
    difference = abs(rgb_rows - flow_rows)
    if difference:
        with pytest.raises(UserError, match=r"N frames has N - 1 flows: --cut_streams cuts both streams to the"):
            open_features(tmp_path, [])[0].read("v1")
    reader, words = open_features(tmp_path, [], FeatureChoices(cut_streams=True))
    ending = f" (1 by {difference} row{'s' * (difference > 1)})" if difference else ""
    assert words.endswith(f", {bool(difference):d} of 3 videos cut to the shorter stream{ending}")
    rgb, flow = reader.read("v1")
    assert len(rgb) == len(flow) == reader.num_segments("v1") == min(rgb_rows, flow_rows)
    np.testing.assert_array_equal(rgb, rows[: len(rgb)])
    with pytest.raises(UserError, match=r"rgb is \[9, 4\], flow is \[4, 4\]; .* Extract both streams with the"):
        reader.read("v3")
    assert reader.num_segments("v3") == 9


@pytest.mark.parametrize("flow_rows", [10, 9, 8, 12])
def test_a_flow_of_x_and_y_images_is_named(tmp_path: Path, flow_rows: int) -> None:
    save(tmp_path / "rgb" / "v1.npy", np.ones((5, 4), np.float32))
    save(tmp_path / "flow" / "v1.npy", np.ones((flow_rows, 4), np.float32))
    for cut in (False, True):
        with pytest.raises(UserError, match="Flow is twice as long: its x and y images were counted one by one"):
            open_features(tmp_path, [], FeatureChoices(cut_streams=cut))[0].read("v1")


def test_joint_arrays_cannot_be_cut(tmp_path: Path) -> None:
    save(tmp_path / "v1.npy", np.ones((3, 8), np.float32))
    with pytest.raises(UserError, match="--cut_streams found, but both streams lie in one array"):
        open_features(tmp_path, [], FeatureChoices(layout="npy_joint", cut_streams=True))
