"""What is on disk: one `tf.train.Example` per video, and the manifest `dataset.json` that describes the shards.

Times are stored as raw little-endian float64, not as Example floats (float32): whether an instance boundary rounds
up or down, and whether a tIoU reaches a threshold, must not depend on storage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.files import read_json, write_json
from tc3net.common.storage import path_of
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase

SCHEMA_VERSION = 2
_READABLE_VERSIONS = (1, 2)  # 1 had always rgb and flow of one size, `feature_dim`
MANIFEST_NAME = "dataset.json"
FEATURE_DTYPES = ("float32", "float16")
EXTRACTION = "extraction"  # in the manifest's source: the settings of `data_prep.extract`, where all videos share them
RESCALED_ROWS = "rescaled_rows"  # in the manifest's source, where rows span their video: `timebase.spanning`


@dataclass(frozen=True)
class VideoExample:
    """Everything known about one video.

    Attributes:
        video_id: unique name.
        subset: split name ("validation", "test", "training", ...).
        features: [s, D] by stream, one row per segment; all of one length and dtype.
        labels: class ids present (video level), ascending, without duplicates.
        counts: number of instances per entry of `labels`; 0 where unknown.
        counts_known: per entry of `labels`, whether `counts` was annotated.
        instances_known: whether the video has temporal annotation (then it is scored, even with no instances).
        instance_start_s, instance_end_s, instance_label: [m] annotated instances; evaluation only.
        ambiguous_start_s, ambiguous_end_s: [a] intervals in which detections are not scored.
        duration_s: the video's duration.
        time_base: how rows relate to seconds.
    """

    video_id: str
    subset: str
    features: Mapping[str, np.ndarray]
    labels: Sequence[int]
    counts: Sequence[int]
    counts_known: Sequence[bool]
    instances_known: bool
    instance_start_s: Sequence[float]
    instance_end_s: Sequence[float]
    instance_label: Sequence[int]
    ambiguous_start_s: Sequence[float]
    ambiguous_end_s: Sequence[float]
    duration_s: float
    time_base: TimeBase


def _bytes(value: bytes | str) -> tf.train.Feature:
    raw = value.encode() if isinstance(value, str) else value
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[raw]))


def _ints(values: Sequence[int] | Sequence[bool]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(v) for v in values]))


def _float64(values: Sequence[float]) -> tf.train.Feature:
    return _bytes(np.asarray(values, "<f8").tobytes())


def _feature_fields(video_id: str, features: Mapping[str, np.ndarray]) -> dict[str, tf.train.Feature]:
    """The fields of a record that hold its features, in the dtype of the first stream."""
    first = next(iter(features.values()))
    stored = np.dtype(first.dtype).newbyteorder("<")
    return {
        "video/id": _bytes(video_id),
        **{f"video/features/{n}": _bytes(v.astype(stored, copy=False).tobytes()) for n, v in features.items()},
        "video/features/dtype": _bytes(np.dtype(first.dtype).name),
        "video/num_segments": _ints([len(first)]),
    }


def _serialized(fields: dict[str, tf.train.Feature]) -> bytes:
    example = tf.train.Example()
    for key, feature in fields.items():  # not by the constructors, each of which copies all features once more
        example.features.feature[key].CopyFrom(feature)
    # Deterministic serialization: the same video gives the same bytes, hence the same shard checksum.
    return example.SerializeToString(deterministic=True)


def encode(video: VideoExample) -> bytes:
    """Serializes one video. Features are stored in the dtype of the first stream (float32 or float16)."""
    feature = {
        **_feature_fields(video.video_id, video.features),
        "video/subset": _bytes(video.subset),
        "video/labels": _ints(video.labels),
        "video/counts": _ints(video.counts),
        "video/counts_known": _ints(video.counts_known),
        "video/instances_known": _ints([video.instances_known]),
        "video/instances/start": _float64(video.instance_start_s),
        "video/instances/end": _float64(video.instance_end_s),
        "video/instances/label": _ints(video.instance_label),
        "video/ambiguous/start": _float64(video.ambiguous_start_s),
        "video/ambiguous/end": _float64(video.ambiguous_end_s),
        "video/duration": _float64([video.duration_s]),
        "video/fps": _float64([video.time_base.fps]),
        "video/frames_per_segment": _ints([video.time_base.frames_per_segment]),
        "video/stride_frames": _ints([video.time_base.stride_frames]),
    }
    return _serialized(feature)


def encode_request(
    video_id: str, features: Mapping[str, np.ndarray], *, fps: float | None = None, stride_frames: int | None = None
) -> bytes:
    """Serializes what the `examples` signature of an exported model reads of a video.

    Args:
        video_id: its name.
        features: [s, D] by stream, float32 or float16, all of one dtype.
        fps, stride_frames: of its features; left out where None, so that the model's own time base stands.
    """
    feature = _feature_fields(video_id, features)
    if fps is not None:
        feature["video/fps"] = _float64([fps])
    if stride_frames is not None:
        feature["video/stride_frames"] = _ints([stride_frames])
    return _serialized(feature)


_SCALAR_INTS = ("video/num_segments", "video/instances_known", "video/frames_per_segment", "video/stride_frames")
_INT_LISTS = ("video/labels", "video/counts", "video/counts_known", "video/instances/label")
_FLOAT64_LISTS = (
    "video/instances/start",
    "video/instances/end",
    "video/ambiguous/start",
    "video/ambiguous/end",
    "video/duration",
    "video/fps",
)
_STRINGS = ("video/id", "video/subset", "video/features/dtype")


def parse(serialized: tf.Tensor, streams: Sequence[str] = ()) -> dict[str, tf.Tensor]:
    """Parses one serialized Example inside a graph; feature bytes are left undecoded, so that a crop costs no decoding.

    Args:
        serialized: scalar string.
        streams: whose features are wanted.

    Returns:
        Keys as in the record without the prefix "video/": scalars `id`, `subset`, `num_segments`, `instances_known`,
        `frames_per_segment`, `stride_frames` (int64), `features/<stream>` (raw bytes), `features/dtype`, `duration`,
        `fps` (float64); vectors `labels`, `counts`, `counts_known`, `instances/label` (int64), `instances/start|end`,
        `ambiguous/start|end` (float64, seconds).
    """
    strings = (*_STRINGS, *(f"video/features/{name}" for name in streams), *_FLOAT64_LISTS)
    spec: dict[str, Any] = {key: tf.io.FixedLenFeature([], tf.string) for key in strings}
    spec.update({key: tf.io.FixedLenFeature([], tf.int64) for key in _SCALAR_INTS})
    spec.update({key: tf.io.RaggedFeature(tf.int64) for key in _INT_LISTS})
    parsed = tf.io.parse_single_example(serialized, spec)
    for key in _FLOAT64_LISTS:
        parsed[key] = tf.io.decode_raw(parsed[key], tf.float64)
    for key in ("video/duration", "video/fps"):
        parsed[key] = tf.reshape(parsed[key], [])
    return {key[len("video/") :]: value for key, value in parsed.items()}


def parse_id_and_labels(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Only the id (scalar string) and the labels (int64 vector) of one serialized Example."""
    spec = {"video/id": tf.io.FixedLenFeature([], tf.string), "video/labels": tf.io.RaggedFeature(tf.int64)}
    parsed = tf.io.parse_single_example(serialized, spec)
    return parsed["video/id"], parsed["video/labels"]


