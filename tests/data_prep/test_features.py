"""Feature files: every layout gives the same features, what is unclear is asked about, what is unusable is named."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from data_prep.features import FeatureReader
from data_prep.features.axes import Axes, decide_axes
from data_prep.features.choices import FeatureChoices
from data_prep.features.layouts import open_features
from data_prep.pickles.arrays import load_array, load_rows
from data_prep.pickles.scan import StoredArray
from tc3net.common.errors import UserError
from tests.support.needs import PROC, needs

GOOD = np.arange(12, dtype=np.float32).reshape(3, 4)
VIDEOS = {
    name: (np.random.default_rng(seed).random((length, 4), np.float32), np.full((length, 4), seed, np.float32))
    for seed, (name, length) in enumerate({"v1": 3, "v-2_b": 5, "v 3.x": 1}.items())
}


def with_value(value: float, *segments: int) -> np.ndarray:
    features = GOOD.copy()
    features[list(segments), 1] = value
    return features


def per_video(folder: Path, rgb: np.ndarray, flow: np.ndarray) -> FeatureReader:
    for stream, values in (("rgb", rgb), ("flow", flow)):
        (folder / stream).mkdir(parents=True, exist_ok=True)
        np.save(folder / stream / "v1.npy", values)
    return open_features(folder, [])[0]


def object_array(path: Path, *rows) -> FeatureReader:
    np.save(path, objects(*rows))
    return open_features(path, [f"v{index + 1}" for index in range(len(rows))])[0]


def objects(*rows) -> np.ndarray:
    array = np.empty(len(rows), object)
    for index, row in enumerate(rows):
        array[index] = row
    return array


def joint(rgb: np.ndarray, flow: np.ndarray) -> np.ndarray:
    return np.concatenate([rgb, flow], axis=1)


def save(kind: str, path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays into a file without suffix in its name; a .npy file takes the only one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "npy":
        (array,) = arrays.values()
        np.save(f"{path}.npy", array)
    elif kind == "npz":
        np.savez_compressed(f"{path}.npz", **arrays)
    else:
        with h5py.File(f"{path}.h5", "w") as file:
            for name, array in arrays.items():
                file[name] = array


def write_layout(folder: Path, layout: str) -> None:
    kind, arrangement = layout.split("_")
    for name, (rgb, flow) in VIDEOS.items():
        streams = {"rgb": rgb, "flow": flow}
        if arrangement == "keys":
            save(kind, folder / name, streams)
        elif arrangement == "joint":
            save(kind, folder / name, {"data": joint(rgb, flow)})
        for stream, values in streams.items():
            if arrangement == "folders":
                save(kind, folder / stream / name, {"data": values})
            elif arrangement == "suffixes":
                save(kind, folder / f"{name}_{stream}", {"data": values})


def assert_reads_videos(reader: FeatureReader) -> None:
    assert sorted(reader.video_ids()) == sorted(VIDEOS)
    # Readers travel to worker processes.
    for copy in (reader, pickle.loads(pickle.dumps(reader))):
        for name, (rgb, flow) in VIDEOS.items():
            assert copy.num_segments(name) == len(rgb)
            read_rgb, read_flow = copy.read(name)
            np.testing.assert_array_equal(read_rgb, rgb)
            np.testing.assert_array_equal(read_flow, flow)


@pytest.mark.parametrize("kind", ["npy", "npz", "hdf5"])
@pytest.mark.parametrize("arrangement", ["folders", "suffixes", "keys", "joint"])
def test_every_layout_gives_the_same_features(tmp_path, kind, arrangement):
    layout = f"{kind}_{arrangement}"
    if layout == "npy_keys":
        return
    write_layout(tmp_path, layout)
    chosen, words = open_features(tmp_path, [], FeatureChoices(layout=layout))
    assert_reads_videos(chosen)
    assert words.split(", ")[0] in words and kind in words
    if arrangement == "joint":
        with pytest.raises(
            UserError, match=rf"--feature_layout={layout}, or, if this is one stream alone, --streams=NAME"
        ):
            open_features(tmp_path, [])
    else:
        assert_reads_videos(open_features(tmp_path, [])[0])


@pytest.mark.parametrize("kind", ["npy", "npz", "hdf5"])
@pytest.mark.parametrize("suffixes", [("", ""), ("_rgb", "-FLOW")])
def test_streams_in_separate_places(tmp_path, kind, suffixes):
    for name, streams in VIDEOS.items():
        for place, suffix, values in zip(("a", "b"), suffixes, streams):
            save(kind, tmp_path / place / f"{name}{suffix}", {"data": values})
    reader, words = open_features(tmp_path / "a", [], FeatureChoices(flow_features=tmp_path / "b"))
    assert_reads_videos(reader)
    assert f"flow in {tmp_path / 'b'}" in words


@pytest.mark.parametrize("arrangement", ["folders", "suffixes", "keys", "joint"])
def test_one_hdf5_file_for_the_whole_data_set(tmp_path, arrangement):
    path = tmp_path / "all.hdf5"
    with h5py.File(path, "w") as file:
        for name, (rgb, flow) in VIDEOS.items():
            if arrangement == "joint":
                file[name] = joint(rgb, flow)
                continue
            for stream, values in (("rgb", rgb), ("flow", flow)):
                pattern = {"folders": "{s}/{v}", "suffixes": "{v}_{s}", "keys": "{v}/{s}"}[arrangement]
                file[pattern.format(s=stream, v=name)] = values
    assert_reads_videos(open_features(path, [], FeatureChoices(layout=f"hdf5_{arrangement}"))[0])
    if arrangement != "joint":
        assert_reads_videos(open_features(path, [])[0])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_object_arrays_of_every_encoding(tmp_path, protocol):
    rows = objects(*(joint(rgb, flow) for rgb, flow in VIDEOS.values()))
    path = tmp_path / "X-I3D-JOINTFeatures.npy"
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": rows.shape})
        pickle.dump(rows, file, protocol=protocol)
    reader, words = open_features(path, list(VIDEOS))
    assert words.startswith("W-TALC object array, one row per annotated video, rgb first")
    assert_reads_videos(reader)


def test_two_object_arrays(tmp_path):
    for index, stream in enumerate(("rgb", "flow")):
        np.save(tmp_path / f"{stream}.npy", objects(*(streams[index] for streams in VIDEOS.values())))
    choices = FeatureChoices(flow_features=tmp_path / "flow.npy")
    assert_reads_videos(open_features(tmp_path / "rgb.npy", list(VIDEOS), choices)[0])


def test_channel_order(tmp_path):
    np.save(tmp_path / "a.npy", objects(*(joint(flow, rgb) for rgb, flow in VIDEOS.values())))
    choices = FeatureChoices(channel_order="flow_first")
    reader, words = open_features(tmp_path / "a.npy", list(VIDEOS), choices)
    assert_reads_videos(reader)
    assert "flow first" in words
    write_layout(tmp_path / "separate", "npy_folders")
    with pytest.raises(UserError, match=r"--channel_order=flow_first found, but the streams are separate"):
        open_features(tmp_path / "separate", [], choices)


def test_rows_stay_in_the_file_unless_they_are_stored_as_text(tmp_path):
    rows = objects(np.ones((4000, 8), np.float32), np.asfortranarray(np.arange(400.0).reshape(50, 8)))
    held = {}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"{protocol}.npy"
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (2,)})
            pickle.dump(rows, file, protocol=protocol)
        stored = load_rows(path)
        held[protocol] = not all(isinstance(row, StoredArray) for row in stored)
        for row, expected in zip(stored, rows):
            values = row.read() if isinstance(row, StoredArray) else row
            assert values.dtype == expected.dtype
            np.testing.assert_array_equal(values, expected)
    assert held == {2: True, 3: False, 4: False, 5: False}
    _, words = open_features(tmp_path / "2.npy", ["v1", "v2"])
    assert "0.000131 GB held in memory, since the encoding of 2.npy allows no reading in parts" in words
    _, words = open_features(tmp_path / "4.npy", ["v1", "v2"])
    assert "memory" not in words


def test_rows_that_python_2_wrote_stay_in_the_file(tmp_path):
    """Python 2 wrote contents as BINSTRING; from protocol 3's BINBYTES only the instruction differs."""
    rows = objects(np.ones((40, 8), np.float32), np.zeros((9, 8), np.float32))
    path = tmp_path / "py2.npy"
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (2,)})
        payload = pickle.dumps(rows, protocol=3)
        assert payload.count(b"B\x00\x05\x00\x00") == payload.count(b"B\x20\x01\x00\x00") == 1
        payload = payload.replace(b"B\x00\x05\x00\x00", b"T\x00\x05\x00\x00")
        file.write(payload.replace(b"B\x20\x01\x00\x00", b"T\x20\x01\x00\x00"))
    stored = load_rows(path)
    assert all(isinstance(row, StoredArray) for row in stored)
    for row, expected in zip(stored, rows):
        np.testing.assert_array_equal(row.read(), expected)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        hypothesis_numpy.arrays(
            st.sampled_from(["f2", "f4", "f8", ">f4", "i4", "?"]),
            hypothesis_numpy.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=12),
            elements={"allow_nan": False},
            fill=st.just(1),
        ),
        max_size=5,
    ),
    st.integers(2, 5),
)
def test_rows_equal_those_of_the_whole_array(tmp_path, arrays, protocol):
    path = tmp_path / "a.npy"
    rows = objects(*arrays)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": rows.shape})
        pickle.dump(rows, file, protocol=protocol)
    for row, whole in itertools.zip_longest(load_rows(path), load_array(path)):
        values = row.read() if isinstance(row, StoredArray) else row
        assert (values.dtype, values.shape) == (whole.dtype, whole.shape)
        np.testing.assert_array_equal(values, whole)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_damaged_rows_are_named_and_never_read_past_the_file(tmp_path, position, value, cut):
    np.save(tmp_path / "a.npy", objects(np.ones((40, 8), np.float32), np.zeros((40, 8), np.float16)))
    raw = bytearray((tmp_path / "a.npy").read_bytes())
    if cut:
        del raw[position % len(raw) :]
    else:
        raw[position % len(raw)] = value
    (tmp_path / "a.npy").write_bytes(bytes(raw))
    try:
        for row in load_rows(tmp_path / "a.npy"):
            if isinstance(row, StoredArray):
                assert row.offset + np.prod(row.shape) * row.dtype.itemsize <= len(raw)
                row.read()
    except UserError as error:
        assert "a.npy" in str(error)


