"""Converted data sets: an intact one passes, and whatever is changed in it afterwards is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.inspection.findings import inspect_dataset
from data_prep.inspection.verify import verify
from tc3net.common.errors import UserError
from tc3net.common.files import sha256_of
from tc3net.data import schema
from tc3net.data.streams import RGB_FLOW, Streams
from tc3net.data.timebase import TimeBase

CLASSES = ("Jump", "Run", "Throw")
DIM = 3
ROWS = np.ones((10, DIM), np.float32)


def example(index: int, subset: str = "training", **changes) -> schema.VideoExample:
    """A video with two instances of Run and one of Jump, of which Throw's number is unknown."""
    features = np.random.default_rng(index).normal(size=(2, 10, DIM)).astype(np.float32)
    good = schema.VideoExample(
        video_id=f"{subset}_{index}", subset=subset, features=dict(zip(RGB_FLOW, features)),
        labels=[0, 1, 2], counts=[1, 2, 0], counts_known=[True, True, False], instances_known=True,
        instance_start_s=[0.5, 1.0, 3.0], instance_end_s=[1.5, 2.0, 4.0], instance_label=[0, 1, 1],
        ambiguous_start_s=[5.0], ambiguous_end_s=[6.0], duration_s=6.4, time_base=TimeBase(),
    )  # fmt: skip
    return replace(good, **changes)


def write(folder: Path, videos: list[schema.VideoExample], **changes) -> Path:
    """Shards of two videos each, with a manifest that describes them truly; `changes` are fields of the manifest."""
    folder.mkdir()
    splits = {}
    for subset in dict.fromkeys(video.subset for video in videos):
        members = [video for video in videos if video.subset == subset]
        shards = []
        for number, start in enumerate(range(0, len(members), 2)):
            path = folder / f"{subset}-{number:05d}.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for video in members[start : start + 2]:
                    writer.write(schema.encode(video))
            shards.append(
                schema.Shard(path.name, len(members[start : start + 2]), path.stat().st_size, sha256_of(path))
            )
        splits[subset] = schema.SplitInfo(len(members), 10 * len(members), tuple(shards))
    manifest = schema.Manifest(
        "Test", CLASSES, CLASSES[:2], Streams.pair(DIM), "float32", TimeBase(), splits, converter_version="1"
    )
    schema.save_manifest(folder, replace(manifest, **changes))
    return folder


GOOD = [example(0), example(1), example(2), example(3, "test")]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good", GOOD)


def errors(folder: Path) -> list[tuple[str, str, str]]:
    return [(problem.video_id, problem.rule, problem.message) for problem in inspect_dataset(folder).errors()]


def test_an_intact_data_set_passes_and_is_described(good):
    found = inspect_dataset(good)
    # Throw is labelled, but no instance says how often it occurs.
    assert [problem.rule for problem in found.problems] == ["labels_differ"] * 4
    assert found.numbers["total"]["videos"] == 4
    assert found.numbers["total"]["segments"] == 40
    assert found.numbers["total"]["counts"] == 8
    assert found.numbers["classes"]["Run"] == {
        "training": {"videos": 3, "instances": 6},
        "test": {"videos": 1, "instances": 2},
    }
    assert found.numbers["time_base"]["difference_s"]["max"] == 0.0
    verified = verify(good)
    assert verified.counts["test_3"] == {"Jump": 1, "Run": 2}
    assert verified.annotations.videos[0].ambiguous == ((5.0, 6.0),)


