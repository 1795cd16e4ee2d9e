"""Feature files of new videos: whatever the conversion reads gives a model the same numbers, and is refused alike."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.features.layouts import open_features
from tc3net.common.errors import UserError
from tc3net.prediction.feature_files import (
    FeatureFiles,
    FileChoices,
    describe_and_read,
    open_growing,
    read_videos,
)

DIM = 4
RGB = {name: np.random.default_rng(i).random((length, DIM), np.float32) for i, (name, length) in
       enumerate({"b": 3, "a": 7}.items())}  # fmt: skip
FLOW = {name: -values for name, values in RGB.items()}
JOINT = {name: np.concatenate([RGB[name], FLOW[name]], axis=1) for name in RGB}


def save(path: Path, **arrays: np.ndarray) -> str:
    """A file of the kind that its suffix says; a .npy file takes the only array."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".npy":
        (array,) = arrays.values()
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return str(path)


def assert_reads(files: FeatureFiles, choices: FileChoices = FileChoices(), more: float = 0.0) -> None:
    """The videos above, in their order; `more` is added to every value by the test."""
    videos = read_videos(files, DIM, choices)
    assert list(videos) == list(JOINT)
    for name, rows in videos.items():
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, JOINT[name] + np.float32(more), rtol=1e-6)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".hdf5"])
def test_every_kind_of_file_gives_the_same(tmp_path: Path, suffix: str) -> None:
    joint = [save(tmp_path / f"{name}{suffix}", x=values) for name, values in JOINT.items()]
    assert_reads(FeatureFiles(joint=joint))
    rgb, flow = (
        [save(tmp_path / stream / f"{name}{suffix}", x=values) for name, values in of.items()]
        for stream, of in (("rgb", RGB), ("flow", FLOW))
    )
    assert_reads(FeatureFiles(rgb, flow))
    swapped = [save(tmp_path / f"{n}{suffix}", x=np.concatenate([FLOW[n], RGB[n]], axis=1)) for n in JOINT]
    assert_reads(FeatureFiles(joint=swapped), FileChoices(channel_order="flow_first"))
    if suffix != ".npy":
        keyed = [save(tmp_path / f"{name}{suffix}", rgb=RGB[name], Flow=FLOW[name]) for name in JOINT]
        assert_reads(FeatureFiles(joint=keyed))
        named = [save(tmp_path / f"{name}{suffix}", joint=JOINT[name], fps=np.float64(25)) for name in JOINT]
        assert_reads(FeatureFiles(joint=named))


def test_files_of_several_kinds_and_of_any_name(tmp_path: Path) -> None:
    first = Path(save(tmp_path / "b.npy", x=JOINT["b"]))
    second = save(tmp_path / "a.npz", x=JOINT["a"])
    assert_reads(FeatureFiles(joint=[str(first), second]))
    first.rename(tmp_path / "b")  # what it begins with says what it is
    assert_reads(FeatureFiles(joint=[str(tmp_path / "b"), second]))


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_other_precisions_become_float32(tmp_path: Path, dtype: str) -> None:
    values = JOINT["b"].astype(dtype)
    videos = read_videos(FeatureFiles(joint=[save(tmp_path / "b.npy", x=values)]), DIM)
    assert videos["b"].dtype == np.float32
    np.testing.assert_array_equal(videos["b"], values.astype(np.float32))


@pytest.mark.parametrize("axis", [0, 1])
def test_crops_are_averaged_where_all_files_tell_them(tmp_path: Path, axis: int) -> None:
    crops = {n: np.stack([v - 1, v, v + 4], axis) for n, v in JOINT.items()}  # [3, s, 2D] or [s, 3, 2D]
    files = FeatureFiles(joint=[save(tmp_path / f"{name}.npy", x=values) for name, values in crops.items()])
    choice = FileChoices(feature_axes=("crops_first", "crops_last")[axis])
    assert_reads(files, choice, more=1)
    # The same numbers of crops, 3, and of segments, 3 and 7: all files together tell the axis, one alone does not.
    assert_reads(files, more=1)
    with pytest.raises(UserError, match=r"Add --feature_axes=crops_first or --feature_axes=crops_last"):
        read_videos(FeatureFiles(joint=files.joint[1:]), DIM)


def test_a_batch_of_one_is_no_question(tmp_path: Path) -> None:
    assert_reads(FeatureFiles(joint=[save(tmp_path / f"{n}.npy", x=v[None]) for n, v in JOINT.items()]))


