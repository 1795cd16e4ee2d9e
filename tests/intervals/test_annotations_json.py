"""Detections and ground truth of other tools: what is read, what is set aside and said, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.annotations.activitynet_json import read_activitynet_json
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.intervals.annotations_json import annotated_videos, load_annotations, load_instances, save_annotations
from tc3net.intervals.columns import AnnotatedVideos
from tc3net.intervals.detections_json import load_detections, report_lines, save_detections
from tests.support.rows_by_hand import found, ground_truth

TRUTH = ground_truth([("a", 0, 0, 10), ("b", 2, 0.1, 1 / 3)], [("b", 5, 6)])


def written(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def detection(**changes: Any) -> dict[str, Any]:
    return {"label": "Dive", "score": 0.5, "segment": [1, 2.5], **changes}


def test_detections_come_back_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = found([("b", 2, 0.1, 1 / 3, 0.1), ("a", 0, 1, 2, 0.7), ("a", 0, 3, 4, 0.7)], videos=("a", "b"))
    save_detections(tmp_path / "d.json", rows, TRUTH.classes)
    loaded = load_detections(tmp_path / "d.json", TRUTH)
    again = loaded.detections
    assert again.video_ids == TRUTH.video_ids
    assert again.video.tolist() == [0, 0, 1] and again.label.tolist() == [0, 0, 2]
    assert again.start_s.tolist() == [1, 3, 0.1] and again.end_s.tolist() == [2, 4, 1 / 3]
    assert again.score.tolist() == [0.7, 0.7, 0.1]
    assert report_lines(loaded, TRUTH.classes) == []


def test_what_is_out_of_scope_is_set_aside_and_named(tmp_path: Path) -> None:
    results = {
        "a": [detection(), detection(label="Jumps"), detection(label="Jumps"), detection(label="qqq", extra=1)],
        "c": [detection()],
        "d": [detection(), detection(label="Jumps")],
        "e": [],
    }
    loaded = load_detections(written(tmp_path / "d.json", {"results": results}), TRUTH)
    assert len(loaded.detections) == 1
    assert loaded.unknown_labels == {"Jumps": 2, "qqq": 1}
    assert loaded.unknown_videos == {"c": 1, "d": 2}
    assert loaded.empty_videos == ("b",)
    assert report_lines(loaded, TRUTH.classes) == [
        "label 'Jumps' is unknown: 2 detections ignored (did you mean 'Jump'?)",
        "label 'qqq' is unknown: 1 detection ignored",
        "3 detections in 2 videos without annotations ignored (c, d)",
        "1 annotated video has no detections; instances missed (b)",
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"label": "Dive", "segment": [0, 1]}, "has no score"),
        ({"score": 1}, "has no label and no segment"),
        (detection(label=3), "label is 3, not a class name"),
        (detection(score="high"), "score is 'high', not a finite number"),
        (detection(score="nan"), "score is 'nan', not a finite number"),
        (detection(score="1e999"), "score is '1e999', not a finite number"),
        (detection(segment=["0", "1 s"]), "segment is .*'1 s'.*, not \\[start, end\\]"),
        (detection(segment=["0", ""]), "segment is .*, not \\[start, end\\]"),
        (detection(segment=["0", "٣"]), "segment is .*, not \\[start, end\\]"),
        (detection(segment=["10", "9"]), r"segment \['10', '9'\] ends before it starts"),
        (detection(score=float("nan")), "score is nan"),
        (detection(score=True), "score is True"),
        (detection(segment=[2, 1]), r"segment \[2, 1\] ends before it starts"),
        (detection(segment=[1]), "segment is .*, not \\[start, end\\]"),
        (detection(segment=[0, float("inf")]), "segment is .*, not \\[start, end\\]"),
        (detection(segment="0-1"), "segment is .*, not \\[start, end\\]"),
        ([0, 1], "is \\[0, 1\\], not an object"),
    ],
)
def test_malformed_detections_are_refused_with_file_and_entry(tmp_path: Path, entry: Any, problem: str) -> None:
    path = written(tmp_path / "theirs.json", {"results": {"a": [detection()], "b": [detection(), entry]}})
    with pytest.raises(UserError, match=rf"theirs.json: 1 detection .* video 'b', detection 1: {problem}"):
        load_detections(path, TRUTH)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_plain_numbers_may_be_text_and_a_byte_order_mark_may_come_first(tmp_path: Path, mark: str) -> None:
    """As in the THUMOS14 file of public code."""
    items = [{"label": "Dive", "segment": ["18.6", "+2.48e1"]}, {"label": "Dive", "segment": ["30.", ".4E2"]}]
    database = {"v": {"subset": "test", "duration": "212.5", "annotations": items, "ambiguous": [["0", "1"]]}}
    path = tmp_path / "gt.json"
    path.write_text(mark + json.dumps({"database": database}), encoding="utf-8")
    read, (video,) = load_annotations(path, "test"), read_activitynet_json(path).videos
    assert (read.truth.start_s.tolist(), read.truth.end_s.tolist()) == ([18.6, 30.0], [24.8, 40.0])
    assert read.truth.ambiguous_end_s.tolist() == [1.0]
    assert read.duration_s.tolist() == [212.5] == [video.duration_s]
    assert [(one.start_s, one.end_s) for one in video.instances] == [(18.6, 24.8), (30.0, 40.0)]
    results = {"v": [{"label": "Dive", "score": "-0.5", "segment": ["1", 2]}]}
    path.write_text(mark + json.dumps({"results": results}), encoding="utf-8")
    loaded = load_detections(path, read.truth).detections
    assert (loaded.score.tolist(), loaded.start_s.tolist(), loaded.end_s.tolist()) == ([-0.5], [1.0], [2.0])


def test_files_that_are_no_detections_are_refused(tmp_path: Path) -> None:
    cases = {
        "not valid JSON": "{",
        'no object "results"': {"database": {}},
        "expected": [],
        "no list of detections": {"results": {"a": {}}},
        r"lists \['a'\] more than once": '{"results": {"a": [], "a": []}}',
        "no detection has a label and a video of the annotations.*videos are \\['c'\\]": {
            "results": {"c": [detection()]}
        },
        "its labels are \\['dive'\\]": {"results": {"a": [detection(label="dive")]}},
    }
    for number, (message, value) in enumerate(cases.items()):
        with pytest.raises(UserError, match=message):
            load_detections(written(tmp_path / f"{number}.json", value), TRUTH)
    with pytest.raises(UserError, match="cannot be read"):
        load_detections(tmp_path / "absent.json", TRUTH)
    assert len(load_detections(written(tmp_path / "none.json", {"results": {}}), TRUTH).detections) == 0


def same_truth(a: Any, b: Any) -> None:
    for name, value in vars(a).items():
        np.testing.assert_array_equal(getattr(b, name), value, err_msg=name)


def test_ground_truth_survives_the_file_exactly_and_data_prep_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    save_annotations(path, AnnotatedVideos("Some data", TRUTH, np.array([12.3, 1 / 7]), (TimeBase(30, 8, 4),)), "test")
    again = load_annotations(path, "test")
    same_truth(TRUTH, again.truth)
    assert again.dataset == "Some data" and again.time_bases == (TimeBase(30, 8, 4),)
    assert again.duration_s.tolist() == [12.3, 1 / 7] and again.notes == ()
    read = read_activitynet_json(path)
    assert read.classes == TRUTH.classes
    assert [video.ambiguous for video in read.videos] == [(), ((5.0, 6.0),)]
    save_annotations(path, replace(again, duration_s=np.full(2, np.nan), time_bases=()), "test")
    again = load_annotations(path, None)
    assert np.isnan(again.duration_s).all() and again.time_bases == ()


def test_rules_for_annotations_of_other_tools(tmp_path: Path) -> None:
    def video(*labels: str, **more: Any) -> dict[str, Any]:
        return {"annotations": [{"label": label, "segment": [1, 2]} for label in labels], **more}

    database = {
        "a": video("Throw", "Dive", "Ambiguous", subset="test", duration=9.5),
        "b": video("Swim", subset="training"),
        "c": video(subset="test"),
        "d": {"subset": "test"},
        "e": video(subset="testing"),
    }
    path = written(tmp_path / "theirs.json", {"database": database})
    read = load_annotations(path, "test")
    assert read.truth.classes == ("Dive", "Swim", "Throw")  # of all subsets, sorted
    assert read.truth.video_ids == ("a", "c")  # nothing occurs in c; d is not annotated
    assert read.truth.label.tolist() == [2, 0]
    assert read.truth.ambiguous_video.tolist() == [0] and read.truth.ambiguous_end_s.tolist() == [2.0]
    assert read.duration_s[0] == 9.5 and np.isnan(read.duration_s[1])
    assert read.notes == ("1 video without annotations is not scored", "label 'Ambiguous': 1 interval not scored")
    assert load_annotations(path, "Test").truth.video_ids == ("a", "c")
    assert load_annotations(path, "testing").truth.video_ids == ()  # ActivityNet withholds them
    assert load_instances(path)["a"][1] == ("Dive", 1.0, 2.0)
    assert load_annotations(path, "TRAIN").notes == ("the subset 'TRAIN' is 'training' in the annotations",)
    with pytest.raises(UserError, match=r"no videos of the subset 'val'; it has \['test', 'testing', 'training'\]"):
        load_annotations(path, "val")
    without = written(tmp_path / "w.json", {"database": {"a": video("Dive")}})
    assert load_annotations(without, "test").truth.video_ids == ("a",)
    named = {"classes": ["Ambiguous", "Dive"], "database": {"a": video("Ambiguous")}}
    assert load_annotations(written(tmp_path / "n.json", named), None).truth.label.tolist() == [0]


def test_malformed_annotations_are_refused_with_file_video_and_entry(tmp_path: Path) -> None:
    good = {"label": "Dive", "segment": [0, 1]}

    def one(*items: Any, **top: Any) -> dict[str, Any]:
        return {"database": {"v": {"annotations": list(items)}}, **top}

    cases = {
        r"video 'v': annotation 1: segment \[3, 2\] ends before it starts": one(good, {**good, "segment": [3, 2]}),
        "video 'v': annotation 0: has no label text": one({"segment": [0, 1]}),
        "video 'v': annotation 0: has no label": one(5),
        "video 'v': \"annotations\" is not a list": {"database": {"v": {"annotations": 5}}},
        "video 'v': found list": {"database": {"v": []}},
        r"labels \['Dive'\] are not in its \"classes\"": one(good, classes=["Jump"]),
        "expected a list of different class names": one(good, classes=["Dive", "Dive"]),
        '"time_base" is 25': one(good, time_base=25),
        "ambiguous interval 0: segment is 7": {"database": {"v": {"annotations": [good], "ambiguous": [7]}}},
        '"ambiguous" is not a list': {"database": {"v": {"annotations": [good], "ambiguous": 7}}},
        "annotation 0: segment is .*, not": one({**good, "segment": [0, 10**400]}),
        "not valid JSON": "[" * 200_000,
        'no object "database"': {"results": {}},
    }
    for number, (message, value) in enumerate(cases.items()):
        with pytest.raises(UserError, match=rf"{number}.json.*{message}"):
            load_annotations(written(tmp_path / f"{number}.json", value), None)


def test_instances_of_a_file_become_the_ground_truth_of_the_videos_that_are_asked_for(tmp_path: Path) -> None:
    def video(*labels: str) -> dict[str, Any]:
        return {"subset": "test", "annotations": [{"label": label, "segment": [1, 2.5]} for label in labels]}

    database = {"x": video("Dive"), "a": video("Throw", "Skip", "Dive"), "b": video()}
    instances = load_instances(written(tmp_path / "a.json", {"database": database}))
    found = annotated_videos(instances, TRUTH.classes, {"b": 3.0, "other": 4.0, "a": 5.0}, dataset="New")
    assert found is not None
    assert (found.dataset, found.truth.video_ids, found.duration_s.tolist()) == ("New", ("b", "a"), [3.0, 5.0])
    assert [TRUTH.classes[label] for label in found.truth.label] == ["Throw", "Dive"]
    assert found.truth.video.tolist() == [1, 1] and found.truth.end_s.tolist() == [2.5, 2.5]
    assert len(found.truth.ambiguous_video) == 0
    assert annotated_videos(instances, TRUTH.classes, {"other": 4.0}, dataset="New") is None
