"""The rules: which finding is an error, which a warning, and what each message says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.annotations import AnnotationSet, Instance, VideoRecord
from data_prep.checks.judge import check_record, judge, validate
from data_prep.checks.rules import ERROR, RULES, WARNING, Problem
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase

CLASSES = ("Jump", "Run")
SECOND = TimeBase(fps=16)  # one segment per second
GOOD = VideoRecord("v", "test", 10.0, ("Run",), (Instance(1, 2, "Run"),), True)


class Features:
    """Features in memory, one stream (flow is its negative) or a pair; an error text stands for unusable ones."""

    def __init__(self, **videos: np.ndarray | tuple[np.ndarray, np.ndarray] | str) -> None:
        self._videos = videos

    def video_ids(self) -> list[str]:
        return list(self._videos)

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        values = self._videos[video_id]
        if isinstance(values, str):
            raise UserError(values)
        return values if isinstance(values, tuple) else (values, -values)


def features(segments: int = 10, dims: int = 4, largest: float = 1.0, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(0.1, 0.9, (segments, dims)) * largest
    values[0, 0] = largest
    return values


def check(record: VideoRecord, features_s: float | None = 10.0) -> list[Problem]:
    return check_record(record, frozenset(CLASSES), features_s)


def with_instances(*instances: tuple[float, float, str]) -> VideoRecord:
    items = tuple(Instance(*item) for item in instances)
    return replace(GOOD, instances=items, labels=tuple({item.label for item in items}))


def test_a_good_video_has_no_problems():
    assert check(GOOD) == []
    assert check(replace(GOOD, instances_known=False, instances=())) == []


@pytest.mark.parametrize(
    ("record", "rule", "message"),
    [
        (replace(GOOD, video_id="../v"), "unsafe_name", "video id '../v'"),
        (replace(GOOD, video_id=""), "unsafe_name", "video id ''"),
        (replace(GOOD, video_id=".."), "unsafe_name", "video id '..'"),
        (replace(GOOD, subset="a\\b"), "unsafe_name", "subset 'a\\\\b'"),
        (replace(GOOD, video_id="a\nb"), "unsafe_name", "video id"),
        (replace(GOOD, duration_s=0.0), "bad_duration", "duration is 0.0 s"),
        (replace(GOOD, duration_s=float("nan")), "bad_duration", "duration is nan s"),
        (with_instances((1, 2, "Swim")), "unknown_class", "class 'Swim' is not in the class list"),
        (with_instances((2, 1, "Run")), "bad_interval", "instance 0 ('Run', 2 to 1 s) is not an interval"),
        (with_instances((1, 2, "Run"), (1, float("inf"), "Run")), "bad_interval", "instance 1 ('Run', 1 to inf s)"),
        (replace(GOOD, ambiguous=((3.0, 2.0),)), "bad_interval", "ambiguous interval 3 to 2 s"),
        (with_instances((10, 11, "Run")), "starts_after_video", "at or after the end of the video (10.00 s)"),
        (with_instances((9, 10.5, "Run")), "ends_after_video", "ends after the video (10.00 s)"),
        (with_instances((-1, 2, "Run")), "starts_before_video", "('Run', -1 to 2 s)"),
        (with_instances((3, 3, "Run")), "zero_length", "('Run', 3 to 3 s) has no length"),
        (with_instances((3, 4, "Run"), (3, 4, "Run")), "exact_duplicate", "instance 1"),
        (replace(GOOD, labels=("Jump",)), "labels_differ", "only at video level: Jump; only among the instances: Run"),
        (replace(GOOD, duration_s=13.0), "length_differs", "features cover 10.0 s of a video of 13.0 s"),
        (replace(GOOD, duration_s=7.9), "length_differs", "features cover 10.0 s of a video of 7.9 s"),
    ],
)
def test_one_problem_each(record, rule, message):
    (problem,) = check(record)
    assert problem.rule == rule
    assert problem.video_id == record.video_id
    assert message in problem.message


def test_the_end_is_the_later_of_duration_and_features():
    late = with_instances((11, 12, "Run"))
    assert [problem.rule for problem in check(late, 10.5)] == ["starts_after_video"]
    assert [problem.rule for problem in check(late, 11.9)] == ["ends_after_video"]
    # Stated as part of the video, but no feature row shows it.
    assert [problem.rule for problem in check(replace(late, duration_s=12.0), 10.5)] == ["after_features"]
    assert check(replace(late, duration_s=12.0), 11.9) == []
    # Small differences between features and duration are normal: the last segment is cut off.
    assert check(replace(GOOD, duration_s=11.9), 10.0) == []
    assert check(replace(GOOD, duration_s=100.0), 96.0) == []


def test_same_times_of_two_classes_are_no_duplicate():
    assert check(with_instances((3, 4, "Run"), (3, 4, "Jump"))) == []


def found(videos: list[VideoRecord], reader: Features, **options) -> list[tuple[str, str]]:
    """All problems; the classes are those that the videos have, so that none is missing."""
    classes = tuple(sorted(frozenset().union(*(video.present for video in videos))))
    result = validate(AnnotationSet(classes, tuple(videos)), reader, defaultdict(lambda: SECOND), **options)
    return [(problem.video_id, problem.rule) for problem in result.problems]


def test_annotations_and_features_must_match():
    other = replace(GOOD, video_id="w")
    assert found([GOOD, other], Features(v=features())) == [("w", "no_features")]
    assert found([GOOD], Features(v=features(), w=features(seed=1))) == [("w", "no_annotation")]
    assert found([GOOD, other], Features(v=features(), w="broken")) == [("w", "bad_features")]
    assert found([GOOD, GOOD], Features(v=features())) == [("v", "duplicate_id")] * 2


def test_feature_dim_is_that_of_most_videos():
    videos = [replace(GOOD, video_id=name) for name in "abc"]
    reader = Features(a=features(dims=3), b=features(), c=features(seed=1))
    result = validate(AnnotationSet(CLASSES, tuple(videos)), reader, defaultdict(lambda: SECOND))
    assert result.feature_dim == 4
    assert result.num_segments == {"a": 10, "b": 10, "c": 10}
    (problem,) = result.errors()
    assert (problem.video_id, problem.message) == ("a", "3 dims per stream; expected 4, as in 2 other videos")


def test_values_must_fit_the_storage_dtype():
    reader = Features(v=features(largest=7e4))
    assert found([GOOD], reader) == []
    assert found([GOOD], reader, feature_dtype="float16") == [("v", "feature_range")]
    assert found([GOOD], Features(v=features(largest=1e39))) == [("v", "feature_range")]


def test_no_class_is_noticed():
    nothing, unlabelled = (
        replace(GOOD, labels=(), instances=()),
        replace(GOOD, labels=(), instances=(), instances_known=False),
    )
    for record, why in ((nothing, "its annotation says that nothing occurs"), (unlabelled, "nothing is annotated")):
        (problem,) = check(record)
        assert (problem.rule, problem.message) == ("no_labels", f"no class: {why}")


def test_an_unknown_duration_is_an_error_only_where_the_format_tells_it():
    unknown = replace(GOOD, duration_s=float("nan"))
    assert [problem.rule for problem in check(unknown)] == ["bad_duration"]
    assert check_record(unknown, frozenset(CLASSES), None, duration_stated=False) == []
    assert check_record(replace(GOOD, duration_s=-1.0), frozenset(CLASSES), None, duration_stated=False) != []


def rows(*zero: int, segments: int = 10) -> np.ndarray:
    values = features(segments)
    values[list(zero)] = 0
    return values


@pytest.mark.parametrize(
    ("rgb", "flow", "rule", "message"),
    [
        (rows(3, 4), rows() + 1, "zero_rows", "all zero: 2 of 10 rows of rgb; the first is row 3"),
        (rows(9), -rows(8, 9), "zero_rows", "1 of 10 rows of rgb and 2 of 10 rows of flow; the first is row 8"),
        (np.ones((10, 4)), rows(), "constant_features", "all 10 rows of rgb are equal"),
        (rows(), np.zeros((10, 4)), "constant_features", "all 10 rows of flow are equal (flow: all zero)"),
        (np.ones((10, 4)), np.ones((10, 4)), "constant_features", "all 10 rows of rgb and of flow are equal"),
        (rows(), rows(), "same_streams", "rgb and flow hold the same values"),
    ],
)
def test_features_that_carry_little_are_noticed_and_kept(rgb, flow, rule, message):
    result = validate(AnnotationSet(("Run",), (GOOD,)), Features(v=(rgb, flow)), {"v": SECOND})
    (problem,) = result.problems
    assert (problem.video_id, problem.rule, problem.severity) == ("v", rule, WARNING)
    assert message in problem.message
    assert result.num_segments == {"v": 10}


@pytest.mark.parametrize("segments", [1, 10])
def test_a_video_without_any_value_is_an_error(segments):
    nothing = np.zeros((segments, 4), np.float32)
    result = validate(AnnotationSet(("Run",), (GOOD,)), Features(v=(nothing, nothing)), {"v": TimeBase(segments * 1.6)})
    (problem,) = result.errors()
    assert (problem.rule, problem.message) == ("all_zero", f"all {segments} rows of both streams are zero")


def test_one_row_is_not_constant():
    assert (
        found(
            [replace(GOOD, duration_s=1.0, instances=(), labels=("Run",), instances_known=False)],
            Features(v=features(1)),
        )
        == []
    )


def test_the_same_features_under_two_names():
    videos = [replace(GOOD, video_id=name) for name in "abc"]
    same = features()
    result = validate(
        AnnotationSet(("Run",), tuple(videos)),
        Features(a=same, b=features(seed=1), c=same.copy()),
        defaultdict(lambda: SECOND),
    )
    assert [(problem.video_id, problem.message) for problem in result.problems] == [
        ("a", "has the same features as c"),
        ("c", "has the same features as a"),
    ]
    assert found(videos, Features(a=same, b=same, c=same)) == [(name, "same_features") for name in "abc"]


def test_ids_that_are_spelled_alike_are_named():
    annotations = AnnotationSet(("Run",), (replace(GOOD, video_id="Video_1"), replace(GOOD, video_id="w")))
    result = validate(
        annotations, Features(**{"video_001": features(), "w": features(seed=1)}), defaultdict(lambda: SECOND)
    )
    assert [(problem.video_id, problem.rule, problem.message) for problem in result.problems] == [
        (
            "Video_1", "no_features",
            "no features found for this annotated video; 'video_001' is there, which differs in case and leading zeros",
        ),
        (
            "video_001", "no_annotation",
            "has features but is not in the annotations; 'Video_1' is there, which differs in case and leading zeros",
        ),
    ]  # fmt: skip
    twins = [replace(GOOD, video_id=name) for name in ("a 1", "a1")]
    reader = Features(**{"a 1": features(), "a1": features(seed=1)})
    assert found(twins, reader) == [("a 1", "similar_ids"), ("a1", "similar_ids")]


def test_a_class_that_a_subset_lacks_is_noticed():
    videos = (
        GOOD,
        replace(GOOD, video_id="w", subset="training", labels=("Jump",), instances=(Instance(1, 2, "Jump"),)),
    )
    result = judge(AnnotationSet(CLASSES, videos), None, {}, defaultdict(lambda: SECOND))
    assert [(problem.video_id, problem.rule) for problem in result.problems] == [
        ("Jump (test)", "class_missing"),
        ("Run (training)", "class_missing"),
    ]


def test_annotations_can_be_judged_alone():
    assert judge(AnnotationSet(("Run",), (GOOD,)), None, {}, {"v": SECOND}).problems == ()


def test_every_rule_has_a_severity_and_a_fate():
    assert {severity for severity, _ in RULES.values()} == {ERROR, WARNING}
    warnings = [fate for severity, fate in RULES.values() if severity == WARNING]
    assert all(":" in fate for fate in warnings)


def test_every_rule_is_explained_in_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    assert [rule for rule in RULES if f"`{rule}`" not in text] == []