def test_it_is_what_the_conversion_reads(tmp_path: Path) -> None:
    for stream, of in (("rgb", RGB), ("flow", FLOW)):
        for name, values in of.items():
            save(tmp_path / stream / f"{name}.npz", x=np.stack([values, values * 3], axis=1).astype(np.float16))
    reader, _ = open_features(tmp_path, [])
    files = FeatureFiles(*([str(tmp_path / stream / f"{name}.npz") for name in RGB] for stream in ("rgb", "flow")))
    for name, rows in read_videos(files, DIM).items():
        np.testing.assert_array_equal(rows, np.concatenate(reader.read(name), axis=1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (JOINT["a"][:, :6], r"a\.npy: shape \(7, 6\) found, \[segments, 8\] expected: the model was trained on"),
        (JOINT["a"][:, :5], r"a\.npy: shape \[7, 5\] found; expected \[segments, 2 x dims\], rgb first"),
        (JOINT["a"][0], r"a\.npy: shape \[8\] found; expected \[segments, dims\]"),
        (JOINT["a"][:0], r"a\.npy: rgb is empty"),
        (JOINT["a"].astype(int), r"a\.npy: rgb holds int64; expected floating point"),
        (np.where(JOINT["a"] > 0.5, np.nan, 1), r"a\.npy: NaN or Inf in \d segments, the first is 0; expected finite"),
        (np.full((2, 8), 1e300), r"a\.npy: NaN or Inf in 2 segments"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, values: np.ndarray, message: str) -> None:
    good = save(tmp_path / "b.npy", x=JOINT["b"])
    with pytest.raises(UserError, match=message):
        read_videos(FeatureFiles(joint=[good, save(tmp_path / "a.npy", x=values)]), DIM)


def test_streams_of_other_lengths_or_widths_are_named(tmp_path: Path) -> None:
    rgb, flow = save(tmp_path / "r.npy", x=RGB["a"]), save(tmp_path / "f.npy", x=FLOW["a"][1:])
    with pytest.raises(UserError, match=r"r\.npy, .*f\.npy: rgb is \[7, 4\], flow is \[6, 4\]; expected the same numb"):
        read_videos(FeatureFiles([rgb], [flow]), DIM)
    flow = save(tmp_path / "f.npy", x=FLOW["a"])
    with pytest.raises(UserError, match=r"r\.npy and .*f\.npy: shape \(7, 4\) found, \[segments, 8\] expected"):
        read_videos(FeatureFiles([rgb], [flow]), 8)
    with pytest.raises(UserError, match="--channel_order=flow_first found, but rgb and flow are separate"):
        read_videos(FeatureFiles([rgb], [flow]), DIM, FileChoices(channel_order="flow_first"))


def test_damaged_absent_and_foreign_files_are_named(tmp_path: Path) -> None:
    for suffix, content, message in (
        (".npy", b"\x93NUMPY", "not a complete .npy file"),
        (".npz", b"PK", "not a complete .npz file"),
        (".h5", b"\x89HDF", "not a complete HDF5 file"),
        (".dat", b"1 2 3", "begins with b'1 2 3'; expected features as .npy, .npz, .h5, .hdf5, .* or .csv"),
    ):
        if suffix == ".h5":
            pytest.importorskip("h5py")
        path = tmp_path / f"v{suffix}"
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"v\{suffix}: .*{message}"):
            read_videos(FeatureFiles(joint=[str(path)]), DIM)
        path.unlink()
        with pytest.raises(UserError, match=rf"v\{suffix}: (no such file|cannot be read)"):
            read_videos(FeatureFiles(joint=[str(path)]), DIM)
    several = save(tmp_path / "v.npz", one=JOINT["a"], two=RGB["a"])
    with pytest.raises(UserError, match=r"v\.npz: 2 arrays found \(one, two\); expected one"):
        read_videos(FeatureFiles(joint=[several]), DIM)


def test_hdf5_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"v\.h5: .*h5py is not installed"):
        read_videos(FeatureFiles(joint=[str(tmp_path / "v.h5")]), DIM)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_hostile_file_runs_nothing(tmp_path: Path, suffix: str) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'sentinel'}",)

    rows = np.empty(2, object)
    rows[:] = Hostile(), JOINT["a"]
    path = save(tmp_path / f"v{suffix}", x=rows)
    with pytest.raises(UserError, match=rf"v\{suffix}: "):
        read_videos(FeatureFiles(joint=[path]), DIM)
    assert not (tmp_path / "sentinel").exists()


