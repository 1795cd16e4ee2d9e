"""Kinds of feature files: all give the same arrays, alone or with a whole data set in one file, and run nothing."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from data_prep.features.choices import FeatureChoices
from data_prep.features.containers import container_of
from data_prep.features.kinds.container import Location
from data_prep.features.layouts import open_features
from data_prep.pickles.tensors import load_tensors
from tc3net.common.errors import UserError
from tests.support import torch_file
from tests.support.needs import SCIPY, needs
from tests.support.torch_file import Tensor

RGB = {name: np.random.default_rng(seed).random((rows, 4), np.float32) for seed, (name, rows) in
       enumerate({"v1": 3, "v2": 5}.items())}  # fmt: skip
FLOW = {name: -values for name, values in RGB.items()}
JOINT = {name: np.concatenate([RGB[name], FLOW[name]], axis=1) for name in RGB}


def tensors(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: tensors(value) for name, value in content.items()}
    return Tensor.of(content) if isinstance(content, np.ndarray) else content


def write_mat73(path: Path, content: dict) -> None:
    """As MATLAB writes it: axes in the opposite order, dictionaries as groups, and a group of its own."""
    with h5py.File(path, "w", userblock_size=512) as file:

        def add(group: h5py.Group, values: dict) -> None:
            for name, value in values.items():
                if isinstance(value, dict):
                    add(group.create_group(name), value)
                else:
                    group[name] = np.asarray(value).T

        add(file, content)
        file.create_group("#refs#")
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b"\0"))


def write(path: Path, content: Any) -> None:
    """One array or a dictionary, into a file of the kind that the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, content)
    elif path.suffix == ".npz":
        flat = {f"{a}/{b}": v for a, values in content.items() if isinstance(values, dict) for b, v in values.items()}
        np.savez(path, **(flat or content))
    elif path.suffix in (".pt", ".pth"):
        torch_file.save(path, tensors(content))
    elif path.suffix == ".mat":
        write_mat73(path, content if isinstance(content, dict) else {"features": content})
    else:
        path.write_bytes(pickle.dumps(content))


def assert_reads(path: Path, choices: FeatureChoices = FeatureChoices()) -> None:
    reader, _ = open_features(path, list(RGB), choices)
    assert sorted(reader.video_ids()) == sorted(RGB)
    for copy in (reader, pickle.loads(pickle.dumps(reader))):
        for name in RGB:
            assert copy.num_segments(name) == len(RGB[name])
            for read, expected in zip(copy.read(name), (RGB[name], FLOW[name])):
                np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pkl", ".pickle", ".pt", ".pth", ".mat"])