def test_float16_is_read_as_it_was_stored(tmp_path):
    half = [replace(v, features={n: f.astype(np.float16) for n, f in v.features.items()}) for v in GOOD]
    assert errors(write(tmp_path / "half", half, feature_dtype="float16")) == []
    found = verify(tmp_path / "half").findings.features["test_3"]
    assert found.largest == float(max(np.abs(half[3].features["rgb"]).max(), np.abs(half[3].features["flow"]).max()))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_is_found(good, data):
    path = good / "training-00000.tfrecord"
    before = path.read_bytes()
    position = data.draw(st.integers(0, len(before) - 1))
    changed = bytearray(before)
    changed[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    try:
        found = errors(good)
    finally:
        path.write_bytes(before)
    assert found[0][:2] == (path.name, "bad_shard")
    assert "SHA-256" in found[0][2]


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_shard_is_found(good, kept):
    path = good / "training-00000.tfrecord"
    path.write_bytes(path.read_bytes()[:kept])
    found = errors(good)
    assert {(name, rule) for name, rule, _ in found} == {(path.name, "bad_shard")}
    assert f"{path.stat().st_size} bytes; expected" in found[0][2]
    # What is intact is still described.
    assert inspect_dataset(good).numbers["subsets"]["test"]["videos"] == 1


def test_an_absent_shard_and_a_foreign_file_are_found(good):
    (good / "test-00000.tfrecord").rename(good / "test-00001.tfrecord")
    problems = inspect_dataset(good).problems
    assert [(p.video_id, p.rule) for p in problems if p.severity == "error"] == [("test-00000.tfrecord", "bad_shard")]
    assert [(p.video_id, p.rule) for p in problems if p.rule == "unlisted_file"] == [
        ("test-00001.tfrecord", "unlisted_file")
    ]


def test_swapped_shards_of_the_same_size_are_found(tmp_path):
    folder = write(tmp_path / "d", [example(0), example(1), example(2), example(3)])
    first, second = (folder / f"training-0000{i}.tfrecord" for i in range(2))
    assert first.stat().st_size == second.stat().st_size
    first.rename(folder / "x")
    second.rename(first)
    (folder / "x").rename(second)
    assert [rule for _, rule, _ in errors(folder)] == ["bad_shard", "bad_shard"]


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    raw = json.loads((folder / schema.MANIFEST_NAME).read_text())
    change(raw)
    (folder / schema.MANIFEST_NAME).write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        (lambda m: m["splits"]["training"].update(videos=2), "bad_manifest", "2 videos, its shards 3"),
        (lambda m: m["splits"]["training"].update(segments=31), "bad_manifest", "31 segments, its records 30"),
        (lambda m: m["splits"]["test"].update(segments="10"), "bad_manifest", "segments of 'test' is '10'"),
        (
            lambda m: m.update(streams={"rgb": 6, "flow": 3}),
            "bad_record",
            "rgb: 120 bytes; 10 segments of 6 float32",
        ),
        (lambda m: m.update(streams={"flow": 3, "audio": 3}), "bad_record", "features/audio"),
        (lambda m: m.update(feature_dtype="float16"), "bad_record", "features are float32; expected float16"),
        (lambda m: m.update(feature_dtype="object"), "bad_manifest", "feature_dtype is 'object'"),
        (lambda m: m["classes"].pop(), "bad_record", "label 2; expected 0 to 1"),
        (lambda m: m["classes"].append("Run"), "bad_manifest", "not unique"),
        (lambda m: m.update(counted_classes=["Swim"]), "bad_manifest", "counted class 'Swim'"),
        (lambda m: m.update(counted_classes=["Run"]), "bad_record", "counts of ['Jump'], which dataset.json does not"),
        (lambda m: m["splits"].update(training=m["splits"]["test"]), "bad_manifest", "more than once"),
        (lambda m: m["splits"].update(other=m["splits"].pop("test")), "bad_record", "subset is 'test'"),
        (lambda m: m["splits"]["test"]["shards"][0].update(sha256="0" * 64), "bad_shard", "expected 000"),
        (lambda m: m["splits"]["test"]["shards"][0].update(bytes=7), "bad_shard", "expected 7"),
        (lambda m: m["splits"]["test"]["shards"][0].update(file="../x"), "bad_manifest", "leads out of the folder"),
        (
            lambda m: (m["splits"]["test"].update(videos=2), m["splits"]["test"]["shards"][0].update(videos=2)),
            "bad_shard",
            "1 records; expected 2",
        ),
    ],
)
def test_an_edited_manifest_is_found(good, change, rule, message):
    edit(good, change)
    found = errors(good)
    assert any(name == rule and message in text for _, name, text in found), found


