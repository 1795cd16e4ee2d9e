"""Exports of labelling tools become records: what each tool writes, what is refused, and the way out and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.annotations import AnnotationSet, Instance, read_annotations
from data_prep.annotations.label_tools.label_studio import read_label_studio
from data_prep.annotations.label_tools.labelled import video_id_of
from tc3net.common.errors import UserError
from tc3net.intervals.players import Shown, label_studio_tasks


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def spans(annotations: AnnotationSet) -> dict[str, list[tuple[str, float, float]]]:
    return {v.video_id: [(i.label, i.start_s, i.end_s) for i in v.instances] for v in annotations.videos}


def region(**value: Any) -> dict[str, Any]:
    kind = "timelinelabels" if "timelinelabels" in value else "labels" if "labels" in value else "choices"
    return {"id": "r", "from_name": "x", "to_name": "video", "type": kind, "value": value, "original_length": 60.5}


def task(
    *regions: dict[str, Any], number: int = 1, video: str = "/data/upload/3/0a1b2c3d-run.mp4", **data: Any
) -> dict:
    done = {"id": 7, "was_cancelled": False, "ground_truth": False, "result": list(regions)}
    return {"id": number, "annotations": [done], "predictions": [], "data": {"video": video, **data}}


FRAMES = region(ranges=[{"start": 26, "end": 50}, {"start": 1, "end": 10}], timelinelabels=["Run"])


def test_label_studio_counts_frames_from_one(tmp_path: Path) -> None:
    tasks = [
        task(FRAMES, region(choices=["Outdoors"]), fps=25, subset="test"),
        task(region(start=1.5, end=2.25, channel=0, labels=["Jump", "Run"]), number=2, video="b.mp4"),
        task(number=3, video="empty.mp4"),
        {"id": 4, "annotations": [], "data": {"video": "nobody.mp4"}},
    ]
    found, words = read_annotations(written(tmp_path / "export.json", tasks), subset="validation")
    assert words == "Label Studio JSON, 1 task without annotation left out"
    assert found.classes == ("Jump", "Outdoors", "Run")
    assert spans(found) == {
        "run": [("Run", 0.0, 0.4), ("Run", 1.0, 2.0)],
        "b": [("Jump", 1.5, 2.25), ("Run", 1.5, 2.25)],
        "empty": [],
    }
    first, second, empty = found.videos
    assert (first.subset, first.labels, second.subset) == ("test", ("Outdoors", "Run"), "validation")
    assert second.duration_s == 60.5 and found.without_duration == {"run", "empty"}
    assert empty.instances_known and empty.labels == ()


def test_label_studio_takes_fps_from_the_table_beside_it(tmp_path: Path) -> None:
    export = written(tmp_path / "export.json", [task(FRAMES)])
    with pytest.raises(UserError, match=r"task 1: intervals of 'run' in frames .* expected .*videos.csv with"):
        read_annotations(export)
    written(tmp_path / "videos.csv", "video,fps,subset,duration\nrun,50,test,00:40\n")
    found, words = read_annotations(export)
    assert spans(found) == {"run": [("Run", 0.0, 0.2), ("Run", 0.5, 1.0)]}
    assert (found.videos[0].subset, found.videos[0].duration_s, words) == ("test", 40.0, "Label Studio JSON")


def test_label_studio_with_several_annotators_takes_the_ground_truth(tmp_path: Path) -> None:
    chosen = task(FRAMES, fps=25)
    other = {"id": 8, "result": [], "was_cancelled": False}
    cancelled = {"id": 9, "result": [], "was_cancelled": True}
    chosen["annotations"] += [other, cancelled]
    export = written(tmp_path / "export.json", [chosen])
    with pytest.raises(UserError, match="2 annotations found, 0 of them marked as ground truth; expected one"):
        read_annotations(export)
    chosen["annotations"][0]["ground_truth"] = True
    assert len(read_annotations(written(export, [chosen]))[0].videos[0].instances) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (task(region(ranges=[{"start": 0, "end": 3}], timelinelabels=["Run"]), fps=25), "expected frames from 1"),
        (task(region(ranges=[{"start": 5, "end": 3}], timelinelabels=["Run"]), fps=25), "start before end"),
        (task(FRAMES, fps=0), "expected a positive number"),
        (task(region(start=2, end=1, labels=["Run"])), "ends before it starts"),
        ({"id": 1, "annotations": [{"result": [{"id": "r"}]}], "data": {"video": "a.mp4"}}, "a region without a value"),
        ({"id": 1, "annotations": [{"result": []}], "data": {"text": "x"}}, "no media among text"),
    ],
)
def test_label_studio_refuses_what_cannot_be(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_annotations(written(tmp_path / "export.json", [wrong]))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0.05, 60), st.sampled_from(["Run", "Jump & run"])), max_size=8),
    st.sampled_from([10.0, 25.0, 29.97]),
)
def test_detections_go_to_label_studio_and_come_back_within_a_frame(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[float, float, str]], fps: float
) -> None:
    shown = sorted(
        (Shown(label, 0.5, start, start + length) for start, length, label in found), key=lambda s: s.start_s
    )
    tasks = label_studio_tasks({"v": shown}, fps, "https://host/{video}.mp4", "m", control="timeline", media="video")
    for one in tasks:  # what a person does who accepts all of them
        one["annotations"] = [{"result": one["predictions"][0]["result"]}]
    path = written(tmp_path_factory.mktemp("way") / "tasks.json", tasks)
    instances = read_label_studio(path).videos[0].instances
    assert sorted(i.label for i in instances) == sorted(s.label for s in shown)
    for one in shown:
        near = [i for i in instances if i.label == one.label and abs(i.start_s - one.start_s) <= 0.51 / fps]
        assert any(abs(i.end_s - one.end_s) <= 1.01 / fps and i.end_s > i.start_s for i in near)


def cvat(body: str, size: int = 100, source: str = "clips/run.mp4", head: str = "") -> str:
    meta = f"<task><id>5</id><name>t</name><size>{size}</size>{head}</task><source>{source}</source>"
    start = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>'
    return f"{start}<meta>{meta}</meta>{body}</annotations>"


def track(label: str, *shown: tuple[int, int]) -> str:
    boxes = "".join(f'<box frame="{frame}" outside="{outside}" xtl="1"/>' for frame, outside in shown)
    return f'<track id="0" label="{label}" source="manual">{boxes}</track>'


RATES = "video,fps,subset\nrun,10,test\nb,20,\n"


def test_cvat_tracks_are_instances_while_they_are_visible(tmp_path: Path) -> None:
    body = track("Run", (5, 0), (9, 0), (15, 1), (40, 0), (50, 1)) + track("Jump", (90, 0))
    export = written(tmp_path / "run.xml", cvat(body))
    with pytest.raises(UserError, match="frames per second"):
        read_annotations(export)
    written(tmp_path / "videos.csv", RATES)
    found, words = read_annotations(export)
    assert (words, found.classes) == ("CVAT", ("Jump", "Run"))
    assert spans(found) == {"run": [("Run", 0.5, 1.5), ("Run", 4.0, 5.0), ("Jump", 9.0, 10.0)]}
    assert (found.videos[0].duration_s, found.videos[0].subset) == (10.0, "test")


def test_cvat_tags_of_consecutive_frames_are_one_instance(tmp_path: Path) -> None:
    tagged = (0, 2, 4, 20, 22)
    images = "".join(f'<image id="{n}" name="frame_{n}"><tag label="Run"/></image>' for n in tagged)
    tags = "".join(f'<tag frame="{n}" label="Jump"/>' for n in (30, 32))
    written(tmp_path / "videos.csv", RATES)
    body = cvat(images + tags, head="<frame_filter>step=2</frame_filter>")
    found, _ = read_annotations(written(tmp_path / "run.xml", body))
    assert spans(found) == {"run": [("Run", 0.0, 0.6), ("Run", 2.0, 2.4), ("Jump", 3.0, 3.4)]}


def test_a_folder_of_cvat_exports_is_a_data_set(tmp_path: Path) -> None:
    written(tmp_path / "x" / "videos.csv", RATES)
    written(tmp_path / "x" / "1.xml", cvat(track("Run", (0, 0), (10, 1))))
    written(tmp_path / "x" / "2.xml", cvat("", source="b.mp4"))
    found, words = read_annotations(tmp_path / "x")
    assert words == "CVAT, a file for each video, 1 video without a subset taken as training"
    assert spans(found) == {"run": [("Run", 0.0, 1.0)], "b": []}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (cvat("<track"), "not valid XML"),
        (cvat(track("Run", (1, 0)).replace('"1"', '"one"', 1)), "frame of box is 'one'; expected a number"),
        ("<annotations><meta></meta></annotations>", "no task or job"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotations><meta>&x;</meta></annotations>', "declares entities"),
    ],
)
def test_cvat_refuses_damage(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_annotations(written(tmp_path / "run.xml", content), "cvat")


def via(**changes: Any) -> dict[str, Any]:
    project = {
        "project": {"pid": "x"}, "config": {},
        "attribute": {
            "1": {"aname": "TEMPORAL-SEGMENTS", "anchor_id": "FILE1_Z2_XY0", "options": {"0": "Run", "1": "Jump"}}
        },
        "file": {"1": {"fid": "1", "fname": "run.mp4"}, "2": {"fid": "2", "fname": "b.mp4"}},
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
        "metadata": {
            "1_a": {"vid": "1", "z": [4.5, 6], "xy": [], "av": {"1": "0"}},
            "1_b": {"vid": "1", "z": [1, 2.25], "xy": [], "av": {"1": "Swim"}},
            "1_c": {"vid": "1", "z": [], "xy": [], "av": {"1": "1"}},
        },
    }  # fmt: skip
    return {**project, **changes}


def test_via_projects_and_exports_say_the_same(tmp_path: Path) -> None:
    found, words = read_annotations(written(tmp_path / "p.json", via()), subset="test")
    assert words == "VIA 3 project, 1 value without times left out"
    assert spans(found) == {"run": [("Swim", 1.0, 2.25), ("Run", 4.5, 6.0)], "b": []}
    rows = [
        '"1_a","[""run.mp4""]",0,"[4.5,6]","[]","{""1"":""Run""}"',
        '"1_b","[""run.mp4""]",0,"[1,2.25]","[]","{""1"":""Swim""}"',
    ]
    columns = "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata"
    header = f"# Exported using VGG Image Annotator\n# CSV_HEADER = {columns}\n"
    exported, words = read_annotations(written(tmp_path / "e.csv", header + "\n".join(rows)), subset="test")
    assert words == "VIA 3 CSV" and exported.videos == found.videos[:1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metadata": {"1_a": {"vid": "1", "z": [4.5, 3], "av": {"1": "0"}}}}, "ends before it starts"),
        ({"metadata": {"1_a": {"vid": "1", "z": [4.5], "av": {"1": "0"}}}}, r"not \[start, end\]"),
        ({"metadata": {"1_a": {"vid": "1", "z": [4, 5], "av": {}}}}, "without a value"),
        ({"metadata": {"1_a": {"vid": "9", "z": [4, 5], "av": {"1": "0"}}}}, "missing or of another form"),
        ({"file": {"1": {}}}, "missing or of another form"),
    ],
)
def test_via_refuses_damage(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_annotations(written(tmp_path / "p.json", via(**changes)))


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT FORMAT="3.0" VERSION="3.0">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/v/run%20one.mp4" MIME_TYPE="video/mp4"/></HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1500"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2250"/>
<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="ts4"/></TIME_ORDER>
<TIER TIER_ID="actions"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE> Run </ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="Jump"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE/></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="notes" PARENT_REF="actions"><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
<ANNOTATION_VALUE>fast</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>"""


