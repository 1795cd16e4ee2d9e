"""A conversion into storage without renames and locks: the manifest alone changes one data set for the next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.conversion import shards
from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.inputs.options import InputOptions
from data_prep.output import remote_staging
from data_prep.output.remote_staging import is_prefixed, prefix_of
from tc3net.common.errors import UserError
from tc3net.common.storage import RemotePath
from tc3net.common.storage.copies import put_folder
from tc3net.common.storage.leases import lease
from tc3net.data.record_index import INDEX_NAME, read_index, scan_subset
from tc3net.data.schema import load_manifest
from tc3net.data.split import open_split
from tests.support.conversion import write_inputs
from tests.support.memory import memory_folder


@pytest.fixture
def top() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


def options_in(tmp_path: Path, top: Path) -> ConvertOptions:
    return replace(write_inputs(tmp_path), output_dir=str(top / "out"), videos_per_shard=1)


def contents(folder: Path) -> dict[str, bytes]:
    """Files by name without the prefix; that of the manifest without what differs by it."""
    return {
        path.name[path.name.find(".") + 1 if is_prefixed(path.name) else 0 :]: path.read_bytes()
        for path in folder.iterdir()
    }


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class Stop(BaseException):
    """Stands for a kill."""


def stopped_after(
    number: int, options: ConvertOptions, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Converts until that many shards are there and the next is being put."""
    put, count = remote_staging._put, 0

    def put_some(local: Path, target: Path) -> None:
        nonlocal count
        if count == number:
            raise error
        put(local, target)
        count += 1

    with monkeypatch.context() as patch, pytest.raises((error, UserError)):
        patch.setattr(remote_staging, "_put", put_some)
        convert(options)


def test_the_bytes_are_those_of_a_disk_and_the_readers_find_them(tmp_path: Path, top: Path) -> None:
    options = options_in(tmp_path, top)
    convert(replace(options, output_dir=tmp_path / "out"))
    remote = convert(options)
    of_disk, of_storage = contents(tmp_path / "out"), contents(top / "out")
    assert of_disk.keys() == of_storage.keys()
    assert {name for name in of_disk if of_disk[name] != of_storage[name]} == {"dataset.json", INDEX_NAME}
    assert load_manifest(top / "out") == remote
    for subset, split in remote.splits.items():
        rows = read_index(top / "out", remote, subset)
        assert np.array_equal(rows, scan_subset(top / "out", split))
        assert open_split(top / "out", subset).num_videos == split.videos


def test_inputs_on_the_storage_give_the_same_shards(tmp_path: Path, top: Path) -> None:
    options = options_in(tmp_path, top)
    assert isinstance(top, RemotePath)
    put_folder(tmp_path, top / "raw")  # type: ignore[arg-type]
    local = convert(replace(options, output_dir=tmp_path / "out"))
    inputs = InputOptions(str(top / "raw" / "a.json"), str(top / "raw" / "features"))
    remote = convert(replace(options, inputs=inputs))
    assert [[s.sha256 for s in split.shards] for split in local.splits.values()] == [
        [s.sha256 for s in split.shards] for split in remote.splits.values()
    ]
    (top / "raw" / "features" / "rgb" / "v1.npy").write_bytes(b"damaged")
    with pytest.raises(UserError, match=rf"{top}/raw/features/rgb/v1\.npy"):
        convert(replace(options, inputs=inputs))
    (top / "raw" / "a.json").write_text("{")
    with pytest.raises(UserError, match=rf"{top}/raw/a\.json"):
        convert(replace(options, inputs=inputs))
    assert load_manifest(top / "out") == remote


@pytest.mark.parametrize("error", [Stop, OSError])
def test_stopped_and_started_again_it_goes_on(
    tmp_path: Path,
    top: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[BaseException],
) -> None:
    options = options_in(tmp_path, top)
    monkeypatch.setattr(remote_staging, "_LINES_EVERY_S", 0.0)
    stopped_after(2, options, monkeypatch, error)
    with pytest.raises(UserError, match="no such file"):
        load_manifest(top / "out")
    examined = []
    examine = shards.examine_video
    monkeypatch.setattr(shards, "examine_video", lambda *given: (examined.append(given), examine(*given))[1])
    first = min(path for path in (top / "out").iterdir() if path.name.endswith(".tfrecord"))
    first.write_bytes(first.read_bytes()[:-1] + b"\x00")
    capsys.readouterr()
    manifest = convert(options)
    assert "going on, 1 of 3 shards are finished" in capsys.readouterr().out
    assert examined == []
    files = {shard.file for split in manifest.splits.values() for shard in split.shards}
    assert names(top / "out") == {"dataset.json", INDEX_NAME, *files}
    again = convert(replace(options, output_dir=tmp_path / "whole"))
    assert contents(tmp_path / "whole").keys() == contents(top / "out").keys()
    assert [s.sha256 for s in again.splits["training"].shards] == [s.sha256 for s in manifest.splits["training"].shards]


