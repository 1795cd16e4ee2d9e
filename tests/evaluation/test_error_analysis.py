"""Error analysis: one hand-computed case per type, bucket and correction, and what must hold for any data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.evaluation import (
    PROTOCOLS,
    TYPES,
    analyse,
    analyse_errors,
    analyse_sensitivity,
    corrected_map,
    error_types,
    evaluate_localization,
    match_localization,
    normalized_average_precision,
)
from tc3net.visualization import error_figures, style
from tests.support.random_rows import cases, columns
from tests.support.rows_by_hand import ONE_SECOND_GRID, found, ground_truth


def types_of(protocol, instances, rows, *, tiou=0.5, ambiguous=()) -> list[str]:
    """The type of each row, in the order given."""
    truth = ground_truth(instances, ambiguous)
    matches = match_localization(protocol, truth, found(rows), time_base=ONE_SECOND_GRID, tious=[tiou])
    names = {int(place): kind for place, kind in zip(matches.source, error_types(matches)[0])}
    return ["ignored" if names[i] < 0 else TYPES[names[i]] for i in sorted(names)]


INSTANCES = [("a", 0, 0, 10), ("a", 1, 40, 50), ("b", 2, 0, 10)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("a", 0, 0, 8, 0.5), "double detection"),  # 0.8 of an instance that the better one took
        (("a", 1, 0, 8, 0.5), "wrong label"),  # 0.8 of an instance of class 0
        (("a", 0, 6, 16, 0.5), "localization"),  # 4 / 16
        (("a", 1, 6, 16, 0.5), "confusion"),
        (("a", 0, 9, 29, 0.5), "background"),  # 1 / 29
        (("a", 0, 20, 30, 0.5), "background"),
        (("b", 1, 30, 40, 0.5), "background"),
        (("a", 0, 5, 5, 0.5), "background"),  # of length 0: overlaps nothing
    ],
)
def test_every_type_by_hand(protocol, row, expected):
    assert types_of(protocol, INSTANCES, [("a", 0, 0, 10, 0.9), row]) == ["true positive", expected]


@pytest.mark.parametrize(
    ("protocol", "at_half", "at_tenth"),
    [("activitynet", "wrong label", "confusion"), ("thumos14_kit", "confusion", "confusion")],
)
def test_types_at_the_thresholds_themselves(protocol, at_half, at_tenth):
    """tIoU equal to the threshold reaches it except in thumos14_kit; 0.1 is not background anywhere."""
    assert types_of(protocol, INSTANCES, [("a", 1, 0, 5, 0.5)]) == [at_half]
    assert types_of(protocol, INSTANCES, [("a", 1, 0, 1, 0.5)]) == [at_tenth]
    assert types_of(protocol, INSTANCES, [("a", 1, 9, 19.5, 0.5)], tiou=0.1) == ["background"]


def test_the_nearest_instance_decides_and_the_own_class_wins_ties():
    instances = [("a", 0, 0, 10), ("a", 1, 2, 12)]
    # 8/12 of its own class's instance, which is taken, but 1 of the other's.
    rows = [("a", 0, 0, 10, 0.9), ("a", 0, 2, 12, 0.5)]
    assert types_of("activitynet", instances, rows) == ["true positive", "wrong label"]
    both = [("a", 0, 0, 10), ("a", 1, 0, 10)]
    for order in (both, both[::-1]):
        assert types_of("activitynet", order, [("a", 0, 0, 10, 0.9), ("a", 0, 0, 9, 0.5)])[1] == "double detection"


def test_ignored_detections_have_no_type():
    rows = [("a", 0, 0, 10, 0.9), ("a", 0, 20, 30, 0.8), ("a", 0, 0, 9, 0.7)]
    ambiguous = [("a", 25, 28), ("a", 8, 10)]
    expected = ["true positive", "ignored", "ignored"]
    assert types_of("thumos14_kit", INSTANCES, rows, ambiguous=ambiguous) == expected
    assert types_of("reference", INSTANCES, rows, ambiguous=[("a", 25, 28)]) == ["true positive", "double detection"]


def test_profile_gains_and_counts_by_hand():
    instances = [("a", 0, 0, 10), ("b", 0, 0, 10), ("b", 1, 20, 30)]
    rows = [
        ("a", 0, 50, 60, 0.9), ("a", 0, 0, 10, 0.8),  # first G of class 0: background, true positive
        ("a", 0, 0, 8, 0.7), ("a", 0, 90, 99, 0.6),  # second: double detection, background
        ("b", 1, 0, 10, 0.9), ("b", 1, 26, 36, 0.8),  # first and second G of class 1: wrong label, localization
    ]  # fmt: skip
    matches = match_localization("activitynet", ground_truth(instances), found(rows), tious=[0.5])
    errors = analyse_errors(matches)
    assert errors.counts.tolist() == [[1, 1, 1, 1, 0, 2]]
    profile = errors.profile[0]
    assert profile.shape == (10, 6) and profile[2:].sum() == 0
    assert profile[0].tolist() == [1, 0, 1, 0, 0, 1]
    assert profile[1].tolist() == [0, 1, 0, 1, 0, 1]
    # Class 0: precision 1/2 at its one hit of two instances, AP 1/4. Class 1: AP 0.
    assert errors.map.tolist() == [1 / 8]
    # Without background the hit comes first: AP 1/2; without the other types nothing moves.
    np.testing.assert_allclose(errors.gain, [[0, 0, 0, 0, 1 / 4 - 1 / 8]])
    # Missed ones found last: class 0 gets rank 5, precision 2/5, which is below the envelope of 1/2; class 1 1/3.
    np.testing.assert_allclose(errors.gain_missed, [((1 / 2 + 2 / 5) / 2 + 1 / 3) / 2 - 1 / 8])


def everything(protocol, case):
    truth, rows = columns(*case)
    return truth, rows, match_localization(protocol, truth, rows)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_types_partition_the_detections_and_correcting_all_gives_map_1(protocol, case):
    truth, rows, matches = everything(protocol, case)
    types = error_types(matches)
    np.testing.assert_array_equal(types == 0, matches.found >= 0)
    np.testing.assert_array_equal(types < 0, matches.ignored & (matches.found < 0))
    assert set(np.unique(types)) <= set(range(-1, 6))
    everything_fixed = corrected_map(matches, types, removed=range(1, 6), find_missed=True)
    np.testing.assert_allclose(everything_fixed, 1.0, atol=1e-12)
    np.testing.assert_allclose(corrected_map(matches, types), evaluate_localization(protocol, truth, rows).map)
    errors = analyse_errors(matches)
    assert (errors.gain >= -1e-12).all()  # taking false positives out never lowers a precision
    assert (errors.gain_missed >= -1e-12).all()
    assert (errors.counts.sum(axis=1) == (types >= 0).sum(axis=1)).all()
    assert (errors.profile.sum(axis=1) <= errors.counts).all()


@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_a_detection_of_a_free_instance_is_never_called_double(case):
    """A double detection is one whose instance another detection found."""
    _, _, matches = everything("activitynet", case)
    for types, hit in zip(error_types(matches), matches.found):
        for d in np.flatnonzero(types == 1):
            own = (matches.instance_video == matches.video[d]) & (matches.instance_label == matches.label[d])
            assert np.isin(np.flatnonzero(own), hit[hit >= 0]).any()


def test_normalized_average_precision_by_hand():
    hits = np.array([True, False, True, False])
    # R N / (R N + F) with N = 8, two of two instances: 4 / 4, then 8 / 9.
    assert normalized_average_precision(hits, 2, 8.0) == pytest.approx((1 + 8 / 9) / 2)
    assert normalized_average_precision(hits, 2, 2.0) == pytest.approx((1 + 2 / 3) / 2)  # N as it is: the usual AP
    ignored = np.array([False, True, False, False])
    assert normalized_average_precision(hits, 2, 8.0, ignored) == pytest.approx(1.0)
    assert normalized_average_precision(~hits, 4, 4.0) == pytest.approx((1 / 2 + 1 / 2) / 4)
    assert normalized_average_precision(np.zeros((2, 0), bool), 1, 1.0).tolist() == [0, 0]
    with pytest.raises(ValueError, match="at least one"):
        normalized_average_precision(hits, 0, 1.0)


def test_sensitivity_by_hand():
    # Lengths 3 (XS, with its edge), 4 (S), 20 (XL) and 0 (XS) of class 0; 5 (S) of class 1.
    instances = [("a", 0, 0, 3), ("a", 0, 10, 14), ("a", 0, 20, 40), ("b", 0, 5, 5), ("b", 1, 0, 5)]
    rows = [("a", 0, 0, 3, 0.9), ("a", 0, 60, 70, 0.8), ("a", 0, 10, 14, 0.7), ("b", 1, 0, 5, 0.9)]
    truth = ground_truth(instances)
    matches = match_localization("thumos14", truth, found(rows), tious=[0.5])
    analysis = analyse_sensitivity(matches, truth, np.array([100.0, 20.0]))
    length, coverage, number = analysis.characteristics
    assert [c.name for c in analysis.characteristics] == ["length", "coverage", "instances"]
    assert length.bucket.tolist() == [0, 1, 4, 0, 1]
    assert length.num_instances.tolist() == [2, 2, 0, 0, 1]
    assert length.ranges == ("to 3", "3 to 6", "6 to 12", "12 to 18", "over 18")
    # N = 5 instances / 2 classes. XS: one of two found at once. S: class 0 after a false positive, R N / (R N + F)
    # with R = 1: 2.5 / 3.5; class 1 perfect. XL: nothing found.
    np.testing.assert_allclose(length.map_n[0], [0.5, (2.5 / 3.5 + 1) / 2, np.nan, np.nan, 0.0])
    np.testing.assert_allclose(length.miss_rate[0], [0.5, 0.0, np.nan, np.nan, 1.0])
    assert coverage.bucket.tolist() == [1, 1, 4, 0, 4]  # 0.03, 0.04 (its edge), 0.2, 0, 0.25
    assert number.bucket.tolist() == [1, 1, 1, 0, 0]
    assert number.ranges == ("1", "2 to 40", "41 to 80", "over 80")
    # All: class 0 1/4 at once, then R = 1/2: 1.25 / 2.25; of four.
    np.testing.assert_allclose(analysis.map_n, [((1 + 1.25 / 2.25) / 4 + 1) / 2])
    np.testing.assert_allclose(analysis.miss_rate, [2 / 5])


def test_unknown_durations_leave_only_coverage_unknown():
    truth = ground_truth([("a", 0, 0, 3), ("b", 0, 0, 5)])
    matches = match_localization("activitynet", truth, found([("a", 0, 0, 3, 0.9)]))
    analysis = analyse_sensitivity(matches, truth, np.array([np.nan, 4.0]))
    length, coverage, _ = analysis.characteristics
    assert coverage.bucket.tolist() == [-1, 4]  # more than its video
    assert coverage.num_instances.tolist() == [0, 0, 0, 0, 1]
    assert length.num_instances.tolist() == [2, 0, 0, 0, 0]


@settings(deadline=None, max_examples=40)
@given(case=cases(), seed=st.integers(0, 99))
def test_sensitivity_adds_up(case, seed):
    truth, _, matches = everything("activitynet", case)
    duration_s = np.random.default_rng(seed).uniform(10, 50, len(truth.video_ids))
    analysis = analyse_sensitivity(matches, truth, duration_s)
    for c in analysis.characteristics:
        assert c.num_instances.sum() == len(truth)
        missed = np.nansum(c.miss_rate * c.num_instances, axis=1)
        np.testing.assert_allclose(missed, analysis.miss_rate * len(truth))
        assert np.isnan(c.map_n[:, c.num_instances == 0]).all()
        filled = c.map_n[:, c.num_instances > 0]
        assert ((filled >= 0) & (filled <= 1 + 1e-12)).all()


def test_pictures_are_written_and_repeatable(tmp_path):
    truth = ground_truth(INSTANCES)
    matches = match_localization("thumos14", truth, found([("a", 0, 0, 10, 0.9), ("a", 1, 0, 8, 0.5)]))
    analysis = analyse(matches, truth, np.array([100.0, np.nan]))
    style.save(tmp_path, "errors", error_figures.false_positive_figure, analysis.errors, 0.5, "some $data_set")
    style.save(tmp_path, "missed", error_figures.miss_figure, analysis.sensitivity, 0.5, "x")
    for folder in (tmp_path, tmp_path / "again"):
        style.save(folder, "sensitivity", error_figures.sensitivity_figure, analysis.sensitivity, 0.5, "x")
    for path in tmp_path.glob("*.*"):
        assert path.stat().st_size > 5000
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        f"{name}.{ending}" for name in ("errors", "missed", "sensitivity") for ending in ("png", "svg")
    ]
    for ending in ("png", "svg"):
        name = f"sensitivity.{ending}"
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
