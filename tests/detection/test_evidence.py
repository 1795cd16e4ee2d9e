"""What detection reads of T-CAMs, attention and pooled scores: closed forms, and the oracle under every choice."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.detection import (
    DetectionConfig,
    check_attention,
    class_gate,
    detect,
    detect_in,
    evidence_of,
    thresholds,
    video_scores,
)
from tests.support import detection_oracle as oracle
from tests.support.tcams import column, ragged

STREAMS = ("rgb", "flow")
CONFIGS = st.builds(
    DetectionConfig,
    fused_weight=st.sampled_from([1.0, 0.0, 0.5]),
    rgb_weight=st.sampled_from([0.0, 0.5]),
    flow_weight=st.sampled_from([0.5, 0.75]),
    segment_scores=st.sampled_from(["none", "sigmoid", "softmax"]),
    track=st.sampled_from(["tcam", "attention", "product"]),
    class_scores=st.sampled_from(["tcam", "product", "pooled"]),
    score_track=st.sampled_from(["tcam", "product", "thresholded"]),
    probability=st.sampled_from(["softmax", "sigmoid"]),
    class_filter=st.sampled_from(["all", "positive"]),
    min_probability=st.sampled_from([0.0, 0.3]),
    best_class=st.booleans(),
    smoothing=st.sampled_from(["none", "gaussian"]),
    upsampling=st.integers(1, 3),
    threshold=st.sampled_from(["range", "value", "midpoint"]),
    threshold_levels=st.sampled_from(["0.4", "0.11,0.31,0.51,0.71"]),
    score=st.sampled_from(["peak", "mean", "contrast"]),
    score_scale=st.sampled_from(["none", "range"]),
    score_class=st.sampled_from(["top_k_mean", "probability", "log_probability"]),
    nms=st.sampled_from(["none", "hard", "soft"]),
)


def network_outputs(seed: int, lengths: list[int], classes: int = 3) -> list[dict[str, np.ndarray]]:
    """What a network says about each video: continuous values, so that nothing ties."""
    rng = np.random.default_rng(seed)
    outputs = []
    for length in lengths:
        tcams = {f"tcam_{name}": 2 * rng.normal(size=(length, classes)) for name in ("rgb", "flow", "fused")}
        attention = rng.random((length, 1))
        outputs.append({**tcams, "attention_fused": attention, "pooled": rng.normal(size=(3, classes))})
    return [{name: value.astype(np.float32) for name, value in video.items()} for video in outputs]


def joined(videos: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Of a batch, as the model and raw scores give it."""
    made: dict[str, Any] = {n: ragged([v[n] for v in videos]) for n in videos[0] if n != "pooled"}
    return {**made, "pooled": tf.constant(np.stack([video["pooled"] for video in videos]))}


def found_in(videos: list[dict[str, np.ndarray]], config: DetectionConfig) -> list[tuple[Any, ...]]:
    columns = detect_in(evidence_of(joined(videos), STREAMS, config, 8), config)
    return sorted(zip(*(columns[n].numpy().tolist() for n in ("video", "label", "start_cell", "end_cell", "score"))))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 25), min_size=1, max_size=3), CONFIGS)
def test_detections_are_the_oracles_under_every_choice(seed: int, lengths: list[int], config: DetectionConfig) -> None:
    videos = network_outputs(seed, lengths)
    expected = [
        (number, *detection)
        for number, video in enumerate(videos)
        for detection in oracle.detections_in(*oracle.read(as_float64(video), config, 8), config)
    ]
    found = found_in(videos, config)
    assert [d[:4] for d in found] == [d[:4] for d in sorted(expected)]
    np.testing.assert_allclose([d[4] for d in found], [d[4] for d in sorted(expected)], rtol=2e-4, atol=2e-5)
    alone = [(i, *rest) for i, video in enumerate(videos) for _, *rest in found_in([video], config)]
    assert sorted(alone) == found  # to the last bit


def as_float64(video: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.astype(np.float64) for name, value in video.items()}


def test_by_default_nothing_but_the_fused_tcam_is_read() -> None:
    videos = network_outputs(3, [20, 7])
    outputs = joined(videos)
    evidence = evidence_of({"tcam_fused": outputs["tcam_fused"]}, STREAMS, DetectionConfig(), 8)
    assert evidence.tracks is evidence.scored is outputs["tcam_fused"]
    mine, plain = detect_in(evidence, DetectionConfig()), detect(outputs["tcam_fused"], DetectionConfig())
    for name, values in plain.items():
        np.testing.assert_array_equal(mine[name], values)