@pytest.mark.parametrize("error", [Stop, OSError])
def test_the_earlier_data_set_stays_whole_until_the_manifest_is_there(
    tmp_path: Path, top: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    options = options_in(tmp_path, top)
    before = convert(options)
    files = {path.name: path.read_bytes() for path in (top / "out").iterdir()}
    np.save(tmp_path / "features" / "rgb" / "v1.npy", np.full((10, 2), 7, np.float32))
    stopped_after(2, options, monkeypatch, error)
    assert {name: (top / "out" / name).read_bytes() for name in files} == files
    assert load_manifest(top / "out") == before
    put, failed = RemotePath.put, []

    def fail_at_the_manifest(self: RemotePath, local: Path) -> None:
        if self.name == "dataset.json":
            failed.append(self)
            raise OSError("no connection")
        put(self, local)

    with monkeypatch.context() as patch, pytest.raises(UserError, match="the data set that was there is unchanged"):
        patch.setattr(RemotePath, "put", fail_at_the_manifest)
        convert(options)
    assert failed
    assert load_manifest(top / "out") == before
    assert open_split(top / "out", "training").num_videos == 2
    after = convert(options)
    assert after != before
    assert names(top / "out") == {
        "dataset.json",
        INDEX_NAME,
        *(s.file for sp in after.splits.values() for s in sp.shards),
    }


def test_what_another_plan_left_goes_and_what_others_put_there_stays(
    tmp_path: Path, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_in(tmp_path, top)
    stopped_after(2, options, monkeypatch, Stop)
    (top / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds files but no dataset\.json"):
        convert(options)
    (top / "out" / "notes.txt").unlink()
    manifest = convert(replace(options, feature_dtype="float16"))
    files = {shard.file for split in manifest.splits.values() for shard in split.shards}
    assert names(top / "out") == {"dataset.json", INDEX_NAME, *files}
    (top / "out" / "notes.txt").write_text("mine")
    convert(replace(options, feature_dtype="float16"))
    assert (top / "out" / "notes.txt").read_text() == "mine"
    with pytest.raises(UserError, match="holds the data set 'Tiny'"):
        convert(replace(options, name="Other"))


def test_bad_videos_leave_nothing_there(tmp_path: Path, top: Path) -> None:
    options = options_in(tmp_path, top)
    np.save(tmp_path / "features" / "rgb" / "v1.npy", np.full((10, 2), np.nan, np.float32))
    with pytest.raises(UserError, match=r"v1"):
        convert(options)
    assert not names(top / "out")


def test_two_at_once_are_refused_and_a_lost_lease_writes_no_manifest(
    tmp_path: Path, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_in(tmp_path, top)
    out = top / "out"
    assert isinstance(out, RemotePath)
    with lease(out, "conversion") as held:
        with pytest.raises(
            UserError, match=r"out: process \d+ on .* is converting into it; expected to be the only one"
        ):
            convert(options)
        assert names(out) == {held.path.name}
    before = convert(options)
    finish, once = remote_staging.RemoteStaging.finish, []

    def then_lose(self: remote_staging.RemoteStaging, name: str, record: object) -> None:
        finish(self, name, record)  # type: ignore[arg-type]
        once.append(name)
        self._held._renewed_at -= 1000

    monkeypatch.setattr(remote_staging.RemoteStaging, "finish", then_lose)
    with pytest.raises(UserError, match="may be another process's by now"):
        convert(replace(options, feature_dtype="float16"))
    assert len(once) == 1
    assert load_manifest(out) == before


def test_a_prefix_belongs_to_a_plan_and_is_not_that_of_the_present_data_set() -> None:
    plan = {"a": 1, "b": [2]}
    first = prefix_of(plan, [])
    assert first == prefix_of(json.loads(json.dumps(plan)), [])
    assert first != prefix_of({**plan, "a": 2}, [])
    second = prefix_of(plan, [f"{first}test-00000-of-00001.tfrecord"])
    assert second != first
    assert prefix_of(plan, [f"{second}test-00000-of-00001.tfrecord"]) == first
    assert is_prefixed(f"{first}x") and is_prefixed(f"{second}x")
    assert not any(map(is_prefixed, ("dataset.json", "notes.txt", "test-00000-of-00001.tfrecord", "", "abcdef0123")))
