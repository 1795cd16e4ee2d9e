"""Annotation parsers: what each format says, what is refused, and what the real files hold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_prep.annotations import AnnotationSet, Instance
from data_prep.annotations.activitynet_json import read_activitynet_json
from data_prep.annotations.wtalc_folder import read_wtalc_folder
from data_prep.layouts import read_annotations
from data_prep.validate import check_record
from tc3net.errors import UserError

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real annotations are not in ../shared/data")


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
        (video(duration="12"), "\"duration\" is '12'; expected a number"),
        (video(duration=True), '"duration" is True'),
        (video(annotations={}), '"annotations" is not a list'),
        (video(annotations=[{"segment": [1, 2]}]), 'annotation 0: no "label"'),
        (video(annotations=["Run"]), 'annotation 0: no "label"'),
        (video(annotations=[{"label": "Run"}]), "annotation 0: found None; expected [start, end]"),
        (video(annotations=[{"label": "Run", "segment": [1]}]), "annotation 0: found [1]"),
        (video(annotations=[{"label": "Run", "segment": ["1", "2"]}]), "annotation 0: found ['1', '2']"),
        (video(labels="Run"), "\"labels\" is 'Run'; expected a list of class names"),
        (video(ambiguous=3), '"ambiguous" is not a list'),
        (video(ambiguous=[3]), "ambiguous interval 0: found 3"),
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
        ("[]", 'no "database" object'),
        ('{"database": []}', 'no "database" object'),
        ('{"database": {}}', "no classes found"),
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
        ({"labels": objects(["Run"], [])}, "video 'v1': 2 segments but 1 segment labels"),
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
    [("v2 1", "found 'v2 1'; expected"), ("v2 1 x", "found"), ("other 1 2", "none of its 1 videos is in videoname")],
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


@needs_real_data
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
    parsed, _ = read_annotations(REAL_DATA / name)
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


@needs_real_data
@pytest.mark.parametrize("name", ["thumos14", "thumos14-3cnet"])
def test_22_annotated_training_videos_have_differing_labels(name):
    parsed, _ = read_annotations(REAL_DATA / name)
    training = [record for record in parsed.videos if record.subset == "validation" and record.instances_known]
    assert len(training) == 200
    classes = frozenset(parsed.classes)
    rules = [{problem.rule for problem in check_record(record, classes, None)} for record in training]
    assert sum("labels_differ" in found for found in rules) == 22


@needs_real_data
def test_videos_whose_real_annotation_runs_past_their_end():
    late = {}
    for name in ("thumos14", "thumos14-3cnet"):
        parsed, _ = read_annotations(REAL_DATA / name)
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
