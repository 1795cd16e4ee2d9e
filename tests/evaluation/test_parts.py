"""Overlaps, matching, average precision, classification and tables, each on its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.evaluation import (
    Bootstrap,
    Intervals,
    LocalizationResult,
    Pairs,
    Table,
    as_dict,
    class_table,
    classification_map,
    format_table,
    interpolated_average_precision,
    long_table,
    match_by_instance,
    match_by_score,
    mean_precision_at_hits,
    pair_up,
    pairs_in_same_group,
    tiou,
    touches_any,
)


def intervals(*rows) -> Intervals:
    video, start, end = np.array(rows, np.float64).reshape(-1, 3).T
    return Intervals(video.astype(np.int64), start, end)


@pytest.mark.parametrize("spanning", [False, True])
def test_tiou(spanning):
    start_b = np.array([0, 5, 10, 12, 5, 0])
    end_b = np.array([10, 15, 20, 20, 5, 40])
    overlap = tiou(np.array(0), np.array(10), start_b, end_b, spanning=spanning)
    assert overlap.dtype == np.float64
    assert overlap.tolist() == [1.0, 5 / 15, 0.0, 0.0, 0.0, 0.25]
    assert tiou(np.array([3.0]), np.array([3.0]), np.array([3.0]), np.array([3.0]), spanning=spanning).tolist() == [0.0]


def test_tiou_of_whole_segments_lies_exactly_on_decimal_thresholds():
    for tenths in range(1, 11):
        assert tiou(np.array(0), np.array(10), np.array(0), np.array(tenths)) == round(tenths * 0.1, 1)


@given(st.lists(st.integers(0, 4), max_size=12), st.lists(st.integers(0, 4), max_size=12))
def test_pairs_are_all_combinations_in_the_same_group(a, b):
    blocks = list(pairs_in_same_group(np.array(a, np.int64), np.array(b, np.int64)))
    index_a, index_b = (np.concatenate([block[side] for block in blocks]) for side in (0, 1))
    expected = [(i, j) for i, x in enumerate(a) for j, y in enumerate(b) if x == y]
    assert list(zip(index_a.tolist(), index_b.tolist())) == expected


def test_touching_needs_a_common_part_in_the_same_video():
    touched = touches_any(
        intervals((0, 0, 5), (0, 5, 9), (1, 0, 9), (0, 4, 4), (0, 8, 20)), intervals((0, 3, 5), (0, 9, 10), (2, 0, 9))
    )
    assert touched.tolist() == [True, False, False, False, True]


def test_pair_up_counts_those_in_no_pair():
    pairs = pair_up(intervals((0, 0, 5), (1, 0, 5)), intervals((1, 0, 10), (2, 0, 5), (1, 4, 5)))
    assert pairs.detection.tolist() == [1, 1]
    assert pairs.instance.tolist() == [0, 2]
    assert pairs.tiou.tolist() == [0.5, 0.2]
    assert (pairs.num_detections, pairs.num_instances) == (2, 3)


def test_match_by_score_uses_the_best_free_instance():
    pairs = Pairs(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([0.9, 0.9, 0.9, 0.3]), 3, 2)
    found = match_by_score(pairs, np.array([0.3, 0.5, 0.9, 0.95]), last_instance_wins=False)
    assert found.tolist() == [[0, 1, -1], [0, -1, -1], [0, -1, -1], [-1, -1, -1]]
    found = match_by_score(pairs, np.array([0.5, 0.3]), last_instance_wins=True)  # in any order
    assert found.tolist() == [[1, 0, -1], [1, 0, -1]]


def test_match_by_instance_is_strict_and_lets_the_higher_ranked_win():
    pairs = Pairs(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), np.array([0.5, 0.5, 0.8, 0.4]), 2, 2)
    found = match_by_instance(pairs, np.array([0.8, 0.3, 0.4, 0.5]))
    # At 0.4 instance 0 takes detection 0, and 0.4 is not above 0.4; at 0.5 instance 0 takes nothing.
    assert found.tolist() == [[-1, -1], [0, 1], [0, -1], [1, -1]]


def test_average_precisions_by_hand():
    hits = np.array([[False, True, True], [True, False, True], [False, False, False]])
    np.testing.assert_allclose(interpolated_average_precision(hits, 4), [(2 / 3) * 2 / 4, (1 + 2 / 3) / 4, 0])
    np.testing.assert_allclose(mean_precision_at_hits(hits, 4), [(1 / 2 + 2 / 3) / 4, (1 + 2 / 3) / 4, 0])
    ignored = np.array([True, True, False])  # a true positive counts in spite of it
    np.testing.assert_allclose(mean_precision_at_hits(hits, 4, ignored), [2 / 4, 2 / 4, 0])
    for function in (interpolated_average_precision, mean_precision_at_hits):
        assert function(np.zeros((2, 0), bool), 3).tolist() == [0, 0]
        assert function(np.ones(3, bool), 3) == 1
        with pytest.raises(ValueError, match="at least one instance"):
            function(hits, 0)


def test_classification_map_by_hand():
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.5, 0.0], [0.7, 0.5, 0.0]])
    labels = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0]])
    result = classification_map(scores, labels)
    # Class 1: the positive video shares its score with an earlier one and comes second.
    np.testing.assert_allclose(result.ap, [(1 + 2 / 3) / 2, 1 / 2, np.nan])
    assert result.map == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_classification_map_refuses_unusable_input():
    scores, labels = np.zeros((2, 3)), np.ones((2, 3))
    with pytest.raises(UserError, match=r"shape \(2, 3\) and labels \(3, 2\)"):
        classification_map(scores, labels.T)
    with pytest.raises(UserError, match="first: row 1"):
        classification_map(np.array([[0.0], [np.nan]]), np.array([[1], [0]]))
    with pytest.raises(UserError, match="other values than 0 and 1"):
        classification_map(scores, labels / 3)
    with pytest.raises(UserError, match="None of the 2 videos"):
        classification_map(scores, labels * 0)


def test_table_names_protocols_and_groups_equal_columns():
    def result(protocol, tious, ap, notes=()):
        return LocalizationResult(protocol, tious, ("Dive",), np.array(ap)[:, None], np.ones(1), np.ones(1), notes)

    thumos = tuple(np.round(np.arange(1, 8) * 0.1, 1).tolist())
    text = format_table(
        [
            result("reference", thumos, [1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.0]),
            result("activitynet", tuple(np.linspace(0.5, 0.95, 10).tolist()), [0.5] * 10, ("2 detections ignored",)),
            result("thumos14", thumos, [0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.0]),
        ],
        classification_map(np.array([[1.0, 0], [0, 0]]), np.array([[1, 0], [0, 0]])),
    )
    assert text.splitlines() == [
        "Localization mAP [%] at tIoU",
        "protocol     0.1    0.2    0.3    0.4    0.5    0.6    0.7  0.1:0.5  0.3:0.7  0.1:0.7",
        "reference  100.0   80.0   60.0   40.0   20.0   10.0    0.0     60.0     26.0     44.3",
        "thumos14    50.0   40.0   30.0   20.0   10.0    5.0    0.0     30.0     13.0     22.1",
        "",
        "Localization mAP [%] at tIoU",
        "protocol       0.5   0.55    0.6   0.65    0.7   0.75    0.8   0.85    0.9   0.95  0.5:0.95",
        "activitynet   50.0   50.0   50.0   50.0   50.0   50.0   50.0   50.0   50.0   50.0      50.0",
        "",
        "activitynet: 2 detections ignored",
        "",
        "Classification mAP [%]: 100.0 (classes with videos: 1)",
    ]
    assert format_table([]) == ""


def test_as_dict_is_json_in_fractions():
    result = LocalizationResult(
        protocol="thumos14",
        tious=(0.3, 0.5),
        classes=("Dive", "Jump"),
        ap=np.array([[1.0, 0.5], [0.5, 0.0]]),
        num_instances=np.array([1, 4]),
        num_detections=np.array([3, 0]),
        notes=("2 detections ignored",),
    )
    assert json.loads(json.dumps(as_dict(result), allow_nan=False)) == {
        "protocol": "thumos14",
        "version": 2,
        "tious": [0.3, 0.5],
        "map_fraction": [0.75, 0.25],
        "average_map_fraction": {},
        "classes": {
            "Dive": {"ap_fraction": [1.0, 0.5], "num_instances": 1, "num_detections": 3},
            "Jump": {"ap_fraction": [0.5, 0.0], "num_instances": 4, "num_detections": 0},
        },
        "notes": ["2 detections ignored"],
    }


def small_result() -> LocalizationResult:
    return LocalizationResult(
        "thumos14", (0.5, 0.7), ("High_Jump", "A&B|C"), np.array([[1.0, 0.25], [0.5, 0.0]]), np.array([3, 1]),
        np.array([9, 0]), (),
    )  # fmt: skip


def test_tables_for_papers_and_programs():
    table = class_table(small_result())
    assert table.csv().splitlines() == [
        "class,instances,detections,0.5,0.7",
        "High_Jump,3,9,1.0,0.5",
        "A&B|C,1,0,0.25,0.0",
        "mean,4,9,0.625,0.25",
    ]
    assert table.markdown().splitlines()[2:] == [
        "| class | instances | detections | 0.5 | 0.7 |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| High_Jump | 3 | 9 | 100.0 | 50.0 |",
        r"| A&B\|C | 1 | 0 | 25.0 | 0.0 |",
        "| mean | 4 | 9 | 62.5 | 25.0 |",
    ]
    assert table.latex().splitlines() == [
        "% AP [%] at tIoU, protocol thumos14",
        r"\begin{tabular}{lrrrr}",
        r"class & instances & detections & 0.5 & 0.7 \\",
        r"\hline",
        r"High\_Jump & 3 & 9 & 100.0 & 50.0 \\",
        r"A\&B|C & 1 & 0 & 25.0 & 0.0 \\",
        r"mean & 4 & 9 & 62.5 & 25.0 \\",
        r"\end{tabular}",
    ]
    empty = Table("nothing", ("a", "b"), (("x", None), ("y", float("nan"))))
    assert empty.csv() == "a,b\nx,\ny,\n"
    assert empty.text().splitlines()[2:] == ["x      -", "y      -"]


def test_intervals_stand_below_their_result():
    samples = np.linspace(0, 1, 101)[:, np.newaxis, np.newaxis] * np.ones((1, 2, 2))
    interval = Bootstrap("thumos14", (0.5, 0.7), 0.9, 7, samples)
    text = format_table([small_result()], None, [interval])
    assert text.splitlines()[2:] == [
        "thumos14      62.5   25.0",
        "  90 % low     5.0    5.0",
        "  90 % high   95.0   95.0",
    ]
    rows = long_table([small_result()], [interval]).rows
    assert rows[0] == ("thumos14", "0.5", 0.625, pytest.approx(0.05), pytest.approx(0.95))
    assert long_table([small_result()]).rows[1] == ("thumos14", "0.7", 0.25, None, None)
    plain = json.loads(json.dumps(as_dict(small_result(), interval), allow_nan=False))["bootstrap"]
    assert plain["resamples"] == 101 and plain["seed"] == 7
    np.testing.assert_allclose(plain["map_fraction"], [[0.05, 0.95]] * 2)
