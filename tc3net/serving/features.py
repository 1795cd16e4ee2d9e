"""From feature arrays to requests: checks before anything is sent, and the records that travel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from data_prep.features.rows import check_finite
from tc3net.common.errors import UserError
from tc3net.data.schema import encode_request
from tc3net.data.streams import Streams

# A protocol buffer message, hence a request, holds less than 2 GiB; what is kept free is for names and shapes.
MAX_REQUEST_BYTES = 2**31 - 2**16
_RECORD_BYTES = 512  # of a record beside its features


def checked_features(features: np.ndarray, name: str) -> np.ndarray:
    """Features of one video as they travel: float16 stays, everything else becomes float32.

    Args:
        features: [s, ΣD], the streams side by side, any real number type.
        name: what to call them in a message.

    Raises:
        UserError: another shape or kind, no segments, too large for a request, or NaN or Inf (also where a float64 is
            beyond float32's range).
    """
    array = np.asarray(features)
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name}: array of {array.dtype} found, real numbers expected. Convert it to float32.")
    if array.ndim != 2 or array.shape[1] == 0:
        raise UserError(
            f"{name}: array of shape {list(array.shape)} found, [segments, ΣD] expected: one row per segment, the "
            "streams side by side (rgb first, then flow). Pass one video, with all of its streams."
        )
    if len(array) == 0:
        raise UserError(f"{name}: no segments found, 1 or more expected. Leave the video out, or extract it again.")
    dtype = np.dtype(np.float16 if array.dtype == np.float16 else np.float32)
    size = array.size * dtype.itemsize + _RECORD_BYTES
    if size > MAX_REQUEST_BYTES:
        raise UserError(
            f"{name}: {len(array)} segments x {array.shape[1]} values are {size / 1e9:.2f} GB, but a request holds at "
            f"most {MAX_REQUEST_BYTES / 1e9:.2f} GB. Cut the video into parts, or pass float16, which is half as large."
        )
    with np.errstate(over="ignore"):  # reported below, with the segment
        array = array.astype(dtype, copy=False)
    check_finite(name, array)
    return array


def request(
    videos: Sequence[np.ndarray],
    fps: float | None,
    stride: int | None,
    *,
    tensors: bool,
    streams: Callable[[], Streams],
) -> tuple[str, dict[str, np.ndarray | Sequence[bytes]]]:
    """The signature to call for detections, and its inputs.

    One float32 video travels as a tensor where the transport has tensors: copied less often, on both sides. Everything
    else travels as records: several videos without padding, float16 in half the bytes, and JSON without spelt numbers.

    Args:
        videos: checked features.
        fps, stride: time base of all of them; None is the model's own.
        tensors: whether the transport sends tensors as they are.
        streams: gives those of the model, which records need.

    Raises:
        UserError: an impossible time base.
    """
    for name, value in (("fps", fps), ("stride", stride)):
        kind = "a positive number" if name == "fps" else "a positive whole number"
        if value is not None and not (0 < value < math.inf and (name == "fps" or value == int(value))):
            raise UserError(f"{name} is {value}; expected {kind}.")
    whole_or_none = (fps is None) == (stride is None)
    if not (tensors and whole_or_none and len(videos) == 1 and videos[0].dtype == np.float32):
        sizes = streams()
        return "examples", {"examples": [_record(features, sizes, fps, stride) for features in videos]}
    (features,) = videos
    inputs = as_tensors(features)
    if fps is None:
        return "serving_default", inputs
    return "with_time_base", {**inputs, "fps": np.array([fps], np.float32), "stride": np.array([stride], np.int64)}


def as_tensors(features: np.ndarray) -> dict[str, np.ndarray | Sequence[bytes]]:
    """Checked features as a batch of one video: `features` [1, s, ΣD] and `lengths` [1]."""
    return {"features": features[None].astype(np.float32, copy=False), "lengths": np.array([len(features)], np.int64)}


def _record(features: np.ndarray, streams: Streams, fps: float | None, stride: int | None) -> bytes:
    if features.shape[1] != streams.width:
        raise UserError(
            f"features: rows of {features.shape[1]} numbers found; expected {streams.width} ({streams.words()}), of "
            "the extractor that the model was trained on."
        )
    return encode_request("request", streams.split(features), fps=fps, stride_frames=stride)


def groups(videos: Sequence[np.ndarray]) -> Iterator[slice]:
    """Consecutive videos that fit into one request; of checked features."""
    first = size = 0
    for place, video in enumerate(videos):
        more = video.nbytes + _RECORD_BYTES
        if place > first and size + more > MAX_REQUEST_BYTES:
            yield slice(first, place)
            first, size = place, 0
        size += more
    if len(videos) > first:
        yield slice(first, len(videos))
