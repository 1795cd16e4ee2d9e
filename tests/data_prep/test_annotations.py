"""Annotation parsers: what each format says, what is refused, and what the real files hold."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.annotations import AnnotationSet, Instance, read_annotations, read_class_file
from data_prep.annotations.activitynet_json import read_activitynet_json
from data_prep.annotations.wtalc_folder import read_wtalc_folder
from data_prep.checks.judge import check_record
from tc3net.common.errors import UserError
from tests.support.needs import REAL_ANNOTATIONS, SHARED_DATA, needs


def write_json(path: Path, database: dict, **extra) -> Path:
    path.write_text(json.dumps({"database": database, **extra}))
    return path


def video(**changes) -> dict:
    entry = {"subset": "training", "duration": 12.5, "annotations": [{"label": "Run", "segment": [1, 2.5]}]}
    entry.update(changes)
    return {key: value for key, value in entry.items() if value is not None}


def write_folder(folder: Path, **changes) -> Path:
    """A folder of two videos, the first annotated; `changes` replace columns, None removes a file."""
    columns = {
        "videoname": np.array([b"v1", b"v2"]),
        "subset": np.array([b"validation", b"test"]),
        "duration": np.array([[20.0], [30.0]]),
        "classlist": np.array([b"Jump", b"Run"]),
        "labels_all": objects(["Run"], [b"Jump", b"Jump"]),
        "segments": objects([[1.0, 2.0], [3, 4]], []),
        "labels": objects(["Run", b"Jump"], []),
    }
    columns.update(changes)
    folder.mkdir(exist_ok=True)
    for name, values in columns.items():
        if values is not None:
            np.save(folder / f"{name}.npy", values)
    return folder


def objects(*items) -> np.ndarray:
    array = np.empty(len(items), object)
    for index, item in enumerate(items):
        array[index] = item
    return array


def test_activitynet_json(tmp_path):
    database = {
        "b": video(),
        "a": video(annotations=[], labels=["Jump"], ambiguous=[[0, 1]]),
        "withheld": video(subset="testing", annotations=[]),
        "unannotated": video(annotations=None, labels=["Swim"]),
    }
    parsed = read_activitynet_json(write_json(tmp_path / "a.json", database))
    assert parsed.classes == ("Jump", "Run", "Swim")
    assert [record.video_id for record in parsed.videos] == ["b", "a", "withheld", "unannotated"]
    assert [record.instances_known for record in parsed.videos] == [True, True, False, False]
    first, second, _, last = parsed.videos
    assert (first.subset, first.duration_s, first.labels) == ("training", 12.5, ("Run",))
    assert first.instances == (Instance(1.0, 2.5, "Run"),)
    assert (second.labels, second.ambiguous) == (("Jump",), ((0.0, 1.0),))
    assert last.present == {"Swim"}
    listed = read_activitynet_json(write_json(tmp_path / "a.json", database, classes=["Run", "Swim", "Jump"]))
    assert listed.classes == ("Run", "Swim", "Jump")


def test_a_repeated_video_is_kept_for_the_validation_to_find(tmp_path):
    path = tmp_path / "a.json"
    first, second = json.dumps(video()), json.dumps(video(duration=9))
    path.write_text(f'{{"database": {{"v": {first}, "v": {second}}}}}')
    assert [record.duration_s for record in read_activitynet_json(path).videos] == [12.5, 9]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([], "found list"),
        (video(subset=None), '"subset" is None; expected text'),
        (video(duration="12 s"), "\"duration\" is '12 s'; expected a number"),
        (video(duration=True), '"duration" is True'),
        (video(annotations={}), '"annotations" is not a list'),
        (video(annotations=[{"segment": [1, 2]}]), "annotation 0: has no label text"),
        (video(annotations=["Run"]), "annotation 0: has no label text"),
        (video(annotations=[{"label": "Run"}]), "annotation 0: segment is None, not [start, end]"),
        (video(annotations=[{"label": "Run", "segment": [1]}]), "annotation 0: segment is [1], not"),
        (video(annotations=[{"label": "Run", "segment": ["1", "2 s"]}]), "annotation 0: segment is ['1', '2 s'], not"),
        (video(labels="Run"), "\"labels\" is 'Run'; expected a list of class names"),
        (video(ambiguous=3), '"ambiguous" is not a list'),
        (video(ambiguous=[3]), "ambiguous interval 0: segment is 3"),
    ],
)
def test_activitynet_entries_that_are_refused(tmp_path, entry, message):
    with pytest.raises(UserError) as caught:
        read_activitynet_json(write_json(tmp_path / "a.json", {"good": video(), "bad": entry}))
    assert "a.json: video 'bad': " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[]", 'no object "database"'),
        ('{"database": []}', 'no object "database"'),
        ('{"database": {}, "classes": ["a", "a"]}', "'a' is listed more than once"),
        ('{"database": {}, "classes": ["a", " "]}', "empty class name"),
        ('{"database": {}, "classes": 3}', '"classes" is 3'),
    ],
)
def test_activitynet_files_that_are_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError) as caught:
        read_activitynet_json(tmp_path / "a.json")
    assert "a.json" in str(caught.value)
    assert message in str(caught.value)


def test_absent_and_wrong_annotation_paths_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.json: cannot be read"):
        read_annotations(tmp_path / "absent.json")
    with pytest.raises(UserError, match=r"segments\.npy: a single \.npy file found; expected .* the folder"):
        read_annotations(tmp_path / "segments.npy")


def test_wtalc_folder(tmp_path):
    folder = write_folder(tmp_path / "w")
    (folder / "Ambiguous_test.txt").write_text("v2  1.5 2.5\n\nelsewhere 3 4\nv2 5 6\n")
    parsed, layout = read_annotations(folder)
    assert "W-TALC" in layout
    assert parsed.classes == ("Jump", "Run")
    first, second = parsed.videos
    assert (first.video_id, first.subset, first.duration_s) == ("v1", "validation", 20.0)
    assert first.labels == ("Run",)
    assert first.instances == (Instance(1, 2, "Run"), Instance(3, 4, "Jump"))
    assert first.present == {"Run", "Jump"}
    assert (second.labels, second.instances, second.ambiguous) == (("Jump",), (), ((1.5, 2.5), (5.0, 6.0)))
    assert (first.instances_known, second.instances_known) == (True, False)
    flat = read_wtalc_folder(write_folder(folder, duration=np.array([20, 30])))
    assert flat == parsed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segments": None}, "segments.npy: no such file"),
        ({"subset": np.array([b"test"])}, "subset.npy: shape [1] found; expected one row per video, [2]"),
        ({"duration": np.array([["1"], ["2"]])}, "duration.npy: <U1 values found"),
        ({"duration": np.ones((2, 2))}, "duration.npy: shape [2, 2]"),
        ({"videoname": np.array([1, 2])}, "videoname.npy: found"),
        ({"labels": objects(["Run"], [])}, "video 'v1': 2 segments but 1 segment label found"),
        ({"segments": objects([[1, 2], [3]], [])}, "video 'v1': segment 1: found [3]"),
        ({"segments": objects([[1, 2], ["a", 4]], [])}, "video 'v1': segment 1: found ['a', 4]"),
        ({"segments": objects(3, [])}, "video 'v1': segments: found 3; expected a list"),
        ({"labels_all": objects([5], [])}, "video 'v1': labels_all: found 5; expected a name"),
        ({"classlist": np.array([b"Run", b"Run"])}, "classlist.npy: class 'Run' is listed more than once"),
    ],
)
def test_wtalc_folders_that_are_refused(tmp_path, changes, message):
    folder = tmp_path / "w"
    with pytest.raises(UserError) as caught:
        read_wtalc_folder(write_folder(folder, **changes))
    assert str(folder) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [("v2 1", "found 'v2 1'; expected"), ("v2 1 x", "found"), ("other 1 2", "none of its 1 video is in videoname")],
)
def test_bad_ambiguous_lines_are_named(tmp_path, line, message):
    folder = write_folder(tmp_path / "w")
    (folder / "Ambiguous_test.txt").write_text(f"{line}\n")
    with pytest.raises(UserError) as caught:
        read_wtalc_folder(folder)
    assert "Ambiguous_test.txt" in str(caught.value)
    assert message in str(caught.value)


def findings(annotations: AnnotationSet) -> Counter[str]:
    """Rule -> number of findings, judged without features."""
    classes = frozenset(annotations.classes)
    return Counter(problem.rule for record in annotations.videos for problem in check_record(record, classes, None))


@needs(REAL_ANNOTATIONS)
@pytest.mark.parametrize(
    ("name", "videos", "classes", "annotated", "instances", "expected"),
    [
        ("thumos14", 2584, 101, 412, 6365, {"labels_differ": 51, "starts_after_video": 30}),
        ("thumos14-3cnet", 2584, 101, 410, 6241, {"labels_differ": 38, "starts_after_video": 4}),
        ("thumos14-reduced", 412, 20, 412, 6365, {"labels_differ": 28, "starts_after_video": 30}),
        (
            "activitynet1.2",
            7202,
            100,
            7202,
            10733,
            {"zero_length": 10, "exact_duplicate": 34, "ends_after_video": 185},
        ),
    ],
)
def test_real_annotations(name, videos, classes, annotated, instances, expected):
    parsed, _ = read_annotations(SHARED_DATA / name)
    assert len(parsed.videos) == videos
    assert len(parsed.classes) == classes
    assert sum(record.instances_known for record in parsed.videos) == annotated
    assert sum(len(record.instances) for record in parsed.videos) == instances
    assert findings(parsed) == expected
    if name.startswith("thumos14"):
        ambiguous = [record for record in parsed.videos if record.ambiguous]
        assert all(record.subset == "test" for record in ambiguous)
        # The reduced folder lacks video_test_0001292, which has three ambiguous intervals and no instances.
        assert len(ambiguous) == (36 if name == "thumos14-reduced" else 37)
        assert sum(len(record.ambiguous) for record in parsed.videos) == (96 if name == "thumos14-reduced" else 99)


@needs(REAL_ANNOTATIONS)
@pytest.mark.parametrize("name", ["thumos14", "thumos14-3cnet"])
def test_22_annotated_training_videos_have_differing_labels(name):
    parsed, _ = read_annotations(SHARED_DATA / name)
    training = [record for record in parsed.videos if record.subset == "validation" and record.instances_known]
    assert len(training) == 200
    classes = frozenset(parsed.classes)
    rules = [{problem.rule for problem in check_record(record, classes, None)} for record in training]
    assert sum("labels_differ" in found for found in rules) == 22


@needs(REAL_ANNOTATIONS)
def test_videos_whose_real_annotation_runs_past_their_end():
    late = {}
    for name in ("thumos14", "thumos14-3cnet"):
        parsed, _ = read_annotations(SHARED_DATA / name)
        classes = frozenset(parsed.classes)
        late[name] = {
            problem.video_id
            for record in parsed.videos
            for problem in check_record(record, classes, None)
            if problem.rule == "starts_after_video"
        }
    assert late["thumos14-3cnet"] == {"video_validation_0000364", "video_validation_0000856"}
    assert late["thumos14"] - late["thumos14-3cnet"] == {
        "video_test_0000270",
        "video_test_0000814",
        "video_test_0001081",
    }


def write_table(path: Path, *lines: str, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    path.write_text("\n".join(line.replace("|", delimiter) for line in lines) + "\n", encoding=encoding)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_instance_table(tmp_path, delimiter, encoding):
    path = write_table(
        tmp_path / "labels.csv",
        "Video| start_s |end_s|class|subset|duration_s",
        "v2|1.5|2|Läuft|test|20",
        "v1|0|1|Jump|training|",
        "v2|3|4.25|Jump|test|20.0",
        "",
        '"v, 3"|||Jump|training|7',
        "v4||||training|8",
        "v1||| Swim |training",
        delimiter=delimiter,
        encoding=encoding,
    )
    parsed, words = read_annotations(path)
    assert words == "table of instances"
    assert parsed.classes == ("Jump", "Läuft", "Swim")
    assert [record.video_id for record in parsed.videos] == ["v2", "v1", "v, 3", "v4"]
    second, first, third, fourth = parsed.videos
    assert second.instances == (Instance(1.5, 2.0, "Läuft"), Instance(3.0, 4.25, "Jump"))
    assert (second.subset, second.duration_s, second.labels) == ("test", 20.0, ("Läuft", "Jump"))
    assert (first.labels, first.instances_known, len(first.instances)) == (("Jump", "Swim"), True, 1)
    # A class without a time: the video was not annotated in time. No class at all: nothing occurs.
    assert (third.labels, third.instances, third.instances_known) == (("Jump",), (), False)
    assert (fourth.labels, fourth.instances, fourth.instances_known) == ((), (), True)
    assert parsed.without_duration == {"v1"}


def test_video_table(tmp_path):
    path = write_table(
        tmp_path / "labels.csv", "video,class,count", "v1,Run,3", "v1,Jump,", "v1,Swim,0", "v2,Run", "v3", "v4,Jump,2.0"
    )
    parsed, words = read_annotations(path)
    assert words == "table of videos and classes, no times, all videos in subset 'training'"
    assert parsed.classes == ("Jump", "Run", "Swim")
    first, second, third, fourth = parsed.videos
    # Nobody counted the jumps, and somebody saw that nobody swims.
    assert (first.labels, first.counts, first.present) == (("Run", "Jump"), {"Run": 3, "Swim": 0}, {"Run", "Jump"})
    assert (second.labels, second.counts) == (("Run",), {})
    assert (third.labels, third.counts, fourth.counts) == ((), {}, {"Jump": 2})
    assert not any(record.instances_known for record in parsed.videos)
    assert {record.subset for record in parsed.videos} == {"training"}
    parsed, words = read_annotations(path, subset="validation")
    assert {record.subset for record in parsed.videos} == {"validation"}
    assert "all videos in subset 'validation'" in words
    _, words = read_annotations(write_table(path, "class;video;subset", "Run;v1;test"))
    assert words == "table of videos and classes, no times, no column count: counts unknown"


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=8).filter(
    lambda name: name == name.strip()
)
TIMES = st.floats(-1e6, 1e6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, TIMES, TIMES, NAMES), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_whatever_a_spreadsheet_writes_is_read_as_it_was(tmp_path, rows, delimiter):
    with open(tmp_path / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["video", "start_s", "end_s", "class"])
        writer.writerows(rows)
    parsed, _ = read_annotations(tmp_path / "labels.csv")
    expected: dict[str, list[Instance]] = {}
    for name, start_s, end_s, label in rows:
        expected.setdefault(name, []).append(Instance(start_s, end_s, label))
    assert {record.video_id: list(record.instances) for record in parsed.videos} == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["video,start_s,class"], ":1: no column end_s found in 'video,start_s,class'; expected the columns video, st"),
        (["video,class,counts", "v,Run,1"], ":1: unknown column 'counts' found"),
        (["video,class,class", "v,Run,1"], ":1: repeated column 'class' found"),
        (["video,class"], "no lines below the header"),
        (["video,class", ",Run"], ":2: no video found"),
        (["video,class", "v,Run,3,4"], ":2: 4 cells found; expected 2"),
        (["video,class,count", "v,,3"], ":2: no class found"),
        (["video,class,count", "v,Run,two"], ":2: count is 'two'; expected a number"),
        (["video,class,count", "v,Run,1.5"], ":2: count is '1.5'; expected a whole number"),
        (["video,class,count", "v,Run,-1"], ":2: count is '-1'"),
        (["video,class,count", "v,Run,1", "v,Run,2"], ":3: class 'Run' of video 'v' is also in"),
        (["video,class,subset", "v,Run,"], ":2: no subset found"),
        (["video,class,subset", "v,Run,test", "v,Jump,training"], ":3: video 'v' has subset 'training', but 'test' in"),
        (["video,class,duration_s", "v,Run,3", "v,Jump,4"], ":3: video 'v' has duration_s '4', but '3' in"),
        (["video,class,duration_s", "v,Run,inf"], ":2: duration_s is 'inf'"),
        (["video,class", "v,", "w,"], "no classes found"),
        (["video,start_s,end_s,class", "v,1,,Run"], ":2: start_s without the other time"),
        (["video,start_s,end_s,class", "v,,1,Run"], ":2: end_s without the other time"),
        (["video,start_s,end_s,class", "v,1,2,"], ":2: no class found"),
        (["video,start_s,end_s,class", "v,0:01:75,2,Run"], ":2: start_s is '0:01:75'; expected mm:ss or hh:mm:ss with"),
        (["video,start_s,end_s,class", "v,0:60:15,2,Run"], ":2: start_s is '0:60:15'; expected mm:ss or hh:mm:ss with"),
        (
            ["video,start_s,end_s,class", "v,1 s,2,Run"],
            ":2: start_s is '1 s'; expected a number such as 12.5, or mm:ss",
        ),
        (["video,class,count", "v,Run,0:02"], ":2: count is '0:02'; expected a number such as 12.5. Correct"),
        (["v,1,2,Run"], "begins with 'v,1,2,Run', a table without names of columns; expected them in the first line"),
        (["some words"], "begins with 'some words'; expected ActivityNet JSON, or a CSV table"),
        ([""], "begins with ''"),
    ],
)
def test_bad_tables_are_named_by_line(tmp_path, lines, message):
    with pytest.raises(UserError) as caught:
        read_annotations(write_table(tmp_path / "labels.csv", *lines))
    assert "labels.csv" in str(caught.value)
    assert message in str(caught.value)


def test_tables_in_other_encodings_are_refused(tmp_path):
    path = write_table(tmp_path / "labels.csv", "video,class", "v,Läuft", encoding="latin1")
    with pytest.raises(UserError, match=r"labels\.csv: not UTF-8 text; .*encoding UTF-8"):
        read_annotations(path)
    with pytest.raises(UserError, match=r"labels\.csv: not UTF-8 text; .*encoding UTF-8"):
        read_annotations(path, "video_csv")


def test_the_subset_is_said_once(tmp_path):
    path = write_table(tmp_path / "labels.csv", "video,class,subset", "v,Run,test")
    with pytest.raises(UserError, match="a column subset and --subset=training found"):
        read_annotations(path, subset="training")
    with pytest.raises(UserError, match="ActivityNet JSON says itself which subset"):
        read_annotations(write_json(tmp_path / "a.json", {"v": video()}), subset="training")


def write_thumos(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_thumos_text_files(tmp_path):
    write_thumos(
        tmp_path / "val",
        Diving_val="video_validation_2  1.5 3\nvideo_validation_1 0.0 2.0\n",
        CliffDiving_val="video_validation_2 1.5 3.0\n\n",
    )
    write_thumos(
        tmp_path / "test", Diving_test="video_test_1 4 5\n", Ambiguous_test="video_test_1 1 2\nvideo_test_2 3 4\n"
    )
    (tmp_path / "readme.txt").write_text("not a class")
    parsed, words = read_annotations(tmp_path)
    assert words == "THUMOS14 text files"
    assert parsed.classes == ("CliffDiving", "Diving")
    assert [(record.video_id, record.subset) for record in parsed.videos] == [
        ("video_validation_1", "validation"),
        ("video_validation_2", "validation"),
        ("video_test_1", "test"),
        ("video_test_2", "test"),
    ]
    _, second, third, fourth = parsed.videos
    assert second.instances == (Instance(1.5, 3.0, "CliffDiving"), Instance(1.5, 3.0, "Diving"))
    assert (third.ambiguous, third.instances_known) == (((1.0, 2.0),), True)
    assert (fourth.ambiguous, fourth.instances, fourth.instances_known) == (((3.0, 4.0),), (), False)
    assert parsed.without_duration == {record.video_id for record in parsed.videos}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"Run_val": "v 1\n"}, "Run_val.txt:1: found 'v 1'; expected `video start end`"),
        ({"Run_val": "v 1 2\nv 1 x\n"}, "Run_val.txt:2: found 'v 1 x'"),
        ({"Run_val": "v 1 2 3\n"}, "Run_val.txt:1: found"),
        ({"Run_val": "v 1 2\n", "Run_test": "v 3 4\n"}, "video 'v' is in validation, but also in test"),
        ({"Ambiguous_val": "v 1 2\n"}, "none of W-TALC's videoname.npy, THUMOS14's"),
        ({}, "none of W-TALC's"),
    ],
)
def test_bad_thumos_files_are_named(tmp_path, files, message):
    with pytest.raises(UserError) as caught:
        read_annotations(write_thumos(tmp_path / "t", **files))
    assert message in str(caught.value)


def test_a_folder_that_is_both_has_to_be_said(tmp_path):
    folder = write_thumos(write_folder(tmp_path / "w"), Run_val="v9 1 2\n")
    with pytest.raises(
        UserError, match=r"both of .*--annotation_format=wtalc_folder. or --annotation_format=thumos_te"
    ):
        read_annotations(folder)
    assert len(read_annotations(folder, "wtalc_folder")[0].videos) == 2
    assert len(read_annotations(folder, "thumos_text")[0].videos) == 1
    with pytest.raises(UserError, match="annotation_format is 'other'; expected one of auto, activitynet_json"):
        read_annotations(folder, "other")
    with pytest.raises(UserError, match=r"no files such as BaseballPitch_val\.txt"):
        read_annotations(write_folder(tmp_path / "only"), "thumos_text")


@needs(REAL_ANNOTATIONS)
def test_real_annotations_say_the_same_as_thumos_text_files(tmp_path):
    """The official files hold the instances of the NumPy folder, a file per class and subset."""
    parsed, _ = read_annotations(SHARED_DATA / "thumos14-reduced")
    short = {"validation": "val", "test": "test"}
    files: dict[str, str] = {}
    for record in parsed.videos:
        for item in record.instances:
            name = f"{item.label}_{short[record.subset]}"
            files[name] = files.get(name, "") + f"{record.video_id} {item.start_s!r} {item.end_s!r}\n"
    again, _ = read_annotations(write_thumos(tmp_path / "text", **files))
    assert again.classes == tuple(sorted(parsed.classes))
    before = {record.video_id: (record.subset, Counter(record.instances)) for record in parsed.videos}
    assert {record.video_id: (record.subset, Counter(record.instances)) for record in again.videos} == before


def test_class_files(tmp_path):
    (tmp_path / "classes.txt").write_text("Run\n\nClean, and jerk\n", encoding="utf-8-sig")
    np.save(tmp_path / "classes.npy", np.array([b"Run", b"Jump"]))
    assert read_class_file(tmp_path / "classes.txt") == ("Run", "Clean, and jerk")
    assert read_class_file(tmp_path / "classes.npy") == ("Run", "Jump")
    with pytest.raises(UserError, match=r"absent: cannot be read"):
        read_class_file(tmp_path / "absent")
