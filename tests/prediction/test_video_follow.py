"""Detections in a video that grows: files, pipes and streams, their ends, and the same features as the whole file's."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from data_prep.extraction.decoding import VideoFile
from data_prep.extraction.extracting import Extraction, Extractor
from data_prep.extraction.live import sources
from data_prep.extraction.live.rows import _WAITING, LiveFeatures
from data_prep.extraction.live.sources import Camera, GrowingBytes, Patience, open_live
from data_prep.extraction.sampling import Timed
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.prediction.follow import FollowConfig, Found, StreamDetector
from tc3net.prediction.video_features import extract_features, find_videos, read_features
from tc3net.prediction.video_follow import VideoFollower, name_of
from tc3net.prediction.video_networks import RunNetworks
from tests.support.needs import OPTICAL_FLOW, VIDEO, needs
from tests.support.toy_backbone import MEANS
from tests.support.video_files import grey_levels, texture, write_video

pytestmark = needs(VIDEO)
FOLLOW = FollowConfig(follow_window=8, follow_hop=2, follow_timeout_s=1.0, follow_poll_s=0.01)
NETWORKS = RunNetworks(Extraction({"rgb": MEANS}), {"rgb": "rgb"}, {"rgb": 9}, ())
BRIGHT = (2, 3, 8)  # segments


class Given:
    """A scorer whose T-CAM is the brightness of the segment."""

    top_k_divisor, streams = 8, ("rgb",)

    def with_streams(self, features: Any) -> dict[str, np.ndarray]:
        rows = features.flat_values.numpy()[:, :1]
        return {"tcam_fused": rows, "tcam_rgb": rows}


def detector() -> StreamDetector:
    config = DetectionConfig(score_gamma=0.0)
    return StreamDetector(Given(), ("a",), TimeBase(), config, FOLLOW)  # type: ignore[arg-type]


@functools.cache
def frames() -> list[np.ndarray]:
    """14 segments."""
    return [
        np.full((48, 64, 3), 220 if segment in BRIGHT else 40, np.uint8) for segment in range(14) for _ in range(16)
    ]


def whole(tmp_path: Path, name: str) -> tuple[bytes, np.ndarray]:
    """A video's bytes, and the features of the file."""
    path = write_video(tmp_path / "whole" / name, frames()) if (tmp_path / "whole").mkdir() is None else Path()
    Extractor(NETWORKS.extraction, tmp_path / "expected").run({"v": path})
    return path.read_bytes(), np.load(tmp_path / "expected" / "rgb" / "v.npy")


def written(path: Path, content: bytes, pieces: int = 20, pause_s: float = 0.02) -> threading.Thread:
    """Writes a file or pipe bit by bit."""

    def write() -> None:
        with open(path, "ab", buffering=0) as file:
            for part in range(pieces):
                file.write(content[part * len(content) // pieces : (part + 1) * len(content) // pieces])
                time.sleep(pause_s)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def followed(address: str, features_dir: Path, stop: Any = lambda: False) -> tuple[VideoFollower, list[Found]]:
    follower = VideoFollower(address, NETWORKS, features_dir, FOLLOW, stop)
    return follower, list(follower.detections(detector()))


def spans(found: list[Found]) -> list[tuple[int, int]]:
    return sorted((round(one.start_s / 0.64), round(one.end_s / 0.64)) for one in found)


@pytest.mark.parametrize(("name", "kind"), [("a.ts", "file"), ("a.mkv", "file"), ("a.mp4", "file"), ("a.ts", "pipe")])
def test_a_video_that_grows_gives_the_features_of_the_whole(tmp_path, name, kind):
    content, expected = whole(tmp_path, name)
    path = tmp_path / f"live{Path(name).suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    thread = written(path, content)
    started = time.monotonic()
    follower, found = followed(str(path), tmp_path / "out")
    thread.join()
    assert (follower.segments, follower.error, follower.video_id) == (14, None, "live")
    assert spans(found) == [(2, 4), (8, 9)]
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "rgb" / "live.npy"), expected)
    np.testing.assert_array_equal(read_features(tmp_path / "out", "live", NETWORKS), expected)
    assert not (tmp_path / "out" / ".partial").exists()
    if kind == "pipe":
        assert time.monotonic() - started < 20  # it does not wait for the timeout
    else:  # and a second call takes them as they are
        never = replace(NETWORKS, extraction=Extraction({"rgb": replace(MEANS, function=lambda clips: 1 / 0)}))
        again = extract_features(find_videos([str(path)]), never, tmp_path / "out")
        np.testing.assert_array_equal(again.rows["live"], expected)


