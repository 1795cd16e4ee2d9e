"""Localization protocols: one hand-computed case per rule."""

from __future__ import annotations

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.evaluation import PROTOCOLS, LocalizationResult, evaluate_localization, match_localization, matching
from tc3net.intervals.columns import Detections, GroundTruth
from tests.support.needs import REAL_ANNOTATIONS, SHARED_DATA, needs
from tests.support.rows_by_hand import ONE_SECOND_GRID, found, ground_truth


def evaluate(protocol, instances, rows, *, tiou=0.5, ambiguous=(), time_base=ONE_SECOND_GRID) -> LocalizationResult:
    return evaluate_localization(
        protocol, ground_truth(instances, ambiguous), found(rows), time_base=time_base, tious=[tiou]
    )


def ap(protocol, instances, rows, **options) -> list[float]:
    return evaluate(protocol, instances, rows, **options).ap[0].tolist()


def test_default_thresholds_are_those_of_each_protocol():
    truth, rows = ground_truth([("a", 0, 0, 10)]), found([("a", 0, 0, 9, 1.0)])
    assert evaluate_localization("thumos14", truth, rows).tious == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    assert evaluate_localization("reference", truth, rows).tious == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    result = evaluate_localization("activitynet", truth, rows)
    assert result.tious == tuple(np.linspace(0.5, 0.95, 10))
    assert result.tious[8] == 0.8999999999999999
    assert result.ap[:, 0].tolist() == [1.0] * 9 + [0.0]  # tIoU 0.9 reaches 0.8999999999999999


@pytest.mark.parametrize(
    ("protocol", "expected"), [("reference", 1.0), ("thumos14_kit", 0.0), ("thumos14", 1.0), ("activitynet", 1.0)]
)
def test_overlap_exactly_on_the_threshold_counts_unless_the_protocol_is_strict(protocol, expected):
    assert ap(protocol, [("a", 0, 0, 10)], [("a", 0, 0, 5, 1.0)], tiou=0.5) == [expected]
    assert ap(protocol, [("a", 0, 0, 10)], [("a", 0, 0, 3, 1.0)], tiou=0.3) == [expected]
    assert ap(protocol, [("a", 0, 0, 10)], [("a", 0, 0, 5, 1.0)], tiou=0.499) == [1.0]
    assert ap(protocol, [("a", 0, 0, 10)], [("a", 0, 0, 5, 1.0)], tiou=0.501) == [0.0]


def test_reference_rounds_to_the_segment_grid_halves_to_even():
    # 0.32 s and 0.96 s are boundaries 0.5 and 1.5: to even, 0 and 2.
    instance, detection = ("a", 0, 0.32, 0.96), ("a", 0, 0.0, 1.28, 1.0)
    assert ap("reference", [instance], [detection], tiou=1.0, time_base=TimeBase()) == [1.0]
    # Detections are rounded as well: 1.5 s of 10 s reach 0.2 on the grid.
    assert ap("reference", [("a", 0, 0, 10)], [("a", 0, 0, 1.5, 1.0)], tiou=0.2) == [1.0]
    assert ap("activitynet", [("a", 0, 0, 10)], [("a", 0, 0, 1.5, 1.0)], tiou=0.2) == [0.0]


