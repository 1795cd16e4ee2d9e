"""Bootstrap over videos: the shortcut against evaluating every resample again, intervals, and paired comparison."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.evaluation import (
    PROTOCOLS,
    bootstrap,
    check_same_truth,
    classification_map,
    compare,
    compare_classification,
    evaluate_localization,
    match_localization,
)
from tc3net.evaluation.resampling import (
    draw,
    mean_over_classes,
    percentile_interval,
    resampled_ap,
    resampled_classification,
)
from tc3net.intervals.columns import Detections, GroundTruth
from tests.support.random_rows import cases, columns
from tests.support.rows_by_hand import CLASSES, ONE_SECOND_GRID, found, ground_truth


def drawn(truth: GroundTruth, rows: Detections, weights: np.ndarray) -> tuple[GroundTruth, Detections]:
    """The resample as data: every video as many times as it was drawn, copies of a detection next to each other."""
    names = [f"{name} copy {k}" for name, w in zip(truth.video_ids, weights) for k in range(int(w))]
    first = np.concatenate([[0], np.cumsum(weights)]).astype(int)

    def copies(video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        index = [i for i, v in enumerate(video) for _ in range(int(weights[v]))]
        number = [first[v] + k for v in video for k in range(int(weights[v]))]
        return np.array(index, np.int64), np.array(number, np.int64)

    i, video = copies(truth.video)
    a, ambiguous = copies(truth.ambiguous_video)
    d, of_detection = copies(rows.video)
    new_truth = GroundTruth(
        truth.classes, tuple(names), video, truth.label[i], truth.start_s[i], truth.end_s[i],
        ambiguous, truth.ambiguous_start_s[a], truth.ambiguous_end_s[a],
    )  # fmt: skip
    found = Detections(tuple(names), of_detection, rows.label[d], rows.start_s[d], rows.end_s[d], rows.score[d])
    return new_truth, found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(deadline=None, max_examples=40)
@given(case=cases(), seed=st.integers(0, 999))
def test_resampled_ap_equals_evaluating_the_resample(protocol, case, seed):
    instances, ambiguous, detections = case
    shuffle = np.random.default_rng(seed).permutation(len(detections))  # different scores: ties have no one order
    detections = [(*row[:4], float(score)) for row, score in zip(detections, shuffle)]
    truth, rows = columns(instances, ambiguous, detections)
    matches = match_localization(protocol, truth, rows)
    weights = draw(len(matches.scored_videos), 4, seed)
    ap = resampled_ap(matches, weights)
    full = np.zeros((4, len(truth.video_ids)))
    full[:, matches.scored_videos] = weights
    for b in range(4):
        new_truth, new_rows = drawn(truth, rows, full[b])
        expected = np.full((len(matches.tious), len(matches.scored_labels)), np.nan)
        if len(new_truth):
            result = evaluate_localization(protocol, new_truth, new_rows)
            where = [[truth.classes[label] for label in matches.scored_labels].index(name) for name in result.classes]
            expected[:, where] = result.ap
        np.testing.assert_allclose(ap[b], expected, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), videos=st.integers(2, 12))
def test_resampled_classification_equals_evaluating_the_resample(seed, videos):
    rng = np.random.default_rng(seed)
    scores, labels = rng.permutation(videos * 2).reshape(videos, 2) / 7, rng.integers(0, 2, (videos, 2))
    weights = draw(videos, 5, seed)
    found_map = resampled_classification(scores, labels, weights)
    for b, row in enumerate(weights.astype(int)):
        copies = np.repeat(np.arange(videos), row)
        if labels[copies].any():
            assert found_map[b] == pytest.approx(classification_map(scores[copies], labels[copies]).map, abs=1e-12)
        else:
            assert np.isnan(found_map[b])


def test_draws_are_seeded_and_complete():
    weights = draw(7, 200, 3)
    assert (weights.sum(axis=1) == 7).all() and weights.min() == 0
    np.testing.assert_array_equal(weights, draw(7, 200, 3))
    assert not np.array_equal(weights, draw(7, 200, 4))
    assert weights.mean() == 1.0


def test_percentile_interval_by_hand():
    samples = np.array([[0.0, np.nan], [1.0, np.nan], [2.0, np.nan], [3.0, np.nan], [4.0, np.nan]])
    interval = percentile_interval(samples, 0.5)
    assert interval[:, 0].tolist() == [1.0, 3.0]
    assert np.isnan(interval[:, 1]).all()
    samples[:, 1] = [0, np.nan, 10, np.nan, np.nan]
    assert percentile_interval(samples, 0.5)[:, 1].tolist() == [2.5, 7.5]


def two_videos(shift: float) -> Detections:
    """A perfect detection in a; in b one that is `shift` seconds late."""
    return found([("a", 0, 0, 10, 0.9), ("b", 0, shift, 10 + shift, 0.8)])


def test_interval_of_two_videos_by_hand():
    """a is right, b is wrong: a resample holds a twice, once or never, with mAP 1, 0.5, 0 and chances 1/4, 1/2, 1/4."""
    truth = ground_truth([("a", 0, 0, 10), ("b", 0, 0, 10)])
    matches = match_localization("activitynet", truth, two_videos(9), tious=[0.5])
    result = bootstrap(matches, resamples=4000, seed=1)
    values, counts = np.unique(result.map[:, 0], return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(counts / 4000, [0.25, 0.5, 0.25], atol=0.03)
    assert result.map_interval()[:, 0].tolist() == [0.0, 1.0]
    assert result.average_intervals() == {}


def test_comparison_is_paired_and_counts_opposite_signs():
    truth = ground_truth([("a", 0, 0, 10), ("b", 0, 0, 10)])
    good, bad = (match_localization("activitynet", truth, two_videos(shift), tious=[0.5]) for shift in (0, 9))
    comparison = compare(good, bad, resamples=2000)
    assert comparison.map.value.tolist() == [0.5]
    assert (comparison.map.low[0], comparison.map.high[0]) == (0.0, 1.0)
    assert comparison.map.opposite[0] == pytest.approx(0.25, abs=0.03)  # b was never drawn: no difference
    same = compare(bad, bad, resamples=200)
    assert same.map.value.tolist() == [0.0] and same.map.opposite.tolist() == [1.0]
    assert same.ap.low.tolist() == same.ap.high.tolist() == [[0.0]]
    turned = compare(bad, good, resamples=2000)
    np.testing.assert_allclose(turned.map.low, -comparison.map.high)
    np.testing.assert_allclose(turned.map.opposite, comparison.map.opposite)


@settings(deadline=None, max_examples=20)
@given(case=cases(), seed=st.integers(0, 99))
def test_comparison_is_the_difference_of_two_bootstraps(case, seed):
    truth, rows = columns(*case)
    other = replace(rows, start_s=rows.start_s * 0.5, end_s=rows.end_s * 0.5)
    first, second = (match_localization("thumos14", truth, r) for r in (rows, other))
    comparison = compare(first, second, resamples=100, seed=seed)
    samples = bootstrap(first, resamples=100, seed=seed).ap - bootstrap(second, resamples=100, seed=seed).ap
    low, high = percentile_interval(mean_over_classes(samples), 0.95)
    np.testing.assert_allclose([comparison.map.low, comparison.map.high], [low, high], atol=1e-12)
    assert set(comparison.averages) == {"0.1:0.5", "0.3:0.7", "0.1:0.7"}


def test_classification_comparison():
    labels = np.array([[1], [0], [1], [0]])
    right, wrong = np.array([[4.0], [1], [3], [2]]), np.array([[1.0], [4], [2], [3]])
    result = compare_classification(right, wrong, labels, resamples=500, seed=0, confidence=0.9)
    assert result.first == 1.0
    assert result.second == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert float(result.difference.value) == pytest.approx(1 - result.second)
    assert float(result.difference.opposite) < 0.2


def test_what_cannot_be_compared_is_refused():
    truth = ground_truth([("a", 0, 0, 10), ("b", 1, 0, 10)], [("a", 20, 30)])
    check_same_truth(truth, truth, ("A", "B"))
    moved = replace(truth, video_ids=("b", "a"), video=1 - truth.video, ambiguous_video=1 - truth.ambiguous_video)
    renamed = replace(moved, classes=tuple(reversed(CLASSES)), label=2 - moved.label)
    check_same_truth(truth, renamed, ("A", "B"))
    cases = {
        "different classes: only in A: Jump; only in B: Swim": replace(truth, classes=("Dive", "Throw", "Swim")),
        "different annotated videos: only in B: c": replace(truth, video_ids=("a", "b", "c")),
        r"different annotations for 1 videos \(b\)": replace(truth, end_s=np.array([10.0, 11.0])),
        r"different annotations for 1 videos \(a\)": replace(truth, ambiguous_end_s=np.array([31.0])),
    }
    for message, other in cases.items():
        with pytest.raises(UserError, match=message):
            check_same_truth(truth, other, ("A", "B"))
    first = match_localization("activitynet", truth, two_videos(0))
    for second in (
        match_localization("thumos14", truth, two_videos(0)),
        match_localization("activitynet", truth, two_videos(0), tious=[0.5]),
        match_localization("activitynet", replace(truth, end_s=truth.end_s + 1), two_videos(0)),
    ):
        with pytest.raises(UserError, match="same ground truth"):
            compare(first, second)


def test_settings_of_the_bootstrap_are_checked():
    matches = match_localization("activitynet", ground_truth([("a", 0, 0, 10)]), two_videos(0))
    with pytest.raises(UserError, match="--bootstrap=99; expected 100"):
        bootstrap(matches, resamples=99)
    for confidence in (0.0, 1.0, 95.0):
        with pytest.raises(UserError, match="--confidence"):
            bootstrap(matches, resamples=100, confidence=confidence)


def test_reference_resamples_only_the_videos_it_scores():
    truth = ground_truth([("a", 0, 0, 10)], videos=("a", "b"))
    matches = match_localization("reference", truth, two_videos(0), time_base=ONE_SECOND_GRID)
    assert matches.scored_videos.tolist() == [0]
    assert (bootstrap(matches, resamples=100).map == 1).all()
