"""The index beside the shards against a reading of all records, and what happens where it cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.files import sha256_of
from tc3net.data import record_index, schema
from tc3net.data.pipeline import InputConfig, evaluation_batches, training_batches
from tc3net.data.record_index import INDEX_NAME, read_index, scan_shard, write_index
from tc3net.data.split import open_split
from tests.support.data import make_video, write_dataset
from tests.support.forked_commands import Command


def independent_rows(folder: Path, subset: str) -> list[tuple[int, int, int, int]]:
    """Offset, length, shard and segments of every record, by the readers of TensorFlow and protobuf."""
    rows = []
    for number, shard in enumerate(schema.load_manifest(folder).splits[subset].shards):
        offset = 0
        for record in tf.data.TFRecordDataset(str(folder / shard.file)).as_numpy_iterator():
            stated = tf.train.Example.FromString(record).features.feature["video/num_segments"].int64_list.value[0]
            rows.append((offset, len(record), number, stated))
            offset += 12 + len(record) + 4
    return rows


def rewrite_shard(folder: Path, subset: str, lengths: list[int]) -> None:
    """Another first shard of as many videos, and the manifest that says so."""
    manifest = schema.load_manifest(folder)
    info = manifest.splits[subset]
    path = folder / info.shards[0].file
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, length in enumerate(lengths):
            writer.write(schema.encode(make_video(number, subset, length)))
    shard = schema.Shard(path.name, len(lengths), path.stat().st_size, sha256_of(path))
    manifest.splits[subset] = schema.SplitInfo(info.videos, info.segments, (shard, *info.shards[1:]))
    schema.save_manifest(folder, manifest)


@pytest.mark.parametrize("subset", ["validation", "test"])
def test_the_index_says_what_the_records_say(dataset_dir: Path, subset: str) -> None:
    rows = read_index(dataset_dir, schema.load_manifest(dataset_dir), subset)
    assert rows.tolist() == independent_rows(dataset_dir, subset)
    split = open_split(dataset_dir, subset)
    assert (split.shard.tolist(), split.offset.tolist()) == (rows["shard"].tolist(), rows["offset"].tolist())
    assert split.shard.dtype == split.offset.dtype == np.int64


def test_numbers_of_segments_of_every_size_and_order_of_keys(tmp_path: Path) -> None:
    lengths = [1, 127, 128, 16383, 16384, 70000]
    folder = write_dataset(tmp_path / "data", {"test": [make_video(1, "test", length) for length in lengths]})
    assert read_index(folder, schema.load_manifest(folder), "test")["segments"].tolist() == lengths
    # Records of another writer, which puts the number first, far from the end; and one that cannot be parsed.
    number = schema._ints([9])
    first = tf.train.Features(feature={"video/num_segments": number}).SerializeToString()
    last = tf.train.Features(feature={"video/subset": schema._bytes("x" * 999)}).SerializeToString()
    size = len(first + last)
    with tf.io.TFRecordWriter(str(tmp_path / "other")) as writer:
        writer.write(b"\x0a" + bytes([size & 0x7F | 0x80, size >> 7]) + first + last)
        writer.write(b"\xff" * 400)
        writer.write(b"")
    assert scan_shard(tmp_path / "other")["segments"].tolist() == [9, 0, 0]
    assert scan_shard(tmp_path / "other")["length"].tolist() == [size + 3, 400, 0]


def test_an_index_that_is_good_is_all_that_is_read(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = independent_rows(dataset_dir, "validation")
    monkeypatch.setattr(record_index, "scan_shard", lambda *_: pytest.fail("a shard was read"))
    assert open_split(dataset_dir, "validation").offset.tolist() == [row[0] for row in expected]
    assert capsys.readouterr().err == ""


def flip(position: int) -> object:
    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[position] ^= 1
        return bytes(changed)

    return damage


DAMAGES = {
    "no index": (lambda content: b"something else", "damaged: it begins as no index does"),
    "empty": (lambda content: b"", "damaged: it begins as no index does"),
    "version": (flip(8), "of another version: 0 found, 1 expected"),
    "size of the header": (flip(15), "damaged: its header has another checksum"),
    "header": (flip(30), "damaged: its header has another checksum"),
    "rows": (flip(-30), "damaged: its rows have another checksum"),
    "cut in the rows": (lambda content: content[:-1], "truncated: 9 of 10 records found"),
    "cut in the header": (lambda content: content[:50], "damaged: its header has another checksum"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew_and_said(
    dataset_dir: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(dataset_dir.parent / "one", {"x": [make_video(i, "x", 3 + i) for i in range(10)]})
    path = folder / INDEX_NAME
    good, (change, why) = path.read_bytes(), DAMAGES[damage]
    path.write_bytes(change(good))
    assert open_split(folder, "x").offset.tolist() == [row[0] for row in independent_rows(folder, "x")]
    said = f"Note: {path}: {why}; the frames of 10 records were read, and the index is written anew\n"
    assert capsys.readouterr().err == said
    assert path.read_bytes() == good
    open_split(folder, "x")
    assert capsys.readouterr().err == ""


def test_an_absent_index_is_made_for_all_subsets(dataset_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = dataset_dir / INDEX_NAME
    good = path.read_bytes()
    path.unlink()
    open_split(dataset_dir, "test")
    assert f"{path}: absent; the frames of 6 records" in capsys.readouterr().err
    assert path.read_bytes() == good
    open_split(dataset_dir, "validation")
    assert capsys.readouterr().err == ""


def test_a_subset_that_cannot_be_read_is_left_to_its_own_opening(
    dataset_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard, index = dataset_dir / "validation-00001-of-00003.tfrecord", dataset_dir / INDEX_NAME
    content, good = shard.read_bytes(), index.read_bytes()
    index.unlink()
    shard.unlink()
    assert open_split(dataset_dir, "test").num_videos == 6
    assert list(dataset_dir.glob(".*")) == []
    capsys.readouterr()
    shard.write_bytes(content)
    assert open_split(dataset_dir, "validation").num_videos == 10
    assert "stale: it lacks the subset 'validation'" in capsys.readouterr().err
    assert index.read_bytes() == good


def test_a_shard_written_anew_makes_the_index_stale(dataset_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite_shard(dataset_dir, "validation", [5, 6, 7, 50])
    split = open_split(dataset_dir, "validation")
    assert split.offset.tolist() == [row[0] for row in independent_rows(dataset_dir, "validation")]
    assert "stale: dataset.json tells of other shards" in capsys.readouterr().err
    assert read_index(dataset_dir, split.manifest, "validation").tolist() == independent_rows(dataset_dir, "validation")


def test_a_shard_of_the_same_size_that_the_manifest_does_not_know_is_noticed_too(
    dataset_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, before = dataset_dir / INDEX_NAME, (dataset_dir / "dataset.json").read_bytes()
    path = dataset_dir / "test-00000-of-00002.tfrecord"
    swapped = [make_video(i, "test", s) for i, s in enumerate([3, 40, 9, 17])][::-1]
    size = path.stat().st_size
    with tf.io.TFRecordWriter(str(path)) as writer:
        for video in swapped:
            writer.write(schema.encode(video))
    assert path.stat().st_size == size
    os.utime(path, ns=(index.stat().st_mtime_ns + 10**9,) * 2)
    split = open_split(dataset_dir, "test")
    assert split.offset.tolist() == [row[0] for row in independent_rows(dataset_dir, "test")]
    assert "stale: its shards have changed" in capsys.readouterr().err
    assert (dataset_dir / "dataset.json").read_bytes() == before


def test_shards_that_were_only_copied_are_looked_at_once_and_nothing_is_said(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, good = dataset_dir / "test-00001-of-00002.tfrecord", (dataset_dir / INDEX_NAME).read_bytes()
    later_ns = (dataset_dir / INDEX_NAME).stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later_ns, later_ns))
    open_split(dataset_dir, "test")
    monkeypatch.setattr(record_index, "scan_shard", lambda *_: pytest.fail("a shard was read"))
    open_split(dataset_dir, "test")
    assert capsys.readouterr().err == ""
    assert (dataset_dir / INDEX_NAME).read_bytes() == good


def test_where_the_folder_cannot_be_written_the_index_is_in_memory(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset_dir / INDEX_NAME).unlink()
    files, scanned = sorted(os.listdir(dataset_dir)), []
    scan = record_index.scan_shard
    monkeypatch.setattr(record_index, "scan_shard", lambda path, *rest: scanned.append(path.name) or scan(path, *rest))
    monkeypatch.setattr(record_index.os, "access", lambda *_: False)  # root may write everywhere
    assert open_split(dataset_dir, "test").num_videos == 6
    assert "the index is kept in memory (the folder cannot be written)" in capsys.readouterr().err
    assert sorted(os.listdir(dataset_dir)) == files
    assert all(name.startswith("test-") for name in scanned)  # what nobody asked for is not read for nothing


def test_a_full_disk_costs_the_file_alone(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset_dir / INDEX_NAME).write_bytes(b"damaged")
    files = sorted(os.listdir(dataset_dir))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert open_split(dataset_dir, "test").num_videos == 6
    assert "the index is kept in memory (No space left on device)" in capsys.readouterr().err
    assert sorted(os.listdir(dataset_dir)) == files
    assert (dataset_dir / INDEX_NAME).read_bytes() == b"damaged"


def test_batches_are_the_same_with_and_without_an_index(dataset_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def drawn() -> list[bytes]:
        split = open_split(dataset_dir, "validation")
        batches = [*training_batches(split, InputConfig(batch_size=4, crop_segments=6, seed=3)).take(5)]
        batches += [*evaluation_batches(split)]
        flat = [tf.nest.flatten(batch, expand_composites=True) for batch in batches]
        return [tensor.numpy().tobytes() for batch in flat for tensor in batch if tensor.dtype != tf.string]

    with_index = drawn()
    (dataset_dir / INDEX_NAME).unlink()
    assert drawn() == with_index
    assert "absent" in capsys.readouterr().err


def test_processes_that_make_it_at_once_leave_a_good_one(dataset_dir: Path) -> None:
    path = dataset_dir / INDEX_NAME
    good, go = path.read_bytes(), dataset_dir.parent / "go"
    path.unlink()
    code = f"""
import os, time
from tc3net.data.split import open_split
while not os.path.exists({str(go)!r}):
    time.sleep(0.001)
for _ in range(5):
    assert open_split({str(dataset_dir)!r}, "validation").num_videos == 10
    try:
        os.unlink({str(path)!r})
    except FileNotFoundError:
        pass
assert open_split({str(dataset_dir)!r}, "test").num_videos == 6
"""
    commands = [Command(["-c", code]) for _ in range(2)]
    go.touch()
    for command in commands:
        done = command.finish()
        assert done.returncode == 0, done.stderr
    open_split(dataset_dir, "test")
    assert path.read_bytes() == good
    assert list(dataset_dir.glob(".*")) == []


def test_the_same_shards_give_the_same_bytes(dataset_dir: Path) -> None:
    path, manifest = dataset_dir / INDEX_NAME, schema.load_manifest(dataset_dir)
    good = path.read_bytes()
    write_index(dataset_dir, manifest)
    assert path.read_bytes() == good
    rows = {name: read_index(dataset_dir, manifest, name) for name in reversed(manifest.splits)}
    write_index(dataset_dir, manifest, rows)
    assert path.read_bytes() == good