def write_all(folder: Path) -> None:
    """The videos above in every place: folders of streams, names of streams, joint, crops, and one file for all."""
    for name in JOINT:
        save(folder / "rgb" / f"{name}.npy", x=RGB[name])
        save(folder / "flow" / f"{name}.npy", x=FLOW[name])
        save(folder / "named" / f"{name}_rgb.npy", x=RGB[name])
        save(folder / "named" / f"{name}_flow.npy", x=FLOW[name])
        save(folder / "joint" / f"{name}.npy", x=JOINT[name][None])
        for crop in range(2):
            save(folder / "crops" / f"{name}__{crop}.npy", x=JOINT[name] + crop - 0.5)
    (folder / "all.pkl").write_bytes(pickle.dumps(JOINT))
    save(folder / "all.npz", **JOINT)
    save(folder / "all.h5", **{f"{name}/{s}": of[name] for name in JOINT for s, of in (("rgb", RGB), ("flow", FLOW))})


@pytest.mark.parametrize(
    "names",
    [
        ["{0}/joint"],
        ["{0}/joint/*.npy"],
        ["{0}/joint/b.npy", "{0}/joint/a*"],
        ["{0}/list.txt"],
        ["{0}/crops"],
        ["{0}/crops/*"],
        ["{0}/named"],
        ["{0}/named/*"],
        ["{0}/named/b_rgb.npy", "{0}/named/b_flow.npy", "{0}/named/a_rgb.npy", "{0}/named/a_flow.npy"],
        ["{0}/rgb/b.npy", "{0}/flow/b.npy", "{0}/rgb/a.npy", "{0}/flow/a.npy"],
        ["{0}/both"],
        ["{0}/all.pkl"],
        ["{0}/all.npz"],
        ["{0}/all.h5"],
        ["{0}/one/b.npy", "{0}/joint/a.npy"],
    ],
)
def test_folders_patterns_lists_and_files_with_many_videos(tmp_path: Path, names: list[str]) -> None:
    write_all(tmp_path)
    save(tmp_path / "one" / "b.npy", x=JOINT["b"])
    (tmp_path / "both").mkdir()
    for stream in ("rgb", "flow"):
        (tmp_path / "both" / stream).symlink_to(tmp_path / stream)
    (tmp_path / "list.txt").write_text(f"# features\n\n{tmp_path}/joint/b.npy\njoint/a.npy\n")
    videos = read_videos(FeatureFiles(joint=[name.format(tmp_path) for name in names]), DIM)
    assert sorted(videos) == sorted(JOINT)
    for name, rows in videos.items():
        np.testing.assert_allclose(rows, JOINT[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pattern", ["{0}/{1}", "{0}/{1}/*.npy", "{0}/{1}.txt", "{0}/tree/i3d_{1}"])
def test_streams_in_places_of_their_own_belong_together_by_name(tmp_path: Path, pattern: str) -> None:
    write_all(tmp_path)
    for stream, of in (("rgb", RGB), ("flow", FLOW)):
        names = sorted(of, reverse=stream == "rgb")
        (tmp_path / f"{stream}.txt").write_text("".join(f"{stream}/{name}.npy\n" for name in names))
        for name in of:
            (tmp_path / "tree" / f"i3d_{stream}" / name).mkdir(parents=True)
            save(tmp_path / "tree" / f"i3d_{stream}" / name / f"{name}_{stream}.npy", x=of[name])
    files = FeatureFiles(*([pattern.format(tmp_path, stream)] for stream in ("rgb", "flow")))
    words, videos = describe_and_read(files, DIM)
    assert words == "a file for each stream" and sorted(videos) == sorted(JOINT)
    for name, rows in videos.items():
        np.testing.assert_array_equal(rows, JOINT[name])
    (tmp_path / "flow" / "a.npy").unlink()
    if pattern == "{0}/{1}":
        with pytest.raises(UserError, match="video 'a': no flow features found"):
            read_videos(files, DIM)


def test_keys_and_cuts(tmp_path: Path) -> None:
    joint = [save(tmp_path / f"{n}.npz", both=JOINT[n], other=JOINT[n], i=RGB[n], j=FLOW[n]) for n in JOINT]
    assert_reads(FeatureFiles(joint=joint), FileChoices(feature_key="both"))
    assert_reads(FeatureFiles(joint=joint), FileChoices(feature_key="i,j"))
    rgb, flow = save(tmp_path / "a.npy", x=RGB["a"]), save(tmp_path / "f.npy", x=FLOW["a"][:-1])
    words, videos = describe_and_read(FeatureFiles([rgb], [flow]), DIM, FileChoices(cut_streams=True))
    np.testing.assert_array_equal(videos["a"], JOINT["a"][:-1])
    assert words == "a file for each stream, 1 of 1 videos cut to the shorter stream (1 by 1 row)"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v1.mp4", r"v1\.mp4: a video file found; expected features\. Features have to be extracted from videos first"),
        ("films", r"films: no .* files there, .* there are 1 \.avi \(such as b\.avi\); features have to be extracted"),
        ("nothing/*.npy", r"nothing/\*\.npy: no file fits this pattern"),
        ("list.txt", r"list\.txt:2: begins with 'absent\.npy', which is no file"),
        ("empty.lst", r"empty\.lst: no lines found; expected a list of feature files"),
        ("link.npy", r"link\.npy: a link of git-annex whose content is not here.* git annex get"),
    ],
)
def test_what_is_no_features_is_said(tmp_path: Path, name: str, message: str) -> None:
    save(tmp_path / "b.npy", x=JOINT["b"])
    (tmp_path / "films").mkdir()
    for video in ("v1.mp4", "films/b.avi"):
        (tmp_path / video).write_bytes(b"\0\0\0\x18ftyp")
    (tmp_path / "list.txt").write_text("b.npy\nabsent.npy\n")
    (tmp_path / "empty.lst").write_text("\n# nothing\n")
    (tmp_path / "link.npy").symlink_to(".git/annex/objects/a/b")
    with pytest.raises(UserError, match=message):
        read_videos(FeatureFiles(joint=[str(tmp_path / name)]), DIM)


@pytest.mark.parametrize(
    "files",
    [
        FeatureFiles(),
        FeatureFiles(["a.npy"]),
        FeatureFiles(["a.npy"], ["b.npy", "c.npy"]),
        FeatureFiles(["a.npy"], ["b.npy"], ["c.npy"]),
    ],
)
def test_files_that_do_not_fit_together_are_counted(files: FeatureFiles) -> None:
    with pytest.raises(UserError, match=rf"Found {len(files.rgb)} --rgb, {len(files.flow)} --flow and"):
        read_videos(files, DIM)
    with pytest.raises(UserError, match="to follow; expected one --features file, or one --rgb and one --flow file"):
        open_growing(files, 2 * DIM)


def test_two_videos_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.npy", x=JOINT["a"]), save(tmp_path / "x" / "a.npy", x=JOINT["a"])]
    with pytest.raises(UserError, match="Two feature files name the video 'a'"):
        read_videos(FeatureFiles(joint=paths), DIM)


def test_growing_files_and_what_cannot_be_said_of_them(tmp_path: Path) -> None:
    joint = FeatureFiles(joint=[save(tmp_path / "a.npy", x=JOINT["a"])])
    np.testing.assert_array_equal(open_growing(joint, 2 * DIM).read(), JOINT["a"])
    swapped = open_growing(joint, 2 * DIM, FileChoices(channel_order="flow_first")).read()
    np.testing.assert_array_equal(swapped, np.concatenate([FLOW["a"], RGB["a"]], axis=1))
    with pytest.raises(UserError, match="--feature_axes=crops_first with --follow found; expected a file that grows"):
        open_growing(joint, 2 * DIM, FileChoices(feature_axes="crops_first"))
    with pytest.raises(UserError, match="--channel_order=flow_first found, but rgb and flow are separate"):
        open_growing(FeatureFiles(["a.npy"], ["b.npy"]), 2 * DIM, FileChoices(channel_order="flow_first"))
    with pytest.raises(UserError, match=r"a\.npz: expected a \.npy file, or \.f32 .* before they are complete"):
        open_growing(FeatureFiles(joint=["a.npz"]), 2 * DIM)
    with pytest.raises(UserError, match=r"a\.mov: a video file found; expected features"):
        open_growing(FeatureFiles(joint=["a.mov"]), 2 * DIM)
    with pytest.raises(UserError, match="--cut_streams=True with --follow found"):
        open_growing(joint, 2 * DIM, FileChoices(cut_streams=True))
    crops = FeatureFiles(joint=[save(tmp_path / "c.npy", x=JOINT["a"][None])])
    with pytest.raises(UserError, match=r"c\.npy has shape \[1, 7, 8\]; expected \[segments, dims\]"):
        open_growing(crops, 2 * DIM).read()
