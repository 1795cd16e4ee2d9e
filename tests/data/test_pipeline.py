"""Batches for training and evaluation. The features say which segment of which video they are (see `make_video`)."""

from __future__ import annotations

import itertools
import json
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data import schema
from tc3net.data.pipeline import InputConfig, evaluation_batches, training_batches
from tc3net.data.split import Split, open_split
from tests.support.data import CLASSES, FEATURE_DIM, make_video, write_dataset

LENGTHS = [3, 40, 9, 17, 8, 25, 12, 30, 5, 21]  # of the training videos in `dataset_dir`


@dataclass(frozen=True)
class Row:
    """One video of a batch, decoded from its features."""

    video: int
    start: int
    count: int
    full_length: bool


def batches(split: Split, config: InputConfig, number: int, **kwargs: Any) -> list[dict[str, Any]]:
    return list(training_batches(split, config, **kwargs).take(number))


def rows(batch: dict[str, Any]) -> list[Row]:
    found = []
    for features, full_length in zip(batch["features"], batch["full_length"].numpy()):
        index, segment = features.numpy()[:, 0], features.numpy()[:, 1]
        assert (index == index[0]).all()
        np.testing.assert_array_equal(segment, segment[0] + np.arange(len(segment)))
        found.append(Row(int(index[0]), int(segment[0]), len(segment), bool(full_length)))
    return found


