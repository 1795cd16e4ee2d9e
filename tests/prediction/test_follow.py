"""Detections of a stream: closed forms with a T-CAM that is given, and the same whatever pieces the file grows by."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.features.growing import GrowingFile, JoinedFiles
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig, Evidence, detect_in, detect_videos
from tc3net.inference.new_videos import score_features
from tc3net.inference.scorer import Scorer
from tc3net.prediction import follow
from tc3net.prediction.follow import FollowConfig, Found, StreamDetector, follow_files
from tests.support.export_cases import DIM, RUN, make_model

CONFIG = FollowConfig(follow_window=32, follow_hop=4, follow_timeout_s=0.2, follow_poll_s=0.01)


@functools.cache
def traced_detect(config: DetectionConfig, classes: int) -> Callable[..., dict[str, tf.Tensor]]:
    tracks = tf.RaggedTensorSpec([None, None, classes], tf.float32, ragged_rank=1)
    signature = [tracks, tf.TensorSpec([None, classes], tf.float32)]
    return tf.function(
        lambda tracks, scores: detect_in(Evidence(tracks, tracks, scores), config),
        input_signature=signature,
        autograph=False,
    )


@pytest.fixture(autouse=True)
def a_graph_for_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of windows of a few settings: op by op that takes twenty times as long."""

    def found(evidence: Evidence, config: DetectionConfig) -> dict[str, tf.Tensor]:
        assert evidence.scored is evidence.tracks  # one T-CAM is all that is read here
        return traced_detect(config, evidence.tracks.shape[-1])(evidence.tracks, evidence.classes)

    monkeypatch.setattr(follow, "detect_in", found)


class Given:
    """A scorer whose T-CAM is the features themselves, one column a class."""

    top_k_divisor, streams = 8, ("rgb", "flow")

    def with_streams(self, features: Any) -> dict[str, np.ndarray]:
        rows = features.flat_values.numpy()
        return {"tcam_fused": rows, "tcam_rgb": rows, "tcam_flow": rows}


def detector(**changed: Any) -> StreamDetector:
    config = DetectionConfig(score_gamma=0.0, **changed)
    return StreamDetector(Given(), ("a", "b"), TimeBase(16.0, 16, 16), config, CONFIG)  # type: ignore[arg-type]


def boxes(length: int, *spans: tuple[int, int, int]) -> np.ndarray:
    """[length, 2]: 0, and 1 in the spans (class, start, end)."""
    rows = np.zeros((length, 2), np.float32)
    for label, start, end in spans:
        rows[start:end, label] = 1
    return rows


def spans_of(found: list[Found]) -> list[tuple[int, int, int]]:
    return [("ab".index(d.label), round(d.start_s), round(d.end_s)) for d in found]  # one segment is a second


SPANS = [(0, 2, 5), (0, 20, 21), (1, 22, 30), (0, 40, 44), (0, 60, 80), (1, 70, 71), (1, 99, 100)]


def test_each_instance_is_given_out_once_and_soon_after_its_end() -> None:
    stream, rows, found, at = detector(), boxes(100, *SPANS), [], []
    for segment in range(len(rows)):  # one at a time
        for new in stream.push(rows[segment : segment + 1]):
            found.append(new)
            at.append(segment + 1 - round(new.end_s))
    assert sorted(spans_of(found)) == sorted(SPANS[:-1])
    assert all(delay <= 2 * CONFIG.follow_hop for delay in at[1:])
    assert at[0] == 16 - 5  # the first decision has half a window to compare with
    assert spans_of(list(stream.finish())) == SPANS[-1:]


def test_an_instance_longer_than_the_window_keeps_its_start() -> None:
    """Its start has left the window when it ends; the window must see its end, and something lower, to cut it."""
    rows = boxes(120, (0, 10, 50))
    stream = detector()
    assert spans_of([*stream.push(rows), *stream.finish()]) == [(0, 10, 50)]


@settings(deadline=None, max_examples=3)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=10), st.integers(0, 2**16))
def test_the_pieces_in_which_rows_arrive_do_not_matter(sizes: list[int], seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(110, 2)).astype(np.float32)
    config: dict[str, Any] = {"threshold": "range", "threshold_levels": "0.3,0.6", "upsampling": 2}
    whole, pieces = detector(**config), detector(**config)
    expected = [*whole.push(rows), *whole.finish()]
    found, at = [], 0
    for size in [*sizes, len(rows)]:
        found += pieces.push(rows[at : at + size])
        at += size
    assert [*found, *pieces.finish()] == expected
    assert len(expected) == len(set(expected)) > 0


