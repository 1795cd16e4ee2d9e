"""Bad requests to an exported model, and requests at the same time."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.export import export
from tc3net.saved_model.signatures import Batching
from tests.support.export_cases import DIM, RUN, call, example_of, make_model, padded_features, service

FEATURES = padded_features([5, 5])
HOLE = FEATURES.copy()
HOLE[1, 3, 2] = np.nan


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Requests wait for others, so that those of one moment share a pass."""
    batching = Batching(max_batch_videos=8, batch_timeout_ms=150.0)
    return tf.saved_model.load(
        str(export(service(make_model(), batching=batching), RUN, tmp_path_factory.mktemp("export") / "m"))
    )


BAD = {
    "a negative length": ({"lengths": [5, -1]}, r"lengths: \[5 -1\] is negative \(video 1\)"),
    "a length beyond T": ({"lengths": [6, 5]}, r"lengths: \[6 5\] goes beyond the 5 feature rows .*\(video 0\)"),
    "lengths for other videos": ({"lengths": [5]}, "lengths: 1 values found for 2 videos"),
    "no video": ({"features": FEATURES[:0], "lengths": np.zeros(0, np.int64)}, "features: no video found"),
    "NaN": ({"features": HOLE}, "features: NaN or Inf in video 1, segment 3"),
    "Inf": ({"features": np.full_like(FEATURES, np.inf)}, "features: NaN or Inf in video 0, segment 0"),
}


@pytest.mark.parametrize("signature", ["serving_default", "embed"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_told_what_is_wrong(loaded: Any, signature: str, case: str) -> None:
    changed, message = BAD[case]
    inputs = {"features": FEATURES, "lengths": [5, 5], **changed}
    inputs["lengths"] = np.asarray(inputs["lengths"], np.int64)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(loaded, signature, **inputs)


@pytest.mark.parametrize(
    ("fps", "stride", "message"),
    [
        ([25.0, 0.0], [8, 8], r"fps: video 1 has \[25 0\]; expected a positive number"),
        ([np.nan, 25.0], [8, 8], "fps: video 0 has"),
        ([25.0, 25.0], [8, -8], "stride: video 1 has"),
        ([25.0], [8, 8], "fps: 1 values found for 2 videos"),
        ([25.0, 25.0], [8], "stride: 1 values found for 2 videos"),
    ],
)
def test_a_bad_time_base_is_refused(loaded: Any, fps: list[float], stride: list[int], message: str) -> None:
    times = {"fps": np.array(fps, np.float32), "stride": np.array(stride, np.int64)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(loaded, "with_time_base", features=FEATURES, lengths=np.array([5, 5]), **times)


GOOD = example_of(FEATURES[0])
EMPTY = tf.train.Example(features={"feature": {"other": tf.train.Feature()}}).SerializeToString()
SHORT = tf.train.Example.FromString(GOOD)
SHORT.features.feature["video/num_segments"].int64_list.value[0] = 6
NO_FPS = tf.train.Example.FromString(GOOD)
NO_FPS.features.feature["video/fps"].bytes_list.value[0] = b"25.0"
STILL = tf.train.Example.FromString(GOOD)
STILL.features.feature["video/stride_frames"].int64_list.value[0] = 0
BACKWARDS = tf.train.Example.FromString(GOOD)
BACKWARDS.features.feature["video/num_segments"].int64_list.value[0] = -5


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (b"not an example", "examples: number 1 of the request is no serialized tf.train.Example"),
        (b"", "examples: number 1 of the request is no serialized tf.train.Example"),
        (GOOD[:-20], "examples: number 1 of the request is .* or a truncated one"),
        (GOOD + b"x", "examples: number 1 of the request is no serialized tf.train.Example"),
        (EMPTY, r"video/.* is required but could not be found"),
        (example_of(FEATURES[0], dtype="float64"), "video v: features of dtype float64; expected float32 or float16"),
        (example_of(FEATURES[0][:, :-2]), r"flow features of .* bytes; expected .*, 5 segments of 4 numbers"),
        (SHORT.SerializeToString(), r"video v: rgb features of 80 bytes; expected 96, 6 segments"),
        (BACKWARDS.SerializeToString(), "-5 segments"),
        (NO_FPS.SerializeToString(), "video/fps is not one float64"),
        (STILL.SerializeToString(), "video/stride_frames: video 1 has"),
        (example_of(HOLE[1]), "features: NaN or Inf in video 1, segment 3"),
    ],
)
def test_a_bad_example_is_told_what_is_wrong(loaded: Any, example: bytes, message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(loaded, "examples", examples=np.array([GOOD, example], object))


def test_an_empty_list_of_examples_is_refused(loaded: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="examples: 0 found in the request"):
        call(loaded, "examples", examples=np.zeros(0, object))


def test_a_bad_request_does_not_take_others_of_its_moment_along(loaded: Any) -> None:
    """Requests of different lengths and time bases, some bad, all at once: each gets what it gets alone."""
    rng = np.random.default_rng(3)
    requests: list[dict[str, np.ndarray]] = []
    for number in range(16):
        lengths = rng.integers(0, 12, rng.integers(1, 4)).tolist()
        features = padded_features(lengths, seed=number)
        requests.append({
            "features": features, "lengths": np.array(lengths, np.int64),
            "fps": np.full(len(lengths), 20 + number, np.float32), "stride": np.full(len(lengths), 8, np.int64),
        })  # fmt: skip
    for bad in (3, 8, 13):
        requests[bad]["lengths"][0] = 99
    alone = [attempt(loaded, request) for request in requests]
    found: list[Any] = [None] * len(requests)

    def ask(number: int) -> None:
        found[number] = attempt(loaded, requests[number])

    for _ in range(3):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(requests))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, (mine, expected) in enumerate(zip(found, alone)):
            assert isinstance(expected, str) == (number in (3, 8, 13))
            if isinstance(expected, str):
                assert "goes beyond" in mine
                continue
            for name, value in expected.items():
                np.testing.assert_allclose(mine[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def attempt(loaded: Any, request: dict[str, np.ndarray]) -> Any:
    try:
        return call(loaded, "with_time_base", **request)
    except tf.errors.InvalidArgumentError as error:
        return error.message


def test_requests_by_themselves_give_the_same(loaded: Any) -> None:
    serve, specs = service(make_model(), batching=Batching(max_batch_videos=0)).signatures()["serving_default"]
    inputs = {"features": FEATURES, "lengths": np.array([5, 2])}
    expected = call(loaded, "serving_default", **inputs)
    for name, value in tf.function(serve, input_signature=specs, autograph=False)(**inputs).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize(
    "wrong", [{"max_batch_videos": -1}, {"batch_threads": 0}, {"batch_timeout_ms": -1.0}, {"max_waiting_batches": 0}]
)
def test_impossible_batching_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(wrong))}="):
        Batching(**wrong)


def test_the_width_of_the_example_is_that_of_the_model() -> None:
    assert FEATURES.shape[2] == 2 * DIM and TimeBase() != RUN.time_base  # what the cases above rely on