def assert_equal_batches(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        if name == "features":
            assert a[name].row_lengths().numpy().tolist() == b[name].row_lengths().numpy().tolist()
            np.testing.assert_array_equal(a[name].flat_values, b[name].flat_values)
        else:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.fixture
def split(dataset_dir: Path) -> Split:
    return open_split(dataset_dir, "validation")


# Opening a subset ----------------------------------------------------------------------------------------------------


def edit_manifest(folder: Path, subset: str, shard: int, **changes: Any) -> None:
    path = folder / schema.MANIFEST_NAME
    raw = json.loads(path.read_text())
    raw["splits"][subset]["shards"][shard].update(changes)
    path.write_text(json.dumps(raw))


def test_every_record_is_found(dataset_dir: Path) -> None:
    split = open_split(dataset_dir, "validation")
    assert split.num_videos == 10
    assert split.shard.tolist() == [0] * 4 + [1] * 4 + [2] * 2
    for video, (shard, offset) in enumerate(zip(split.shard, split.offset)):
        record = schema.encode(make_video(video, "validation", LENGTHS[video]))
        begin = offset + 12  # behind the length and its checksum
        assert Path(split.paths[shard]).read_bytes()[begin : begin + len(record)] == record


def test_an_unknown_subset_is_refused_with_the_ones_there(dataset_dir: Path) -> None:
    with pytest.raises(UserError, match=r"'training'.*\['test', 'validation'\].*--train_subset"):
        open_split(dataset_dir, "training")


def test_an_empty_subset_is_refused(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data", {"validation": [make_video(1, "validation", 3)], "test": []})
    with pytest.raises(UserError, match="no videos in a subset 'test'"):
        open_split(folder, "test")


def test_an_absent_shard_is_named(dataset_dir: Path) -> None:
    path = dataset_dir / "validation-00001-of-00003.tfrecord"
    path.unlink()
    with pytest.raises(UserError, match=r"absent.*Convert") as error:
        open_split(dataset_dir, "validation")
    assert str(path) in str(error.value)
    assert open_split(dataset_dir, "test").num_videos == 6


@pytest.mark.parametrize("manifest_agrees", [False, True])
@pytest.mark.parametrize("kept", [lambda size: size - 1, lambda size: size // 2, lambda size: 5])
def test_a_truncated_shard_is_named(dataset_dir: Path, kept: Any, manifest_agrees: bool) -> None:
    path = dataset_dir / "validation-00001-of-00003.tfrecord"
    content = path.read_bytes()
    path.write_bytes(content[: kept(len(content))])
    if manifest_agrees:  # then only the framing of the records can tell
        edit_manifest(dataset_dir, "validation", 1, bytes=kept(len(content)))
    with pytest.raises(UserError, match=r"truncated.*Convert") as error:
        open_split(dataset_dir, "validation")
    assert str(path) in str(error.value)


def test_a_shard_with_another_number_of_records_is_named(dataset_dir: Path) -> None:
    path = dataset_dir / "validation-00001-of-00003.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for video in range(4, 7):
            writer.write(schema.encode(make_video(video, "validation", LENGTHS[video])))
    edit_manifest(dataset_dir, "validation", 1, bytes=path.stat().st_size)
    with pytest.raises(UserError, match=r"3 records.*4") as error:
        open_split(dataset_dir, "validation")
    assert str(path) in str(error.value)


def test_a_shard_that_is_no_record_file_is_named(dataset_dir: Path) -> None:
    path = dataset_dir / "validation-00000-of-00003.tfrecord"
    path.write_bytes(struct.pack("<Q", 2**63) + bytes(path.stat().st_size - 8))
    with pytest.raises(UserError) as error:
        open_split(dataset_dir, "validation")
    assert str(path) in str(error.value)


# Which videos, which crops -------------------------------------------------------------------------------------------


def test_each_epoch_shows_every_video_once_in_a_new_order(split: Split) -> None:
    found = batches(split, InputConfig(batch_size=4, crop_segments=6), 15)  # 60 videos: 6 epochs, borders in batches
    videos = [row.video for batch in found for row in rows(batch)]
    epochs = [tuple(videos[i : i + 10]) for i in range(0, 60, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(epochs)) == 6


def test_batches_are_cropped_and_full_length_in_turn(split: Split) -> None:
    for step, batch in enumerate(batches(split, InputConfig(batch_size=5, crop_segments=8), 6)):
        for row in rows(batch):
            length = LENGTHS[row.video]
            assert row.full_length == (step % 2 == 1)
            assert row.count == (length if row.full_length else min(length, 8))
            assert row.start + row.count <= length


def test_one_kind_of_batches_on_request(split: Split) -> None:
    for kind in ("cropped", "full"):
        found = [
            row
            for batch in batches(split, InputConfig(batch_size=5, crop_segments=8, batches=kind), 4)
            for row in rows(batch)
        ]
        assert {row.full_length for row in found} == {kind == "full"}
        assert [row.count for row in found] == [
            LENGTHS[row.video] if kind == "full" else min(LENGTHS[row.video], 8) for row in found
        ]


def test_videos_beyond_the_limit_are_cropped_and_not_full_length(split: Split) -> None:
    config = InputConfig(batch_size=5, crop_segments=8, max_segments=17)
    seen = []
    for step, batch in enumerate(batches(split, config, 12)):
        for row in rows(batch):
            length, limit = LENGTHS[row.video], 17 if step % 2 else 8
            assert row.count == min(length, limit)
            assert row.full_length == (step % 2 == 1 and length <= 17)
            seen.append((row.full_length, length > 17))
    assert set(seen) == {(True, False), (False, False), (False, True)}


def test_every_crop_position_occurs_about_equally_often(tmp_path: Path) -> None:
    videos = [make_video(1, "validation", 4), make_video(2, "validation", 6)]
    split = open_split(write_dataset(tmp_path / "data", {"validation": videos}), "validation")
    config = InputConfig(batch_size=40, crop_segments=3, batches="cropped")
    starts = Counter((row.video, row.start) for batch in batches(split, config, 10) for row in rows(batch))
    assert set(starts) == {(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)}
    # 200 crops of each video; the bounds are more than 4.5 standard deviations away.
    assert all(65 < starts[1, start] < 135 for start in range(2))
    assert all(22 < starts[2, start] < 78 for start in range(4))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_features_are_the_stored_rows_rgb_then_flow(tmp_path: Path, dtype: str) -> None:
    videos = []
    for index, length in enumerate(LENGTHS[:6]):
        video = make_video(index, "validation", length)
        videos.append(replace(video, features={n: f.astype(dtype) for n, f in video.features.items()}))
    split = open_split(write_dataset(tmp_path / "data", {"validation": videos}), "validation")
    for batch in batches(split, InputConfig(batch_size=6, crop_segments=4), 2):
        assert batch["features"].dtype == tf.float32
        assert batch["features"].shape[-1] == 2 * FEATURE_DIM
        for features, row in zip(batch["features"], rows(batch)):
            video = videos[row.video]
            expected = np.concatenate(list(video.features.values()), axis=1)[row.start : row.start + row.count]
            np.testing.assert_array_equal(features, expected.astype(np.float32))


# The batch is a function of (seed, step) -----------------------------------------------------------------------------


def test_a_run_can_start_at_any_step(split: Split) -> None:
    config = InputConfig(batch_size=4, crop_segments=5)
    whole = batches(split, config, 13)
    for start in (0, 1, 2, 3, 5, 8, 10):  # step 2 holds an epoch's border, step 5 begins an epoch
        for expected, found in zip(whole[start:], batches(split, config, 3, start_step=start)):
            assert_equal_batches(expected, found)


def test_a_batch_may_span_several_epochs(split: Split) -> None:
    config = InputConfig(batch_size=23, crop_segments=5)
    whole = batches(split, config, 4)
    for start in range(4):
        assert_equal_batches(whole[start], batches(split, config, 1, start_step=start)[0])
    videos = [row.video for batch in whole for row in rows(batch)]
    assert all(sorted(videos[i : i + 10]) == list(range(10)) for i in range(0, 90, 10))


def test_the_seed_decides_order_and_crops(split: Split) -> None:
    first, again, other = (
        [row for batch in batches(split, InputConfig(batch_size=10, crop_segments=3, seed=seed), 2)
         for row in rows(batch)]
        for seed in (7, 7, 8)
    )  # fmt: skip
    assert first == again
    assert [row.video for row in first] != [row.video for row in other]
    assert {row.video: row.start for row in first[:10]} != {row.video: row.start for row in other[:10]}


def test_crops_of_one_video_differ_between_epochs(split: Split) -> None:
    config = InputConfig(batch_size=10, crop_segments=3, batches="cropped")
    starts = [{row.video: row.start for row in rows(batch)} for batch in batches(split, config, 3)]
    assert starts[0] != starts[1] != starts[2]


@pytest.mark.parametrize("start_step", [0, 3])
def test_the_shares_of_the_replicas_make_up_the_global_batch(split: Split, start_step: int) -> None:
    config = InputConfig(batch_size=4, crop_segments=5)
    whole = batches(split, config, 4, start_step=start_step)
    shares = batches(split, config, 8, start_step=start_step, num_replicas=2)
    for step, expected in enumerate(whole):
        pair = shares[2 * step : 2 * step + 2]
        assert [len(share["labels"]) for share in pair] == [2, 2]
        assert_equal_batches(expected, {name: tf.concat([share[name] for share in pair], axis=0) for name in expected})


def test_a_batch_that_cannot_be_divided_is_refused(split: Split) -> None:
    with pytest.raises(UserError, match=r"--batch_size=4 .*multiple of 3"):
        training_batches(split, InputConfig(batch_size=4), num_replicas=3)


# Targets -------------------------------------------------------------------------------------------------------------


def labelled(index: int, **changes: Any) -> schema.VideoExample:
    return replace(make_video(index, "validation", 5), **changes)


def test_targets_of_present_absent_counted_and_uncounted_classes(tmp_path: Path) -> None:
    videos = [
        labelled(0, labels=[0], counts=[3], counts_known=[True]),
        labelled(1, labels=[1], counts=[0], counts_known=[False]),
        labelled(2, labels=[0, 2], counts=[5, 0], counts_known=[True, False]),
        labelled(3, labels=[], counts=[], counts_known=[]),
        labelled(4, labels=[2], counts=[2], counts_known=[True]),
        labelled(5, labels=[1], counts=[9], counts_known=[False]),
    ]
    # `CLASSES` are Jump, Run, Throw; instances are annotated for the first two.
    folder = write_dataset(tmp_path / "data", {"validation": videos})
    assert schema.load_manifest(folder).counted_classes == ("Jump", "Run")
    (batch,) = batches(open_split(folder, "validation"), InputConfig(batch_size=6, batches="full"), 1)
    order = [row.video for row in rows(batch)]
    expected = {
        0: ([1, 0, 0], [3, 0, 0], [True, True, False]),  # Run is absent and counted: known 0. Throw: unknown
        1: ([0, 1, 0], [0, 0, 0], [True, False, False]),  # Run is present, its count not annotated
        2: ([1, 0, 1], [5, 0, 0], [True, True, False]),
        3: ([0, 0, 0], [0, 0, 0], [True, True, False]),  # no label
        4: ([0, 0, 1], [0, 0, 2], [True, True, True]),  # Throw is annotated in this video all the same
        5: ([0, 1, 0], [0, 0, 0], [True, False, False]),  # a number that is marked as unknown is not used
    }
    for name, column in zip(("labels", "counts", "counts_known"), range(3)):
        np.testing.assert_array_equal(batch[name], [expected[video][column] for video in order])
    assert (batch["labels"].dtype, batch["counts"].dtype, batch["counts_known"].dtype) == (
        tf.float32,
        tf.float32,
        tf.bool,
    )


def test_targets_follow_the_records(split: Split) -> None:
    for batch in batches(split, InputConfig(batch_size=10), 2):
        for i, row in enumerate(rows(batch)):
            video = make_video(row.video, "validation", LENGTHS[row.video])
            counts = {label: video.instance_label.count(label) for label in range(3)}
            assert np.flatnonzero(batch["labels"][i]).tolist() == video.labels
            assert batch["counts"][i].numpy().tolist() == [counts[label] for label in range(3)]
            assert batch["counts_known"][i].numpy().tolist() == [True, True, 2 in video.labels]


# Evaluation ----------------------------------------------------------------------------------------------------------


def evaluated(folder: Path, subset: str, batch_size: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(batch, video's columns) in order."""
    for number, batch in enumerate(evaluation_batches(open_split(folder, subset), batch_size)):
        for i in range(batch["features"].nrows()):
            yield number, {name: column[i].numpy() for name, column in batch.items()}


@pytest.mark.parametrize(("subset", "batch_size"), [("validation", 4), ("test", 6), ("test", 1)])
def test_evaluation_shows_every_video_whole_in_order_and_exactly(
    dataset_dir: Path, subset: str, batch_size: int
) -> None:
    found = list(evaluated(dataset_dir, subset, batch_size))
    assert len(found) == (10 if subset == "validation" else 6)
    for index, (batch, columns) in enumerate(found):
        video = make_video(index, subset, LENGTHS[index])
        assert batch == index // batch_size
        assert columns["id"].decode() == video.video_id
        np.testing.assert_array_equal(columns["features"], np.concatenate(list(video.features.values()), axis=1))
        assert np.flatnonzero(columns["labels"]).tolist() == video.labels
        assert columns["labels"].shape == (len(CLASSES),)
        for name, expected in [
            ("instances/start", video.instance_start_s),
            ("instances/end", video.instance_end_s),
            ("ambiguous/start", video.ambiguous_start_s),
            ("ambiguous/end", video.ambiguous_end_s),
        ]:
            assert columns[name].dtype == np.float64
            assert columns[name].tolist() == list(expected)
        assert columns["instances/label"].tolist() == video.instance_label
        assert bool(columns["instances_known"]) == video.instances_known
        assert columns["duration"] == video.duration_s
        assert columns["duration"].dtype == columns["fps"].dtype == np.float64
        base = (columns["fps"], columns["frames_per_segment"], columns["stride_frames"])
        assert base == (video.time_base.fps, video.time_base.frames_per_segment, video.time_base.stride_frames)


def test_evaluation_of_float16_features_and_videos_without_anything(tmp_path: Path) -> None:
    names = ("labels", "counts", "counts_known", "instance_start_s", "instance_end_s", "instance_label")
    nothing: dict[str, Any] = {name: [] for name in names}
    videos = []
    for index in range(3):
        video = make_video(index, "test", 4 + index)
        videos.append(
            replace(
                video, features={n: f.astype("f2") for n, f in video.features.items()}, instances_known=False, **nothing
            )
        )
    found = list(evaluated(write_dataset(tmp_path / "data", {"test": videos}), "test", 2))
    for (_, columns), video in itertools.zip_longest(found, videos):
        expected = np.concatenate(list(video.features.values()), axis=1).astype(np.float32)
        np.testing.assert_array_equal(columns["features"], expected)
        assert not columns["labels"].any()
        assert not columns["instances_known"]
        assert columns["instances/start"].tolist() == columns["instances/label"].tolist() == []
