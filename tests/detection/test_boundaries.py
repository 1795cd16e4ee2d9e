"""Detection with regressed boundaries: closed forms, the oracle under every choice that acts, what must not matter."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.data.streams import Streams
from tc3net.detection import DetectionConfig, check_boundaries, check_network, detect, detect_in, evidence_of
from tc3net.detection.proposals import Proposals
from tc3net.detection.suppression import hard_nms, soft_nms
from tc3net.model import Attention, Boundaries, ThreeCNet
from tc3net.runs.folder import CheckpointChoice
from tc3net.runs.scoring import OpenedRun
from tests.support import boundary_oracle, detection_oracle
from tests.support.export_cases import RUN
from tests.support.tcams import column, ragged

BOUNDED = DetectionConfig(
    proposals="boundaries", class_filter="all", threshold="range", threshold_levels="0.1", score_gamma=0.0
)
CONFIGS = st.builds(
    DetectionConfig,
    proposals=st.just("boundaries"),
    class_filter=st.sampled_from(["all", "positive"]),
    max_classes=st.integers(0, 2),
    smoothing=st.sampled_from(["none", "gaussian"]),
    upsampling=st.just(1),
    threshold=st.sampled_from(["range", "midpoint", "quantile"]),
    threshold_levels=st.sampled_from(["0.1", "0.3,0.6"]),
    min_segments=st.sampled_from([1, 2, 4]),
    score_class=st.sampled_from(["top_k_mean", "probability", "log_probability"]),
    score_gamma=st.sampled_from([0.0, 0.5]),
    nms=st.sampled_from(["none", "hard", "soft"]),
    nms_tiou=st.sampled_from([0.0, 0.4]),
)


def network_outputs(seed: int, lengths: list[int], classes: int = 3, anchors: int = 4) -> list[dict[str, np.ndarray]]:
    """T-CAM and boundaries of each video: continuous values, so that next to nothing ties."""
    rng, videos = np.random.default_rng(seed), []
    for s in lengths:
        center = np.clip(np.arange(s)[:, None] + rng.normal(0.5, 1, (s, anchors)), 0, s)
        half = 2.0 ** np.arange(anchors) * rng.uniform(0.4, 0.7, (s, anchors))
        bounds = np.stack([np.maximum(center - half, 0), np.minimum(center + half, s)], axis=2)
        videos.append({"tcam_fused": rng.normal(size=(s, classes)).cumsum(axis=0), "boundaries": bounds})
    return [{name: value.astype(np.float32) for name, value in video.items()} for video in videos]


def found_in(videos: list[dict[str, np.ndarray]], config: DetectionConfig) -> list[tuple[Any, ...]]:
    outputs = {name: ragged([video[name] for video in videos]) for name in videos[0]}
    columns = detect_in(evidence_of(outputs, (), config, 8), config)
    names = ("video", "label", "start_cell", "end_cell", "score")
    assert tuple(columns) == names
    return sorted(zip(*(columns[name].numpy().tolist() for name in names)))


def box(*anchors: tuple[float, float]) -> list[dict[str, np.ndarray]]:
    """An action in segments 4 to 7 of 12, and the same boundaries everywhere."""
    tcam = column(*[2] * 4, *[6] * 4, *[2] * 4)
    return [{"tcam_fused": tcam, "boundaries": np.tile(np.array(anchors, np.float32), (12, 1, 1))}]


def test_the_interval_that_stands_out_is_found_once_and_scored_by_its_contrast() -> None:
    assert found_in(box((4, 8)), BOUNDED) == [(0, 0, 4.0, 8.0, 1.0)]
    assert found_in(box((4.5, 8.5), (0, 12)), BOUNDED) == [(0, 0, 4.5, 8.5, 1 - 0.5 * (0.5 / 2 + 0.5 / 4))]
    gamma = dataclasses.replace(BOUNDED, score_gamma=0.5)  # and half of the top-k mean, 6
    assert found_in(box((4, 8)), gamma) == [(0, 0, 4.0, 8.0, 4.0)]
    assert found_in(box((4, 8)), dataclasses.replace(BOUNDED, upsampling=3)) == [(0, 0, 12.0, 24.0, 1.0)]  # in cells
    longer = dataclasses.replace(BOUNDED, min_segments=5)
    assert found_in(box((4, 8), (3, 9)), longer) == [(0, 0, 3.0, 9.0, pytest.approx(1 - 0.5 * (1 - 4 / 6)))]
    assert found_in(box((4, 8)), longer) == []
    assert found_in(box((4, 8)), dataclasses.replace(BOUNDED, threshold="zero", class_filter="positive")) == [
        (0, 0, 4.0, 8.0, 1.0)
    ]


def test_nothing_is_found_where_nothing_stands_out() -> None:
    tcam, spans = np.full((9, 2), 3.0, np.float32), np.tile(np.array([[2, 5]], np.float32), (9, 1, 1))
    assert found_in([{"tcam_fused": tcam, "boundaries": spans}], BOUNDED) == []
    empty = {"tcam_fused": np.zeros((0, 2), np.float32), "boundaries": np.zeros((0, 1, 2), np.float32)}
    for nms in ("none", "hard", "soft"):
        assert found_in([empty, empty], dataclasses.replace(BOUNDED, nms=nms, smoothing="gaussian")) == []


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 40), min_size=1, max_size=3), CONFIGS)
def test_detections_are_the_oracles_under_every_choice(seed: int, lengths: list[int], config: DetectionConfig) -> None:
    videos = network_outputs(seed, lengths)
    float64 = [(video["tcam_fused"].astype(float), video["boundaries"].astype(float)) for video in videos]
    assume(min(boundary_oracle.closest_tie(*video, config) for video in float64) > 5e-6)
    expected = [
        (number, *one) for number, video in enumerate(float64) for one in boundary_oracle.detections(*video, config)
    ]
    found = found_in(videos, config)
    assert [one[:4] for one in found] == [one[:4] for one in sorted(expected)]  # boundaries to the last bit
    np.testing.assert_allclose([one[4] for one in found], [one[4] for one in sorted(expected)], rtol=2e-4, atol=2e-5)
    alone = [(i, *rest) for i, video in enumerate(videos) for _, *rest in found_in([video], config)]
    assert sorted(alone) == found  # to the last bit
    for number, _, start, end, _ in found:
        assert 0 <= start < end <= lengths[number] and end - start >= config.min_segments


def test_scores_may_be_of_another_track_than_the_thresholds() -> None:
    video = box((4, 8))[0]
    other = np.concatenate([np.zeros((4, 1)), np.ones((4, 1)), np.full((4, 1), 0.5)]).astype(np.float32)
    outputs = {name: ragged([value]) for name, value in {**video, "attention_fused": other}.items()}
    config = dataclasses.replace(BOUNDED, track="attention", score_track="tcam")
    columns = detect_in(evidence_of(outputs, (), config, 8), config)
    assert columns["score"].numpy().tolist() == [1.0]
    config = dataclasses.replace(config, score_track="thresholded")
    columns = detect_in(evidence_of(outputs, (), config, 8), config)
    assert columns["score"].numpy().tolist() == [pytest.approx(1 - 0.5 * 0.25)]  # half of the border at 0.5


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from(["hard", "soft"]), st.sampled_from([0.0, 0.2, 0.5]))
def test_intervals_that_overlap_in_part_are_suppressed_as_the_textbook_has_it(seed: int, nms: str, tiou: float) -> None:
    rng = np.random.default_rng(seed)
    tracks = [sorted({(a, a + w) for a, w in rng.uniform((0, 0.5), (30, 9), (n, 2))}) for n in (40, 1, 25)]
    score = [rng.uniform(-0.2, 1, len(spans)).astype(np.float32) for spans in tracks]
    moved = [(a + 100 * i, b + 100 * i) for i, spans in enumerate(tracks) for a, b in spans]
    track = np.repeat(np.arange(3), [len(spans) for spans in tracks])
    start, end = (tf.constant(values, tf.float64) for values in zip(*moved))
    found = Proposals(tf.constant(track, tf.int64), start, end, tf.zeros(len(moved)))
    joined, config = tf.constant(np.concatenate(score)), DetectionConfig(nms=nms, nms_tiou=tiou)
    expected = [detection_oracle.suppressed(s, v.tolist(), config) for s, v in zip(tracks, score)]
    if nms == "hard":
        kept = hard_nms(found, joined, tiou).numpy()
        assert [span for span, stays in zip(moved, kept) if stays] == [
            (a + 100 * i, b + 100 * i) for i, spans in enumerate(expected) for a, b, _ in sorted(spans)
        ]
    else:
        wanted = [value for spans in expected for _, _, value in sorted(spans)]
        np.testing.assert_allclose(soft_nms(found, joined, config.nms_sigma), wanted, rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_the_head_gives_intervals_inside_the_video_whatever_its_weights(seed: int, lengths: list[int]) -> None:
    anchors = (1, 3, 400)
    layer = Boundaries(True, ",".join(map(str, anchors)), 5)
    model = ThreeCNet(2, Streams.of({"audio": 3}), heads=(layer,), seed=seed)
    rng = np.random.default_rng(seed)
    for name, variable in model.named_variables().items():
        if name.startswith("boundaries"):
            variable.assign(rng.normal(size=variable.shape) * 10.0 ** rng.integers(-2, 4))
    rows = rng.normal(size=(sum(lengths), 3)).astype(np.float32) * 100
    spans = model(tf.RaggedTensor.from_row_lengths(rows, lengths))["boundaries"]
    for video, length in zip(spans, lengths):
        start, end = video.numpy()[..., 0], video.numpy()[..., 1]
        assert np.all((start >= 0) & (start < end) & (end <= length)) and start.shape == (length, 3)
        assert np.all(end - start >= min(0.18, length))


def test_boundaries_that_are_not_there_are_asked_for() -> None:
    outputs = {"tcam_fused": ragged([column(1.0, 2)])}
    message = r"--proposals=boundaries reads boundaries .* there are none\. Train with --boundary_head"
    with pytest.raises(UserError, match=message):
        evidence_of(outputs, (), BOUNDED, 8)
    with pytest.raises(UserError, match=message):
        detect(outputs["tcam_fused"], BOUNDED)
    check_boundaries(True, BOUNDED)
    check_boundaries(False, DetectionConfig())


def test_a_network_without_the_head_is_refused_before_its_weights_are_read() -> None:
    heads = {"without": (), "off": (Boundaries(),), "attends": (Attention("conv"),)}
    for there in heads.values():
        with pytest.raises(UserError, match=r"there are none\. Train with --boundary_head"):
            check_network(there, BOUNDED)
    check_network((Boundaries(True),), BOUNDED)
    check_network((Attention("conv"),), DetectionConfig(track="attention"))
    with pytest.raises(UserError, match=r"there is none\. Train with --attention_head"):
        check_network((Boundaries(True),), DetectionConfig(track="attention"))
    opened = OpenedRun("/no/such/run", RUN, CheckpointChoice())
    with pytest.raises(UserError, match="there are none"):
        opened.check_detection(BOUNDED)
    opened.check_detection(DetectionConfig())