def test_detections_come_before_the_end(tmp_path):
    content, _ = whole(tmp_path, "a.ts")
    path = tmp_path / "live.ts"
    path.write_bytes(content[: 9 * len(content) // 10])
    follower = VideoFollower(str(path), NETWORKS, tmp_path / "out", FOLLOW, lambda: False)
    found = follower.detections(detector())
    assert spans([next(found)]) == [(2, 4)]
    with path.open("ab") as file:
        file.write(content[9 * len(content) // 10 :])
    assert spans(list(found)) == [(8, 9)]
    assert follower.segments == 14


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends a video bit by bit; without its last part if the server is to break off."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content, is_broken = self.server.content, self.server.is_broken  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        if is_broken:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in range(6 if is_broken else 10):
            piece = content[part * len(content) // 10 : (part + 1) * len(content) // 10]
            self.wfile.write(piece if is_broken else b"%x\r\n%b\r\n" % (len(piece), piece))
            time.sleep(0.02)
        if not is_broken:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_stream_ends_or_breaks_off(tmp_path, server, is_broken):
    server.content, expected = whole(tmp_path, "a.ts")
    server.is_broken = is_broken
    follower, found = followed(f"http://127.0.0.1:{server.server_port}/live/cam1.ts?key=1", tmp_path / "out")
    assert (follower.video_id, follower.film) == ("cam1", None)
    rows = read_features(tmp_path / "out", "cam1", NETWORKS)
    np.testing.assert_array_equal(rows, expected[: len(rows)])
    note = json.loads((tmp_path / "out" / "cam1.json").read_text())
    assert note["video_sha256"] == ""
    if is_broken:
        assert 5 < len(rows) < 14 and spans(found)[0] == (2, 4)
        assert "reading broke off after" in str(follower.error)
    else:
        assert (len(rows), follower.error, spans(found)) == (14, None, [(2, 4), (8, 9)])


def test_what_reading_meets_is_told_after_the_detections(tmp_path):
    """An error of FFmpeg while reading, as a connection gives it that breaks."""
    content, _ = whole(tmp_path, "a.ts")
    (tmp_path / "live.ts").write_bytes(content)

    class Breaks(GrowingBytes):
        def read(self, size: int) -> bytes:
            if self._position > len(content) // 2:
                raise OSError(5, "Input/output error")
            return super().read(min(size, 4096))

    with mock.patch.object(sources, "GrowingBytes", Breaks):
        follower, found = followed(str(tmp_path / "live.ts"), tmp_path / "out")
    assert "Input/output error" in str(follower.error)
    assert 3 < follower.segments < 14 and spans(found)[0] == (2, 4)


def test_an_end_that_is_asked_for_comes_soon_and_is_no_finished_video(tmp_path):
    content, _ = whole(tmp_path, "a.ts")
    path = tmp_path / "live.ts"
    path.write_bytes(content)
    seen = []
    follower = VideoFollower(str(path), NETWORKS, tmp_path / "out", FOLLOW, lambda: bool(seen))
    for one in follower.detections(detector()):
        seen.append(one)
    assert spans(seen)[0] == (2, 4) and follower.segments <= 14
    note = json.loads((tmp_path / "out" / "live.json").read_text())
    assert note["video_sha256"] == ("" if note["decoded"]["ended_early"] == "stopped" else note["video_sha256"])
    assert extract_features(find_videos([str(path)]), NETWORKS, tmp_path / "out").rows["live"].shape == (14, 9)


def test_what_cannot_be_followed_is_said(tmp_path):
    follower, found = followed(str(tmp_path / "absent.ts"), tmp_path / "out")
    assert found == [] and follower.segments == 0
    assert "can be read before it is complete: MPEG-TS, Matroska" in str(follower.error)
    write_video(tmp_path / "late.mov", [texture(160, 160, seed) for seed in range(30)])
    follower, _ = followed(str(tmp_path / "late.mov"), tmp_path / "out")
    assert follower.segments == 0 and "has its index at the end" in str(follower.error)
    write_video(tmp_path / "short.mkv", grey_levels(5))
    follower, _ = followed(str(tmp_path / "short.mkv"), tmp_path / "out")
    assert "ended before one segment was complete" in str(follower.error)
    source = GrowingBytes(str(tmp_path / "short.mkv"), Patience(0.1, 0.01))
    source.read(100_000)
    (tmp_path / "short.mkv").write_bytes(b"")
    with pytest.raises(UserError, match="it became shorter"):
        source.read(10)
    source.close()
    with pytest.raises(UserError, match=r"the address of a stream or camera found.*Add --follow"):
        find_videos(["rtsp://camera/1"])


def test_names_of_streams():
    names = {"videos/match.mp4": "match", "camera:0": "camera_0", "rtsp://host/live/": "live", "udp://@:1234": "1234"}
    assert {address: name_of(address) for address in names} == names


@needs(OPTICAL_FLOW)
def test_a_camera_gives_frames_at_the_times_they_come(monkeypatch):
    now = iter(np.arange(100) * 0.05)

    class Capture:
        def __init__(self, number: int) -> None:
            self.left = 6 if number == 0 else 0

        def isOpened(self) -> bool:  # noqa: N802
            return self.left > 0

        def read(self) -> tuple[bool, Any]:
            self.left -= 1
            return self.left >= 0, np.full((48, 64, 3), 100, np.uint8)

        def release(self) -> None:
            pass

    opencv = sources.import_opencv()
    monkeypatch.setattr(opencv, "VideoCapture", Capture)
    monkeypatch.setattr(sources.time, "monotonic", lambda: next(now))
    with open_live("camera:0", Patience()) as camera:
        found = list(camera.frames())
    assert [round(float(one.start_s), 2) for one in found] == [0, 0.05, 0.1, 0.15, 0.2, 0.25]
    assert camera.decoded.ended_early == "the camera gives no more pictures"
    for address, message in (("camera:1", "OpenCV cannot open this camera"), ("camera:x", "no number of a camera")):
        with pytest.raises(UserError, match=message):
            open_live(address, Patience())


def test_what_waits_is_bounded():
    """A source without end, and nobody who takes rows: it is not read on."""
    read = []

    class Endless(Camera):
        def __init__(self) -> None:
            self.decoded = mock.Mock()

        def __exit__(self, *_: object) -> None:
            pass

        def frames(self) -> Iterator[Timed]:
            import av

            image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            while True:
                read.append(len(read))
                yield Timed(image, Fraction(read[-1], 25), Fraction(len(read), 25))

    with LiveFeatures(NETWORKS.extraction, Endless, lambda: False) as live:
        deadline = time.monotonic() + 30
        while live._ready.qsize() < _WAITING and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        before = len(read)
        assert before <= 16 * (_WAITING + 2)
        assert live.read()["rgb"].shape == (1, 9)
    assert len(read) <= before + 48


def test_time_stamps_that_begin_anew_go_on(tmp_path):
    """An encoder that was restarted, in the middle of a stream."""
    path = write_video(tmp_path / "a.mkv", grey_levels(40), codec="ffv1")
    with VideoFile(path) as video:
        real = list(video._decoded_frames())
    for frame in real:
        frame.pts += 3_600_000
    restarted = real[:20] + real[20:]
    for frame in restarted[20:]:
        frame.pts -= 3_600_000
    with VideoFile(path) as video:
        video._decoded_frames = lambda: iter(restarted)
        starts = [float(one.start_s) for one in video.frames()]
    np.testing.assert_allclose(starts, np.arange(40) / 25, atol=0.045)