def test_dictionaries_hold_a_video_or_a_whole_data_set(tmp_path: Path, suffix: str) -> None:
    for name in RGB:
        write(tmp_path / "keys" / f"{name}{suffix}", {"rgb": RGB[name], "flow": FLOW[name]})
    assert_reads(tmp_path / "keys")
    kind = container_of(tmp_path / f"a{suffix}").name
    write(tmp_path / f"joint{suffix}", JOINT)
    assert_reads(tmp_path / f"joint{suffix}", FeatureChoices(layout=f"{kind}_joint"))
    write(tmp_path / f"by_video{suffix}", {name: {"rgb": RGB[name], "flow": FLOW[name]} for name in RGB})
    assert_reads(tmp_path / f"by_video{suffix}")
    write(tmp_path / f"by_stream{suffix}", {"rgb": RGB, "flow": FLOW})
    assert_reads(tmp_path / f"by_stream{suffix}")
    for stream, values in (("a", RGB), ("b", FLOW)):
        write(tmp_path / f"{stream}{suffix}", values)
    assert_reads(tmp_path / f"a{suffix}", FeatureChoices(flow_features=tmp_path / f"b{suffix}"))


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".mat", ".csv"])
def test_a_file_for_each_stream(tmp_path: Path, suffix: str) -> None:
    for stream, of in (("rgb", RGB), ("flow", FLOW)):
        for name, values in of.items():
            if suffix == ".csv":
                (tmp_path / stream).mkdir(exist_ok=True)
                np.savetxt(tmp_path / stream / f"{name}.csv", values, "%.9g", delimiter=",")
            else:
                write(tmp_path / stream / f"{name}{suffix}", values)
    assert_reads(tmp_path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    content = {name: {"rgb": RGB[name], "flow": FLOW[name], "fps": 25.0, "name": name} for name in RGB}
    (tmp_path / "all.pkl").write_bytes(pickle.dumps(content, protocol))
    assert_reads(tmp_path / "all.pkl")


def test_a_pickle_of_lists(tmp_path: Path) -> None:
    write(tmp_path / "all.pkl", {name: [row.tolist() for row in values] for name, values in JOINT.items()})
    assert_reads(tmp_path / "all.pkl", FeatureChoices(layout="pkl_joint"))
    write(tmp_path / "rows.pkl", {name: list(values) for name, values in JOINT.items()})
    assert_reads(tmp_path / "rows.pkl", FeatureChoices(layout="pkl_joint"))


@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".pt"])
def test_hostile_files_run_nothing(tmp_path: Path, suffix: str) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'sentinel'}",)

    write(tmp_path / "features" / f"v1{suffix}", {"rgb": Hostile(), "flow": FLOW["v1"]})
    with pytest.raises(UserError, match=rf"v1\{suffix}: it asks for posix\.system; expected nothing but NumPy arrays"):
        open_features(tmp_path / "features", ["v1"])
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".mat", ".npz", ".csv"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())
def test_damage_ends_in_a_message_that_names_the_file(tmp_path: Path, suffix: str, where, value, cut) -> None:
    path = tmp_path / f"v1{suffix}"
    if suffix == ".csv":
        np.savetxt(path, JOINT["v1"], delimiter=",")
    else:
        write(path, {"joint": JOINT["v1"]})
    content = bytearray(path.read_bytes())
    position = int(where * (len(content) - 1))
    content[position:] = b"" if cut else bytes([value]) + content[position + 1 :]
    path.write_bytes(content)
    try:
        with container_of(path).opened(Location(path)) as arrays:
            for name in arrays.names or ([""] if arrays.is_array else []):
                assert arrays.read(name).shape == arrays.shape(name)
    except UserError as error:
        assert f"v1{suffix}" in str(error)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=hypothesis_numpy.arrays(np.float32, hypothesis_numpy.array_shapes(min_dims=2), elements=st.integers(-9, 9)),
    swapped=st.booleans(),
    offset=st.integers(0, 5),
    byte_order=st.sampled_from(["little", "big"]),
)
def test_tensors_are_views_of_their_storage(tmp_path: Path, values, swapped, offset, byte_order) -> None:
    storage = np.concatenate([np.full(offset, 99, np.float32), values.ravel(), np.float32([77])])
    steps = tuple(step // 4 for step in np.ascontiguousarray(values).strides)
    shape = values.shape
    expected = values
    if swapped:
        steps, shape, expected = steps[::-1], shape[::-1], values.T
    torch_file.save(tmp_path / "t.pt", {"x": Tensor(storage, shape, steps, offset)}, byte_order)
    tensor = load_tensors(tmp_path / "t.pt")["x"]
    assert tensor.shape == shape
    np.testing.assert_array_equal(tensor.read(), expected)


def test_what_models_are_saved_as_is_read(tmp_path: Path) -> None:
    class StateDict(OrderedDict[str, Any]):
        """As PyTorch's, with an attribute: pickled as an OrderedDict that is filled and given a state."""

        def __reduce__(self) -> Any:
            return OrderedDict, (), {"_metadata": OrderedDict()}, None, iter(self.items())

    torch_file.save(tmp_path / "t.pt", StateDict({name: Tensor.of(values) for name, values in RGB.items()}))
    assert {name: tensor.read().tolist() for name, tensor in load_tensors(tmp_path / "t.pt").items()} == {
        name: values.tolist() for name, values in RGB.items()
    }


def test_precisions_of_tensors(tmp_path: Path) -> None:
    for dtype in ("float64", "float32", "float16", "int64"):
        torch_file.save(tmp_path / "t.pt", Tensor.of(np.arange(6).reshape(2, 3).astype(dtype)))
        read = load_tensors(tmp_path / "t.pt").read()
        assert read.dtype == dtype and read.tolist() == [[0, 1, 2], [3, 4, 5]]
    halves = (np.float32([1.5, -2]).view(np.uint32) >> 16).astype(np.uint16)
    torch_file.save(tmp_path / "t.pt", Tensor(halves, (1, 2), (2, 1), kind="bfloat16"))
    assert load_tensors(tmp_path / "t.pt").read().tolist() == [[1.5, -2]]


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(np.zeros(6, np.float32), (2, 4), (4, 1)),
        Tensor(np.zeros(6, np.float32), (2, 3), (3, 1), offset=1),
        Tensor(np.zeros(6, np.float32), (10**9, 10**9), (0, 0)),
        Tensor(np.zeros(6, np.float32), (2, 3), (-3, 1)),
        Tensor(np.zeros(6, np.float32), (2, 3), (3,)),
    ],
)
def test_tensors_beyond_their_storage_are_refused(tmp_path: Path, tensor: Tensor) -> None:
    torch_file.save(tmp_path / "t.pt", tensor)
    with pytest.raises(UserError, match=r"t\.pt: not a complete \.pt file .*a tensor of shape"):
        load_tensors(tmp_path / "t.pt")


