"""Raw scores: what the model says about each video alone, kept on disk without loss."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.split import open_split
from tc3net.inference.raw_scores import RawScores, load_scores, save_scores
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.intervals.columns import GroundTruth
from tc3net.model import Attention, Boundaries, Pooling, ThreeCNet
from tests.support.data import CLASSES, FEATURE_DIM, make_video, write_dataset

TEST_LENGTHS = [3, 40, 9, 17, 8, 25]


@pytest.fixture(scope="module")
def model() -> ThreeCNet:
    return ThreeCNet(len(CLASSES), FEATURE_DIM, seed=5)


def attending() -> ThreeCNet:
    return ThreeCNet(len(CLASSES), FEATURE_DIM, seed=5, heads=(Attention("conv", 4), Pooling("attention")))


def scored(model: ThreeCNet, folder: Path, batch_size: int = 4, divisor: int = 8) -> RawScores:
    return score_videos(Scorer(model, divisor), open_split(folder, "test"), batch_size)


@pytest.fixture(scope="module")
def scores(model: ThreeCNet, tmp_path_factory: pytest.TempPathFactory) -> RawScores:
    videos = [make_video(i, "test", length) for i, length in enumerate(TEST_LENGTHS)]
    return scored(model, write_dataset(tmp_path_factory.mktemp("data") / "dataset", {"test": videos}))


def assert_equal_scores(a: RawScores, b: RawScores) -> None:
    for x, y in ((a, b), (a.ground_truth, b.ground_truth)):
        for item in dataclasses.fields(x):
            value, other = getattr(x, item.name), getattr(y, item.name)
            if isinstance(value, np.ndarray):
                assert value.dtype == other.dtype, item.name
                np.testing.assert_array_equal(value, other, err_msg=item.name)
            elif isinstance(value, dict):
                assert list(value) == list(other), item.name
                for name, part in value.items():
                    np.testing.assert_array_equal(part, other[name], err_msg=name)
            elif not isinstance(value, GroundTruth):
                assert (value, type(value)) == (other, type(other)), item.name


@pytest.mark.parametrize(("batch_size", "divisor"), [(1, 8), (4, 3), (8, 8)])
def test_scores_are_those_of_each_video_alone(
    dataset_dir: Path, model: ThreeCNet, batch_size: int, divisor: int
) -> None:
    scores = scored(model, dataset_dir, batch_size, divisor)
    assert scores.row_splits.tolist() == np.cumsum([0, *TEST_LENGTHS]).tolist()
    assert scores.top_k_divisor == divisor
    for i, length in enumerate(TEST_LENGTHS):
        video = make_video(i, "test", length)
        features = np.concatenate(list(video.features.values()), axis=1)
        outputs = model(tf.RaggedTensor.from_row_lengths(features, [length]), training=False)
        alone = {name: outputs[f"tcam_{name}"].flat_values.numpy() for name in ("rgb", "flow", "fused")}
        np.testing.assert_allclose(scores.tcam_of(i), alone["fused"], rtol=1e-5, atol=1e-6)
        k = -(-length // divisor)
        means = [np.sort(tcam, axis=0)[-k:].mean(axis=0) for tcam in alone.values()]
        np.testing.assert_allclose(scores.pooled[i], means, rtol=1e-5, atol=1e-6)


def test_labels_times_and_ground_truth_are_those_of_the_records(scores: RawScores) -> None:
    videos = [make_video(i, "test", length) for i, length in enumerate(TEST_LENGTHS)]
    assert scores.video_ids == tuple(video.video_id for video in videos) == scores.ground_truth.video_ids
    assert scores.classes == scores.ground_truth.classes == CLASSES
    np.testing.assert_array_equal(scores.labels, [[c in video.labels for c in range(3)] for video in videos])
    assert scores.duration_s.tolist() == [video.duration_s for video in videos]
    assert scores.fps.tolist() == [25.0] * 6
    assert scores.frames_per_segment.tolist() == scores.stride_frames.tolist() == [16] * 6
    truth = scores.ground_truth
    assert list(zip(truth.video.tolist(), truth.label.tolist(), truth.start_s.tolist(), truth.end_s.tolist())) == [
        (i, label, start, end)
        for i, video in enumerate(videos)
        for label, start, end in zip(video.instance_label, video.instance_start_s, video.instance_end_s)
    ]
    ambiguous = (truth.ambiguous_video, truth.ambiguous_start_s, truth.ambiguous_end_s)
    assert [values.tolist() for values in ambiguous] == [[2], [0.1], [0.4]]


def test_ground_truth_leaves_out_videos_without_temporal_annotation(tmp_path: Path, model: ThreeCNet) -> None:
    videos = [make_video(i, "test", 5) for i in range(1, 5)]
    videos[0] = replace(videos[0], instances_known=False)
    videos[2] = replace(videos[2], instance_start_s=[], instance_end_s=[], instance_label=[])  # annotated: nothing
    scores = scored(model, write_dataset(tmp_path / "data", {"test": videos}))
    truth = scores.ground_truth
    assert len(scores.video_ids) == 4
    assert truth.video_ids == tuple(scores.video_ids[i] for i in (1, 2, 3))
    assert sorted(set(truth.video.tolist())) == [0, 2]
    assert truth.label[truth.video == 2].tolist() == videos[3].instance_label
    assert truth.ambiguous_video.tolist() == [0]  # of the video with index 2, the second here, the first annotated


def test_rows_of_some_videos_as_a_ragged_batch(scores: RawScores) -> None:
    part = scores.ragged_tcam(2, 5)
    assert part.row_lengths().numpy().tolist() == TEST_LENGTHS[2:5]
    for i in range(3):
        np.testing.assert_array_equal(part[i], scores.tcam_of(2 + i))


# On disk -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(scores: RawScores, tmp_path: Path) -> tuple[Path, RawScores]:
    scores = replace(scores, video_ids=("ü", "a,b", "", '"', "v\n", "v_5"))
    path = tmp_path / "scores" / "raw_scores.npz"
    save_scores(path, scores)
    return path, scores


def test_saved_scores_come_back_exactly(saved: tuple[Path, RawScores]) -> None:
    path, scores = saved
    assert_equal_scores(load_scores(path), scores)
    assert_equal_scores(load_scores(str(path)), scores)


def test_scores_without_any_annotation_come_back_exactly(saved: tuple[Path, RawScores]) -> None:
    path, scores = saved
    none, floats = np.zeros(0, np.int64), np.zeros(0)
    scores = replace(scores, ground_truth=GroundTruth(CLASSES, (), none, none, floats, floats, none, floats, floats))
    save_scores(path, scores)
    assert_equal_scores(load_scores(path), scores)


def test_the_streams_are_kept_on_request_and_come_back_exactly(dataset_dir: Path, model: ThreeCNet) -> None:
    split, path = open_split(dataset_dir, "test"), dataset_dir / "scores.npz"
    without, kept = (score_videos(Scorer(model), split, keep_streams=keep) for keep in (False, True))
    assert without.stream_tcams is None and without.streams == ("rgb", "flow")
    np.testing.assert_array_equal(without.tcam, kept.tcam)
    weights = [np.asarray(weight) for weight in model.fusion.weights_by_stream]  # no temporal filter: a weighted sum
    rgb, flow = (kept.stream_tcams[name] for name in kept.streams)
    np.testing.assert_allclose(weights[0] * rgb + weights[1] * flow, kept.tcam, rtol=1e-5, atol=1e-6)
    for scores in (without, kept):
        save_scores(path, scores)
        assert_equal_scores(load_scores(path), scores)
        assert load_scores(path).subset == "test"
    assert set(kept.ragged_tcams(0, 2)) == {"tcam_fused", "tcam_rgb", "tcam_flow"}
    with pytest.raises(UserError, match="--keep_streams"):
        without.check_streams()


def test_attention_and_what_the_network_pools_are_kept_and_come_back_exactly(dataset_dir: Path) -> None:
    model, path = attending(), dataset_dir / "attended.npz"
    scores = scored(model, dataset_dir)
    for i, length in enumerate(TEST_LENGTHS):
        features = np.concatenate(list(make_video(i, "test", length).features.values()), axis=1)
        outputs = model(tf.RaggedTensor.from_row_lengths(features, [length]))
        rows = scores.attention[scores.row_splits[i] : scores.row_splits[i + 1]]
        np.testing.assert_allclose(rows, outputs["attention_fused"][0][:, 0], rtol=1e-5)
        pooled = [outputs[f"pooled_{name}"][0] for name in ("rgb", "flow", "fused")]
        np.testing.assert_allclose(scores.pooled[i], pooled, rtol=1e-5, atol=1e-6)
    save_scores(path, scores)
    assert_equal_scores(load_scores(path), scores)
    with np.load(path) as archive:
        assert int(archive["format"]) == 4
    some = scores.of_videos(scores.video_ids[2:4])
    np.testing.assert_array_equal(some.outputs(1, 2)["attention_fused"][0], scores.outputs(3, 4)["attention_fused"][0])
    assert set(some.outputs(0, 2)) == {"tcam_fused", "attention_fused", "pooled"}


def test_boundaries_are_kept_and_come_back_exactly(dataset_dir: Path) -> None:
    model, path = ThreeCNet(len(CLASSES), FEATURE_DIM, heads=(Boundaries(True, "1,4"),)), dataset_dir / "bounded.npz"
    scores = scored(model, dataset_dir)
    assert scores.boundaries.shape == (sum(TEST_LENGTHS), 2, 2) and scores.boundaries.dtype == np.float32
    for i, length in enumerate(TEST_LENGTHS):
        features = np.concatenate(list(make_video(i, "test", length).features.values()), axis=1)
        expected = model(tf.RaggedTensor.from_row_lengths(features, [length]))["boundaries"][0]
        np.testing.assert_allclose(scores.outputs(i, i + 1)["boundaries"][0], expected, rtol=1e-4, atol=1e-4)
    save_scores(path, scores)
    assert_equal_scores(load_scores(path), scores)
    with np.load(path) as archive:
        assert int(archive["format"]) == 5
    some = load_scores(path).of_videos(scores.video_ids[2:4])
    np.testing.assert_array_equal(some.outputs(1, 2)["boundaries"][0], scores.outputs(3, 4)["boundaries"][0])


def test_without_attention_the_file_is_one_that_earlier_versions_read(saved: tuple[Path, RawScores]) -> None:
    with np.load(saved[0]) as archive:
        assert int(archive["format"]) == 3 and "attention" not in archive.files
    assert "attention_fused" not in load_scores(saved[0]).outputs(0, 1)


@pytest.mark.parametrize("version", [1, 2])
def test_scores_of_earlier_formats_are_still_read(saved: tuple[Path, RawScores], version: int) -> None:
    """They did not name the streams, which were rgb and flow, and 1 had no subset."""
    path, scores = saved
    with np.load(path) as archive:
        new = ("streams", "subset") if version == 1 else ("streams",)
        arrays = {name: archive[name] for name in archive.files if name not in new}
    np.savez(path, **{**arrays, "format": np.asarray(version)})
    assert_equal_scores(load_scores(path), replace(scores, subset=scores.subset if version == 2 else ""))
    kept = {"tcam_rgb": scores.tcam, "tcam_flow": 2 * scores.tcam}
    np.savez(path, **{**arrays, **kept, "format": np.asarray(2), "subset": np.asarray("test")})
    again = load_scores(path)
    assert again.streams == tuple(again.stream_tcams) == ("rgb", "flow")
    np.testing.assert_array_equal(again.stream_tcams["flow"], 2 * scores.tcam)


def test_scores_of_some_videos_are_those_videos_scores(scores: RawScores) -> None:
    some = scores.of_videos({scores.video_ids[4], scores.video_ids[2], "another"})
    assert some.video_ids == some.ground_truth.video_ids == (scores.video_ids[2], scores.video_ids[4])
    for mine, theirs in ((0, 2), (1, 4)):
        np.testing.assert_array_equal(some.tcam_of(mine), scores.tcam_of(theirs))
        np.testing.assert_array_equal(some.pooled[mine], scores.pooled[theirs])
        for field in ("label", "start_s", "end_s"):
            values, other = getattr(some.ground_truth, field), getattr(scores.ground_truth, field)
            np.testing.assert_array_equal(
                values[some.ground_truth.video == mine], other[scores.ground_truth.video == theirs]
            )
    assert some.ground_truth.ambiguous_video.tolist() == [0]
    assert_equal_scores(scores.of_videos(scores.video_ids), scores)


def test_nothing_on_disk_is_pickled(saved: tuple[Path, RawScores]) -> None:
    with np.load(saved[0], allow_pickle=False) as archive:
        assert {archive[name].dtype.hasobject for name in archive.files} == {False}


def test_a_failed_write_keeps_the_old_scores(saved: tuple[Path, RawScores], monkeypatch: pytest.MonkeyPatch) -> None:
    path, scores = saved

    def fail(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        save_scores(path, scores)
    assert_equal_scores(load_scores(path), scores)
    assert list(path.parent.iterdir()) == [path]


def assert_refused(path: Path) -> None:
    with pytest.raises(UserError, match=r"tc3net\.evaluate") as error:
        load_scores(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_truncated_file_is_named(saved: tuple[Path, RawScores], kept: float) -> None:
    content = saved[0].read_bytes()
    saved[0].write_bytes(content[: int(kept * len(content))])
    assert_refused(saved[0])


def test_an_overwritten_byte_is_noticed(saved: tuple[Path, RawScores]) -> None:
    content = saved[0].read_bytes()
    with zipfile.ZipFile(saved[0]) as archive:
        entry = archive.getinfo("tcam.npy")
    first = entry.header_offset + 30 + len("tcam.npy") + 20  # past the entry's header
    for position in range(first, entry.header_offset + entry.compress_size, entry.compress_size // 7):
        saved[0].write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        assert_refused(saved[0])


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    "kind", ["text", "json", "array", "other_archive", "other_format", "field_missing", "field_unknown", "objects"]
)
def test_a_file_of_another_kind_is_named(saved: tuple[Path, RawScores], kind: str) -> None:
    path = saved[0]
    with np.load(path) as archive:
        arrays = dict(archive)
    if kind == "text":
        path.write_text("no scores")
    elif kind == "json":
        path.write_text(json.dumps({"format": 1}))
    elif kind == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif kind == "other_archive":
        np.savez(path, a=np.zeros(3))
    elif kind == "other_format":
        np.savez(path, **{**arrays, "format": np.asarray(99)})
    elif kind == "field_missing":
        np.savez(path, **{name: array for name, array in arrays.items() if name != "pooled"})
    elif kind == "field_unknown":
        np.savez(path, **arrays, unheard_of=np.zeros(1))
    else:
        np.savez(path, **{**arrays, "labels": np.array([{}, None], object)})
    assert_refused(path)


def test_a_flipped_bit_in_a_record_is_named(dataset_dir: Path) -> None:
    """The framing and the size are intact, so only the record's checksum can tell."""
    shard = sorted(dataset_dir.glob("test-*.tfrecord"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"test-00000-of-00002\.tfrecord.*is damaged"):
        score_videos(Scorer(ThreeCNet(3, 4)), open_split(dataset_dir, "test"))
