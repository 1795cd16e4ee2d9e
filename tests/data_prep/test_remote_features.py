"""Features on remote storage are the arrays that the same files on a disk hold, of every kind and however named."""

from __future__ import annotations

import csv
import importlib.util
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from data_prep.features.choices import FeatureChoices
from data_prep.features.given import open_given
from data_prep.features.layouts import open_features
from tc3net.common.errors import UserError
from tc3net.common.storage import RemotePath, copies
from tc3net.common.storage.copies import put_folder
from tests.support.memory import memory_folder

VIDEOS = ("a", "b")
STREAMS = ("rgb", "flow")
CHOICES = FeatureChoices(streams=tuple((stream, 3) for stream in STREAMS))


@pytest.fixture
def top() -> Iterator[RemotePath]:
    with memory_folder() as folder:
        assert isinstance(folder, RemotePath)
        yield folder


def values_of(video: str, stream: str) -> np.ndarray:
    return np.random.default_rng([ord(video), len(stream)]).random((5, 3)).astype(np.float32)


def _table(path: Path, values: np.ndarray) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(values.tolist())


def _hdf5(path: Path, values: np.ndarray) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["features"] = values


def _pickle(path: Path, values: np.ndarray) -> None:
    path.write_bytes(pickle.dumps(values))


KINDS: dict[str, Callable[[Path, np.ndarray], None]] = {
    ".npy": np.save, ".npz": np.savez, ".csv": _table, ".pkl": _pickle, ".h5": _hdf5
}  # fmt: skip


@pytest.mark.parametrize("suffix", KINDS)
def test_every_kind_of_file_is_read(tmp_path: Path, top: RemotePath, suffix: str) -> None:
    if suffix == ".h5" and importlib.util.find_spec("h5py") is None:
        return  # Keras brings it
    for stream in STREAMS:
        (tmp_path / stream).mkdir()
        for video in VIDEOS:
            KINDS[suffix](tmp_path / stream / f"{video}{suffix}", values_of(video, stream))
    put_folder(tmp_path, top)
    found, words = open_features(str(top), VIDEOS)
    expected, same = open_features(tmp_path, VIDEOS)
    assert words == same
    assert found.video_ids() == expected.video_ids()
    for video in VIDEOS:
        assert found.num_segments(video) == 5
        for one, other, stream in zip(found.read(video), expected.read(video), STREAMS):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_allclose(one, values_of(video, stream), rtol=1e-6)


def test_a_file_of_a_whole_data_set_is_fetched_once(
    tmp_path: Path, top: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {f"{video}": np.hstack([values_of(video, stream) for stream in STREAMS]) for video in VIDEOS}
    np.savez(tmp_path / "all.npz", **arrays)
    rows = np.empty(len(VIDEOS), object)
    rows[:] = list(arrays.values())
    np.save(tmp_path / "joint.npy", rows)
    put_folder(tmp_path, top)
    fetched: list[str] = []
    fetch = copies.fetch
    monkeypatch.setattr(copies, "fetch", lambda path, local: (fetched.append(path.name), fetch(path, local)))
    for name in ("all.npz", "joint.npy"):
        reader, _ = open_features(str(top / name), VIDEOS, CHOICES)
        for video in VIDEOS:
            np.testing.assert_array_equal(np.hstack(reader.read(video)), arrays[video])
    assert fetched == ["all.npz", "joint.npy"]


def test_names_patterns_and_lists_stand_for_remote_files(tmp_path: Path, top: RemotePath) -> None:
    for video in VIDEOS:
        np.save(tmp_path / f"{video}.npy", np.hstack([values_of(video, stream) for stream in STREAMS]))
    (tmp_path / "relative.txt").write_text("a.npy\nb.npy\n")
    (tmp_path / "full.txt").write_text("".join(f"{top / video}.npy\n" for video in VIDEOS))
    put_folder(tmp_path, top)
    for names in (
        [f"{top}/a.npy", f"{top}/b.npy"], [f"{top}/*.npy"], [f"{top}/relative.txt"], [f"{top}/full.txt"],
        [str(tmp_path / "full.txt")], [str(tmp_path / "a.npy"), f"{top}/b.npy"], [str(top)],
    ):  # fmt: skip
        reader, _ = open_given(names, (), (), CHOICES)
        assert reader.video_ids() == [*VIDEOS]
        np.testing.assert_array_equal(reader.read("b")[0], values_of("b", "rgb"))
    for name in (f"{top}/absent.npy", f"{top}/absent*.npy", f"{top}/absent"):
        with pytest.raises(UserError) as caught:
            open_given([name], (), (), CHOICES)
        assert name in str(caught.value)
        assert "expected" in str(caught.value)