def test_a_stream_shorter_than_the_window_is_the_video() -> None:
    model, features = make_model(), np.random.default_rng(4).normal(size=(30, 2 * DIM)).astype(np.float32)
    scorer = Scorer(model)
    scores = score_features(scorer, {"v": features}, RUN.classes, RUN.time_base)
    expected = detect_videos(scores, RUN.detection)
    stream = StreamDetector(scorer, RUN.classes, RUN.time_base, RUN.detection, FollowConfig(follow_window=64))
    found = [*stream.push(features), *stream.finish()]
    rows = zip(expected.label, expected.start_s, expected.end_s, expected.score)
    wanted = sorted((RUN.classes[label], *map(float, rest)) for label, *rest in rows)
    assert len(found) == len(wanted) > 0
    for mine, theirs in zip(sorted((d.label, d.start_s, d.end_s, d.score) for d in found), wanted):
        assert mine[0] == theirs[0] and mine[1:] == pytest.approx(theirs[1:], rel=1e-5)


def test_no_rows_give_nothing() -> None:
    assert list(detector().finish()) == []


def appended(path: Path, rows: np.ndarray, pieces: int, header: bytes = b"") -> threading.Thread:
    """Writes rows to a file bit by bit, cutting through rows and header."""

    def write() -> None:
        content = header + rows.tobytes()
        for part in range(pieces):
            with open(path, "ab") as file:
                file.write(content[part * len(content) // pieces : (part + 1) * len(content) // pieces])
            time.sleep(0.005)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["npy", "f32", "float16", "rgb and flow"])
def test_files_that_grow_are_read_to_their_end(tmp_path: Path, kind: str) -> None:
    rows = boxes(100, *SPANS).astype(np.float16 if kind == "float16" else np.float32)
    np.save(tmp_path / "whole.npy", rows)
    header = (tmp_path / "whole.npy").read_bytes()[: -rows.nbytes]
    path = tmp_path / ("live.f32" if kind == "f32" else "live.npy")
    if kind == "rgb and flow":
        np.save(tmp_path / "half.npy", rows[:, :1])
        header = (tmp_path / "half.npy").read_bytes()[: -rows[:, :1].nbytes]
        paths = [str(path), str(tmp_path / "flow.npy")]
        threads = [appended(path, rows[:, :1], 7, header), appended(tmp_path / "flow.npy", rows[:, 1:], 23, header)]
    else:
        paths, threads = [str(path)], [appended(path, rows, 17, b"" if kind == "f32" else header)]
    stream = detector()
    found = list(follow_files(stream, JoinedFiles(paths, [1, 1]), CONFIG))
    for thread in threads:
        thread.join()
    assert stream.segments == 100
    assert sorted(spans_of(found)) == sorted(SPANS)


def test_a_header_that_grows_while_it_is_read_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "whole.npy", np.ones((2, 3), np.float32))
    content = (tmp_path / "whole.npy").read_bytes()
    path = tmp_path / "a.npy"
    path.write_bytes(content[:100])
    read_header = np.lib.format.read_array_header_1_0

    def grows_after(file: Any) -> Any:
        try:
            return read_header(file)
        finally:
            path.write_bytes(content)

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", grows_after)
    file = GrowingFile(str(path), 3)
    assert [len(file.read()), len(file.read())] == [0, 2]


def test_a_header_may_promise_fewer_rows_than_follow(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3), np.float32))
    file = GrowingFile(str(tmp_path / "a.npy"), 3)
    assert len(file.read()) == 2
    with open(tmp_path / "a.npy", "ab") as out:
        out.write(np.full((5, 3), 2, np.float32).tobytes() + b"half a row"[:7])
    assert file.read().tolist() == [[2.0] * 3] * 5
    assert len(file.read()) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x93NUMPX not so" * 20, "expected a .npy file"),
        (np.ones((2, 4), np.float32), r"a\.npy: shape \(2, 4\) found, \[segments, 3\] expected"),
        (np.ones((2, 3), np.int32), "holds int32; expected floating point"),
        (np.asfortranarray(np.ones((2, 3), np.float32)), "numbers by row"),
        (np.array([[0, 0, 0], [0, np.inf, 0]], np.float32), "NaN or Inf in segment 1"),
    ],
)
def test_files_that_cannot_be_followed_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "a.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(UserError, match=message):
        GrowingFile(str(path), 3).read()


def test_a_file_that_shrinks_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.f32"
    path.write_bytes(np.ones((4, 3), np.float32).tobytes())
    file = GrowingFile(str(path), 3)
    file.read()
    path.write_bytes(b"")
    with pytest.raises(UserError, match="0 segments found after 4 had been read"):
        file.read()
    (tmp_path / "a.csv").touch()
    with pytest.raises(UserError, match=r"expected a \.npy file, or \.f32"):
        GrowingFile(str(tmp_path / "a.csv"), 3).read()


@pytest.mark.parametrize("wrong", [{"follow_hop": 0}, {"follow_window": 63}, {"follow_poll_s": 0.0}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(wrong))}="):
        FollowConfig(**wrong)
