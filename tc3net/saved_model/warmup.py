"""Warm-up requests: what TF Serving sends a new version before it goes live, so that no client waits for the first run.

A TFRecord file of `PredictionLog` messages. These belong to the package tensorflow-serving-api, which exporting should
not need; their few length-delimited fields are written here, and a test reads them with that package.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tc3net.data.schema import VideoExample, encode
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase

PATH = "assets.extra/tf_serving_warmup_requests"
_SEGMENTS = (16, 300)


def requests(streams: Streams, base: TimeBase) -> Iterable[tuple[str, dict[str, np.ndarray]]]:
    """Signature and inputs of each warm-up request: short and long videos, one and several.

    Args:
        streams: of the model.
        base: time base.
    """
    rng = np.random.default_rng(0)
    for segments, videos in zip(_SEGMENTS, (4, 1)):
        features = rng.random((videos, segments, streams.width), dtype=np.float32)
        inputs: dict[str, np.ndarray] = {"features": features, "lengths": np.full(videos, segments, np.int64)}
        times: dict[str, np.ndarray] = {
            "fps": np.full(videos, base.fps, np.float32),
            "stride": np.full(videos, base.stride_frames, np.int64),
        }
        yield "serving_default", inputs
        yield "with_time_base", {**inputs, **times}
        yield "embed", inputs
        example = encode(
            VideoExample(
                video_id="warm-up", subset="", features=streams.split(features[0]),
                labels=(), counts=(), counts_known=(), instances_known=False, instance_start_s=(), instance_end_s=(),
                instance_label=(), ambiguous_start_s=(), ambiguous_end_s=(), duration_s=base.duration_s(segments),
                time_base=base,
            )
        )  # fmt: skip
        yield "examples", {"examples": np.array([example] * videos, object)}
    yield "class_names", {"class_ids": np.zeros(1, np.int64)}
    yield "streams", {"stream_ids": np.full(1, -1, np.int64)}


def write_warmup(version_dir: Path, model_name: str, streams: Streams, base: TimeBase) -> None:
    """Writes the warm-up requests of an exported version.

    Args:
        version_dir: folder of the SavedModel.
        model_name: name under which it is served.
        streams: of the model.
        base: time base.
    """
    path = version_dir / PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests(streams, base):
            writer.write(_prediction_log(model_name, signature, inputs))


def _message(*fields: tuple[int, bytes]) -> bytes:
    """Length-delimited fields (strings, bytes, messages) of a protocol buffer: (number below 16, content) each."""
    encoded = b""
    for number, content in fields:
        size, varint = len(content), b""
        while size > 127:
            varint, size = varint + bytes([size & 127 | 128]), size >> 7
        encoded += bytes([number << 3 | 2]) + varint + bytes([size]) + content
    return encoded


def _prediction_log(model_name: str, signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    """PredictionLog {predict_log = 6 {request = 1 {model_spec = 1 {name = 1, signature_name = 3}, inputs = 2}}}."""
    model_spec = _message((1, model_name.encode()), (3, signature.encode()))
    entries = [
        (2, _message((1, name.encode()), (2, tf.make_tensor_proto(value).SerializeToString())))
        for name, value in inputs.items()
    ]
    return _message((6, _message((1, _message((1, model_spec), *entries)))))
