"""The rules: which finding is an error, which a warning, and what each message says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_prep.annotations import AnnotationSet, Instance, VideoRecord
from data_prep.validate import ERROR, RULES, WARNING, Problem, check_record, validate
from tc3net.errors import UserError
from tc3net.timebase import TimeBase

CLASSES = ("Jump", "Run")
SECOND = TimeBase(fps=16)  # one segment per second
GOOD = VideoRecord("v", "test", 10.0, ("Run",), (Instance(1, 2, "Run"),), True)


class Features:
    """Features in memory; an error text stands for unusable ones."""

    def __init__(self, **videos: np.ndarray | str) -> None:
        self._videos = videos

    def video_ids(self) -> list[str]:
        return list(self._videos)

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        values = self._videos[video_id]
        if isinstance(values, str):
            raise UserError(values)
        return values, values


def features(segments: int = 10, dims: int = 4, value: float = 1.0) -> np.ndarray:
    return np.full((segments, dims), value, np.float64)


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
    assert check(replace(late, duration_s=12.0), 10.5) == []
    # Small differences between features and duration are normal: the last segment is cut off.
    assert check(replace(GOOD, duration_s=11.9), 10.0) == []
    assert check(replace(GOOD, duration_s=100.0), 96.0) == []


def test_same_times_of_two_classes_are_no_duplicate():
    assert check(with_instances((3, 4, "Run"), (3, 4, "Jump"))) == []


def found(videos: list[VideoRecord], reader: Features, **options) -> list[tuple[str, str]]:
    result = validate(AnnotationSet(CLASSES, tuple(videos)), reader, SECOND, **options)
    return [(problem.video_id, problem.rule) for problem in result.problems]


def test_annotations_and_features_must_match():
    other = replace(GOOD, video_id="w")
    assert found([GOOD, other], Features(v=features())) == [("w", "no_features")]
    assert found([GOOD], Features(v=features(), w=features())) == [("w", "no_annotation")]
    assert found([GOOD, other], Features(v=features(), w="broken")) == [("w", "bad_features")]
    assert found([GOOD, GOOD], Features(v=features())) == [("v", "duplicate_id")] * 2


def test_feature_dim_is_that_of_most_videos():
    videos = [replace(GOOD, video_id=name) for name in "abc"]
    reader = Features(a=features(dims=3), b=features(), c=features())
    result = validate(AnnotationSet(CLASSES, tuple(videos)), reader, SECOND)
    assert result.feature_dim == 4
    assert result.num_segments == {"a": 10, "b": 10, "c": 10}
    (problem,) = result.errors()
    assert (problem.video_id, problem.message) == ("a", "3 dims per stream; expected 4, as in 2 other videos")


def test_values_must_fit_the_storage_dtype():
    reader = Features(v=features(value=-7e4))
    assert found([GOOD], reader) == []
    assert found([GOOD], reader, feature_dtype="float16") == [("v", "feature_range")]
    assert found([GOOD], Features(v=features(value=1e39))) == [("v", "feature_range")]


def test_every_rule_has_a_severity_and_a_fate():
    assert {severity for severity, _ in RULES.values()} == {ERROR, WARNING}
    warnings = [fate for severity, fate in RULES.values() if severity == WARNING]
    assert all(":" in fate for fate in warnings)