def decode_features(raw: tf.Tensor, *, dtype: str, feature_dim: int) -> tf.Tensor:
    """Raw little-endian bytes (whole rows) -> [s, feature_dim] float32.

    Args:
        raw: scalar string.
        dtype: stored dtype, one of `FEATURE_DTYPES`.
        feature_dim: D of one stream.
    """
    values = tf.io.decode_raw(raw, tf.as_dtype(dtype), little_endian=True)  # [s * D]
    return tf.cast(tf.reshape(values, [-1, feature_dim]), tf.float32)  # -> [s, D]


@dataclass(frozen=True)
class Shard:
    """One TFRecord file of a split: name relative to the dataset folder, videos in it, size and SHA-256."""

    file: str
    videos: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SplitInfo:
    """One subset of a data set."""

    videos: int
    segments: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class Manifest:
    """Contents of `dataset.json`.

    Attributes:
        name: the data set's name, free text.
        classes: class names; a class id is the position in it.
        counted_classes: names of the classes whose instances are annotated in this data set; for the others a
            video's count is unknown, never zero.
        streams: names and sizes of the streams; the model reads them side by side in this order.
        feature_dtype: storage dtype.
        time_base: default time base (each Example carries its own).
        splits: subset name -> shards.
        source: where it came from (paths, layouts, flags), for the reader.
        left_out: one {"video", "reason"} per video that was not converted.
        converter_version: tc3net version that wrote it.
    """

    name: str
    classes: tuple[str, ...]
    counted_classes: tuple[str, ...]
    streams: Streams
    feature_dtype: str
    time_base: TimeBase
    splits: dict[str, SplitInfo]
    source: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[dict[str, str], ...] = ()
    converter_version: str = ""

    @property
    def rescaled_rows(self) -> bool:
        """Whether the rows of every video span it, so that no time base holds for all of them."""
        return bool(self.source.get(RESCALED_ROWS))

    @property
    def extraction(self) -> dict[str, Any]:
        """How the features were extracted from video files: networks, sampling, flow; empty where that is not known."""
        return dict(self.source.get(EXTRACTION) or {})

    @property
    def title(self) -> str:
        """The name as results show it: whoever reads a number must see that the features were simulated."""
        return f"{self.name} (simulated features)" if self.source.get("simulated_features") else self.name


def save_manifest(folder: str | Path, manifest: Manifest) -> None:
    """Writes `dataset.json` into `folder`, atomically; the shards must already be there."""
    found = {"schema_version": SCHEMA_VERSION, **asdict(manifest), "streams": manifest.streams.as_dict()}
    write_json(path_of(folder) / MANIFEST_NAME, found)


def load_manifest(folder: str | Path) -> Manifest:
    """Reads `dataset.json`.

    Raises:
        UserError: no manifest there, an unknown schema version, or a field missing.
    """
    path = path_of(folder) / MANIFEST_NAME
    raw = read_json(path, "data set manifest written by `python -m data_prep.convert`")
    version = raw.pop("schema_version", None) if isinstance(raw, dict) else None
    if version not in _READABLE_VERSIONS:
        raise UserError(
            f"{path}: schema version {version!r} found, {SCHEMA_VERSION} expected. "
            "Convert the data again with this version of tc3net (python -m data_prep.convert)."
        )
    try:
        splits = {
            name: SplitInfo(split["videos"], split["segments"], tuple(Shard(**shard) for shard in split["shards"]))
            for name, split in raw.pop("splits").items()
        }
        raw["time_base"] = TimeBase(**raw["time_base"])
        raw["streams"] = Streams.pair(raw.pop("feature_dim")) if version == 1 else Streams.of(raw["streams"])
        for key in ("classes", "counted_classes", "left_out"):
            raw[key] = tuple(raw[key])
        return Manifest(splits=splits, **raw)
    except (AttributeError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{path}: a manifest field is missing or wrong ({error}). Convert the data again.") from None
