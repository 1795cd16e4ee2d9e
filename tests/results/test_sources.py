"""Where detections and ground truth come from, and that each way gives the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.annotations import AnnotationSet, Instance, VideoRecord
from data_prep.annotations.activitynet_json import activitynet_dict
from tc3net.common.errors import UserError
from tc3net.data.split import open_split
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.evaluation import average_recall
from tc3net.inference.raw_scores import save_scores
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.intervals.annotations_json import load_annotations
from tc3net.intervals.columns import AnnotatedVideos
from tc3net.intervals.from_dataset import read_annotated_videos
from tc3net.model import ThreeCNet
from tc3net.results.assessment import assess_scored, segment_grid
from tc3net.results.folder import load_folder, write_evaluation
from tc3net.results.sources import annotated_videos, from_detections, from_scores
from tests.support.needs import PUBLISHED, PUBLISHED_DETECTIONS, needs

PROTOCOLS = ("thumos14", "reference", "activitynet")


@pytest.fixture
def evaluated(dataset_dir: Path, tmp_path: Path) -> Path:
    """The folder of an evaluation of an untrained model."""
    scores = score_videos(Scorer(ThreeCNet(3, 4)), open_split(dataset_dir, "test"))
    config = DetectionConfig(video_scores="sum")
    scored = from_scores("model", scores, config)
    folder = tmp_path / "run" / "evaluation"
    save_scores(folder / "raw_scores.npz", scores)
    recall = average_recall(scored.annotated.truth, scored.detections)
    assessment = assess_scored(scored, PROTOCOLS, resamples=100)
    write_evaluation(folder, scored, assessment, recall, subset="test", facts={"detection": vars(config)})
    return folder


def same(a: AnnotatedVideos, b: AnnotatedVideos) -> None:
    assert (a.dataset, a.time_bases) == (b.dataset, b.time_bases)
    np.testing.assert_array_equal(a.duration_s, b.duration_s)
    for name, value in vars(a.truth).items():
        np.testing.assert_array_equal(getattr(b.truth, name), value, err_msg=name)


def test_ground_truth_is_the_same_from_records_scores_and_json(dataset_dir: Path, evaluated: Path) -> None:
    scores = score_videos(Scorer(ThreeCNet(3, 4)), open_split(dataset_dir, "test"))
    records = read_annotated_videos(dataset_dir, "test")
    assert len(records.truth) > 5 and len(records.truth.ambiguous_video) == 1
    same(annotated_videos(scores), records)
    same(records, load_annotations(evaluated / "ground_truth.json", "test"))
    same(read_annotated_videos(dataset_dir, "Val"), read_annotated_videos(dataset_dir, "validation"))
    with pytest.raises(UserError, match="no videos in a subset 'train'"):
        read_annotated_videos(dataset_dir, "train")


def test_detections_score_the_same_from_the_model_its_file_and_its_folder(dataset_dir: Path, evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    folder = load_folder(evaluated.parent)  # the run holds it as `evaluation`
    assert folder.name == str(evaluated.parent)
    file = from_detections(evaluated / "detections.json", read_annotated_videos(dataset_dir, "test"))
    assert file.videos is None and file.out_of_scope is not None
    for scored in (folder, file):
        found = assess_scored(scored, PROTOCOLS, resamples=100).as_dict(scored.annotated.truth.classes)
        assert found["localization"] == metrics["localization"]
    assert folder.videos is not None and folder.videos.scores.sum(axis=1) == pytest.approx(3)  # the settings' "sum"
    assessment = assess_scored(file, PROTOCOLS)
    assert assessment.classification is None and "classification/mAP" not in assessment.scalars()
    assert "classification" not in assessment.summary() and not assessment.intervals
    for name in ("summary", *(f"per_class_{protocol}" for protocol in PROTOCOLS)):
        for ending in ("csv", "md", "tex"):
            assert (evaluated / "tables" / f"{name}.{ending}").read_text()


def test_folders_without_an_evaluation_are_refused(evaluated: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no detections.json found there .* Run `python -m tc3net.evaluate`"):
        load_folder(tmp_path)
    (evaluated / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="no detection settings"):
        load_folder(evaluated)
    (evaluated / "raw_scores.npz").unlink()
    assert load_folder(evaluated).videos is None
    (evaluated / "ground_truth.json").unlink()
    with pytest.raises(UserError, match=r"ground_truth\.json: cannot be read"):
        load_folder(evaluated)


@needs(PUBLISHED_DETECTIONS)
@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("thumos14", [52.12, 44.20, 34.70, 26.06, 17.70, 10.09, 4.99]),  # published: 52.1 44.2 34.7 26.1 17.7 10.1 4.9
        ("thumos14_kit", [45.6, 39.4, 31.7, 24.5, 16.9, 9.6, 4.8]),
    ],
)
def test_published_detections_have_their_published_map(protocol: str, expected: list[float]) -> None:
    """STPN's, on the ground truth file of public code, whose times are text."""
    truth = load_annotations(PUBLISHED / "thumos14_gt.json", "test")
    scored = from_detections(PUBLISHED / "stpn_thumos14_detections.json", truth)
    (result,) = assess_scored(scored, [protocol]).localization
    np.testing.assert_allclose(100 * result.map, expected, rtol=0, atol=0.05)


def test_an_unknown_segment_grid_is_that_of_thumos14(dataset_dir: Path) -> None:
    truth = read_annotated_videos(dataset_dir, "test").truth
    assert segment_grid(AnnotatedVideos("x", truth, np.zeros(0))) == TimeBase()
    assert segment_grid(AnnotatedVideos("x", truth, np.zeros(0), (TimeBase(30),))) == TimeBase(30)


def test_any_annotation_format_becomes_json_that_evaluation_reads(tmp_path: Path) -> None:
    videos = (
        VideoRecord("a", "test", 12.5, ("Jump",), (Instance(1.0, 2.0, "Jump"),), True, ((3.0, 4.0),)),
        VideoRecord("b", "test", float("nan"), (), (), True),
        VideoRecord("c", "test", 9.0, ("Run",), (), False),
    )
    path = tmp_path / "a.json"
    annotations = AnnotationSet(("Run", "Jump"), videos)
    path.write_text(json.dumps(activitynet_dict(annotations, "tc3net", with_labels=True), allow_nan=False))
    read = load_annotations(path, "test")
    assert read.truth.classes == ("Run", "Jump") and read.truth.video_ids == ("a", "b")
    assert read.truth.label.tolist() == [1] and read.truth.ambiguous_start_s.tolist() == [3.0]
    assert read.duration_s[0] == 12.5 and np.isnan(read.duration_s[1])
