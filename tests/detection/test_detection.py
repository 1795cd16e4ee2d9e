"""Detections from T-CAMs against a loop over videos, classes and segments, and cases by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.detection import DetectionConfig, class_gate, detect, detect_videos, detector, thresholds, video_scores
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.columns import GroundTruth
from tests.support.tcams import Found, column, found, ragged, tcams

CONFIGS = st.builds(
    DetectionConfig,
    class_filter=st.sampled_from(["positive", "half_of_best"]),
    threshold=st.sampled_from(["midpoint", "zero"]),
    score_gamma=st.sampled_from([1.0, 0.0, 0.5, -0.25]),
    min_segments=st.integers(1, 3),
    detection_top_k=st.sampled_from(["ceil", "floor"]),
)
PLUS = DetectionConfig(
    smoothing="gaussian",
    smoothing_segments=0.7,
    upsampling=2,
    threshold="range",
    threshold_levels="0.3,0.4,0.5",
    score="contrast",
    nms="hard",
    nms_tiou=0.2,
)


def expected(videos: list[np.ndarray], config: DetectionConfig, divisor: int) -> list[Found]:
    """Sec. 3.5 in words: filter classes, threshold, walk along the segments."""
    result = []
    for video, tcam in enumerate(videos):
        length = len(tcam)
        if length == 0:
            continue
        k = -(-length // divisor) if config.detection_top_k == "ceil" else max(length // divisor, 1)
        means = [np.sum(sorted(values)[-k:], dtype=np.float32) / np.float32(k) for values in tcam.T]
        for label, values in enumerate(tcam.T):
            if not means[label] > 0 or (config.class_filter == "half_of_best" and not means[label] > max(means) / 2):
                continue
            eta = 0.0 if config.threshold == "zero" else (float(min(values)) + float(max(values))) / 2
            start = None
            for t in range(length + 1):
                if t < length and values[t] > eta:
                    start = t if start is None else start
                elif start is not None:
                    score = max(values[start:t]) + np.float32(config.score_gamma) * means[label]
                    if t - start >= config.min_segments:
                        result.append((video, label, start, t, float(score)))
                    start = None
    return sorted(result, key=lambda d: (d[1], d[0], d[2]))


@settings(deadline=None, max_examples=80)
@given(tcams(), CONFIGS, st.integers(1, 9))
def test_detections_are_those_of_a_plain_loop(videos: list[np.ndarray], config: DetectionConfig, divisor: int) -> None:
    assert found(videos, config, divisor) == expected(videos, config, divisor)


@settings(deadline=None, max_examples=15)
@given(tcams(), CONFIGS, st.randoms(use_true_random=False))
def test_the_other_videos_of_the_batch_change_nothing(
    videos: list[np.ndarray], config: DetectionConfig, random: Any
) -> None:
    order = list(range(len(videos)))
    random.shuffle(order)
    together = sorted(found(videos, config))
    shuffled = found([videos[i] for i in order], config)
    assert sorted((order[video], *rest) for video, *rest in shuffled) == together
    alone = [(i, *rest) for i, video in enumerate(videos) for _, *rest in found([video], config)]
    assert sorted(alone) == together


def runs(*values: float, **choices: Any) -> list[tuple[int, int]]:
    return [(start, end) for _, _, start, end, _ in found([column(*values)], DetectionConfig(**choices))]


def test_runs_at_both_ends_of_the_video() -> None:
    assert runs(2, 2, 0, 0, 2) == [(0, 2), (4, 5)]
    assert runs(0, 2, 2, 0) == [(1, 3)]


def test_a_segment_at_the_threshold_is_not_part_of_a_run() -> None:
    assert runs(0, 1, 2, 1, 2, 0) == [(2, 3), (4, 5)]  # midpoint 1
    assert runs(-1, 0, 2, 0, 1, threshold="zero") == [(2, 3), (4, 5)]


def test_midpoint_and_zero_thresholds_differ() -> None:
    values = (-1.0, 1.0, 4.0, 1.0, -1.0)  # midpoint 1.5
    assert runs(*values) == [(2, 3)]
    assert runs(*values, threshold="zero") == [(1, 4)]


def test_a_constant_tcam_gives_no_detection_at_its_own_midpoint() -> None:
    assert runs(*[0.3] * 7) == []
    assert runs(0.1) == []
    assert runs(*[0.3] * 7, threshold="zero") == [(0, 7)]
    assert runs(0.1, threshold="zero") == [(0, 1)]


def test_a_class_that_is_never_positive_is_not_detected() -> None:
    assert runs(-3, -1, -3) == []
    assert runs(-3, 0, -3) == []  # its top-k mean is 0, which is not above 0


def test_runs_do_not_continue_into_the_next_video_of_the_batch() -> None:
    first, second, third = column(0, 2, 2), column(2, 2), column(2, 0)
    config = DetectionConfig(threshold="zero")
    assert [d[:4] for d in found([first, second, third], config)] == [(0, 0, 1, 3), (1, 0, 0, 2), (2, 0, 0, 1)]
    empty = np.zeros((0, 1), np.float32)
    assert [d[:4] for d in found([empty, first, empty, second, empty], config)] == [(1, 0, 1, 3), (3, 0, 0, 2)]
    # The midpoint is the video's own, too: 1 in the first, 10 in the second.
    assert [d[:4] for d in found([column(0, 2), column(0, 20, 9)])] == [(0, 0, 1, 2), (1, 0, 1, 2)]


def test_a_batch_of_nothing_gives_nothing() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert found([empty]) == found([empty, empty]) == []


def test_runs_shorter_than_the_limit_are_dropped_after_merging_not_before() -> None:
    values = (2, 0, 2, 2, 0, 2, 2, 2)
    assert runs(*values, min_segments=2) == [(2, 4), (5, 8)]
    assert runs(*values, min_segments=3) == [(5, 8)]
    assert runs(*values, min_segments=4) == []


def test_the_score_is_the_runs_peak_plus_gamma_times_the_top_k_mean() -> None:
    values = column(*[0.0] * 14, 3, 0, 4, 2)  # 18 segments: k = 3 (ceil) or 2 (floor) with divisor 8
    for rounding, mean in (("ceil", 3.0), ("floor", 3.5)):
        for gamma in (1.0, 0.25, 0.0):
            config = DetectionConfig(score_gamma=gamma, detection_top_k=rounding, threshold="zero")
            assert found([values], config) == [(0, 0, 14, 15, 3 + gamma * mean), (0, 0, 16, 18, 4 + gamma * mean)]


def test_half_of_best_compares_with_the_best_class_of_the_same_video() -> None:
    strong, weak = np.array([[0.0, 0, 0], [8, 4, 5]]), np.array([[0.0, 0, 0], [1, 2, 1.5]])
    config = DetectionConfig(class_filter="half_of_best")
    labels = [(video, label) for video, label, *_ in found([strong, weak], config)]
    assert labels == [(0, 0), (1, 1), (0, 2), (1, 2)]  # exactly half is not enough
    everything = [(video, label) for video, label, *_ in found([strong, weak])]
    assert everything == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]


def test_gate_and_thresholds_in_closed_form() -> None:
    means = tf.constant([[4.0, 2.0, 2.5, -1.0, 0.0], [-1.0, -2.0, -3.0, -0.5, -4.0]])
    assert class_gate(means, DetectionConfig()).numpy().tolist() == [[True, True, True, False, False], [False] * 5]
    half = class_gate(means, DetectionConfig(class_filter="half_of_best"))
    assert half.numpy().tolist() == [[True, False, True, False, False], [False] * 5]
    tracks = tf.ragged.constant([[1.0, 3, 2], [-4.0, 0, -2], [7.0], [8.0, 0, 4, 12, 4]])
    assert thresholds(tracks, DetectionConfig()).numpy().tolist() == [[2], [-2], [7], [6]]
    assert thresholds(tracks, DetectionConfig(threshold="zero")).numpy().tolist() == [[0]] * 4
    levels = DetectionConfig(threshold="range", threshold_levels="0.25,0.75")
    assert thresholds(tracks, levels).numpy().tolist() == [[1.5, 2.5], [-3, -1], [7, 7], [3, 9]]
    levels = DetectionConfig(threshold="quantile", threshold_levels="0,0.25,0.625")
    assert thresholds(tracks, levels).numpy().tolist() == [[1, 1.5, 2.25], [-4, -3, -1.5], [7, 7, 7], [0, 4, 6]]


def test_graph_and_eager_execution_agree() -> None:
    rng = np.random.default_rng(0)
    videos = [rng.normal(size=(length, 5)).astype(np.float32) for length in (30, 0, 7)]
    compiled = tf.function(
        lambda tcam: detect(tcam, DetectionConfig()),
        input_signature=[tf.RaggedTensorSpec([None, None, 5], tf.float32, ragged_rank=1)],
    )
    for batch in (videos, videos[:1], videos[1:2]):
        columns = {name: value.numpy().tolist() for name, value in compiled(ragged(batch)).items()}
        assert list(zip(*(columns[n] for n in ("video", "label", "start_cell", "end_cell", "score")))) == found(batch)


# Whole data sets, in seconds -----------------------------------------------------------------------------------------


def raw_scores(videos: list[np.ndarray], seed: int = 0, divisor: int = 8) -> RawScores:
    """Raw scores with a time base of its own for each video."""
    rng = np.random.default_rng(seed)
    count, classes = len(videos), videos[0].shape[1]
    none, floats = np.zeros(0, np.int64), np.zeros(0)
    names = tuple(f"class {c}" for c in range(classes))
    return RawScores(
        dataset="test data",
        classes=names,
        video_ids=tuple(f"v{i}" for i in range(count)),
        row_splits=np.cumsum([0, *(len(v) for v in videos)]),
        tcam=np.concatenate(videos).astype(np.float32),
        pooled=np.zeros((count, 3, classes), np.float32),
        top_k_divisor=divisor,
        fps=rng.choice([19.62, 25.0, 29.97], count),
        frames_per_segment=np.full(count, 16),
        stride_frames=rng.choice([4, 16], count),
        duration_s=np.full(count, 1.0),
        labels=np.zeros((count, classes), np.float32),
        ground_truth=GroundTruth(names, (), none, none, floats, floats, none, floats, floats),
    )


@settings(deadline=None, max_examples=30)
@given(tcams(max_videos=6), CONFIGS, st.integers(0, 100), st.integers(1, 9))
def test_all_videos_in_seconds_are_each_videos_segments_in_its_time_base(
    videos: list[np.ndarray], config: DetectionConfig, seed: int, divisor: int
) -> None:
    scores = raw_scores(videos, seed, divisor)
    detections = detect_videos(scores, config)
    wanted = []
    for i, video in enumerate(videos):
        fps, stride = float(scores.fps[i]), int(scores.stride_frames[i])
        margin = (16 - stride) / 2
        for _, label, start, end, score in expected([video], config, divisor):
            wanted.append((i, label, (start * stride + margin) / fps, (end * stride + margin) / fps, score))
    columns = (detections.video, detections.label, detections.start_s, detections.end_s, detections.score)
    assert list(zip(*(values.tolist() for values in columns))) == sorted(wanted, key=lambda d: d[:3])
    assert detections.video_ids == scores.video_ids
    assert detections.start_s.dtype == detections.end_s.dtype == detections.score.dtype == np.float64


def test_memory_saving_portions_of_videos_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    scores = raw_scores([rng.normal(size=(length, 4)) for length in (9, 1, 20, 0, 13, 5, 8)])
    for config in (DetectionConfig(), PLUS):
        monkeypatch.undo()
        whole = dataclasses.asdict(detect_videos(scores, config))
        assert len(whole["video"]) > 20
        for cells in (1, 4 * 10, 4 * 21, 4 * 30 * 4):
            monkeypatch.setattr(detector, "_CELLS_PER_CALL", cells)
            part = dataclasses.asdict(detect_videos(scores, config))
            for name, values in whole.items():
                np.testing.assert_array_equal(values, part[name])


def test_video_level_scores_are_a_pmf_of_the_fused_tcam_or_a_sum_of_three() -> None:
    pooled = np.random.default_rng(0).normal(size=(6, 3, 5)).astype(np.float32) * 4
    powers = np.exp(pooled.astype(np.float64))
    pmfs = powers / powers.sum(axis=2, keepdims=True)
    fused = video_scores(tf.constant(pooled), DetectionConfig()).numpy()
    np.testing.assert_allclose(fused, pmfs[:, 2], rtol=1e-5)
    total = video_scores(tf.constant(pooled), DetectionConfig(video_scores="sum")).numpy()
    np.testing.assert_allclose(total, pmfs.sum(axis=1), rtol=1e-5)