@pytest.mark.parametrize("change", [lambda m: m.pop("splits"), lambda m: m.update(schema_version=99)])
def test_a_manifest_that_says_nothing_is_refused(good, change):
    edit(good, change)
    with pytest.raises(UserError, match=r"dataset\.json"):
        inspect_dataset(good)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 2, 1]}, "labels [0, 2, 1] are not ascending"),
        ({"labels": [0, 1, 3]}, "label 3; expected 0 to 2"),
        ({"labels": [-1, 0, 1], "instance_label": [0, 1, 1]}, "label -1; expected 0 to 2"),
        ({"instance_label": [0, 1, 7]}, "label 7; expected 0 to 2"),
        ({"labels": [0, 2], "counts": [1, 0], "counts_known": [True, False]}, "a class that is not among the labels"),
        ({"instance_end_s": [1.5, 2.0]}, "starts, ends and labels of the instances differ in number"),
        ({"ambiguous_end_s": []}, "differ in number"),
        ({"instances_known": False}, "has instances that are said to be unknown"),
        ({"counts": [1, 3, 0]}, "counts are {'Jump': 1, 'Run': 3}; its instances give {'Jump': 1, 'Run': 2}"),
        ({"counts": [1, 2, 4]}, "a count that is not known is 4; expected 0"),
        ({"counts": [0, 2, 0]}, "a known count is not positive"),
        ({"counts": [1, 2]}, "2 counts and 3 marks of known ones; expected 3 of each"),
        ({"counts_known": [True, False, False], "counts": [1, 0, 0]}, "its instances give"),
        ({"features": {"rgb": ROWS, "flow": ROWS[:9]}}, "flow: 108 bytes; 10 segments of 3 float32 need 120"),
        ({"features": {"rgb": ROWS[:0], "flow": ROWS[:0]}}, "0 segments"),
    ],
)
def test_a_record_that_contradicts_itself_is_found(tmp_path, changes, message):
    folder = write(tmp_path / "d", [example(0), example(1, **changes), example(2)])
    found = errors(folder)
    assert [(name, rule) for name, rule, _ in found] == [("training-00000.tfrecord, record 1", "bad_record")]
    assert "training_1" in found[0][2]
    assert message in found[0][2]


def test_counts_without_instances_are_as_they_were_given(tmp_path):
    counted = example(
        0, instances_known=False, instance_start_s=[], instance_end_s=[], instance_label=[], counts=[4, 9, 0]
    )
    assert verify(write(tmp_path / "d", [counted])).counts == {"training_0": {"Jump": 4, "Run": 9}}
    assert errors(tmp_path / "d") == []


def test_something_else_than_records_is_found(good):
    path = good / "test-00000.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"not an example")

    def describe(raw: dict) -> None:
        raw["splits"]["test"]["shards"] = [asdict(schema.Shard(path.name, 1, path.stat().st_size, sha256_of(path)))]

    edit(good, describe)
    ((name, rule, _),) = errors(good)
    assert (name, rule) == (f"{path.name}, record 0", "bad_record")


def test_the_rules_of_raw_inputs_hold_for_records_too(tmp_path):
    bad = example(1).features["rgb"].copy()
    bad[4, 2] = np.nan
    zero = example(2).features["rgb"].copy()
    zero[7] = 0

    def of(index: int, rgb: np.ndarray) -> schema.VideoExample:
        return example(index, features={**example(index).features, "rgb": rgb})

    late = {"instance_start_s": [0.5, 1.0, 9.0], "instance_end_s": [1.5, 2.0, 9.5], "counts": [1, 1, 0]}
    twin = example(3, "test", video_id="test_0")
    videos = [example(0), of(1, bad), of(2, zero), example(3), twin, example(4, **late)]
    folder = write(tmp_path / "d", [*videos, example(5, video_id="training_0")])
    problems = inspect_dataset(folder).problems
    assert {(problem.video_id, problem.rule) for problem in problems if problem.rule != "labels_differ"} == {
        ("training_1", "bad_features"),
        ("training_2", "zero_rows"),
        ("training_0", "duplicate_id"),
        ("training_4", "starts_after_video"),
        ("test_0", "same_features"),
        ("training_3", "same_features"),
    }
    edit(folder, lambda raw: raw["source"].update(keep_late_instances=True))
    assert ("training_4", "late_instance") in {(p.video_id, p.rule) for p in inspect_dataset(folder).problems}


def test_nothing_in_the_folder_is_changed(good, tmp_path):
    shutil.copytree(good, tmp_path / "copy")
    inspect_dataset(good)
    for path in good.iterdir():
        assert path.read_bytes() == (tmp_path / "copy" / path.name).read_bytes()
    assert len(list(good.iterdir())) == len(list((tmp_path / "copy").iterdir()))
