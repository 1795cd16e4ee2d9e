"""Records and manifest: bit-exact round trips, and refusals that name the file."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.data import schema
from tc3net.data.streams import RGB_FLOW, Streams
from tc3net.data.timebase import TimeBase
from tests.support.data import make_video

TIMES = st.lists(st.floats(0, 1e5), max_size=4)


def parse(video: schema.VideoExample) -> dict[str, Any]:
    return {key: value.numpy() for key, value in schema.parse(tf.constant(schema.encode(video)), RGB_FLOW).items()}


def decoded(parsed: dict[str, Any], stream: str, dtype: str, dim: int) -> np.ndarray:
    return schema.decode_features(tf.constant(parsed[f"features/{stream}"]), dtype=dtype, feature_dim=dim).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_features_come_back_bit_for_bit(dtype: str) -> None:
    rng = np.random.default_rng(1)
    special = np.array([[0.0, -0.0, 1e-7, -65504.0]])  # 1e-7 is subnormal in float16, 65504 its largest value
    rgb = np.concatenate([special, rng.normal(size=(6, 4))]).astype(dtype)
    flow = rng.normal(size=(7, 4)).astype(dtype)
    parsed = parse(replace(make_video(1, "test", 7), features={"rgb": rgb, "flow": flow}))
    assert parsed["num_segments"] == 7
    for stream, features in (("rgb", rgb), ("flow", flow)):
        assert parsed[f"features/{stream}"] == features.tobytes()
        found = decoded(parsed, stream, dtype, 4)
        assert found.dtype == np.float32
        assert found.tobytes() == features.astype(np.float32).tobytes()


def test_the_memory_layout_of_the_features_does_not_matter() -> None:
    video = make_video(3, "test", 5)
    rgb, flow = video.features.values()
    big_endian = replace(video, features={"rgb": rgb.astype(">f4"), "flow": np.asfortranarray(flow)})
    assert schema.encode(big_endian) == schema.encode(video)


@settings(deadline=None, max_examples=40)
@given(
    video_id=st.text(max_size=8),
    start=TIMES,
    end=TIMES,
    ambiguous=TIMES,
    duration_s=st.floats(0.001, 1e5),
    fps=st.floats(1, 240),
)
def test_names_and_times_come_back_exactly(
    video_id: str, start: list[float], end: list[float], ambiguous: list[float], duration_s: float, fps: float
) -> None:
    video = replace(
        make_video(1, "test", 2),
        video_id=video_id,
        subset=video_id[::-1],
        instance_start_s=start,
        instance_end_s=end,
        ambiguous_start_s=ambiguous,
        ambiguous_end_s=ambiguous[::-1],
        duration_s=duration_s,
        time_base=TimeBase(fps, 12, 5),
    )
    parsed = parse(video)
    assert (parsed["id"].decode(), parsed["subset"].decode()) == (video_id, video_id[::-1])
    assert parsed["instances/start"].tolist() == start
    assert parsed["instances/end"].tolist() == end
    assert parsed["ambiguous/start"].tolist() == ambiguous
    assert parsed["ambiguous/end"].tolist() == ambiguous[::-1]
    assert (parsed["duration"], parsed["fps"]) == (duration_s, fps)
    assert (parsed["frames_per_segment"], parsed["stride_frames"]) == (12, 5)


def test_times_are_not_rounded_to_float32() -> None:
    parsed = parse(replace(make_video(1, "test", 2), instance_start_s=[0.1 + 0.2], instance_end_s=[1234.56789012345]))
    assert parsed["instances/start"].tolist() == [0.30000000000000004]
    assert parsed["instances/end"].tolist() == [1234.56789012345]


def test_labels_and_counts_come_back_also_when_there_are_none() -> None:
    video = replace(
        make_video(1, "test", 2),
        labels=[0, 2],
        counts=[4, 0],
        counts_known=[True, False],
        instances_known=True,
        instance_label=[0, 0, 2],
    )
    parsed = parse(video)
    assert parsed["labels"].tolist() == [0, 2]
    assert parsed["counts"].tolist() == [4, 0]
    assert parsed["counts_known"].tolist() == [1, 0]
    assert parsed["instances_known"] == 1
    assert parsed["instances/label"].tolist() == [0, 0, 2]
    nothing: dict[str, Any] = {
        name: [] for name in ("labels", "counts", "counts_known", "instance_start_s", "instance_end_s",
                              "instance_label", "ambiguous_start_s", "ambiguous_end_s")
    }  # fmt: skip
    parsed = parse(replace(video, instances_known=False, **nothing))
    assert parsed["instances_known"] == 0
    for key in ("labels", "counts", "counts_known", "instances/start", "instances/end", "instances/label",
                "ambiguous/start", "ambiguous/end"):  # fmt: skip
        assert parsed[key].shape == (0,)


def test_the_same_video_gives_the_same_bytes() -> None:
    video = make_video(5, "validation", 3)
    arrays = {f.name: np.array(v) for f in fields(video) if isinstance(v := getattr(video, f.name), list)}
    raw = schema.encode(video)
    assert schema.encode(replace(video, **arrays)) == raw
    # The order in which the fields were set does not show.
    backwards = tf.train.Example()
    for key, value in reversed(list(tf.train.Example.FromString(raw).features.feature.items())):
        backwards.features.feature[key].CopyFrom(value)
    assert backwards.SerializeToString(deterministic=True) == raw


def test_a_record_of_another_kind_is_refused() -> None:
    example = tf.train.Example.FromString(schema.encode(make_video(1, "test", 2)))
    del example.features.feature["video/num_segments"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="num_segments"):
        schema.parse(tf.constant(example.SerializeToString()))


MANIFEST = schema.Manifest(
    name="Prüfdaten",
    classes=("Jump", "Köpfen", "Run"),
    counted_classes=("Jump",),
    streams=Streams.of({"rgb": 5, "audio": 3}),
    feature_dtype="float16",
    time_base=TimeBase(29.97, 16, 8),
    splits={
        "validation": schema.SplitInfo(
            3, 70, (schema.Shard("a.tfrecord", 2, 100, "ab"), schema.Shard("b.tfrecord", 1, 50, "cd"))
        ),
        "test": schema.SplitInfo(0, 0, ()),
    },
    source={"flags": {"fps": 29.97}, "layouts": ["x", "y"]},
    left_out=({"video": "v1", "reason": "no features"},),
    converter_version="1.0",
)


def test_the_manifest_comes_back_equal(tmp_path: Path) -> None:
    schema.save_manifest(tmp_path, MANIFEST)
    assert schema.load_manifest(tmp_path) == MANIFEST
    assert schema.load_manifest(str(tmp_path)) == MANIFEST


def rewrite(folder: Path, **changes: Any) -> Path:
    """A manifest on disk with fields replaced (or removed, where the value is None)."""
    schema.save_manifest(folder, MANIFEST)
    path = folder / schema.MANIFEST_NAME
    raw = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))
    return path


def assert_refused(path: Path) -> None:
    with pytest.raises(UserError) as error:
        schema.load_manifest(path.parent)
    assert str(path) in str(error.value)
    assert "onvert" in str(error.value) or "Write the file again" in str(error.value)


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_an_unknown_schema_version_is_refused(tmp_path: Path, version: Any) -> None:
    assert_refused(rewrite(tmp_path, schema_version=version))


@pytest.mark.parametrize(
    "name", ["name", "classes", "counted_classes", "streams", "feature_dtype", "time_base", "splits"]
)
def test_a_missing_field_is_refused(tmp_path: Path, name: str) -> None:
    assert_refused(rewrite(tmp_path, **{name: None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"unheard_of": 1},
        {"time_base": {"fps": 25.0, "strides": 16}},
        {"time_base": {"fps": 0.0}},
        {"splits": {"test": {"videos": 1, "segments": 2}}},
        {"splits": {"test": {"videos": 1, "segments": 2, "shards": [{"file": "a"}]}}},
        {"splits": ["test"]},
        {"splits": {"test": [1, 2]}},
    ],
    ids=str,
)
def test_an_unknown_or_malformed_field_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert_refused(rewrite(tmp_path, **changes))


@pytest.mark.parametrize("content", ["", "{", "[]", "[1, 2]", "3", "null", "schema"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / schema.MANIFEST_NAME
    path.write_text(content)
    assert_refused(path)


def test_a_folder_without_a_manifest_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data_prep\.convert") as error:
        schema.load_manifest(tmp_path)
    assert str(tmp_path / schema.MANIFEST_NAME) in str(error.value)
