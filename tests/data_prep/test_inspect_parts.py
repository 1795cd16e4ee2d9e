"""The parts of the inspection: similar ids, facts about features, distributions, tables, pictures, the page."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.annotations import AnnotationSet, Instance, VideoRecord
from data_prep.checks.feature_facts import examine, same_features
from data_prep.checks.rules import Problem
from data_prep.inspection.charts import charts
from data_prep.inspection.distributions import VideoFacts, describe
from data_prep.inspection.findings import Inspection, grouped, inspect_annotations, to_json
from data_prep.inspection.page import page
from data_prep.inspection.text import screen
from tc3net.data.timebase import TimeBase
from tc3net.intervals.similar_ids import difference, similar_ids, simplified

SECOND = TimeBase(fps=16)  # one segment per second


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("Video1", "video1", "case"),
        ("video 1", "video1 ", "whitespace"),
        ("video1.mp4", "video1", "file ending"),
        ("video1.MP4", "video1.npy", "file ending"),
        ("video_0001", "video_1", "leading zeros"),
        ("v_00", "v_0", "leading zeros"),
        ("caf\u00e9", "cafe\u0301", "Unicode form"),
        ("\uff36\uff11", "v01", "Unicode form and case and leading zeros"),
        ("A 01.avi", "a1", "case and whitespace and file ending and leading zeros"),
    ],
)
def test_similar_ids_and_in_what_they_differ(first, second, what):
    assert similar_ids([first, "other", second]) == {first: [second], second: [first]}
    assert difference(first, second) == difference(second, first) == what


@pytest.mark.parametrize(
    ("first", "second"), [("v1", "v10"), ("v1", "v_1"), ("v1.2", "v1.3"), ("a10b", "a1b"), ("v1.2", "v1")]
)
def test_ids_that_are_different(first, second):
    assert similar_ids([first, second, first]) == {}


@given(st.text("abcxyz_-", min_size=1, max_size=5), st.integers(0, 10**5), st.integers(6, 9))
def test_padding_case_and_endings_never_hide_a_similar_id(prefix, number, width):
    plain, padded = f"{prefix}{number}", f" {prefix.upper()}{number:0{width}d}.npz"
    assert simplified(plain) == simplified(padded)
    assert similar_ids([plain, padded, plain]) == {plain: [padded], padded: [plain]}
    assert similar_ids([plain, f"{prefix}{number + 1}"]) == {}


def test_facts_of_features():
    rgb = np.array([[1, -5], [0, 0], [2, 3]], np.float32)
    flow = np.array([[4, 4], [4, 4], [4, 4]], np.float32)
    facts = examine({"rgb": rgb, "flow": flow})
    assert (facts.num_segments, facts.sizes, facts.largest) == (3, {"rgb": 2, "flow": 2}, 5.0)
    assert (facts.zero_rows, facts.first_zero_row) == ({"rgb": 1, "flow": 0}, 1)
    assert facts.constant_streams == ("flow",)
    assert examine({"rgb": flow, "flow": rgb + 1}).first_zero_row == -1


@given(st.integers(1, 6), st.integers(1, 4), st.sampled_from(["float16", "float32", "float64"]), st.integers(0, 99))
def test_equal_features_have_equal_facts_whatever_their_memory_layout(segments, dims, dtype, seed):
    joint = np.random.default_rng(seed).normal(size=(segments, 2 * dims)).astype(dtype)
    rgb, flow = joint[:, :dims], joint[:, dims:]
    assert examine({"rgb": rgb, "flow": flow}) == examine({"rgb": np.asfortranarray(rgb), "flow": flow.copy()})
    changed = rgb.copy()
    changed[-1, -1] += 1
    assert examine({"rgb": rgb, "flow": flow}).checksums != examine({"rgb": changed, "flow": flow}).checksums
    facts = {
        "a": examine({"rgb": rgb, "flow": flow}),
        "b": examine({"rgb": changed, "flow": flow}),
        "c": examine({"rgb": rgb.copy(), "flow": flow}),
    }
    assert same_features(facts) == [["a", "c"]]


def facts(index: int, subset: str, num_segments: int | None, duration_s: float, *intervals: tuple[float, float]):
    instances = tuple(Instance(start_s, end_s, "Run") for start_s, end_s in intervals)
    record = VideoRecord(f"v{index}", subset, duration_s, ("Run",), instances, bool(instances))
    return VideoFacts(record, {"Run": len(instances)} if instances else {}, num_segments, SECOND)


VIDEOS = [
    facts(0, "training", 10, 10.5, (1, 2), (3, 7)),
    facts(1, "training", 8, 8.0),
    facts(2, "test", None, 20.0, (1, 2)),
    facts(3, "test", 30, 25.0, (0, 25), (5, 5), (6, 8)),
]


def test_totals_and_class_balance():
    numbers = describe(VIDEOS, ("Jump", "Run"))
    assert numbers["total"] == {
        "videos": 4, "annotated": 3, "with_features": 3, "segments": 48, "hours": pytest.approx(63.5 / 3600),
        "without_duration": 0, "instances": 6, "ambiguous": 0, "classes": 1, "labels": 4, "counts": 3,
    }  # fmt: skip
    assert {name: total["videos"] for name, total in numbers["subsets"].items()} == {"training": 2, "test": 2}
    assert numbers["classes"] == {
        "Jump": {"training": {"videos": 0, "instances": 0}, "test": {"videos": 0, "instances": 0}},
        "Run": {"training": {"videos": 2, "instances": 2}, "test": {"videos": 2, "instances": 4}},
    }


def test_the_mismatch_of_features_and_durations():
    time_base = describe(VIDEOS, ("Run",))["time_base"]
    assert time_base["videos"] == 3
    assert (time_base["difference_s"]["min"], time_base["difference_s"]["max"]) == (-0.5, 5.0)
    assert time_base["difference_s"]["median"] == 0.0
    assert time_base["ratio"]["max"] == 1.2
    assert [row["video"] for row in time_base["worst"]] == ["v3", "v0", "v1"]
    # Bins are closed below; the largest difference belongs to the last.
    assert dict(zip(time_base["edges"], time_base["histogram"])) == {
        -0.5: 1, -0.2: 0, 0.0: 1, 0.2: 0, 0.5: 0, 1.0: 0, 2.0: 1,
    }  # fmt: skip
    assert time_base["edges"][-1] == 5.0
    assert describe([VIDEOS[2]], ("Run",))["time_base"] is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["training", "test"]),
            st.one_of(st.none(), st.integers(1, 5000)),
            st.floats(0.01, 1e5),
            st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)), max_size=4),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_histograms_hold_every_value_once(videos):
    numbers = describe([facts(i, subset, s, d, *xs) for i, (subset, s, d, xs) in enumerate(videos)], ("Run",))
    expected = {
        "video duration": len(videos),
        "video length": sum(s is not None for _, s, _, _ in videos),
        "instance length": sum(end_s >= start_s for *_, xs in videos for start_s, end_s in xs),
        "instances per annotated video": sum(bool(xs) for *_, xs in videos),
    }
    for quantity, number in expected.items():
        if number == 0:
            assert quantity not in numbers["lengths"]
            continue
        described = numbers["lengths"][quantity]
        assert sum(map(sum, described["histogram"].values())) == number
        edges = np.array(described["edges"])
        assert (np.diff(edges) > 0).all()
        if described["unit"] != "s":
            assert (np.mod(edges, 1) == 0.5).all()
            widths = np.diff(edges)
            assert (np.diff(widths) >= -1e-9).all() or len(widths) < 3 or edges[0] == -0.5
    if numbers["time_base"] is not None:
        assert sum(numbers["time_base"]["histogram"]) == expected["video length"]


def inspection(*problems: Problem, name: str = "Run") -> Inspection:
    videos = [facts(i, subset, 10 + i, 11.0, (1, 2 + i)) for i, subset in enumerate(("training", "test") * 3)]
    return Inspection("some data", ("annotations: here",), describe(videos, (name,)), (name,), problems)


PROBLEMS = (
    Problem("v1", "zero_length", "instance 0 has no length"),
    Problem("v1", "zero_length", "instance 1 has no length"),
    Problem("v2", "no_features", "no features found"),
)


def test_problems_are_grouped_by_rule_with_what_is_done_about_them():
    groups = grouped(PROBLEMS)
    assert [(group["rule"], group["severity"], group["findings"], group["subjects"]) for group in groups] == [
        ("no_features", "error", 1, 1),
        ("zero_length", "warning", 2, 1),
    ]
    report = to_json(inspection(*PROBLEMS))
    assert (report["errors"], report["warnings"]) == (1, 2)
    assert report["problems"][1]["all"][1] == {"subject": "v1", "message": "instance 1 has no length"}
    text = screen(inspection(*PROBLEMS))
    assert re.search(r"error +no_features +1 +1 +annotated video without features: v2", text)
    assert re.search(
        r"warning +zero_length +2 +1 +instance of zero length: kept as ground truth, not counted: v1", text
    )
    assert "no problems found" in screen(inspection())


class Tags(HTMLParser):
    """Checks that tags are closed in order, and collects what a page refers to."""

    VOID = ("meta", "br", "path", "use", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.links += [value for key, value in attrs if key in ("src", "href", "xlink:href") and value]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag != "meta":
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_no_other_file():
    tags = Tags()
    text = page(inspection(*PROBLEMS))
    tags.feed(text)
    assert tags.open == []
    assert {"svg", "table", "details"} <= tags.seen
    assert not {"script", "img", "link", "iframe"} & tags.seen
    assert all(link.startswith("#") for link in tags.links)
    assert text == page(inspection(*PROBLEMS))  # the same data, the same page


def test_names_from_the_data_cannot_become_markup():
    evil = '<script>alert("1")</script> $x_1$ &amp;'
    text = page(inspection(Problem(evil, "no_features", evil), name=evil))
    tags = Tags()
    tags.feed(text)
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in text
    assert "&amp;amp;" in text


@pytest.mark.parametrize("number", [1, 12, 60])
def test_pictures_are_drawn_for_few_and_many_classes(number):
    videos = [facts(i, ("training", "test")[i % 2], 5 + i, 5.0 + i, (0, 1 + i)) for i in range(4)]
    drawn = charts(describe(videos, tuple(f"Class {i}" for i in range(number))), file_format="png")
    assert list(drawn) == ["Lengths", "Class balance", "Features against durations"]
    assert all(picture.startswith(b"\x89PNG") for picture in drawn.values())


def test_annotations_without_lengths_still_make_a_page():
    """Video-level labels without durations: there is nothing to draw but the classes."""
    record = VideoRecord("v", "test", math.nan, ("Run",), (), False)
    annotations = AnnotationSet(("Run",), (record,), frozenset({"v"}))
    found = inspect_annotations("table", (), annotations, SECOND, keep_late_instances=False)
    assert found.problems == ()
    assert found.numbers["lengths"] == {}
    assert found.numbers["total"]["without_duration"] == 1
    assert re.search(r"all +1 +0 +0 +0 +unknown", screen(found))
    assert list(charts(found.numbers)) == ["Class balance"]
    assert "no problems found" in screen(found)
    assert "None found." in page(found)