def test_reference_counts_instances_that_the_grid_empties():
    result = evaluate("reference", [("a", 0, 0, 10), ("a", 0, 20.6, 21.4)], [("a", 0, 0, 10, 1), ("a", 0, 20, 22, 2)])
    assert result.ap.tolist() == [[0.25]]  # one of two found, at rank 2
    assert result.num_instances.tolist() == [2]
    assert result.notes == ("1 instance empty on the segment grid: counted, but cannot be found",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_intervals_of_length_zero_match_nothing(protocol):
    assert ap(protocol, [("a", 0, 5, 5)], [("a", 0, 5, 5, 1.0)], tiou=0.1) == [0.0]
    assert ap(protocol, [("a", 0, 5, 5), ("a", 0, 7, 9)], [("a", 0, 7, 9, 1.0)], tiou=0.1) == [0.5]
    assert ap(protocol, [("a", 0, 5, 6)], [("a", 0, 5, 5, 2.0), ("a", 0, 5, 6, 1.0)]) == [0.5]


@pytest.mark.parametrize(("protocol", "expected"), [("reference", 0.5), ("activitynet", 1.0)])
def test_equal_overlap_goes_to_the_first_or_the_last_instance(protocol, expected):
    # The better detection overlaps both instances by 1/3; the other one can only find the first instance.
    rows = [("a", 0, 5, 15, 0.9), ("a", 0, 0, 10, 0.8)]
    assert ap(protocol, [("a", 0, 0, 10), ("a", 0, 10, 20)], rows, tiou=0.3) == [expected]


@pytest.mark.parametrize("protocol", ["reference", "activitynet"])
def test_detection_takes_its_best_instance_not_just_any(protocol):
    # The better detection reaches both instances (10/10, 6/14); the other one only the second (1/10, 6/10).
    rows = [("a", 0, 0, 10, 0.9), ("a", 0, 8, 14, 0.8)]
    for instances in ([("a", 0, 0, 10), ("a", 0, 4, 14)], [("a", 0, 4, 14), ("a", 0, 0, 10)]):
        assert ap(protocol, instances, rows, tiou=0.4) == [1.0]


@pytest.mark.parametrize("protocol", ["reference", "activitynet"])
def test_detection_takes_the_next_best_instance_when_the_best_is_used(protocol):
    instances = [("a", 0, 0, 10), ("a", 0, 4, 14)]
    rows = [("a", 0, 0, 10, 0.9), ("a", 0, 1, 11, 0.8)]  # the second overlaps by 9/11 (used) and 7/13
    assert ap(protocol, instances, rows, tiou=0.5) == [1.0]
    assert ap(protocol, instances, rows, tiou=0.6) == [0.5]


@pytest.mark.parametrize(
    ("protocol", "expected"), [("reference", 1.0), ("thumos14_kit", 0.5), ("thumos14", 1.0), ("activitynet", 1.0)]
)
def test_who_chooses_decides_between_the_surer_and_the_better_placed_detection(protocol, expected):
    rows = [("a", 0, 0, 6, 0.9), ("a", 0, 0, 10, 0.8)]
    assert ap(protocol, [("a", 0, 0, 10)], rows) == [expected]


@pytest.mark.parametrize(("protocol", "expected"), [("thumos14", 1.0), ("thumos14_kit", 1 / 3)])
def test_low_scored_copies_steal_the_instances_under_the_kit_alone(protocol, expected):
    """As after soft-NMS, which lowers the scores of overlapping detections and removes none of them."""
    instances = [("a", 0, 0, 10), ("a", 0, 20, 30)]
    surest = [("a", 0, 0, 8, 0.9), ("a", 0, 20, 28, 0.8)]
    copies = [("a", 0, 0, 9, 0.3), ("a", 0, 1, 7, 0.2), ("a", 0, 20, 29, 0.1), ("a", 0, 22, 27, 0.05)]
    assert ap(protocol, instances, surest) == [1.0]
    # The kit's hits are at the ranks 3 and 5: (1 / 3 + 2 / 5) / 2 of precision, the first of them alone 1 / 3.
    found_both = (1 / 3 + 2 / 5) / 2 if protocol == "thumos14_kit" else 1.0
    assert ap(protocol, instances, surest + copies) == [pytest.approx(found_both)]
    one = [("a", 0, 0, 8, 0.9), ("a", 0, 2, 8, 0.6), ("a", 0, 0, 10, 0.3)]
    assert ap(protocol, instances[:1], one) == [pytest.approx(expected)]


def test_the_thumos14_kit_gives_equal_overlap_to_the_higher_score_then_to_the_earlier():
    instance = [("a", 0, 0, 10)]
    assert ap("thumos14_kit", instance, [("a", 0, 0, 8, 0.1), ("a", 0, 2, 10, 0.9)]) == [1.0]
    assert ap("thumos14_kit", instance, [("a", 0, 2, 10, 0.9), ("a", 0, 0, 8, 0.9)]) == [1.0]


def test_the_thumos14_kit_computes_the_union_over_the_span():
    # Half of the instance: 0.3 / 0.6 is 0.5, but over (0.3 + 0.6 - 0.3) it would be 0.5000000000000001.
    assert ap("thumos14_kit", [("a", 0, 0, 0.6)], [("a", 0, 0, 0.3, 1.0)], tiou=0.5) == [0.0]


def test_the_thumos14_kit_serves_instances_in_annotation_order():
    # The only detection above 0.5 for the second instance goes to the first, which overlaps it less.
    rows = [("a", 0, 2, 10, 0.9), ("a", 0, 30, 31, 0.95)]
    assert ap("thumos14_kit", [("a", 0, 0, 9), ("a", 0, 2, 10)], rows) == [0.25]
    rows = [("a", 0, 2, 10, 0.9), ("a", 0, 0, 8, 0.8)]
    # First instance: 7/10 against 8/9, takes the latter; the second its exact copy.
    assert ap("thumos14_kit", [("a", 0, 0, 9), ("a", 0, 2, 10)], rows) == [1.0]


@pytest.mark.parametrize(
    ("protocol", "expected"), [("reference", 2 / 3), ("thumos14_kit", (1 / 2 + 2 / 3) / 2), ("thumos14", 2 / 3)]
)
def test_average_precision_is_interpolated_except_in_the_thumos14_kit(protocol, expected):
    rows = [("a", 0, 50, 60, 0.9), ("a", 0, 0, 10, 0.8), ("b", 0, 0, 10, 0.7)]
    assert ap(protocol, [("a", 0, 0, 10), ("b", 0, 0, 10)], rows) == pytest.approx([expected])


@pytest.mark.parametrize(("protocol", "expected"), [("reference", 1.0), ("thumos14_kit", 1.0), ("thumos14", 0.5)])
def test_equal_scores_rank_in_list_order_or_reversed(protocol, expected):
    assert ap(protocol, [("a", 0, 0, 10)], [("a", 0, 0, 10, 0.5), ("b", 0, 0, 10, 0.5)]) == [expected]


@pytest.mark.parametrize(("protocol", "expected"), [("reference", 1.0), ("thumos14_kit", 0.5), ("thumos14", 0.5)])
def test_videos_without_instances_are_scored_except_in_reference(protocol, expected):
    result = evaluate(protocol, [("a", 0, 0, 10)], [("b", 0, 0, 10, 0.9), ("a", 0, 0, 10, 0.8)])
    assert result.ap.tolist() == [[expected]]
    assert ("1 detection in 1 video without instances ignored (b)" in result.notes) == (protocol == "reference")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_duplicates_are_separate_instances_and_every_instance_is_found_once(protocol):
    one, two = [("a", 0, 0, 10)], [("a", 0, 0, 10), ("a", 0, 0, 10)]
    detection = ("a", 0, 0, 10, 0.5)
    assert ap(protocol, one, [detection, detection]) == [1.0]
    assert ap(protocol, two, [detection]) == [0.5]
    assert ap(protocol, two, [detection, detection]) == [1.0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_class_without_detections_has_ap_0_and_leaves_the_others_alone(protocol):
    result = evaluate(protocol, [("a", 0, 0, 10), ("b", 2, 0, 10)], [("a", 0, 0, 10, 0.5)])
    assert result.classes == ("Dive", "Jump")  # "Throw" has no instance
    assert result.ap.tolist() == [[1.0, 0.0]]
    assert result.num_instances.tolist() == [1, 1]
    assert result.num_detections.tolist() == [1, 0]
    assert result.map.tolist() == [0.5]
    assert evaluate(protocol, [("a", 0, 0, 10)], []).map.tolist() == [0.0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_video_without_detections_adds_only_missed_instances(protocol):
    rows = [("a", 0, 0, 10, 0.5)]
    assert ap(protocol, [("a", 0, 0, 10), ("b", 0, 0, 10), ("b", 0, 20, 30)], rows) == [pytest.approx(1 / 3)]


@pytest.mark.parametrize(("protocol", "expected"), [("reference", 1.0), ("thumos14", 1.0), ("activitynet", 1.0)])
def test_duplicated_detections_are_separate_false_positives_where_their_instance_is_found(protocol, expected):
    """The second of two equal detections comes after the first whatever the order of ties: AP counts it below."""
    twice = [("a", 0, 0, 10, 0.5), ("a", 0, 0, 10, 0.5)]
    assert ap(protocol, [("a", 0, 0, 10)], twice) == [expected]
    result = ap(protocol, [("a", 0, 0, 10), ("b", 0, 0, 10)], [*twice, ("b", 0, 0, 10, 0.4)])
    assert result == [pytest.approx((1 + 2 / 3) / 2)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_out_of_scope_detections_are_ignored_and_counted(protocol):
    rows = [("a", 0, 0, 10, 0.5)]
    rows += [("elsewhere", 0, 0, 10, 0.9), ("far", 1, 0, 10, 0.9), ("far", 1, 3, 10, 0.9)]
    rows += [("a", 1, 0, 10, 0.9), ("a", 2, 0, 10, 0.9)]
    result = evaluate(protocol, [("a", 0, 0, 10)], rows)
    assert result.ap.tolist() == [[1.0]]
    assert result.num_detections.tolist() == [1]
    assert result.notes == (
        "3 detections in 2 videos without ground truth ignored (elsewhere, far)",
        "2 detections of 2 classes without instances ignored (Throw, Jump)",
    )


def test_reference_removes_what_touches_an_ambiguous_interval_even_if_it_would_match():
    instances = [("a", 0, 0, 10), ("b", 0, 0, 10), ("b", 1, 0, 10)]
    rows = [("a", 0, 0, 10, 0.9), ("b", 0, 0, 10, 0.8), ("a", 1, 5, 12, 0.7), ("b", 1, 0, 10, 0.6)]
    ambiguous = [("a", 9, 20)]
    result = evaluate("reference", instances, rows, ambiguous=ambiguous)
    assert result.ap.tolist() == [[0.5, 1.0]]
    assert result.num_detections.tolist() == [2, 2]
    assert result.notes == ("2 detections removed for touching an ambiguous interval",)
    # Sharing only a boundary, or an interval that the grid empties, is not touching.
    assert ap("reference", instances, rows, ambiguous=[("a", 12, 20), ("b", 4.6, 5.4)]) == [1.0, 0.5]


def test_the_thumos14_kit_excuses_unmatched_detections_in_ambiguous_intervals():
    instances = [("a", 0, 0, 10)]
    rows = [("a", 0, 15, 25, 0.9), ("b", 0, 15, 25, 0.8), ("a", 0, 0, 10, 0.7), ("a", 0, 20, 30, 0.95)]
    assert ap("thumos14_kit", instances, rows) == [0.25]
    result = evaluate("thumos14_kit", instances, rows, ambiguous=[("a", 8, 16)])
    assert result.ap.tolist() == [[pytest.approx(1 / 3)]]  # one excused; the matched one touches it too and counts
    assert result.notes == ("2 detections touching an ambiguous interval: ignored where unmatched",)
    assert ap("thumos14_kit", instances, rows, ambiguous=[("a", 25, 30)]) == [pytest.approx(1 / 3)]
    assert ap("thumos14_kit", instances, rows, ambiguous=[("a", 30, 40)]) == [0.25]


@pytest.mark.parametrize("protocol", ["thumos14", "activitynet"])
def test_the_activitynet_toolkit_knows_no_ambiguous_intervals(protocol):
    result = evaluate(
        protocol, [("a", 0, 0, 10)], [("a", 0, 15, 25, 0.9), ("a", 0, 0, 10, 0.7)], ambiguous=[("a", 15, 25)]
    )
    assert result.ap.tolist() == [[0.5]]
    assert result.notes == ("1 ambiguous interval unused: detections there are false positives",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_number_of_thresholds_in_any_order_gives_what_each_gives_alone(protocol):
    rng = np.random.default_rng(0)
    intervals = np.sort(rng.uniform(0, 40, (60, 2)), axis=1)
    truth = ground_truth([("a", 0, *times) for times in intervals[:20]])
    rows = found([("a", 0, *times, score) for times, score in zip(intervals, rng.permutation(60))])
    tious = rng.permutation(np.linspace(0.05, 0.95, 80))
    together = evaluate_localization(protocol, truth, rows, tious=tious)
    alone = [evaluate_localization(protocol, truth, rows, tious=[tiou]).ap[0] for tiou in tious]
    np.testing.assert_allclose(together.ap, alone, rtol=0, atol=1e-12)


def test_blocks_of_pairs_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(1)
    intervals = np.sort(rng.uniform(0, 20, (90, 2)), axis=1)
    truth = ground_truth([("ab"[i % 2], i % 3, *times) for i, times in enumerate(intervals[:40])], [("a", 3, 4)])
    rows = found([("ab"[i % 2], i % 3, *times, i / 7) for i, times in enumerate(intervals)])
    whole = [evaluate_localization(protocol, truth, rows).ap for protocol in PROTOCOLS]
    monkeypatch.setattr(matching, "_PAIRS_AT_ONCE", 7)
    for protocol, expected in zip(PROTOCOLS, whole):
        np.testing.assert_array_equal(evaluate_localization(protocol, truth, rows).ap, expected)


def test_averages_need_all_of_their_thresholds():
    truth = ground_truth([("a", 0, 0, 10)])
    rows = found([("a", 0, 0, 4.5, 1.0)])
    result = evaluate_localization("thumos14", truth, rows)
    assert result.map.tolist() == [1, 1, 1, 1, 0, 0, 0]
    assert result.averages == pytest.approx({"0.1:0.5": 4 / 5, "0.3:0.7": 2 / 5, "0.1:0.7": 4 / 7})
    few = evaluate_localization("thumos14", truth, rows, tious=[0.5, 0.4, 0.3, 0.2, 0.1])
    assert few.averages == pytest.approx({"0.1:0.5": 4 / 5})
    assert evaluate_localization("activitynet", truth, rows).averages == {"0.5:0.95": 0.0}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("b", 0, 0, 1, np.nan)], "Video b: a detection has score nan"),
        ([("elsewhere", 0, 0, np.inf, 1)], "Video elsewhere: detection from 0.0 s to inf s"),
        ([("a", 0, 0, 1, 1), ("b", 0, 3, 2, 1)], "Video b: detection from 3.0 s to 2.0 s"),
        ([("b", 3, 0, 1, 1)], "Video b: detection of class id 3; expected 0 to 2"),
        ([("b", -1, 0, 1, 1)], "Video b: detection of class id -1"),
    ],
)
def test_unusable_detections_are_refused_by_name(rows, message):
    with pytest.raises(UserError, match=message):
        evaluate("reference", [("a", 0, 0, 10)], rows)


def test_unusable_ground_truth_and_options_are_refused():
    truth, rows = ground_truth([("a", 0, 0, 10)]), found([])
    with pytest.raises(UserError, match="'thumos' is unknown; expected one of reference, thumos14, thumos14_kit"):
        evaluate_localization("thumos", truth, rows)
    for tious in ([], [0.0], [0.5, 1.1], [float("nan")]):
        with pytest.raises(UserError, match="thresholds"):
            evaluate_localization("thumos14", truth, rows, tious=tious)
    with pytest.raises(UserError, match="2 videos has no instances"):
        evaluate_localization("thumos14", ground_truth([]), rows)
    with pytest.raises(UserError, match=r"Video b: instance from 4\.0 s to 3\.0 s"):
        evaluate_localization("thumos14", ground_truth([("b", 0, 4, 3)]), rows)
    with pytest.raises(UserError, match="Video b: ambiguous interval from nan s"):
        evaluate_localization("thumos14", ground_truth([("a", 0, 0, 1)], [("b", np.nan, 3)]), rows)
    with pytest.raises(UserError, match="Video b: instance of class id 3"):
        evaluate_localization("thumos14", ground_truth([("b", 3, 0, 1)]), rows)
    with pytest.raises(UserError, match="Video a is listed twice"):
        evaluate_localization("thumos14", ground_truth([("a", 0, 0, 1)], videos=("a", "b", "a")), rows)


@needs(REAL_ANNOTATIONS)
def test_real_thumos14_test_set_has_16_instances_that_the_grid_empties():
    folder = SHARED_DATA / "thumos14-3cnet"
    # allow_pickle: the published files are object arrays; these are ours, not a user's.
    segments, labels, subset = (
        np.load(folder / f"{name}.npy", allow_pickle=True) for name in ("segments", "labels", "subset")
    )
    names = [name.decode() for name in np.load(folder / "classlist_20classes.npy")]
    instances = [
        (video, names.index(label), start, end)
        for video in np.flatnonzero(subset == b"test")
        for (start, end), label in zip(segments[video], labels[video])
    ]
    video, label, start_s, end_s = (np.array(column) for column in zip(*instances))
    videos, video = np.unique(video, return_inverse=True)
    video_ids = tuple(f"video {row}" for row in videos)
    none, no_video = np.zeros(0), np.zeros(0, np.int64)
    truth = GroundTruth(tuple(names), video_ids, video, label, start_s, end_s, no_video, none, none)
    perfect = Detections(video_ids, video, label, start_s, end_s, np.ones(len(video)))
    result = evaluate_localization("reference", truth, perfect)
    assert result.notes == ("16 instances empty on the segment grid: counted, but cannot be found",)
    assert len(result.classes) == 20
    assert 0.95 < result.map[-1] < 1
    for protocol in ("thumos14", "thumos14_kit"):
        assert evaluate_localization(protocol, truth, perfect).map.min() > 0.999


def test_matches_say_which_detection_found_which_instance():
    rows = [("elsewhere", 0, 0, 10, 0.9), ("a", 0, 20, 30, 0.2), ("a", 1, 0, 9, 0.8), ("a", 0, 0, 10, 0.7)]
    truth = ground_truth([("a", 1, 0, 10), ("a", 0, 0, 10), ("b", 0, 0, 10)])
    matches = match_localization("thumos14", truth, found(rows), tious=[0.5, 0.95])
    assert matches.source.tolist() == [2, 3, 1]  # by score; positions in the list that was given
    assert matches.found.tolist() == [[0, 1, -1], [-1, 1, -1]]
    assert matches.missed.tolist() == [[False, False, True], [True, False, True]]
    assert matches.scored_videos.tolist() == [0, 1]
    assert [(c.label, c.detections.tolist(), c.instances.tolist()) for c in matches.by_class()] == [
        (0, [1, 2], [1, 2]),
        (1, [0], [0]),
    ]
