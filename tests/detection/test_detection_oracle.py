"""Every detection setting against a float64 transcription of its definition, and the parts in closed form."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tc3net.detection import DetectionConfig, class_gate, mixed_tcam, smooth, upsample
from tc3net.detection.proposals import Proposals
from tc3net.detection.suppression import hard_nms, soft_nms
from tests.support import detection_oracle as oracle
from tests.support.detection_settings import ALL, EXACT
from tests.support.tcams import column, found, ragged, tcams


def expected(videos: list[np.ndarray], config: DetectionConfig, divisor: int) -> list[tuple[int, int, int, int, float]]:
    every = [(v, *d) for v, tcam in enumerate(videos) for d in oracle.detections(tcam, config, divisor)]
    return sorted(every, key=lambda d: (d[1], d[0], d[2], -d[3]))


def assert_same(videos: list[np.ndarray], config: DetectionConfig, divisor: int) -> None:
    mine, theirs = found(videos, config, divisor), expected(videos, config, divisor)
    assert [d[:4] for d in mine] == [d[:4] for d in theirs]
    np.testing.assert_allclose([d[4] for d in mine], [d[4] for d in theirs], rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(tcams(), st.builds(DetectionConfig, **EXACT), st.sampled_from([1, 2, 4, 8]))
def test_detections_are_the_oracles_ties_and_plateaus_included(
    videos: list[np.ndarray], config: DetectionConfig, divisor: int
) -> None:
    assert_same(videos, config, divisor)


@settings(deadline=None, max_examples=50)
@given(tcams(), st.builds(DetectionConfig, **ALL), st.integers(1, 9))
def test_detections_are_the_oracles_under_every_setting(
    videos: list[np.ndarray], config: DetectionConfig, divisor: int
) -> None:
    assume(min(oracle.closest_tie(tcam, config, divisor) for tcam in videos) > 1e-5)
    assert_same(videos, config, divisor)


@pytest.mark.parametrize("nms", ["none", "hard", "soft"])
@pytest.mark.parametrize("seed", range(3))
def test_long_noisy_videos_with_many_nested_proposals(seed: int, nms: str) -> None:
    rng = np.random.default_rng(seed)
    videos = [rng.normal(size=(length, 4)).astype(np.float32).cumsum(axis=0) / 3 for length in (90, 1, 0, 150)]
    config = DetectionConfig(
        smoothing="gaussian",
        upsampling=3,
        threshold="range",
        threshold_levels=",".join(str(level / 20) for level in range(1, 20)),
        score="contrast",
        score_scale="range",
        score_class="probability",
        nms=nms,
        nms_tiou=0.3,
    )
    assert len(found(videos, config)) > 50
    assert_same(videos, config, 8)


@settings(deadline=None, max_examples=25)
@given(tcams(), st.builds(DetectionConfig, **ALL), st.randoms(use_true_random=False))
def test_no_setting_lets_the_batch_matter(videos: list[np.ndarray], config: DetectionConfig, random: Any) -> None:
    """To the last bit: in another order, alone, and beside a video of huge or undefined scores."""
    order = list(range(len(videos)))
    random.shuffle(order)
    together = sorted(found(videos, config))
    assert sorted((order[v], *rest) for v, *rest in found([videos[i] for i in order], config)) == together
    assert sorted((i, *rest) for i, video in enumerate(videos) for _, *rest in found([video], config)) == together
    classes = videos[0].shape[1]
    for strange in (np.full((5, classes), 1e6), np.full((5, classes), np.nan)):
        crowd = [strange, *(part for video in videos for part in (video, strange))]
        rest = [(v // 2, *others) for v, *others in found(crowd, config) if v % 2]
        assert sorted(rest) == together


# Parts ---------------------------------------------------------------------------------------------------------------


def test_the_class_filters_in_closed_form() -> None:
    means = tf.constant([[2.0, 2.0, 1.0, -1.0]])  # probabilities 0.41, 0.41, 0.15, 0.02
    for choices, passing in (
        ({"class_filter": "all"}, [0, 1, 2, 3]),
        ({"class_filter": "all", "max_classes": 1}, [0]),  # of equal ones the lower id
        ({"max_classes": 3}, [0, 1, 2]),
        ({"class_filter": "half_of_best"}, [0, 1]),  # exactly half is not enough
        ({"class_filter": "all", "min_probability": 0.1}, [0, 1, 2]),
        ({"min_probability": 0.1, "max_classes": 2}, [0, 1]),
        ({"min_probability": 0.5}, []),
    ):
        gate = class_gate(means, DetectionConfig(**choices))
        assert np.flatnonzero(gate[0]).tolist() == passing, choices


def test_mixed_tcam_is_a_weighted_sum_and_by_default_the_fused_one() -> None:
    tcams = {
        f"tcam_{name}": ragged([column(value, 2 * value)]) for name, value in (("fused", 1), ("rgb", 3), ("flow", 5))
    }
    assert mixed_tcam(tcams, DetectionConfig()) is tcams["tcam_fused"]
    config = DetectionConfig(fused_weight=0.5, rgb_weight=2.0, flow_weight=-1.0)
    assert mixed_tcam(tcams, config).to_list() == [[[1.5], [3.0]]]
    assert mixed_tcam({"tcam_fused": tcams["tcam_fused"]}, DetectionConfig(fused_weight=0.5)).to_list() == [
        [[0.5], [1.0]]
    ]


def test_upsampled_cells_lie_on_the_lines_between_the_middles_of_segments() -> None:
    tracks = tf.ragged.constant([[0.0, 4.0, 2.0], [], [7.0]])
    assert upsample(tracks, 1) is tracks
    assert upsample(tracks, 2).to_list() == [[0, 1, 3, 3.5, 2.5, 2], [], [7, 7]]
    assert upsample(tracks, 4).to_list()[0] == [0, 0, 0.5, 1.5, 2.5, 3.5, 3.75, 3.25, 2.75, 2.25, 2, 2]


def test_a_line_stays_a_line_under_savgol_and_a_parabola_a_parabola_to_the_ends() -> None:
    t = np.arange(12.0)
    tracks = tf.ragged.constant([(3 * t - 1).tolist(), (t**2 - 5 * t).tolist(), [4.0, 1.0], [2.0]])
    result = smooth(tracks, DetectionConfig(smoothing="savgol", smoothing_segments=3.0))
    for before, after in zip(tracks.to_list(), result.to_list()):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)


def test_savgol_in_the_middle_has_the_published_weights() -> None:
    impulse = [0.0] * 5 + [35.0] + [0.0] * 5
    result = smooth(tf.ragged.constant([impulse]), DetectionConfig(smoothing="savgol", smoothing_segments=2.0))
    np.testing.assert_allclose(result.to_list()[0][3:8], [-3, 12, 17, 12, -3], rtol=1e-5)  # 5 points, quadratic: / 35


def test_gaussian_smoothing_in_closed_form() -> None:
    impulse = [0.0] * 6 + [1.0] + [0.0] * 6
    result = smooth(tf.ragged.constant([impulse]), DetectionConfig(smoothing="gaussian", smoothing_segments=1.0))
    weights = np.exp(-0.5 * np.arange(-3, 4) ** 2)
    np.testing.assert_allclose(result.to_list()[0], [0] * 3 + list(weights / weights.sum()) + [0] * 3, atol=1e-6)


@pytest.mark.parametrize("smoothing", ["gaussian", "savgol"])
def test_a_plateau_stays_exactly_flat(smoothing: str) -> None:
    config = DetectionConfig(smoothing=smoothing, smoothing_segments=2.0)
    assert (
        smooth(tf.ragged.constant([[0.1] * 9, [0.3]]), config).to_list()
        == tf.ragged.constant([[0.1] * 9, [0.3]]).to_list()
    )
    assert found([column(*[0.1] * 9)], dataclasses.replace(config, upsampling=4)) == []


def test_contrast_in_closed_form() -> None:
    values = column(0, 1, 9, 7, 8, 8, 2, 0, 0)  # one run above 4.5: segments 2 to 5, mean 8
    for border, outside in ((0.25, 1.5), (0.26, 0.75), (10.0, 0.6)):  # 1 segment each side, 2, all
        config = DetectionConfig(score="contrast", contrast_border=border, score_gamma=0.0)
        assert found([values], config)[0][2:] == (2, 6, pytest.approx(8 - outside))
        scaled = dataclasses.replace(config, score_scale="range")
        assert found([values], scaled)[0][4] == pytest.approx((8 - outside) / 9)
    everything = DetectionConfig(score="contrast", threshold="zero", score_gamma=0.0)
    assert found([column(3, 5)], everything) == [(0, 0, 0, 2, 4.0)]  # no border: minus 0


def test_a_smoothed_constant_track_stands_out_nowhere() -> None:
    config = DetectionConfig(threshold="zero", smoothing="gaussian", score_scale="range", score_gamma=0.0)
    for length in (3, 17, 40):
        for value in (0.375, 0.1, 1e3):
            assert {d[4] for d in found([column(*[value] * length)], config)} == {0.0}


def proposals(*spans: tuple[int, int]) -> Proposals:
    start, end = (tf.constant(values, tf.int64) for values in zip(*spans))
    return Proposals(tf.zeros_like(start), start, end, tf.zeros(len(spans)))


def test_hard_nms_in_closed_form() -> None:
    chain = proposals((0, 8), (0, 4), (0, 2), (5, 8))  # tIoUs 1/2, 1/4, 3/8 with the first; 1/2 of second and third
    for score, limit, kept in (
        ((4, 3, 2, 1), 0.4, [1, 0, 1, 1]),  # the second goes, so the third stays
        ((4, 3, 2, 1), 0.5, [1, 1, 1, 1]),  # a tIoU of exactly the limit is allowed
        ((4, 3, 2, 1), 0.0, [1, 0, 0, 0]),
        ((1, 2, 3, 4), 0.0, [0, 0, 1, 1]),
        ((1, 1, 1, 1), 0.0, [1, 0, 0, 0]),  # of equal scores the one that starts first, then the longer one
    ):
        assert hard_nms(chain, tf.constant(score, tf.float32), limit).numpy().tolist() == [bool(k) for k in kept]


def test_soft_nms_in_closed_form() -> None:
    pair = proposals((0, 8), (0, 4), (9, 10))
    decay = np.exp(-(0.5**2) / 0.5)
    np.testing.assert_allclose(soft_nms(pair, tf.constant([3.0, 2.0, 1.0]), 0.5), [3, 2 * decay, 1], rtol=1e-6)
    np.testing.assert_allclose(soft_nms(pair, tf.constant([2.0, 3.0, 1.0]), 0.5), [2 * decay, 3, 1], rtol=1e-6)
    np.testing.assert_allclose(soft_nms(pair, tf.constant([3.0, -2.0, -1.0]), 0.5), [3, -2, -1], rtol=1e-6)


def test_detections_of_nothing() -> None:
    empty = np.zeros((0, 3), np.float32)
    for nms in ("hard", "soft"):
        for threshold in ("range", "quantile"):
            config = DetectionConfig(
                class_filter="all", smoothing="savgol", upsampling=2, threshold=threshold, score="contrast", nms=nms
            )
            assert found([empty, empty], config) == []
