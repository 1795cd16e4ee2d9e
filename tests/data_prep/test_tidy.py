"""Annotation files of other tools, made to mean the same in every format: ambiguous intervals, names, fps, subsets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.annotations import AnnotationSet, Instance, VideoRecord, read_annotations
from data_prep.annotations.activitynet_json import activitynet_dict, read_activitynet_json
from data_prep.annotations.tidy import choose_subsets, tidied
from data_prep.conversion.pipeline import convert
from data_prep.inputs.options import open_inputs
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.intervals.annotations_json import annotated_videos, load_annotations, load_instances
from tc3net.intervals.from_dataset import read_annotated_videos
from tests.support.conversion import write_inputs

# As ActionFormer's and OpenTAD's THUMOS14 files: fps and number of frames by video, subsets with a capital letter,
# and, in some of them, the label Ambiguous.
OF_OTHERS: dict[str, Any] = {
    "video_validation_1": {
        "subset": "Validation",
        "duration": 6.4,
        "fps": 25.0,
        "annotations": [
            {"segment": [0.5, 1.5], "segment(frames)": [12.5, 37.5], "label": "Dive", "label_id": 1},
            {"segment": [2.0, 3.0], "label": "Run", "label_id": 0},
        ],
    },
    "video_test_2": {
        "subset": "Test",
        "duration": 5.333,
        "frame": 160,
        "annotations": [
            {"segment": [1.0, 2.0], "label": "Dive "},
            {"segment": [3.0, 4.0], "label": "Ambiguous"},
        ],
    },
    "video_test_3": {
        "subset": "Test",
        "duration": 6.4,
        "fps": 25,
        "annotations": [{"segment": [0.0, 1.0], "label": "Ambiguous"}],
        "ambiguous": [[2.0, 2.5]],
    },
}


def written(folder: Path, database: dict[str, Any] = OF_OTHERS, **top: Any) -> Path:
    (folder / "a.json").write_text(json.dumps({"database": database, **top}))
    return folder / "a.json"


def test_the_label_ambiguous_is_no_class(tmp_path):
    parsed, words = read_annotations(written(tmp_path))
    assert words == "ActivityNet JSON, label 'Ambiguous': 2 intervals not scored, no class"
    assert parsed.classes == ("Dive", "Run")
    _, second, third = parsed.videos
    assert (second.labels, second.instances, second.ambiguous) == (
        ("Dive",),
        (Instance(1, 2, "Dive"),),
        ((3.0, 4.0),),
    )
    assert (third.labels, third.instances, third.ambiguous) == ((), (), ((0.0, 1.0), (2.0, 2.5)))
    assert third.instances_known  # nothing else occurs in it


@pytest.mark.parametrize("listed_by", ["file", "flag"])
def test_the_label_ambiguous_is_a_class_where_a_list_says_so(tmp_path, listed_by):
    names = ["Run", "Ambiguous", "Dive"]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    path = written(tmp_path, **({"classes": names} if listed_by == "file" else {}))
    parsed, words = read_annotations(path, class_list=tmp_path / "classes.txt" if listed_by == "flag" else None)
    assert (parsed.classes, words) == (tuple(names), "ActivityNet JSON")
    assert parsed.videos[2].instances == (Instance(0, 1, "Ambiguous"),)


def test_data_set_and_json_hold_the_same_ground_truth(tmp_path):
    convert(write_inputs(tmp_path, OF_OTHERS))
    for subset in ("Test", "validation"):
        truth = load_annotations(tmp_path / "a.json", subset).truth
        converted = read_annotated_videos(tmp_path / "out", subset).truth
        for name, value in vars(truth).items():
            np.testing.assert_array_equal(getattr(converted, name), value, err_msg=name)
        assert truth.classes == ("Dive", "Run")
        assert len(truth.ambiguous_video) == (3 if subset == "Test" else 0)
    # And so do the annotations that predictions are drawn beside.
    found = annotated_videos(
        load_instances(tmp_path / "a.json"), ("Dive", "Run"), {"video_test_2": 5.0, "video_test_3": 6.4}, dataset="d"
    )
    assert found is not None
    assert found.truth.ambiguous_start_s.tolist() == [3.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        ("video,start_s,end_s,class", ["v,1,2,Dive", "v,3,4,Ambiguous", "v,,,Ambiguous"]),
        ("video,class,count", ["v,Dive,2", "v,Ambiguous,1"]),
    ],
)
def test_tables_have_no_class_ambiguous_either(tmp_path, header, lines):
    (tmp_path / "labels.csv").write_text("\n".join([header, *lines]))
    parsed, words = read_annotations(tmp_path / "labels.csv")
    assert (parsed.classes, parsed.videos[0].present) == (("Dive",), {"Dive"})
    assert parsed.videos[0].ambiguous == (((3.0, 4.0),) if "start_s" in header else ())
    assert "label 'Ambiguous': " in words


def test_annotations_with_nothing_but_ambiguous_intervals_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\.json: no classes found"):
        read_annotations(written(tmp_path, {"v": OF_OTHERS["video_test_3"]}))


def test_fps_of_each_video_is_its_time_base_unless_another_is_named(tmp_path):
    options = write_inputs(tmp_path, OF_OTHERS).inputs
    inputs = open_inputs(options)
    rate = 160 / 5.333
    assert inputs.time_bases == {
        "video_validation_1": TimeBase(25),
        "video_test_2": TimeBase(rate),
        "video_test_3": TimeBase(25),
    }
    line = "time base:   25 to 30.0019 fps as the annotations say for 3 videos, 16 frames per segment, stride 16; --fps"
    assert inputs.descriptions[2].startswith(line)
    flag = open_inputs(replace(options, time_base=TimeBase(10), fps_given=True))
    assert set(flag.time_bases.values()) == {TimeBase(10)}
    assert flag.descriptions[2].endswith("for all videos; fps of 3 videos in the annotations not used")
    (tmp_path / "times.csv").write_text("video,fps\n" + "".join(f"{name},12\n" for name in OF_OTHERS))
    table = open_inputs(replace(options, time_base_file=tmp_path / "times.csv"))
    assert set(table.time_bases.values()) == {TimeBase(12)}
    assert table.descriptions[2].endswith("fps of 3 videos in the annotations not used")
    some = {name: {key: v for key, v in entry.items() if key != "frame"} for name, entry in OF_OTHERS.items()}
    written(tmp_path, some)
    assert "25 fps as the annotations say for 2 videos (25 for the others)" in open_inputs(options).descriptions[2]


@pytest.mark.parametrize("fps", [0, -25, "fast", float("inf"), True])
def test_fps_that_cannot_be(tmp_path, fps):
    with pytest.raises(UserError, match=r'"fps" is .*; expected a positive number'):
        read_activitynet_json(written(tmp_path, {"v": {**OF_OTHERS["video_test_3"], "fps": fps}}))


def test_evaluation_says_that_it_needs_no_fps(tmp_path):
    notes = load_annotations(written(tmp_path), "test").notes
    assert notes == (
        "the subset 'test' is 'Test' in the annotations",
        "label 'Ambiguous': 2 intervals not scored",
        "fps of 1 video not used: times are seconds",
    )


def test_a_file_survives_being_written_again(tmp_path):
    parsed, _ = read_annotations(written(tmp_path))
    without = replace(parsed.videos[0], video_id="v", duration_s=float("nan"))
    parsed = replace(parsed, videos=(*parsed.videos, without), without_duration=frozenset({"v"}), notes=())
    (tmp_path / "again.json").write_text(json.dumps(activitynet_dict(parsed, "test", with_labels=True)))
    again, _ = read_annotations(tmp_path / "again.json")
    assert again.videos[:-1] == parsed.videos[:-1]
    assert (again.classes, again.without_duration) == (parsed.classes, {"v"})
    assert np.isnan(again.videos[-1].duration_s)


def test_all_mistakes_of_a_json_file_are_said_at_once(tmp_path):
    bad = {"label": "Dive", "segment": [1]}
    database = {
        "a": {"subset": 3, "duration": "long", "annotations": [bad, {"segment": [0, 1]}]},
        "b": OF_OTHERS["video_test_3"],
        "c": {"subset": "Test", "duration": 1, "ambiguous": [3]},
    }
    path = written(tmp_path, database)
    with pytest.raises(UserError) as caught:
        read_annotations(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 5 mistakes found; expected none."
    parts = ('"subset" is 3', "\"duration\" is 'long'", "annotation 0: ", "annotation 1: ", "ambiguous interval 0")
    for line, video, part in zip(lines[1:], "aaaac", parts):
        assert f"video {video!r}: {part}" in line
    with pytest.raises(UserError, match="3 mistakes found"):
        load_annotations(written(tmp_path, {"a": database["a"], "b": {"annotations": [bad]}}), None)


def record(video_id: str, subset: str, *labels: str) -> VideoRecord:
    instances = tuple(Instance(i, i + 1, name) for i, name in enumerate(labels))
    return VideoRecord(video_id, subset, 10.0, tuple(labels), instances, True)


def test_names_that_differ_in_spelling_alone_are_one_mistake(tmp_path):
    videos = (record("v", "test", "Run", "Long jump"), record("w", "Test", "run", "LongJump"))
    with pytest.raises(UserError) as caught:
        tidied(AnnotationSet(("Long jump", "LongJump", "Run", "run"), videos), "a.csv")
    text = str(caught.value)
    assert "classes found that differ only in case or blanks: 'Long jump' and 'LongJump'; 'Run' and 'run'" in text
    assert "subsets found that differ only in case or blanks: 'test' and 'Test'" in text
    (tmp_path / "classes.txt").write_text("run\nlong jump\n")
    with pytest.raises(UserError, match=r"a\.csv and .*classes\.txt: .*'run' and 'Run'|'long jump' and 'Long jump'"):
        tidied(AnnotationSet(("Run", "Long jump"), videos[:1]), "a.csv", tmp_path / "classes.txt")
    (tmp_path / "classes.txt").write_text("Run\nLong jump\nSwim\n")
    parsed = tidied(AnnotationSet(("Long jump", "Run"), videos[:1]), "a.csv", tmp_path / "classes.txt")
    assert parsed.classes == ("Run", "Long jump", "Swim")
    with pytest.raises(UserError, match="'Dive' and 'dive'"):
        load_annotations(written(tmp_path, {"v": {"annotations": [
            {"label": name, "segment": [0, 1]} for name in ("Dive", "dive")
        ]}}), None)  # fmt: skip


def test_blanks_around_names_are_no_part_of_them(tmp_path):
    entry = {"subset": " Test", "duration": 5, "annotations": [{"label": " Dive ", "segment": [0, 1]}]}
    path = written(tmp_path, {" v ": entry}, classes=["Dive "])
    (video,) = read_annotations(path)[0].videos
    assert (video.video_id, video.subset, video.labels) == ("v", "Test", ("Dive",))
    truth = load_annotations(path, "test").truth
    assert (truth.video_ids, truth.classes, len(truth)) == (("v",), ("Dive",), 1)
    with pytest.raises(UserError, match=r"lists \['v'\] more than once"):
        load_annotations(written(tmp_path, {"v": entry, "v ": entry}), None)


def test_chosen_subsets():
    videos = (record("a", "Validation", "Run"), record("b", "Test", "Dive"), record("c", "testing"))
    annotations = AnnotationSet(("Dive", "Run"), videos, frozenset({"a", "c"}))
    assert choose_subsets(annotations, (), "a.json") == (annotations, (), frozenset())
    chosen, words, others = choose_subsets(annotations, ("val", "test"), "a.json")
    assert [video.video_id for video in chosen.videos] == ["a", "b"]
    assert (chosen.classes, chosen.without_duration, others) == (("Dive", "Run"), {"a"}, {"c"})
    assert words == (
        "subsets:     1 video of Validation (asked for as 'val'), 1 video of Test (asked for as 'test'); testing "
        "left out",
    )
    with pytest.raises(UserError, match=r"no videos of the subsets 'train', 'x' found; expected some of 'Test', 'V"):
        choose_subsets(annotations, ("train", "x"), "a.json")


def test_features_of_subsets_that_are_left_out_are_not_missed(tmp_path):
    options = write_inputs(tmp_path, OF_OTHERS)
    for stream in ("rgb", "flow"):
        (tmp_path / "features" / stream / "video_test_2.npy").write_bytes(b"damaged, and never opened")
    manifest = convert(replace(options, inputs=replace(options.inputs, subsets=("val",))))
    assert {name: split.videos for name, split in manifest.splits.items()} == {"Validation": 1}
    assert manifest.classes == ("Dive", "Run")
    assert manifest.left_out == ()
    assert "subsets:     1 video of Validation (asked for as 'val'); Test left out" in manifest.source["recognised"]
