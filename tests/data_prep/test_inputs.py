"""Opening annotations, features and time bases together, from files as users have them."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from absl import flags

from data_prep.annotations import read_annotations
from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.inputs.options import InputOptions, define_input_flags, input_options, open_inputs
from data_prep.inspection.findings import inspect_dataset, inspect_inputs, to_json
from data_prep.inspection.text import screen
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tests.support.conversion import read_split
from tests.support.needs import REAL_FILES, REAL_VIDEOS, needs

SEGMENTS = {"v1": 10, "v2": 20}


def write_inputs(folder: Path, table: str = "video,class,count\nv1,Run,2\nv2,Jump,\nv2,Run,1\n") -> InputOptions:
    """A table, and joint features of 10 and 20 segments, 2 x 3 dims."""
    (folder / "labels.csv").write_text(table)
    (folder / "features").mkdir(exist_ok=True)
    for name, length in SEGMENTS.items():
        np.save(folder / "features" / f"{name}.npy", np.random.default_rng(length).random((length, 6), np.float32))
    return InputOptions(folder / "labels.csv", folder / "features", feature_layout="npy_joint")


def test_durations_come_from_the_features_where_the_annotations_have_none(tmp_path):
    inputs = open_inputs(write_inputs(tmp_path))
    assert {video.video_id: video.duration_s for video in inputs.annotations.videos} == {"v1": 6.4, "v2": 12.8}
    assert inputs.annotations.without_duration == frozenset()
    assert inputs.time_bases == {"v1": TimeBase(), "v2": TimeBase()}
    assert inputs.descriptions == (
        f"annotations: {tmp_path / 'labels.csv'} (table of videos and classes, no times, all videos in subset "
        "'training'), 2 videos",
        f"features:    {tmp_path / 'features'} (one array with all streams for each video, npy, rgb first), 2 videos",
        "time base:   25 fps, 16 frames per segment, stride 16, for all videos",
        "durations:   not in the annotations of 2 videos: 2 from the length of the features",
    )


def test_a_duration_that_nothing_tells_is_left_to_the_validation(tmp_path):
    options = write_inputs(tmp_path, "video,class,duration_s\nv1,Run,9\nv2,Run,\nv3,Run,\n")
    (tmp_path / "features" / "v2.npy").write_bytes(b"damaged")
    inputs = open_inputs(options)
    durations = {video.video_id: video.duration_s for video in inputs.annotations.videos}
    assert durations["v1"] == 9
    assert np.isnan([durations["v2"], durations["v3"]]).all()
    assert inputs.annotations.without_duration == {"v2", "v3"}
    assert inputs.descriptions[-1] == "durations:   not in the annotations of 2 videos: 2 unknown"


def test_time_base_table(tmp_path):
    options = write_inputs(tmp_path)
    table = tmp_path / "times.csv"
    options = replace(options, time_base_file=table, time_base=TimeBase(10, 16, 8))
    table.write_text("video,fps,stride_frames,duration_s\nv2,,4,\nother,1,1,1\nv1,30,,7.5\n")
    inputs = open_inputs(options)
    assert inputs.time_bases == {"v1": TimeBase(30, 16, 8), "v2": TimeBase(10, 16, 4)}
    durations = {video.video_id: video.duration_s for video in inputs.annotations.videos}
    assert durations == {"v1": 7.5, "v2": TimeBase(10, 16, 4).duration_s(20)}
    assert f"time base:   {table}, 2 different among 2 videos" in inputs.descriptions
    for text, message in (
        ("video,fps\nv1,25\n", r"times\.csv: 1 of 2 annotated videos not found \(v2\); expected a line for each"),
        ("video,fps\nv1,25\nv2,0\n", r"times\.csv:3: fps is 0"),
        ("video,fps\nv1,25\nv1,25\n", r"times\.csv:3: video 'v1' is listed twice"),
        ("video,fps\nv1,25\nv2,fast\n", r"times\.csv:3: fps is 'fast'"),
        ("video,stride_frames\nv1,1.5\nv2,1\n", r"times\.csv:2: stride_frames is '1\.5'"),
        ("video,duration_s\nv1,-1\nv2,1\n", r"times\.csv:2: duration_s is -1"),
        ("video,rate\nv1,25\nv2,1\n", r"times\.csv:1: unknown column 'rate'"),
    ):
        table.write_text(text)
        with pytest.raises(UserError, match=message):
            open_inputs(options)


def test_the_time_base_of_each_video_is_what_is_stored(tmp_path):
    options = write_inputs(tmp_path)
    (tmp_path / "times.csv").write_text("video,fps,frames_per_segment,stride_frames\nv1,30,16,8\nv2,24,64,32\n")
    inputs = replace(options, time_base_file=tmp_path / "times.csv")
    convert(ConvertOptions(inputs, tmp_path / "out", "Mine"))
    found = {
        example["id"].decode(): (example["fps"], example["frames_per_segment"], example["stride_frames"])
        for example in read_split(tmp_path / "out", "training")
    }
    assert found == {"v1": (30.0, 16, 8), "v2": (24.0, 64, 32)}


def test_counts_of_a_table_reach_the_data_set(tmp_path):
    manifest = convert(ConvertOptions(write_inputs(tmp_path), tmp_path / "out", "Mine"))
    assert (manifest.classes, manifest.counted_classes) == (("Jump", "Run"), ("Run",))
    first, second = read_split(tmp_path / "out", "training")
    assert (first["labels"].tolist(), first["counts"].tolist(), first["counts_known"].tolist()) == ([1], [2], [1])
    assert (second["labels"].tolist(), second["counts"].tolist()) == ([0, 1], [0, 1])
    assert second["counts_known"].tolist() == [0, 1]
    assert (first["instances_known"], first["duration"]) == (0, 6.4)


def test_the_tables_of_the_guide_are_read_as_it_says(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
    with_times, without_times = re.findall(r"```text\n(video,.*?)```", page, re.DOTALL)
    (tmp_path / "labels.csv").write_text(with_times)
    jump, walk, empty = read_annotations(tmp_path / "labels.csv")[0].videos
    assert [item.start_s for item in jump.instances] == [12.5, 20.1]
    assert (walk.labels, walk.instances_known, empty.labels, empty.instances_known) == (("Walk",), False, (), True)
    (tmp_path / "labels.csv").write_text(without_times)
    jump, walk, empty = read_annotations(tmp_path / "labels.csv")[0].videos
    assert (jump.labels, jump.counts) == (("Jump", "Run"), {"Jump": 2})
    assert (walk.labels, walk.counts, empty.labels) == (("Walk",), {"Walk": 1, "Jump": 0}, ())


def test_class_list(tmp_path):
    options = write_inputs(tmp_path)
    (tmp_path / "classes.txt").write_text("Swim\nRun\nJump\n")
    options = replace(options, class_list=tmp_path / "classes.txt")
    assert open_inputs(options).annotations.classes == ("Swim", "Run", "Jump")
    (tmp_path / "classes.txt").write_text("Run\nRun\n")
    with pytest.raises(UserError, match=r"classes\.txt: class 'Run' is listed more than once"):
        open_inputs(options)


def test_a_class_list_stands_for_labels_that_are_not_there(tmp_path):
    options = write_inputs(tmp_path, "video,class\nv1,\nv2,\n")
    with pytest.raises(UserError, match=r"labels\.csv: no classes found, since no video has a.* --class_list=FILE"):
        open_inputs(options)
    (tmp_path / "classes.txt").write_text("Swim\nRun\n")
    manifest = convert(ConvertOptions(replace(options, class_list=tmp_path / "classes.txt"), tmp_path / "out", "Mine"))
    assert (manifest.classes, manifest.counted_classes) == (("Swim", "Run"), ())
    assert [example["labels"].tolist() for example in read_split(tmp_path / "out", "training")] == [[], []]
    (tmp_path / "a.json").write_text('{"database": {"v1": {"subset": "testing", "duration": 6.4}}}')
    inputs = open_inputs(replace(options, annotations=tmp_path / "a.json", class_list=tmp_path / "classes.txt"))
    assert inputs.annotations.classes == ("Swim", "Run")
    (tmp_path / "classes.txt").write_text("")
    with pytest.raises(UserError, match=r"classes\.txt: no (names|class)"):
        open_inputs(replace(options, class_list=tmp_path / "classes.txt"))


@needs(REAL_FILES)
def test_fps_and_durations_from_real_videos(tmp_path):
    names = ("v_GGSY1Qvo990", "v_ZNVhz7ctTq0")
    options = write_inputs(tmp_path, "video,class\n" + "".join(f"{name},Run\n" for name in names))
    for name in names:
        np.save(tmp_path / "features" / f"{name}.npy", np.ones((22, 6), np.float32))
    inputs = open_inputs(replace(options, videos=REAL_VIDEOS, time_base=TimeBase(25, 16, 12)))
    assert inputs.time_bases == {names[0]: TimeBase(19.62, 16, 12), names[1]: TimeBase(30.0, 16, 12)}
    durations = {video.video_id: video.duration_s for video in inputs.annotations.videos}
    assert durations == {names[0]: pytest.approx(355 / 19.62), names[1]: pytest.approx(420 / 30)}
    assert f"time base:   19.62 to 30 fps as the videos in {REAL_VIDEOS}, 16 frames per segment, stride 12" in (
        inputs.descriptions
    )
    assert inputs.descriptions[-1].endswith("2 videos: 2 from the source of the time base")
    copies = tmp_path / "videos"
    copies.mkdir()
    for name in names:
        shutil.copy(REAL_VIDEOS / f"{name}.mp4", copies)
    shutil.copy(REAL_VIDEOS / f"{names[0]}.mp4", copies / f"{names[0]}.avi")
    with pytest.raises(UserError, match=rf"{names[0]}\.avi and {names[0]}\.mp4 found; expected one file"):
        open_inputs(replace(options, videos=copies))
    (copies / f"{names[0]}.avi").unlink()
    (copies / f"{names[0]}.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=rf"{names[0]}\.mp4: fps -?\d and -?\d frames found"):
        open_inputs(replace(options, videos=copies))


def test_videos_that_are_not_there(tmp_path, monkeypatch):
    options = write_inputs(tmp_path)
    with pytest.raises(UserError, match="no such folder; expected the video files"):
        open_inputs(replace(options, videos=tmp_path / "absent"))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"OpenCV is not installed.*pip install opencv-contrib-python-headless"):
        open_inputs(replace(options, videos=tmp_path))
    monkeypatch.setitem(sys.modules, "cv2", object())
    with pytest.raises(UserError, match=r"2 of 2 annotated videos have no file \(v1, v2\)"):
        open_inputs(replace(options, videos=tmp_path))
    with pytest.raises(UserError, match="expected one source of the time base"):
        replace(options, videos=tmp_path, time_base_file=tmp_path / "times.csv")


def parse(*arguments: str) -> InputOptions:
    values = flags.FlagValues()
    define_input_flags(values)
    values(["command", *arguments])
    return input_options(values)


def test_flags():
    assert parse("--annotations=a", "--features=f") == InputOptions("a", "f")
    texts = {
        name: f"{name}_x"
        for name in ("annotations", "features", "flow_features", "time_base_file", "class_list", "subset")
    }
    choices = {
        "annotation_format": "video_csv",
        "feature_layout": "hdf5_keys",
        "channel_order": "flow_first",
        "feature_axes": "crops_last",
    }
    arguments = [f"--{name}={value}" for name, value in {**texts, **choices}.items()]
    found = parse(*arguments, "--fps=10", "--frames_per_segment=8", "--stride_frames=4")
    assert found == InputOptions(**texts, **choices, time_base=TimeBase(10, 8, 4), fps_given=True, frames_given=True)
    assert parse("--annotations=a", "--features=f", "--subsets=val, test").subsets == ("val", "test")
    assert parse("--annotations=a", "--features=f", "--videos=v").videos == "v"
    with pytest.raises(UserError, match="--fps=10 and --videos=v found"):
        parse("--annotations=a", "--features=f", "--videos=v", "--fps=10")
    with pytest.raises(UserError, match="--features is not set"):
        parse("--annotations=a")


def test_inspect_says_that_fps_was_not_checked_before_and_after_the_conversion(tmp_path):
    """Whatever fps is, features are as long as themselves."""
    options = replace(write_inputs(tmp_path), time_base=TimeBase(1), fps_given=True)
    before = inspect_inputs("raw", open_inputs(options), "float32", keep_late_instances=False)
    convert(ConvertOptions(options, tmp_path / "out", "Mine"))
    for found in (before, inspect_dataset(tmp_path / "out")):
        assert "fps_unchecked" in {problem.rule for problem in found.problems}
        assert found.numbers["time_base"] is None
        assert "whether fps and stride are right was not checked" in screen(found)
        assert "fps_unchecked" in {group["rule"] for group in to_json(found)["problems"]}
    stated = write_inputs(tmp_path, "video,class,duration_s\nv1,Run,6.4\nv2,Jump,12.8\n")
    found = inspect_inputs("raw", open_inputs(stated), "float32", keep_late_instances=False)
    assert "fps_unchecked" not in {problem.rule for problem in found.problems}
    assert found.numbers["time_base"]["videos"] == 2