def test_files_of_old_pytorch_are_read_too(tmp_path: Path) -> None:
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    halves = np.arange(6, dtype=np.float16)
    content = {"whole": Tensor.of(whole), "part": Tensor(halves, (2, 2), (1, 2), offset=1), "name": "a video"}
    content["one"] = Tensor(np.array([7]), (), ())
    torch_file.save_before_zip(tmp_path / "v1.pt", content)
    found = load_tensors(tmp_path / "v1.pt")
    assert found["name"] == "a video"
    np.testing.assert_array_equal(found["whole"].read(), whole)
    np.testing.assert_array_equal(found["part"].read(), [[1, 3], [2, 4]])
    assert found["one"].read().shape == ()
    raw = (tmp_path / "v1.pt").read_bytes()
    for end in (len(raw) - 1, len(raw) - 100, 60, 20):
        (tmp_path / "v1.pt").write_bytes(raw[:end])
        with pytest.raises(UserError, match=r"v1\.pt: not a complete \.pt file"):
            load_tensors(tmp_path / "v1.pt")


def test_matlab_files_before_7_3_need_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RGB:
        (tmp_path / f"{name}.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(UserError, match=r"v1\.mat: .*SciPy is not installed.* `pip install scipy`"):
        open_features(tmp_path, [])
    stand_in = types.ModuleType("scipy.io")
    variables = {"rgb": RGB, "flow": FLOW}
    stand_in.whosmat = lambda path: [
        *((stream, of[path.stem].shape, "single") for stream, of in variables.items()), ("info", (1, 1), "struct"),
    ]  # fmt: skip
    stand_in.loadmat = lambda path, variable_names: {name: variables[name][path.stem] for name in variable_names}
    monkeypatch.setitem(sys.modules, "scipy.io", stand_in)
    assert_reads(tmp_path)


@needs(SCIPY)
def test_matlab_files_that_scipy_wrote(tmp_path: Path) -> None:
    scipy_io = importlib.import_module("scipy.io")
    for name in RGB:
        scipy_io.savemat(tmp_path / f"{name}.mat", {"rgb": RGB[name], "flow": FLOW[name], "info": {"fps": 25}})
    assert_reads(tmp_path)


@pytest.mark.parametrize(
    ("first", "line"),
    [
        ("", "{0},{1}"),
        ("f0,f1\n", "{0},{1}"),
        (",f0,f1\n", "7,{0},{1}"),  # as pandas writes it, with the number of the line
        ("", "{0};{1}"),
        ("a\tb\n", "{0}\t{1}"),
        ("\ufefff0,f1\n", "{0},{1}"),
    ],
)
def test_tables_of_numbers(tmp_path: Path, first: str, line: str) -> None:
    numbers = [(0.5, -1e-3), (2.0, 3.25)]
    text = first + "".join(line.format(*row) + "\n" for row in numbers) + "\n"
    (tmp_path / "v1.csv").write_text(text, encoding="utf-8")
    reader, _ = open_features(tmp_path, ["v1"], FeatureChoices(layout="csv_joint"))
    assert reader.num_segments("v1") == 2
    rgb, flow = reader.read("v1")
    np.testing.assert_array_equal(np.concatenate([rgb, flow], 1), np.float32(numbers))
    (tmp_path / "v1.csv").write_text("1,2\n3,x\n")
    with pytest.raises(UserError, match=r"v1\.csv: not a complete \.csv file"):
        reader.read("v1")


def test_tables_beside_features_are_no_question(tmp_path: Path) -> None:
    write(tmp_path / "v1.npz", {"rgb": RGB["v1"], "flow": FLOW["v1"]})
    (tmp_path / "videos.csv").write_text("video,class\nv1,Run\n")
    write(tmp_path / "mean.pkl", RGB["v1"])
    assert open_features(tmp_path, ["v1"])[0].video_ids() == ["v1"]
    (tmp_path / "v1.npz").unlink()
    np.save(tmp_path / "v1.npy", JOINT["v1"])
    with pytest.raises(UserError, match=r"There are 1 \.pkl files too: --feature_layout=pkl_\.\.\. There are 1 \.csv"):
        open_features(tmp_path, ["v1"])
    write(tmp_path / "v1.npz", {"rgb": RGB["v1"], "flow": FLOW["v1"]})
    (tmp_path / "v1.npy").unlink()
    with pytest.raises(UserError, match="--feature_layout=mat_joint does not fit; found a file for each video with an"):
        open_features(tmp_path, ["v1"], FeatureChoices(layout="mat_joint"))
    assert open_features(tmp_path, [], FeatureChoices(layout="pkl_joint"))[0].video_ids() == ["mean"]