def test_attention_says_where_and_the_product_how_much() -> None:
    """Attention 1 in segments 1 to 3 of 6; the class peaks outside it."""
    outputs = {
        "tcam_fused": ragged([column(9, 2, 4, 3, 0, 9)]),
        "attention_fused": ragged([column(0, 1, 1, 0.5, 0, 0)]),
    }
    config = DetectionConfig(
        track="attention", score_track="product", threshold="value", threshold_levels="0.2,0.6", score_gamma=0.0
    )

    def found(**choices: Any) -> list[tuple[int, int, float]]:
        chosen = dataclasses.replace(config, **choices)
        columns = detect_in(evidence_of(outputs, (), chosen, 8), chosen)
        return list(zip(*(columns[n].numpy().tolist() for n in ("start_cell", "end_cell", "score"))))

    assert found() == [(1, 4, 4.0), (1, 3, 4.0)]  # product 0 2 4 1.5 0 0
    assert found(score="mean") == [(1, 4, 2.5), (1, 3, 3.0)]
    assert found(score_track="thresholded") == [(1, 4, 1.0), (1, 3, 1.0)]
    assert found(score_track="tcam", score="contrast") == [(1, 4, 3 - 4.5), (1, 3, 3 - 6.0)]
    assert found(track="product", threshold_levels="0.5") == [(1, 4, 4.0)]
    assert found(score_gamma=1.0, class_scores="product")[0] == (1, 4, 8.0)  # k = 1: the best product, 4
    assert found(score_gamma=1.0)[0] == (1, 4, 13.0)  # and the best of the T-CAM, 9


def test_untrimmednets_rule_averages_the_streams_softmax() -> None:
    """Two classes; log-odds 0 and log 3: probabilities 1/2 and 3/4, their mean 5/8."""
    first = {"tcam_rgb": np.array([[0.0, 0.0]]), "tcam_flow": np.array([[np.log(3), 0.0]])}
    outputs = {name: ragged([rows]) for name, rows in {**first, "tcam_fused": np.ones((1, 2))}.items()}
    config = DetectionConfig(
        fused_weight=0.0, rgb_weight=0.5, flow_weight=0.5, segment_scores="softmax", score_track="thresholded"
    )
    evidence = evidence_of(outputs, STREAMS, config, 8)
    np.testing.assert_allclose(evidence.tracks.flat_values, [[5 / 8, 3 / 8]], rtol=1e-6)
    assert evidence.scored is evidence.tracks
    np.testing.assert_allclose(evidence.classes, [[np.log(3) / 2, 0.0]], rtol=1e-6)


def test_a_class_with_nobody_beside_it_is_the_best_one() -> None:
    scores = tf.constant([[3.0, 1.0, 1.0], [-1.0, -2.0, -1.0]])
    passing = {"class_filter": "positive", "min_probability": 0.5}
    for choices, expected in (
        (passing, [[True, False, False], [False] * 3]),
        ({**passing, "best_class": True}, [[True, False, False], [True, False, False]]),  # of equal ones the first
        ({"class_filter": "all", "min_probability": 0.3, "probability": "sigmoid"}, [[True] * 3, [False] * 3]),
    ):
        assert class_gate(scores, DetectionConfig(**choices)).numpy().tolist() == expected


def test_thresholds_that_are_values_are_the_same_for_every_track() -> None:
    tracks = tf.ragged.constant([[1.0, 3, 2], [-4.0]])
    config = DetectionConfig(threshold="value", threshold_levels="0.1,0.5")
    np.testing.assert_allclose(thresholds(tracks, config), [[0.1, 0.5]] * 2, rtol=1e-6)
    assert thresholds(tracks[:0], config).shape == (0, 2)


def test_sigmoid_probabilities_are_each_classs_own() -> None:
    pooled = tf.constant([[[0.0, np.log(3.0)]] * 3])
    found = video_scores(pooled, DetectionConfig(probability="sigmoid"))
    np.testing.assert_allclose(found, [[0.5, 0.75]], rtol=1e-6)


@pytest.mark.parametrize("choice", [{"track": "attention"}, {"class_scores": "product"}, {"score_track": "product"}])
def test_an_attention_that_is_not_there_is_named(choice: dict[str, str]) -> None:
    config = DetectionConfig(**choice)
    with pytest.raises(UserError, match=r"reads the network's attention, and there is none\. Train with --attention"):
        evidence_of({"tcam_fused": ragged([column(1.0)])}, (), config, 8)
    check_attention(True, config)
    check_attention(False, DetectionConfig())
