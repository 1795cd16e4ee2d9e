"""An exported model, asked through a server: the library's own detections, over both transports.

The server is the stand-in and, where its binary is on the PATH, TensorFlow Serving.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.detection import detect_videos
from tc3net.inference.new_videos import score_features
from tc3net.inference.scorer import Scorer
from tc3net.model import ThreeCNet
from tc3net.serving.calls import ServingError
from tc3net.serving.client import Detection
from tests.support.export_cases import DIM, MOST, RUN, make_model
from tests.support.needs import MODEL_SERVER, TENSORFLOW_SERVING, needs
from tests.support.serving_cases import TRANSPORTS, RealServer, connect, video
from tests.support.serving_stand_in import StandIn


@pytest.fixture(scope="module")
def model() -> ThreeCNet:
    return make_model()


@pytest.fixture(scope="module", params=["stand-in", pytest.param(MODEL_SERVER, marks=needs(TENSORFLOW_SERVING))])
def server(request: pytest.FixtureRequest, exported: Path) -> Iterator[StandIn | RealServer]:
    with (RealServer if request.param == MODEL_SERVER else StandIn)(exported.parents[1]) as running:
        yield running


@needs(TENSORFLOW_SERVING)
def test_which_tensorflow_serving_takes_part() -> None:
    print(subprocess.run([MODEL_SERVER, "--version"], check=True, capture_output=True, text=True, timeout=60).stdout)


VIDEOS = {f"v{segments}": video(segments, seed=segments) for segments in (1, 9, 33)}
OWN = TimeBase(25.0, RUN.time_base.frames_per_segment, 16)


@pytest.fixture(scope="module")
def right(model: ThreeCNet) -> dict[TimeBase, list[list[Detection]]]:
    """The library's detections of VIDEOS, best first, by time base."""
    scorer = Scorer(model)
    by_base = {}
    for base in (RUN.time_base, OWN, replace(RUN.time_base, fps=25.0)):
        found = detect_videos(score_features(scorer, VIDEOS, RUN.classes, base), RUN.detection)
        order = (-found.score).argsort(kind="stable")
        by_base[base] = [
            [
                Detection(RUN.classes[found.label[i]], found.start_s[i], found.end_s[i], found.score[i])
                for i in order
                if found.video[i] == place
            ][:MOST]
            for place in range(len(VIDEOS))
        ]
    return by_base


def assert_same(found: list[Detection], expected: list[Detection]) -> None:
    assert [one.class_name for one in found] == [one.class_name for one in expected]
    for name in ("start_s", "end_s", "score"):
        values, wanted = ([getattr(one, name) for one in detections] for detections in (found, expected))
        np.testing.assert_allclose(values, wanted, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_detections_are_the_librarys(
    server: StandIn | RealServer, right: dict[TimeBase, list[list[Detection]]], transport: str
) -> None:
    longest = VIDEOS["v33"]
    with connect(server, transport) as client:
        assert client.health() == {1: "AVAILABLE"}
        assert client.feature_width() == 2 * DIM
        for features, expected in zip(VIDEOS.values(), right[RUN.time_base]):
            assert_same(client.localize(features), expected)
        for found, expected in zip(client.localize_batch(list(VIDEOS.values())), right[RUN.time_base]):
            assert_same(found, expected)
        assert_same(client.localize(longest, fps=25.0, stride=16), right[OWN][2])
        assert_same(client.localize(longest, fps=25.0), right[replace(RUN.time_base, fps=25.0)][2])
        halves = longest.astype(np.float16)
        assert_same(client.localize(halves), client.localize(halves.astype(np.float32)))


def test_both_transports_give_the_same_float32(server: StandIn | RealServer) -> None:
    with connect(server, "grpc") as one, connect(server, "rest") as other:
        for seed in range(3):
            assert one.localize(video(seed=seed)) == other.localize(video(seed=seed))
        mine, its = one.embed(video()).streams, other.embed(video()).streams
        for name in mine:
            np.testing.assert_array_equal(mine[name], its[name])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_embeddings_are_the_models_features(server: StandIn | RealServer, model: ThreeCNet, transport: str) -> None:
    with connect(server, transport) as client:
        found = client.embed(VIDEOS["v9"])
    outputs = model(tf.RaggedTensor.from_row_lengths(VIDEOS["v9"], [9]), training=False)
    for stream in ("rgb", "flow"):
        right = outputs[f"features_{stream}"].flat_values
        np.testing.assert_allclose(getattr(found, stream), right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_refused_request_says_why(server: StandIn | RealServer, transport: str) -> None:
    with connect(server, transport) as client:
        # Over REST records are sent, which hold streams of the model's sizes: that is seen before.
        with pytest.raises(UserError, match=r"refused the request|rows of 6 numbers found; expected 8") as caught:
            client.localize(video(dim=3))
        with pytest.raises(ServingError, match="rows of 6 numbers found; expected 8"):
            client.embed(video(dim=3))
        with connect(server, transport, version=7) as absent, pytest.raises(ServingError, match="version 7"):
            absent.localize(video())
    assert transport == "rest" or caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_threads_that_share_a_client(
    server: StandIn | RealServer, right: dict[TimeBase, list[list[Detection]]], transport: str
) -> None:
    found: dict[int, list[Detection]] = {}
    videos = list(VIDEOS.values())
    with connect(server, transport) as client:

        def ask(first: int) -> None:
            for place in range(first, 12, 4):
                found[place] = client.localize(videos[place % 3])

        threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(found) == 12
    for place, detections in found.items():
        assert_same(detections, right[RUN.time_base][place % 3])
