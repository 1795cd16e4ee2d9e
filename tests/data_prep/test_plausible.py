"""What is implausible about a whole data set is said in one line, and nothing is said of data as they should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.annotations import AnnotationSet, Instance, VideoRecord
from data_prep.checks.counts import count_instances
from data_prep.checks.feature_facts import FeatureFacts
from data_prep.checks.judge import check_record, judge
from data_prep.checks.rules import DATA_SET, RULES, WARNING
from data_prep.checks.spans import visible_end_s
from data_prep.conversion.summary import first_problems
from tc3net.data.timebase import TimeBase
from tc3net.intervals.similar_ids import common_difference

BASE = TimeBase(25, 16, 16)
NUMBER = 10
DURATIONS_S = [40.0 + 23 * index for index in range(NUMBER)]


def fact(num_segments: int, feature_dim: int = 1024, number: int = 0) -> FeatureFacts:
    return FeatureFacts(
        num_segments,
        {"rgb": feature_dim, "flow": feature_dim},
        1.0,
        {"rgb": 0, "flow": 0},
        -1,
        (),
        (number, number + 1),
    )


def videos(
    subset: str = "training",
    name: Callable[[int], str] = "clip{}".format,
    per_second: float = 1.0,
    classes: tuple[str, ...] = ("Jump", "Run"),
) -> tuple[VideoRecord, ...]:
    """Videos of the durations above, instances at a tenth to nine tenths of them."""
    records = []
    for index, duration_s in enumerate(DURATIONS_S):
        times = [(0.1, 0.2), (0.8, 0.9)]
        items = tuple(
            Instance(per_second * low * duration_s, per_second * high * duration_s, classes[index % len(classes)])
            for low, high in times
        )
        labels = tuple({item.label for item in items})
        records.append(VideoRecord(name(index), subset, duration_s, labels, items, True))
    return tuple(records)


def rows(records: tuple[VideoRecord, ...], factor: float = 1.0) -> dict[str, FeatureFacts]:
    return {
        record.video_id: fact(BASE.num_segments(record.duration_s * factor), number=2 * index)
        for index, record in enumerate(records)
    }


def said(
    records: tuple[VideoRecord, ...],
    features: dict[str, FeatureFacts] | None,
    *,
    of_features: bool = False,
    base: TimeBase = BASE,
) -> dict[str, str]:
    """Rule -> message of what is said about the data set as a whole."""
    classes = tuple(sorted(frozenset().union(*(record.present for record in records)))) or ("Run",)
    ids = frozenset(record.video_id for record in records)
    annotations = AnnotationSet(classes, records, durations_of_features=ids if of_features else frozenset())
    annotated = {video_id: facts for video_id, facts in (features or {}).items() if video_id in ids}
    result = judge(annotations, features, annotated, dict.fromkeys(ids, base))
    return {problem.rule: problem.message for problem in result.problems if problem.video_id == DATA_SET}


@given(st.sampled_from(["training", "test"]), st.floats(0.96, 1.04), st.booleans())
def test_nothing_is_said_of_data_as_they_should_be(subset, factor, with_features):
    records = videos(subset)
    assert said(records, rows(records, factor) if with_features else None) == {}


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        ("clip{}", "v_clip{}", "the prefix 'v_' of the features ('clip0' in the annotations, 'v_clip0' among the"),
        ("v_clip{}", "clip{}", "the prefix 'v_' of the annotations ('v_clip0' in the annotations, 'clip0' among the"),
        ("clip{}", "clip{}-i3d", "the suffix '-i3d' of the features"),
        ("Clip{}", "clip{}", "case ('Clip0' in the annotations, 'clip0' among the features)"),
        ("clip{}.mp4", "clip{}", "file ending ('clip0.mp4' in"),
        ("Clip{}", "V_clip{}", "the prefix 'V_' of the features"),
    ],
)
def test_ids_that_all_differ_alike(mine, theirs, words):
    records = videos(name=mine.format)
    features = {theirs.format(i): facts for i, facts in enumerate(rows(records).values())}
    (message,) = said(records, features).values()
    assert message.startswith(f"10 of 10 annotated videos would have features but for {words}")
    assert message.endswith("rename one side")


def test_ids_that_differ_otherwise_are_left_to_the_rules_for_each():
    records = videos()
    others = {f"other{chr(97 + i)}": facts for i, facts in enumerate(rows(records).values())}
    assert said(records, others) == {}
    one = {f"v_{name}" if name == "clip3" else name: facts for name, facts in rows(records).items()}
    assert said(records, one) == {}
    assert common_difference([], []) is None
    assert common_difference(["a"], ["b"]) is None


def test_transposed_features():
    records = videos("test")
    lengths = {name: facts.num_segments for name, facts in rows(records).items()}
    found = said(records, {name: fact(1024, length) for name, length in lengths.items()})
    assert "10 of 10 videos have 1024 rows and 10 different widths: they look like [D, segments]" in found["transposed"]
    # All cut to the same number of segments.
    found = said(records, {name: fact(1024, 100) for name in lengths})
    assert "1024 rows and 100 dims per stream" in found["transposed"]
    assert "transposed" not in said(records, {name: fact(100, 1024) for name in lengths})
    one_odd = {name: fact(1024 if name == "clip0" else length, 64) for name, length in lengths.items()}
    assert "transposed" not in said(records, one_odd)


@pytest.mark.parametrize(("factor", "told"), [(1.2, "1.2"), (0.5, "0.499")])
def test_a_factor_common_to_all_lengths_is_a_wrong_rate(factor, told):
    records = videos("test")
    found = said(records, rows(records, factor))
    assert set(found) == {"wrong_rate"}
    assert f"cover {told}" in found["wrong_rate"]
    assert "fps or stride is off by this factor for the whole data set" in found["wrong_rate"]


@pytest.mark.parametrize(("per_second", "unit"), [(1e3, "milliseconds"), (1e6, "microseconds"), (25, "frames")])
def test_durations_in_another_unit(per_second, unit):
    records = videos("test")
    wrong = tuple(replace(record, duration_s=record.duration_s * per_second) for record in records)
    assert f"durations look like {unit}, not seconds" in said(wrong, rows(records))["wrong_rate"]


def test_rows_in_another_order():
    records = videos("test")
    names = [record.video_id for record in records]
    shifted = dict(zip(names, [*list(rows(records).values())[5:], *list(rows(records).values())[:5]]))
    assert set(found := said(records, shifted)) == {"other_order"}
    assert "10 of 10 videos do not fit their durations, but would in another order" in found["other_order"]
    unlike = {name: fact(length, number=length) for name, length in zip(names, range(900, 0, -90))}
    assert "seem to belong to different videos" in said(records, unlike)["other_order"]


def test_features_are_not_compared_with_themselves():
    records = videos("test")
    found = said(records, rows(records), of_features=True)
    assert set(found) == {"fps_unchecked"}
    assert "whether fps and stride are right was not checked" in found["fps_unchecked"]
    wrong = tuple(replace(one, duration_s=BASE.duration_s(rows(records)[one.video_id].num_segments)) for one in records)
    assert set(said(wrong, rows(records), of_features=True)) == {"fps_unchecked"}


@pytest.mark.parametrize(
    ("per_second", "unit"), [(1e3, "milliseconds"), (1e6, "microseconds"), (25, "frames"), (29.97, "frames")]
)
def test_times_in_another_unit(per_second, unit):
    records = videos("test", per_second=per_second)
    base = TimeBase(per_second if unit == "frames" else 25)
    found = said(records, None, base=base)
    assert set(found) == {"time_unit"}
    assert f"times look like {unit}, not seconds" in found["time_unit"]


def test_times_of_more_than_a_day_where_no_length_is_known():
    records = tuple(replace(one, duration_s=float("nan")) for one in videos("test", per_second=1e6))
    assert "more than a day" in said(records, None)["time_unit"]
    assert said(tuple(replace(one, duration_s=float("nan")) for one in videos("test")), None) == {}


def test_durations_of_instances():
    records = videos("test")
    to_end = tuple(replace(one, duration_s=one.instances[-1].end_s) for one in records)
    assert "is the end of its last instance" in said(to_end, None)["duration_of_instance"]
    single = tuple(replace(one, instances=one.instances[1:]) for one in records)
    of_one = tuple(replace(v, duration_s=v.instances[0].end_s - v.instances[0].start_s) for v in single)
    assert "is the length of its last instance" in said(of_one, None)["duration_of_instance"]
    trimmed = tuple(replace(one, instances=(Instance(0, one.duration_s, "Run"),)) for one in records)
    assert said(trimmed, None) == {}


def test_a_training_set_that_teaches_nothing():
    assert "'Run' is the only class: the classification loss is 0" in said(videos(classes=("Run",)), None)["one_class"]
    assert said(videos("testing", classes=("Run",)), None) == {}
    mixed = (*videos(classes=("Run",)), *videos("test", name="other{}".format))
    assert said(mixed, None) == {
        "one_class": "all 10 labelled videos of 'training' have the one class 'Run': nothing to tell apart"
    }
    empty = tuple(replace(one, labels=(), instances=()) for one in videos("validation"))
    found = said((*empty, *videos("test", name="other{}".format)), None)
    assert found == {
        "no_training_labels": "no video of 'validation' has a class: the losses are 0 throughout if trained on it"
    }
    assert said(tuple(replace(one, subset="testing") for one in empty), None) == {}


@pytest.mark.parametrize("name", ["#NAME?", "#REF!", "#N/A", "#DIV/0!", "#VALUE!", "2.19E+26", "1E+10"])
def test_what_spreadsheets_make_of_names(name):
    record = VideoRecord(name, "test", 10.0, (name,), (Instance(1, 2, name),), True)
    found = check_record(record, frozenset({name}), None)
    damage = [problem.message for problem in found if problem.rule == "spreadsheet_damage"]
    assert [message.split(" is ")[0] for message in damage] == [f"video id {name!r}", f"class {name!r}"]


@pytest.mark.parametrize("name", ["v_00E5", "1E5", "E+10", "#1", "-abc", "video_2.19", "#dance"])
def test_names_that_are_unusual_but_whole(name):
    record = VideoRecord(name, "test", 10.0, (name,), (Instance(1, 2, name),), True)
    assert check_record(record, frozenset({name}), None) == []


@given(st.floats(1, 50), st.floats(0, 60), st.floats(0.1, 5), st.floats(1, 100))
def test_an_instance_after_the_last_row_is_not_counted_whatever_the_duration(features_s, start_s, length_s, duration_s):
    item = Instance(start_s, start_s + length_s, "Run")
    record = VideoRecord("v", "test", duration_s, ("Run",), (item,), True)
    counts = count_instances(record, frozenset({"Run"}), visible_end_s(record, features_s))
    assert counts == ({"Run": 1} if start_s < features_s and item.end_s > start_s else {})
    rules = {problem.rule for problem in check_record(record, frozenset({"Run"}), features_s)}
    late = start_s >= max(features_s, duration_s)
    assert ("after_features" in rules) == (start_s >= features_s and not late)
    assert ("starts_after_video" in rules) == late


def test_what_is_said_of_all_comes_before_the_errors_of_each():
    records = videos(name="Clip{}".format)
    annotations = AnnotationSet(("Jump", "Run"), records)
    features = {f"clip{i}": facts for i, facts in enumerate(rows(records).values())}
    problems = judge(annotations, features, {}, dict.fromkeys((one.video_id for one in records), BASE)).problems
    lines = first_problems(problems).splitlines()
    assert lines[0].startswith("  10 of 10 annotated videos would have features but for case")
    assert lines[1].startswith("  Clip0: no features found")
    assert not any(DATA_SET in line for line in lines)


def test_rules_about_the_whole_stop_nothing():
    rules = ("ids_differ", "transposed", "wrong_rate", "other_order", "fps_unchecked", "time_unit", "one_class")
    assert {RULES[rule][0] for rule in rules} == {WARNING}
    assert np.all([":" in RULES[rule][1] for rule in rules])