def test_elan_texts_are_classes_and_tiers_where_there_is_none(tmp_path: Path) -> None:
    document = written(tmp_path / "one" / "a.eaf", EAF)
    for path, form in ((document, "ELAN"), (tmp_path / "one", "ELAN, a document for each video")):
        found, words = read_annotations(path, subset="test")
        assert words == f"{form}, 1 annotation that refer to others left out"
        assert found.videos[0].instances == (Instance(0.0, 2.25, "Jump"), Instance(1.5, 2.25, "Run"))
        assert found.videos[0].video_id == "run one" and found.without_duration == {"run one"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('REF2="ts2"', 'REF2="ts4"', "annotation a1 of tier 'actions' has no end"),
        ('"1500"', '"soon"', "TIME_VALUE of TIME_SLOT is 'soon'"),
        ('UNITS="milliseconds"', 'UNITS="PAL-frames"', "times in PAL-frames"),
        ("</HEADER>", "", "not valid XML"),
    ],
)
def test_elan_refuses_damage(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_annotations(written(tmp_path / "a.eaf", EAF.replace(old, new)))


@pytest.mark.parametrize(
    ("media", "name"),
    [
        ("/data/upload/1/0a1b2c3d-a.b.mp4", "a.b"), ("s3://bucket/x/run.mp4", "run"), ("C:\\videos\\run.avi", "run"),
        ("/data/local-files/?d=v%2Frun.mp4", "run"), ("https://host/run.mp4?token=abc", "run"), ("run", "run"),
        ("deadbeef-.mp4", "deadbeef-"), ("0a1b2c3d.mp4", "0a1b2c3d"),
    ],
)  # fmt: skip
def test_videos_are_named_after_their_files(media: str, name: str) -> None:
    assert video_id_of(media) == name


def test_tables_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    export = written(tmp_path / "export.json", [task(FRAMES)])
    for table, said in (
        ("video,fps\nrun,25\nrun,30\n", "listed twice"),
        ("video,fps\nrun,many\n", "expected a number"),
    ):
        written(tmp_path / "videos.csv", table)
        with pytest.raises(UserError, match=said):
            read_annotations(export)
