"""The client against the stand-in, with a model whose answers are exact: encodings, checks, failures, versions, TLS."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.serving import calls
from tc3net.serving import client as client_module
from tc3net.serving import features as features_module
from tc3net.serving.calls import CallFailed, Deadline, Reply, ServingError, with_retries
from tc3net.serving.client import Client, Detection
from tests.support.forked_commands import run
from tests.support.needs import OPENSSL, needs
from tests.support.serving_cases import MODEL, TRANSPORTS, connect, video
from tests.support.serving_export import CLASSES, DIM, expected, export_model
from tests.support.serving_stand_in import StandIn


@pytest.fixture(scope="module")
def export_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    export_model(folder)
    return folder


@pytest.fixture(scope="module")
def one_stand_in(export_dir: Path) -> Iterator[StandIn]:
    with StandIn(export_dir) as server:
        yield server


@pytest.fixture
def stand_in(one_stand_in: StandIn) -> StandIn:
    one_stand_in.asked.clear()
    one_stand_in.failures.clear()
    one_stand_in.delay_s, one_stand_in.loading = 0.0, False
    return one_stand_in


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_FIRST_WAIT_S", 0.02)


def assert_expected(found: list[Detection], features: np.ndarray, base: TimeBase = TimeBase()) -> None:
    right = expected(features, base)
    assert [(d.class_name, d.score) for d in found] == [(name, float(score)) for name, _, _, score in right]  # exact
    times = [(d.start_s, d.end_s) for d in found]
    np.testing.assert_allclose(times, [(start, end) for _, start, end, _ in right], rtol=1e-6)


# The model's numbers


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_detections_are_the_models(stand_in: StandIn, transport: str) -> None:
    with connect(stand_in, transport) as client:
        assert client.is_ready()
        assert client.health() == {1: "AVAILABLE"}
        assert client.feature_width() == 2 * DIM
        for seed in range(3):
            assert_expected(client.localize(video(seed=seed)), video(seed=seed))
        assert client.localize(-np.abs(video())) == []  # no class scores above 0


def test_both_transports_give_the_same_detections(stand_in: StandIn) -> None:
    with connect(stand_in, "grpc") as one, connect(stand_in, "rest") as other:
        for seed in range(5):
            assert one.localize(video(seed=seed)) == other.localize(video(seed=seed))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_time_base_of_the_videos_own(stand_in: StandIn, transport: str) -> None:
    with connect(stand_in, transport) as client:
        assert_expected(client.localize(video(), fps=30.0, stride=8), video(), TimeBase(30.0, 16, 8))
        assert_expected(client.localize(video(), fps=12.5), video(), TimeBase(12.5, 16, 16))
        assert_expected(client.localize(video(), stride=4), video(), TimeBase(25.0, 16, 4))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_batch_of_any_lengths_and_kinds(stand_in: StandIn, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = [video(7, 1), video(1, 2).astype(np.float16), video(40, 3).astype(np.float64), np.eye(6, 8, dtype=int)]
    videos.append(np.asfortranarray(video(9, 4)))
    with connect(stand_in, transport) as client:
        together = client.localize_batch(videos)
        assert together == [client.localize(features) for features in videos]
        for found, features in zip(together, videos):
            assert_expected(found, features)
        assert client.localize_batch([]) == []
        monkeypatch.setattr(features_module, "MAX_REQUEST_BYTES", 2200)  # the largest of them needs 1792
        assert [len(videos[group]) for group in features_module.groups([video(7), video(7), video(40), video(1)])] == [
            2, 1, 1,
        ]  # fmt: skip
        assert client.localize_batch(videos) == together


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_embeddings_are_exact(stand_in: StandIn, transport: str) -> None:
    features = video(5) * np.float32(1e-3)
    with connect(stand_in, transport) as client:
        found = client.embed(features)
    assert found.rgb.dtype == found.flow.dtype == np.float32
    np.testing.assert_array_equal(found.rgb, 2 * features[:, :DIM])
    np.testing.assert_array_equal(found.flow, 3 * features[:, DIM:])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_the_model_refuses_is_asked_once(stand_in: StandIn, transport: str) -> None:
    with connect(stand_in, transport) as client:
        if transport == "rest":  # which sends records: their streams have sizes
            with pytest.raises(UserError, match=rf"rows of 6 numbers found; expected {2 * DIM} \(rgb {DIM}, then flow"):
                client.localize(video()[:, :6])
            return
        with pytest.raises(ServingError, match="refused the request") as caught:
            client.localize(video()[:, :6])
    assert caught.value.code == "INVALID_ARGUMENT"
    assert "1 video(s), 20 segments x 6 values" in str(caught.value)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_unknown_models_and_versions_are_named(stand_in: StandIn, transport: str) -> None:
    for settings, named in (({"model_name": "other"}, "'other'.*newest version"), ({"version": 7}, "version 7")):
        with connect(stand_in, transport, **settings) as client:
            assert not client.is_ready()
            for ask in (lambda: client.localize(video()), client.health):
                with pytest.raises(ServingError, match=f"{named}.*is not served there.*models.config") as caught:
                    ask()
                assert caught.value.code == "NOT_FOUND"


def test_hours_of_video(tmp_path: Path) -> None:
    """Four hours at 25 fps: 22 500 segments of 2048 values, 184 MB."""
    export_model(tmp_path, dim=1024)
    features = np.zeros([22500, 2048], np.float32)
    features[[22499, 3], [0, 2]] = 0.1, np.pi
    with StandIn(tmp_path) as server, connect(server, "grpc") as client:
        assert_expected(client.localize(features), features)
        short = features[-3000:]
        with connect(server, "rest") as rest:
            assert rest.localize(short) == client.localize(short)


# What cannot be sent


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros([0, 8], np.float32), "features: no segments found"),
        (np.zeros([8], np.float32), r"features: array of shape \[8\] found, \[segments, ΣD\] expected"),
        (np.zeros([1, 5, 8], np.float32), r"shape \[1, 5, 8\] found"),
        (np.array([["a", "b"]]), "real numbers expected"),
        (np.where(np.arange(48).reshape(6, 8) > 30, np.nan, 0.0), "NaN or Inf in 3 segments, the first is 3"),
        (np.full([2, 8], 1e300), "NaN or Inf in 2 segments, the first is 0"),
        (np.broadcast_to(np.float32(0), [300000, 2048]), r"2\.46 GB, but a request holds at most 2\.15 GB"),
    ],
)
def test_bad_features_are_refused_before_sending(stand_in: StandIn, features: np.ndarray, message: str) -> None:
    with connect(stand_in, "grpc") as client:
        for ask in (client.localize, client.embed):
            with pytest.raises(UserError, match=message):
                ask(features)
        with pytest.raises(UserError, match=message.replace("features:", r"videos\[1\]:")):
            client.localize_batch([video(), features])
    assert stand_in.asked == []


def test_bad_times_and_mixed_widths_are_refused_before_sending(stand_in: StandIn) -> None:
    with connect(stand_in, "grpc") as client:
        for times, message in (
            ({"fps": 0.0}, "fps is 0.0; expected a positive number"),
            ({"fps": float("nan"), "stride": 4}, "fps is nan"),
            ({"stride": 2.5}, "stride is 2.5; expected a positive whole number"),
        ):
            with pytest.raises(UserError, match=message):
                client.localize(video(), **times)
        with pytest.raises(UserError, match=r"\[6, 8\] values per segment"):
            client.localize_batch([video(), video()[:, :6]])
    assert stand_in.asked == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transport": "http"}, "expected grpc or rest"),
        ({"address": "http://localhost:8501"}, "without http://"),
        ({"address": "localhost"}, "expected host:port"),
        ({"model_name": ""}, "a plain name"),
        ({"deadline_s": 0.0}, "a positive number"),
        ({"attempts": 0}, "1 or more"),
        ({"version": -1}, "a version number"),
        ({"ca_file": "ca.pem"}, "--tls with --ca_file"),
        ({"tls": True, "cert_file": "own.pem"}, "together"),
        ({"tls": True, "ca_file": "absent.pem"}, "absent.pem: cannot be read"),
    ],
)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_impossible_settings(transport: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Client(**{"address": "localhost:1", "transport": transport, **settings})


# Failures


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_an_overloaded_server_is_asked_again(stand_in: StandIn, transport: str, code: str) -> None:
    stand_in.failures += [(code, "queue is full")] * 3
    with connect(stand_in, transport, attempts=4) as client:
        assert_expected(client.localize(video()), video())
        stand_in.failures += [(code, "queue is full")] * 5
        with pytest.raises(ServingError, match=r"4 attempts.*queue is full") as caught:
            client.localize(video())
    assert caught.value.code == code
    assert len(stand_in.failures) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL", "FAILED_PRECONDITION", "NOT_FOUND"])
def test_other_failures_are_not_repeated(stand_in: StandIn, transport: str, code: str) -> None:
    stand_in.failures += [(code, "said the server")] * 2
    with (
        connect(stand_in, transport, version=1) as client,
        pytest.raises(ServingError, match="said the server") as caught,
    ):
        client.localize(video())
    same_in_rest = {"FAILED_PRECONDITION": "INVALID_ARGUMENT"}  # both are HTTP 400
    assert caught.value.code == (same_in_rest.get(code, code) if transport == "rest" else code)
    assert len(stand_in.failures) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_slow_server_meets_the_deadline(stand_in: StandIn, transport: str) -> None:
    stand_in.delay_s = 1.0
    started = time.monotonic()
    with connect(stand_in, transport, deadline_s=0.3) as client:
        with pytest.raises(ServingError, match=r"did not answer within 0\.3 s.*--deadline_s") as caught:
            client.localize(video())
        assert time.monotonic() - started < 0.9
    assert caught.value.code == "DEADLINE_EXCEEDED"
    time.sleep(1.0)  # the stand-in finishes what was abandoned


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_without_a_server(transport: str) -> None:
    with socket.socket() as taken:  # bound but not listening: nobody else gets the port, and connections are refused
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Client(address, transport=transport, attempts=3, deadline_s=20) as client:
            assert not client.is_ready()
            with pytest.raises(ServingError, match=f"{address}.*cannot be reached .3 attempts.*8501") as caught:
                client.localize(video())
    assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_server_may_start_after_the_client(export_dir: Path, transport: str) -> None:
    server = StandIn(export_dir)  # its ports are taken, but it does not answer yet
    answers: list[list[Detection]] = []
    with connect(server, transport, deadline_s=30) as client:
        asking = threading.Thread(target=lambda: answers.append(client.localize(video())))
        asking.start()
        time.sleep(0.2)
        with server:
            asking.join(30)
    assert_expected(answers[0], video())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_model_that_is_loading(stand_in: StandIn, transport: str) -> None:
    stand_in.loading = True
    with connect(stand_in, transport) as client:
        assert client.health() == {1: "LOADING"}
        assert not client.is_ready()
        with pytest.raises(ServingError, match="still loading"):
            client.localize(video())
        stand_in.loading = False
        assert client.is_ready()


def test_attempts_end_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses double up to a longest one, and none begins that the deadline would cut."""
    now, pauses = [100.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    def fail(deadline: Deadline) -> None:
        now[0] += 0.5
        raise CallFailed("UNAVAILABLE", "down")

    monkeypatch.setattr(calls.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(calls.time, "sleep", sleep)
    monkeypatch.setattr(calls.random, "uniform", lambda low, high: high)
    monkeypatch.setattr(calls, "_FIRST_WAIT_S", 1.0)
    with pytest.raises(CallFailed) as caught:
        with_retries(fail, attempts=100, deadline_s=19.0)
    assert pauses == [1.0, 2.0, 4.0, 5.0]  # with 5 attempts of 0.5 s that is 14.5 s; 4.5 s are left, less than a pause
    assert caught.value.attempts == 5
    assert now[0] == 114.5


def test_a_message_that_is_too_large_is_not_repeated() -> None:
    attempts = []

    def once(deadline: Deadline) -> None:
        attempts.append(deadline.left_s())
        raise CallFailed("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)")

    with pytest.raises(CallFailed):
        with_retries(once, attempts=5, deadline_s=9.0)
    assert len(attempts) == 1


def test_rest_explains_pages_that_are_no_json(monkeypatch: pytest.MonkeyPatch, stand_in: StandIn) -> None:
    """A proxy's page, or a wrong port."""
    page = "<html>Bad\nGateway</html>"
    monkeypatch.setattr("tests.support.serving_stand_in.json.dumps", lambda *args, **kwargs: page)
    with connect(stand_in, "rest") as client, pytest.raises(ServingError, match="the answer is no JSON") as caught:
        client.health()
    assert caught.value.code == "INTERNAL"
    other = connect(stand_in, "rest", model_name="x")
    with pytest.raises(ServingError, match=r"<html>Bad Gateway</html> \(HTTP 404\)"):
        other.health()
    wrong_port = Client(stand_in.grpc_address, transport="rest")
    with pytest.raises(ServingError, match="gRPC usually answers on port 8500"):
        wrong_port.health()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    monkeypatch.delitem(sys.modules, "tc3net.serving.grpc_transport")
    with pytest.raises(UserError, match=r"pip install tc3net\[serving\].*--transport=rest"):
        Client("localhost:1")
    Client("localhost:1", transport="rest").close()


# Versions


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_new_version_while_the_client_lives(tmp_path: Path, transport: str) -> None:
    export_model(tmp_path)
    with (
        StandIn(tmp_path) as server,
        connect(server, transport) as client,
        connect(server, transport, version=1) as old,
    ):
        before = client.localize(video())
        assert client.localize(video()) == before == old.localize(video())
        assert server.asked.count(("class_names", 1)) == 2  # each client once
        export_model(tmp_path, classes=tuple(f"new {name}" for name in CLASSES))
        after = client.localize(video())
        assert [d.class_name for d in after] == [f"new {d.class_name}" for d in before]
        assert client.localize(video()) == after
        assert server.asked.count(("class_names", 2)) == 1
        assert client.health() == {1: "END", 2: "AVAILABLE"}
        # It is unloaded: an error, never the answer of another version.
        with pytest.raises(ServingError, match=r"version 1.*is not served there"):
            old.localize(video())
        shutil.rmtree(tmp_path / MODEL / "2")  # rolled back
        assert client.localize(video()) == before


def test_a_version_that_goes_between_two_calls_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detections come from version 1, which is unloaded before its class names are asked for."""
    replies = [(1, None), (1, "NOT_FOUND"), (2, None), (2, None)]
    asked = []

    class Rolling:
        def predict(self, signature: str, inputs: object, outputs: object, version: int, deadline: Deadline) -> Reply:
            number, failure = replies[len(asked)]
            asked.append((signature, version))
            if failure:
                raise CallFailed(failure, "unloaded")
            if signature == "class_names":
                return Reply({"class_names": np.array([b"a", b"b"], object)}, number)
            one = np.ones([1, 1], np.float32)
            return Reply(
                {
                    "video_scores": np.zeros([1, 2]),
                    "detection_segments": np.array([[[1.0, 2.0]]]),
                    "detection_classes": one,
                    "detection_scores": one,
                    "num_detections": one[0],
                },
                number,
            )

    monkeypatch.setattr(client_module, "_connect", lambda config: Rolling())
    assert Client("localhost:1").localize(video()) == [Detection("b", 1.0, 2.0, 1.0)]
    assert asked == [("serving_default", 0), ("class_names", 1), ("serving_default", 0), ("class_names", 2)]


# TLS and the command


@needs(OPENSSL)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_tls(export_dir: Path, tmp_path: Path, transport: str) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    with StandIn(export_dir, key_and_certificate=(key, certificate)) as server:
        with connect(server, transport, tls=True, ca_file=str(certificate)) as client:
            assert_expected(client.localize(video()), video())
        for settings in ({"tls": True}, {}):  # a certificate that nobody vouches for; no encryption
            with connect(server, transport, attempts=1, deadline_s=5, **settings) as client:
                assert not client.is_ready()


def test_the_command(stand_in: StandIn, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", video())

    def command(*arguments: str) -> tuple[int, str]:
        result = run(["tc3net.serving.client", *arguments])
        return result.returncode, result.stdout + result.stderr[result.stderr.find("error:") :]

    rest = (f"--address={stand_in.rest_address}", "--transport=rest")
    code, text = command(*rest, f"--features={tmp_path / 'a.npy'}", f"--output={tmp_path / 'd.json'}", "--fps=50")
    assert code == 0, text
    right = expected(video(), TimeBase(50.0, 16, 16))
    assert f"a: {len(right)} detections" in text
    found = json.loads((tmp_path / "d.json").read_text())["results"]["a"]
    assert [(one["label"], one["score"]) for one in found] == [(name, float(score)) for name, _, _, score in right]
    flow_first = np.concatenate(np.split(video(), 2, axis=1)[::-1], axis=1)
    np.savez(tmp_path / "a.npz", flow_first[None])
    code, text = command(*rest, f"--features={tmp_path / 'a.npz'}", "--channel_order=flow_first", "--fps=50")
    assert code == 0 and f"a: {len(right)} detections" in text, text
    stand_in.loading = True
    code, text = command(f"--address={stand_in.grpc_address}", "--health")
    assert code == 1 and "version 1: LOADING" in text and "no version of 'tc3net' is loaded yet" in text