def test_a_hostile_row_file_is_refused_by_name(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'sentinel'}",)

    np.save(tmp_path / "a.npy", objects(np.ones((40, 8), np.float32), Hostile()))
    with pytest.raises(UserError, match=r"a\.npy: it asks for .*system"):
        load_rows(tmp_path / "a.npy")
    assert not (tmp_path / "sentinel").exists()


@needs(PROC)
def test_a_row_file_is_not_read_into_memory(tmp_path):
    """96 MB in 24 rows: a process that may only have 60 MB more than it has after its imports can read them all."""
    np.save(tmp_path / "a.npy", objects(*(np.full((1000, 1000), row, np.float32) for row in range(24))))
    code = """
import resource, sys
from data_prep.features.layouts import open_features
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20),) * 2)
reader, words = open_features(sys.argv[1], [f"v{i}" for i in range(24)])
print(words, sum(float(reader.read(f"v{i}")[1][0, 0]) for i in range(24)))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", code, str(tmp_path / "a.npy")]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.endswith(" 276.0\n"), done.stderr


def test_a_row_file_that_shrinks_meanwhile_is_named(tmp_path):
    reader = object_array(tmp_path / "a.npy", np.ones((40, 8), np.float32))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:900])
    with pytest.raises(UserError, match=r"a\.npy, row 0 \(video 'v1'\): cannot be read any more"):
        reader.read("v1")


def test_equally_long_videos_in_one_array(tmp_path):
    """NumPy merges rows of equal shape into one float array when asked carelessly; it reads the same."""
    whole = np.random.default_rng(0).random((2, 3, 8), np.float32)
    np.save(tmp_path / "a.npy", whole)
    assert all(isinstance(row, StoredArray) for row in load_rows(tmp_path / "a.npy"))
    rgb, flow = open_features(tmp_path / "a.npy", ["v1", "v2"])[0].read("v2")
    np.testing.assert_array_equal(joint(rgb, flow), whole[1])
    np.save(tmp_path / "a.npy", np.asfortranarray(whole))
    rgb, flow = open_features(tmp_path / "a.npy", ["v1", "v2"])[0].read("v2")
    np.testing.assert_array_equal(joint(rgb, flow), whole[1])
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(UserError, match=r"a\.npy: not a complete \.npy file"):
        load_rows(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_precisions_are_kept_until_storage(tmp_path, dtype):
    rgb, flow = per_video(tmp_path, GOOD.astype(dtype), GOOD.astype(dtype)).read("v1")
    assert rgb.dtype == flow.dtype == dtype


CROPS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "crops_first": (lambda values: np.stack([values - 1, values, values + 4]), "mean over 3 crops (first axis)"),
    "crops_last": (lambda values: np.stack([values - 1, values, values + 4], 1), "mean over 3 crops (second axis)"),
}


@pytest.mark.parametrize("order", CROPS)
@pytest.mark.parametrize("layout", ["npy_folders", "object_array"])
def test_crops_are_averaged_and_it_is_said(tmp_path, order, layout):
    make, words = CROPS[order]
    if layout == "object_array":
        np.save(tmp_path / "a.npy", objects(*(make(joint(*streams)) for streams in VIDEOS.values())))
        path = tmp_path / "a.npy"
    else:
        path = tmp_path
        for name, streams in VIDEOS.items():
            for stream, values in zip(("rgb", "flow"), streams):
                save("npy", tmp_path / stream / name, {"data": make(values)})
    reader, found = open_features(path, list(VIDEOS))
    assert words in found
    for name, (rgb, flow) in VIDEOS.items():
        assert reader.num_segments(name) == len(rgb)
        read_rgb, read_flow = reader.read(name)
        assert read_rgb.dtype == np.float32
        np.testing.assert_allclose(read_rgb, rgb + 1, rtol=1e-6)
        np.testing.assert_allclose(read_flow, flow + 1, rtol=1e-6)


def test_a_batch_of_one_needs_no_words(tmp_path):
    reader = per_video(tmp_path, GOOD[None], GOOD[None])
    np.testing.assert_array_equal(reader.read("v1")[0], GOOD)
    assert reader.num_segments("v1") == 3


@pytest.mark.parametrize(
    ("shapes", "choice", "expected"),
    [
        ([(3, 4), (5, 4)], "auto", Axes()),
        ([(1, 3, 4)], "auto", Axes(0, 1)),
        ([(1, 3, 4), (1, 5, 4)], "auto", Axes(0, 1)),
        ([(10, 3, 4), (10, 5, 4)], "auto", Axes(0, 10)),
        ([(3, 10, 4), (5, 10, 4)], "auto", Axes(1, 10)),
        ([(3, 1, 4), (5, 1, 4)], "auto", Axes(1, 1)),
        ([(10, 3, 4)], "crops_first", Axes(0, 10)),
        ([(3, 10, 4)], "crops_last", Axes(1, 10)),
        ([(10, 3, 4)], "auto", r"--feature_axes=crops_first or --feature_axes=crops_last"),
        ([(3, 1, 4)], "auto", r"\[3, 1, 4\] found, which can be"),
        ([(3, 5, 4), (5, 3, 4)], "auto", "the same number of crops"),
        ([(3, 10, 4), (5, 10, 4)], "crops_first", r"--feature_axes=crops_first\). Save"),
    ],
)
def test_the_axes_are_told_by_all_shapes_together(shapes, choice, expected):
    if isinstance(expected, Axes):
        assert decide_axes(shapes, choice, "f") == expected
    else:
        with pytest.raises(UserError, match=expected):
            decide_axes(shapes, choice, "f")


def test_a_video_with_another_number_of_crops_is_named():
    with pytest.raises(UserError, match=r"v9: shape \[5, 3, 4\] found; expected \[segments, dims\] or \[10, seg"):
        Axes(0, 10).rows(np.ones((5, 3, 4)), "v9")
    with pytest.raises(UserError, match="v9: int64 values found"):
        Axes(0, 5).rows(np.ones((5, 3, 4), int), "v9")


def test_two_layouts_of_the_same_videos(tmp_path):
    write_layout(tmp_path, "npy_folders")
    write_layout(tmp_path, "npz_keys")
    with pytest.raises(UserError) as caught:
        open_features(tmp_path, [])
    assert "a folder for each stream, npy; a file for each video with an array for each stream" in str(caught.value)
    assert "--feature_layout=npy_folders or --feature_layout=npz_keys." in str(caught.value)
    for layout in ("npy_folders", "npz_keys"):
        assert_reads_videos(open_features(tmp_path, [], FeatureChoices(layout=layout))[0])
    with pytest.raises(UserError, match="--feature_layout=npz_suffixes does not fit; found a folder for each stream"):
        open_features(tmp_path, [], FeatureChoices(layout="npz_suffixes"))


def test_files_of_one_stream_among_others(tmp_path):
    write_layout(tmp_path, "npy_suffixes")
    save("npy", tmp_path / "mean", {"data": GOOD})
    with pytest.raises(
        UserError, match="--feature_layout=npy_suffixes or --feature_layout=npy_joint, or, if this is one stream"
    ):
        open_features(tmp_path, [])
    reader, words = open_features(tmp_path, [], FeatureChoices(layout="npy_suffixes"))
    assert_reads_videos(reader)
    assert words.endswith("npy, 1 other files not read")


def test_names_of_streams_in_other_case(tmp_path):
    for folder in ("RGB", "Flow"):
        save("npy", tmp_path / "folders" / folder / "v1", {"data": GOOD})
    save("npz", tmp_path / "keys" / "v1", {"RGB": GOOD, "Flow": GOOD, "fps": np.float64(25)})
    for layout in ("folders", "keys"):
        np.testing.assert_array_equal(open_features(tmp_path / layout, [])[0].read("v1")[1], GOOD)


def test_an_array_named_joint_leaves_no_question(tmp_path):
    save("npz", tmp_path / "v1", {"joint": joint(GOOD, -GOOD), "fps": np.float64(25)})
    choices = FeatureChoices(layout="npz_joint")
    np.testing.assert_array_equal(open_features(tmp_path, [], choices)[0].read("v1")[1], -GOOD)
    save("npz", tmp_path / "v1", {"joint": joint(GOOD, -GOOD)})
    np.testing.assert_array_equal(open_features(tmp_path, [])[0].read("v1")[1], -GOOD)


def test_two_kinds_of_files_of_one_stream(tmp_path):
    for name, streams in VIDEOS.items():
        for place, values in zip(("a", "b"), streams):
            save("npy", tmp_path / place / name, {"data": values})
            save("npz", tmp_path / place / name, {"data": values})
    with pytest.raises(UserError, match=r"npy, npz found.* --feature_layout=npy_folders or --feature_layout=npz_fold"):
        open_features(tmp_path / "a", [], FeatureChoices(flow_features=tmp_path / "b"))
    choices = FeatureChoices(flow_features=tmp_path / "b", layout="npz_folders")
    assert_reads_videos(open_features(tmp_path / "a", [], choices)[0])
    with pytest.raises(
        UserError, match=r"no feature files found \(it is empty\); expected one array of flow .* Check --flow_features"
    ):
        (tmp_path / "empty").mkdir()
        open_features(tmp_path / "a", [], FeatureChoices(flow_features=tmp_path / "empty", layout="npy_folders"))


def test_a_layout_that_would_be_ignored_is_refused(tmp_path):
    object_array(tmp_path / "a.npy", GOOD)
    with pytest.raises(
        UserError, match=r"a\.npy: --feature_layout=npz_keys does not fit; expected one of auto, npy_joint"
    ):
        open_features(tmp_path / "a.npy", ["v1"], FeatureChoices(layout="npz_keys"))
    with pytest.raises(
        UserError, match=r"--flow_features=b: --feature_layout=npy_joint does not fit; .* npy_folders, "
    ):
        open_features(tmp_path, ["v1"], FeatureChoices(flow_features="b", layout="npy_joint"))


def test_choices_are_checked():
    for field in ("layout", "channel_order", "axes"):
        with pytest.raises(UserError, match="expected one of"):
            FeatureChoices(**{field: "other"})


@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_damaged_and_unfit_files_are_named(tmp_path, kind):
    write_layout(tmp_path, f"{kind}_keys")
    reader, _ = open_features(tmp_path, [])
    (path,) = tmp_path.glob("v1.*")
    save(kind, tmp_path / "v1", {"rgb": GOOD, "other": GOOD})
    with pytest.raises(UserError, match=r"v1\..* \(flow\): arrays .* found; expected one named flow"):
        reader.read("v1")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"v1\..*: not a complete"):
        reader.read("v1")
    path.unlink()
    with pytest.raises(UserError, match=r"v1\..*: no such file"):
        reader.read("v1")
    save(kind, tmp_path / "j" / "v1", {"one": GOOD, "two": GOOD})
    with pytest.raises(UserError, match=r"v1\..*: 2 arrays found \(one, two\); expected one\. Save one per file\."):
        open_features(tmp_path / "j", [], FeatureChoices(layout=f"{kind}_joint"))[0].read("v1")


def test_objects_in_npz_are_refused(tmp_path):
    np.savez(tmp_path / "v1.npz", rgb=objects(1), flow=objects(2))
    with pytest.raises(UserError, match=r"v1\.npz \(rgb\): not a complete \.npz file of plain arrays"):
        open_features(tmp_path, [])[0].read("v1")


def test_hdf5_without_its_library(tmp_path, monkeypatch):
    (tmp_path / "v1.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"v1\.h5: .*h5py is not installed.* `pip install h5py`"):
        open_features(tmp_path, [])


@pytest.mark.parametrize(
    ("rgb", "flow", "message"),
    [
        (GOOD, GOOD[:2], "rgb is [3, 4], flow is [2, 4]; expected the same number of segments"),
        (GOOD[:0], GOOD[:0], "rgb is empty (shape [0, 4])"),
        (GOOD, GOOD[0], "flow: shape [4] found; expected [segments, dims]"),
        (np.ones((2, 1, 3, 4)), GOOD, "shape [2, 1, 3, 4] found; expected [segments, dims]"),
        (GOOD.astype(int), GOOD, "rgb holds int64; expected floating point"),
        (with_value(np.nan, 1, 2), GOOD, "rgb/v1.npy: NaN or Inf in 2 segments, the first is 1"),
        (GOOD, with_value(-np.inf, 2), "flow/v1.npy: NaN or Inf in segment 2"),
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
        (np.full((3, 8), np.nan, np.float32), "NaN or Inf in 3 segments, the first is 0"),
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
    with pytest.raises(UserError, match=r"a\.npy: 2 rows found; expected 3, one per video"):
        open_features(tmp_path / "a.npy", ["v1", "v2", "v3"])
    np.save(tmp_path / "a.npy", np.float32(3))
    with pytest.raises(UserError, match="a single value, no rows"):
        open_features(tmp_path / "a.npy", ["v1"])


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(
        UserError, match=r"no \.npy, \.npz, \.h5, .* or \.csv files there, .* but it is empty; expected"
    ):
        open_features(tmp_path, [])
    for stream in ("rgb", "flow"):
        (tmp_path / stream).mkdir()
    with pytest.raises(UserError, match=r"no \.npy, \.npz"):
        open_features(tmp_path, [])
    np.save(tmp_path / "rgb" / "v1.npy", GOOD)
    with pytest.raises(UserError, match=r"no folder flow with files found beside the other stream's"):
        open_features(tmp_path, [])
    np.save(tmp_path / "flow" / "v2.npy", GOOD)
    reader, _ = open_features(tmp_path, [])
    assert reader.video_ids() == ["v1", "v2"]
    with pytest.raises(UserError, match=r"video 'v1': no flow features found"):
        reader.read("v1")
    with pytest.raises(UserError, match=r"absent: neither a folder nor an existing \.npy or HDF5 file"):
        open_features(tmp_path / "absent", [])
    with pytest.raises(UserError, match=r"absent\.npy: no such file"):
        open_features(tmp_path / "absent.npy", [])
