"""From the dense tensors of a request to ragged videos, inside an exported graph, with every value checked.

A check that fails ends the request with INVALID_ARGUMENT and a message that says what was found and expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tc3net.data import schema
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase

_ITEM_BYTES = {"float32": 4, "float16": 2}


@dataclass(frozen=True)
class Videos:
    """B videos of a request, checked.

    Attributes:
        features: [B, (s), ΣD] ragged float32.
        fps: [B] float64.
        frames_per_segment, stride_frames: [B] int64.
    """

    features: tf.RaggedTensor
    fps: tf.Tensor
    frames_per_segment: tf.Tensor
    stride_frames: tf.Tensor


def require(condition: tf.Tensor, template: str, *values: tf.Tensor) -> tf.Operation:
    """An op that fails with INVALID_ARGUMENT unless the condition holds.

    Args:
        condition: scalar bool.
        template: the message, with `{}` for each value.
        values: tensors shown in it.
    """
    texts = [value if value.dtype == tf.string else tf.strings.format("{}", [value]) for value in values]
    parts = [part for pair in zip(template.split("{}"), [*texts, ""]) for part in pair]
    return tf.debugging.Assert(condition, [tf.strings.join(parts)])


def _first(bad: tf.Tensor) -> tf.Tensor:
    """Position of the first true value of a vector; its length where there is none."""
    return tf.argmax(tf.concat([bad, [True]], axis=0))


def check_per_video(name: str, values: tf.Tensor, count: tf.Tensor) -> tf.Operation:
    """An op that fails unless there are as many values as videos."""
    size = tf.size(values, tf.int64)
    return require(size == count, name + ": {} values found for {} videos; send one per video.", size, count)


def check_positive(name: str, values: tf.Tensor) -> tf.Operation:
    """An op that fails unless all values of a vector are positive and finite."""
    bad = ~((values > 0) & tf.math.is_finite(tf.cast(values, tf.float32)))
    return require(~tf.reduce_any(bad), name + ": video {} has {}; expected a positive number.", _first(bad), values)


def checked_rows(features: tf.Tensor, lengths: tf.Tensor, streams: Streams) -> tf.RaggedTensor:
    """The real rows of padded features.

    Args:
        features: [B, T, ΣD].
        lengths: [B] int64.
        streams: of the model.

    Returns:
        [B, (s), ΣD] ragged; running it fails with INVALID_ARGUMENT for an empty batch, rows of another width, lengths
        that are negative or beyond T, and NaN or Inf within the lengths. Rows beyond them are never looked at.
    """
    shape, width = tf.shape(features, tf.int64), streams.width
    count, total = shape[0], shape[1]
    with tf.control_dependencies([
        require(count > 0, "features: no video found in the request (shape {}); send at least one.", shape),
        require(
            shape[2] == width,
            f"features: rows of {{}} numbers found; expected {width} ({streams.words()}), of the extractor that the "
            "model was trained on.",
            shape[2],
        ),
        check_per_video("lengths", lengths, count),
    ]):  # fmt: skip
        lengths = tf.identity(lengths)
    negative, beyond = lengths < 0, lengths > total
    with tf.control_dependencies([
        require(~tf.reduce_any(negative), "lengths: {} is negative (video {}).", lengths, _first(negative)),
        require(
            ~tf.reduce_any(beyond),
            "lengths: {} goes beyond the {} feature rows of the request (video {}).",
            lengths, total, _first(beyond),
        ),
    ]):  # fmt: skip
        rows = tf.cond(  # the usual request, one video, needs no copy
            tf.reduce_all(tf.equal(lengths, total)),
            lambda: tf.reshape(features, [-1, width]),
            lambda: tf.boolean_mask(features, tf.sequence_mask(lengths, total)),
        )
    rows = tf.ensure_shape(rows, [None, width])
    return _finite(tf.RaggedTensor.from_row_lengths(rows, lengths, validate=False))


def _finite(features: tf.RaggedTensor) -> tf.RaggedTensor:
    """The features; running it fails with INVALID_ARGUMENT, naming video and segment, if one is NaN or Inf."""
    bad = ~tf.reduce_all(tf.math.is_finite(features.flat_values), axis=1)  # [R]
    row = _first(bad)
    video = tf.searchsorted(features.row_splits, [row], side="right", out_type=tf.int64)[0] - 1
    segment = row - tf.gather(features.row_splits, tf.minimum(video, tf.maximum(features.nrows() - 1, 0)))
    check = require(
        ~tf.reduce_any(bad), "features: NaN or Inf in video {}, segment {}; extract them again.", video, segment
    )
    with tf.control_dependencies([check]):
        return features.with_flat_values(tf.identity(features.flat_values))


def parsed_examples(examples: tf.Tensor, streams: Streams, base: TimeBase) -> Videos:
    """Videos of serialized Examples, as `data_prep` writes them; labels and instances are not read.

    Args:
        examples: [B] string.
        streams: of the model.
        base: what stands where an Example leaves out its fps, frames per segment or stride.

    Returns:
        The videos; running it fails with INVALID_ARGUMENT for an empty batch, something that is no such Example,
        another number of features, a time base that is not positive, and NaN or Inf.
    """
    keys = ("video/id", "video/features/dtype", *(f"video/features/{name}" for name in streams.names))
    spec = {key: tf.io.FixedLenFeature([], tf.string) for key in keys}
    spec["video/num_segments"] = tf.io.FixedLenFeature([], tf.int64)
    spec["video/fps"] = tf.io.FixedLenFeature([], tf.string, np.asarray(base.fps, "<f8").tobytes())
    for key in ("frames_per_segment", "stride_frames"):
        spec[f"video/{key}"] = tf.io.FixedLenFeature([], tf.int64, getattr(base, key))
    count = tf.size(examples, tf.int64)
    broken = ~_are_whole_messages(examples)
    template = "examples: number {} of the request is no serialized tf.train.Example, or a truncated one."
    with tf.control_dependencies([
        require(count > 0, "examples: {} found in the request; send at least one.", count),
        require(~tf.reduce_any(broken), template, _first(broken)),
    ]):  # fmt: skip
        record = tf.io.parse_example(tf.identity(examples), spec)
    names, dtype, rows = (record[f"video/{key}"] for key in ("id", "features/dtype", "num_segments"))
    known = tf.reduce_any([tf.equal(dtype, name) for name in schema.FEATURE_DTYPES], axis=0)
    item_bytes = tf.where(tf.equal(dtype, "float16"), _ITEM_BYTES["float16"], _ITEM_BYTES["float32"])

    def bad(wrong: tf.Tensor, template: str, *columns: tf.Tensor) -> tf.Operation:
        at = tf.minimum(_first(wrong), tf.maximum(count - 1, 0))
        values = (tf.gather(column, at) for column in (names, *columns))
        return require(~tf.reduce_any(wrong), f"examples: video {{}}: {template}", *values)

    checks = [
        bad(~known, f"features of dtype {{}}; expected {' or '.join(schema.FEATURE_DTYPES)}.", dtype),
        bad(rows < 0, "{} segments.", rows),
        bad(tf.strings.length(record["video/fps"]) != 8, "video/fps is not one float64 (8 bytes)."),
    ]
    for stream, dim in streams.sizes:
        expected = rows * dim * tf.cast(item_bytes, tf.int64)
        found = tf.cast(tf.strings.length(record[f"video/features/{stream}"]), tf.int64)
        template = f"{stream} features of {{}} bytes; expected {{}}, {{}} segments of {dim} numbers."
        checks.append(bad(found != expected, template, found, expected, rows))
    with tf.control_dependencies(checks):
        fps = tf.reshape(tf.io.decode_raw(record["video/fps"], tf.float64), [-1])
        raw = [tf.identity(record[f"video/features/{stream}"]) for stream in streams.names]
    frames, stride = record["video/frames_per_segment"], record["video/stride_frames"]
    with tf.control_dependencies([
        check_positive("video/fps", fps),
        check_positive("video/frames_per_segment", frames),
        check_positive("video/stride_frames", stride),
    ]):  # fmt: skip
        features = joined([_decoded(part, dtype, rows, dim) for part, (_, dim) in zip(raw, streams.sizes)])
    return Videos(_finite(features), fps, frames, stride)


def _are_whole_messages(serialized: tf.Tensor) -> tf.Tensor:
    """Whether each string [B] is one length-delimited field of number 1, as every Example is: [B] bool.

    parse_example refuses others too, but quotes all of their bytes in its message, which is then no text.
    """
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(serialized, 0, 6), tf.uint8, fixed_length=6), tf.int64)  # [B, 6]
    digits = head[:, 1:]  # a varint: 7 bits a byte, the lowest first; the top bit says that more follow
    more = tf.cast(digits > 127, tf.int64)
    used = tf.math.cumprod(more, axis=1, exclusive=True)
    size = tf.reduce_sum(used * (digits % 128) * [128**place for place in range(5)], axis=1)
    total = 1 + tf.reduce_sum(used, axis=1) + size
    return (head[:, 0] == 0x0A) & (total == tf.cast(tf.strings.length(serialized), tf.int64))


def _decoded(raw: tf.Tensor, dtype: tf.Tensor, rows: tf.Tensor, feature_dim: int) -> tf.RaggedTensor:
    """Feature bytes [B] of videos of either dtype -> [B, (s), D] ragged float32."""
    parts, owners = [], []
    for name in schema.FEATURE_DTYPES:
        mine = tf.equal(dtype, name)
        together = tf.strings.reduce_join(tf.boolean_mask(raw, mine))
        parts.append(schema.decode_features(together, dtype=name, feature_dim=feature_dim))
        owners.append(tf.where(mine)[:, 0])
    owner = tf.concat(owners, axis=0)
    grouped = tf.RaggedTensor.from_row_lengths(tf.concat(parts, axis=0), tf.gather(rows, owner))
    return tf.gather(grouped, tf.argsort(owner))


def joined(streams: Sequence[tf.RaggedTensor]) -> tf.RaggedTensor:
    """[B, (s), D] of each stream -> [B, (s), ΣD], all of the same lengths."""
    return streams[0].with_flat_values(tf.concat([stream.flat_values for stream in streams], axis=1))
