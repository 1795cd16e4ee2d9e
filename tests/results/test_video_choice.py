"""Which videos are scored, and which of them count as background: by list, file and name, and from a folder again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.annotations.wtalc_folder import read_wtalc_folder
from tc3net.common.errors import UserError
from tc3net.evaluation import average_recall, classification_map
from tc3net.inference.raw_scores import save_scores
from tc3net.intervals.annotations_json import load_annotations
from tc3net.results.assessment import assess_scored
from tc3net.results.background_videos import read_background_videos
from tc3net.results.folder import load_folder, write_evaluation
from tc3net.results.sources import background_blanked, chosen_only, from_detections, from_scores
from tc3net.results.video_lists import VIDEO_LISTS, VideoChoice, chosen_videos, read_names
from tests.support.commands import command
from tests.support.needs import PUBLISHED, PUBLISHED_DETECTIONS, REAL_ANNOTATIONS, SCIPY, SHARED_DATA, needs
from tests.support.report_cases import CONFIG, raw_scores

NAMES = [f"video_test_{number:07d}" for number in (4, 270, 1292, 1496)]


def kept(choice: VideoChoice, known: list[str] = NAMES) -> list[str]:
    stays, _ = chosen_videos(choice, known)
    return list(filter(stays, known))


@pytest.mark.parametrize(
    ("videos", "numbers"),
    [("", "0123"), ("thumos14_213", "0123"), ("thumos14_212", "013"), ("thumos14_211", "02"), ("thumos14_210", "0")],
)
def test_a_named_list_is_the_subset_without_its_exceptions(videos: str, numbers: str) -> None:
    assert kept(VideoChoice(videos)) == [NAMES[int(number)] for number in numbers]
    if videos:
        assert VIDEO_LISTS[videos].number == 213 - len(VIDEO_LISTS[videos].excluded)


def test_files_and_names_and_both_together(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text(
        "\ufeffvideo_test_0000004  # the first\n\nvideo_test_0000270\r\nvideo_test_0009999\n", encoding="utf-8"
    )
    stays, absent = chosen_videos(VideoChoice(str(path)), NAMES)
    assert list(filter(stays, NAMES)) == NAMES[:2] and absent == ("video_test_0009999",)
    assert kept(VideoChoice(str(path), "video_test_0000004")) == NAMES[1:2]
    assert kept(VideoChoice(exclude_videos=f" {NAMES[0]} ,{NAMES[3]}")) == NAMES[1:3]
    assert kept(VideoChoice("thumos14_212", str(path))) == NAMES[3:]
    assert read_names(path) == {*NAMES[:2], "video_test_0009999"}


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (VideoChoice("thumos14_21O"), "no such file; expected one video per line, or one of the lists thumos14_213"),
        (VideoChoice(exclude_videos="lists/gone.txt"), "no such file"),
        (VideoChoice(exclude_videos=",".join(NAMES)), r"leaves none of the 4 videos \(first: \['video_test_0000004'"),
        (VideoChoice("empty.txt"), "no name found"),
        (VideoChoice("other.txt"), r"not among them: \['elsewhere'\]"),
        (VideoChoice("."), "expected a text file"),
    ],
)
def test_a_choice_that_cannot_be_meant(
    choice: VideoChoice, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("# none\n\n")
    Path("other.txt").write_text("elsewhere\n")
    with pytest.raises(UserError, match=message):
        chosen_videos(choice, NAMES)


def test_everything_that_is_scored_is_of_the_chosen_videos(tmp_path: Path) -> None:
    """As if the others had never been there; and a folder that was written so is read so."""
    scores = raw_scores((60, 25, 40, 33))
    left = {"video_0001", "video_0003"}
    chosen = chosen_only(from_scores("all", scores, CONFIG), VideoChoice(exclude_videos="video_0000,video_0002,gone"))
    alone = from_scores("all", scores.of_videos(left), CONFIG)
    for name in ("video", "label", "start_s", "end_s", "score"):
        np.testing.assert_array_equal(getattr(chosen.detections, name), getattr(alone.detections, name), err_msg=name)
    assessment, expected = (assess_scored(scored, ["thumos14", "reference"]) for scored in (chosen, alone))
    assert assessment.as_dict(scores.classes) == expected.as_dict(scores.classes)
    assert chosen.annotated.notes == (
        "2 of 4 annotated videos scored: all annotated videos, without those of --exclude_videos",
        "1 of the names given are of no video here (gone)",
    )
    assert chosen_only(alone, VideoChoice()) is alone

    save_scores(tmp_path / "raw_scores.npz", scores)  # of all: other videos may be chosen from it later
    blanked = dataclasses.replace(chosen, videos=chosen.videos.without_labels_of(["video_0001"]))
    assessment = assess_scored(blanked, ["thumos14"])
    recall = average_recall(chosen.annotated.truth, chosen.detections)
    write_evaluation(tmp_path, blanked, assessment, recall, "test", {"detection": vars(CONFIG)})
    again = load_folder(tmp_path)
    assert again.videos.video_ids == ("video_0001", "video_0003") and again.videos.background == ("video_0001",)
    assert assess_scored(again, ["thumos14"]).as_dict(scores.classes) == assessment.as_dict(scores.classes)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["videos"]["annotated"], metrics["videos"]["absent"]) == (2, ["gone"])


@needs(PUBLISHED_DETECTIONS)
def test_published_detections_on_a_list_of_the_field() -> None:
    truth = load_annotations(PUBLISHED / "thumos14_gt.json", "test")
    scored = from_detections(PUBLISHED / "stpn_thumos14_detections.json", truth)
    assert not chosen_only(scored, VideoChoice("thumos14_210")).annotated.notes[1:]
    chosen = chosen_only(scored, VideoChoice("thumos14_213", exclude_videos="video_test_0000004"))
    assert "the list thumos14_213 has 213 videos, 209 of which are annotated here" in chosen.annotated.notes
    assert chosen.chosen["left_out"] == ["video_test_0000004"] and "2014" in chosen.chosen["source"]


@needs(REAL_ANNOTATIONS)
def test_the_lists_are_those_of_the_published_annotations() -> None:
    """W-TALC annotates 212 of the test videos, 3C-Net 210; their class labels show what is false about two."""
    videos = {
        name: {v.video_id: v for v in read_wtalc_folder(SHARED_DATA / name).videos if v.subset == "test"}
        for name in ("thumos14", "thumos14-3cnet")
    }
    known = {name: {i for i, v in found.items() if v.instances_known} for name, found in videos.items()}
    everything = known["thumos14"] | {"video_test_0001292"}
    assert len(everything) == 213
    for name, found in VIDEO_LISTS.items():
        assert len(kept(VideoChoice(name), sorted(everything))) == found.number
    assert set(kept(VideoChoice("thumos14_212"), sorted(everything))) == known["thumos14"]
    assert set(kept(VideoChoice("thumos14_210"), sorted(everything))) == known["thumos14-3cnet"]
    for name in VIDEO_LISTS["thumos14_211"].excluded:
        video = videos["thumos14"][name]
        assert not {item.label for item in video.instances} & set(video.labels)
    assert videos["thumos14"]["video_test_0001292"].ambiguous


@needs(SCIPY)
@needs(REAL_ANNOTATIONS)
def test_background_videos_of_thumos14_are_negatives_of_every_class() -> None:
    """Against the same computed by hand: without their labels, as public code does."""
    background = read_background_videos(SHARED_DATA / "thumos14" / "test_set_meta.mat")
    assert len(background) == 480 and "video_test_0000001" in background and "video_test_0000004" not in background
    names = ["video_test_0000001", "video_test_0000004", "video_test_0000002", "video_test_0000006"]
    scored = from_scores("some", raw_scores((30, 30, 30, 30), video_ids=names), CONFIG)
    blanked = background_blanked(scored, SHARED_DATA / "thumos14" / "test_set_meta.mat")
    labels = scored.videos.labels.copy()
    labels[[name in background for name in names]] = 0
    assert labels.sum() < scored.videos.labels.sum()
    assessment = assess_scored(blanked, ["thumos14"])
    assert assessment.classification.map == classification_map(scored.videos.scores, labels).map
    assert scored.videos.convention == "4 videos, labels as annotated"
    number = sum(name in background for name in names)
    assert assessment.convention.startswith(f"4 videos, {number} of them background") and number
    assert assessment.convention in assessment.table()
    assert assessment.as_dict(("a", "b", "c"))["classification"]["convention"] == assessment.convention
    other = from_scores("other", raw_scores((30, 30)), CONFIG)
    with pytest.raises(UserError, match="none of its 480 background videos is scored"):
        background_blanked(other, SHARED_DATA / "thumos14" / "test_set_meta.mat")
    with pytest.raises(UserError, match="no video-level scores"):
        background_blanked(dataclasses.replace(scored, videos=None), SHARED_DATA / "thumos14" / "test_set_meta.mat")


@needs(SCIPY)
def test_a_file_that_is_no_test_set_meta(tmp_path: Path) -> None:
    import scipy.io

    path = tmp_path / "meta.mat"
    with pytest.raises(UserError, match="no such file"):
        read_background_videos(path)
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300))
    with pytest.raises(UserError, match=r"expected test_set_meta.mat of the THUMOS14 challenge"):
        read_background_videos(path)
    scipy.io.savemat(path, {"other": [1]})
    with pytest.raises(UserError, match=r"whose `test_videos` have video_name"):
        read_background_videos(path)
    videos = np.array([[("a", "PERHAPS")]], [("video_name", object), ("background_video", object)])
    scipy.io.savemat(path, {"test_videos": videos})
    with pytest.raises(UserError, match=r"background_video is .'PERHAPS'.; expected YES or NO"):
        read_background_videos(path)
    videos = np.array([("a", "YES"), ("b", "NO")], [("video_name", object), ("background_video", object)])
    scipy.io.savemat(path, {"test_videos": videos})
    assert read_background_videos(path) == {"a"}


def test_without_scipy_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(UserError, match="pip install scipy"):
        read_background_videos("test_set_meta.mat")


def test_the_command_says_how_many_and_keeps_it(tmp_path: Path) -> None:
    """From raw scores, as a user chooses other videos afterwards."""
    save_scores(tmp_path / "raw_scores.npz", raw_scores((60, 25, 40, 33)))
    out = tmp_path / "out"
    screen = command(
        "tc3net.evaluate",
        f"--scores={tmp_path / 'raw_scores.npz'}",
        f"--output_dir={out}",
        "--exclude_videos=video_0001",
    )
    assert "3 of 4 annotated videos scored: all annotated videos, without those of --exclude_videos" in screen
    assert "classes with videos: 3; 3 videos, labels as annotated" in screen
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["videos"]["left_out"] == ["video_0001"] and metrics["implausible"] == []
    assert set(json.loads((out / "ground_truth.json").read_text())["database"]) == {
        "video_0000", "video_0002", "video_0003"
    }  # fmt: skip
