"""Results that can hardly be meant are said to be, and usual ones are not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.detection import DetectionConfig
from tc3net.intervals.columns import Detections
from tc3net.intervals.detections_json import load_detections, report_lines
from tc3net.results.assessment import assess_scored
from tc3net.results.plausibility import implausible, rejected_best_classes
from tc3net.results.sources import Scored, annotated_videos, from_scores
from tests.support.report_cases import CONFIG, raw_scores


def doubts(scored: Scored) -> tuple[str, ...]:
    return implausible(scored, assess_scored(scored, ["thumos14"]))


def theirs(factor: float, *, durations: bool = True, shift_s: float = 0.0, copies: int = 4) -> Scored:
    """Another tool's detections, exact but for a factor and a shift of its times."""
    annotated = annotated_videos(raw_scores((60, 25, 40, 33, 80, 12)))
    if not durations:
        annotated = dataclasses.replace(annotated, duration_s=np.full(6, np.nan))
    truth = annotated.truth
    video, label, start_s, end_s = (
        np.tile(column, copies) for column in (truth.video, truth.label, truth.start_s, truth.end_s)
    )
    found = Detections(
        truth.video_ids, video, label, factor * start_s + shift_s, factor * end_s + shift_s, np.ones(len(video))
    )
    return Scored("theirs.json", annotated, found)


@pytest.mark.parametrize("durations", [True, False])
@pytest.mark.parametrize(("factor", "unit"), [(25.0, "frames"), (30.0, "frames"), (1000.0, "milliseconds")])
def test_detections_in_another_unit(factor: float, unit: str, durations: bool) -> None:
    (line,) = doubts(theirs(factor, durations=durations))
    assert f"they look like {unit}; expected seconds" in line
    assert ("the end of its video" if durations else "its last instance") in line


def test_detections_as_fractions_of_the_video() -> None:
    scored = theirs(1.0)
    duration_s = scored.annotated.duration_s[scored.detections.video]
    found = dataclasses.replace(
        scored.detections,
        start_s=scored.detections.start_s / duration_s,
        end_s=scored.detections.end_s / duration_s,
    )
    (line,) = doubts(dataclasses.replace(scored, detections=found))
    assert "they look like fractions of the video" in line


@pytest.mark.parametrize("durations", [True, False])
def test_usual_detections_are_not_doubted(durations: bool) -> None:
    assert doubts(theirs(1.0, durations=durations)) == ()
    assert doubts(theirs(1.3, durations=durations)) == ()  # wrong, but within the videos: a bad model looks so too
    assert doubts(from_scores("ours", raw_scores((60, 25, 40, 33)), CONFIG)) == ()


def test_not_one_detection_that_finds_anything() -> None:
    scored = theirs(1.0)
    columns = vars(scored.detections)
    found = Detections(**{**columns, "label": (columns["label"] + 1) % 3, "start_s": columns["end_s"] - 0.01})
    (line,) = doubts(dataclasses.replace(scored, detections=found))
    assert "none of the" in line and "finds an instance at any threshold" in line


def test_a_class_filter_that_rejects_what_is_there() -> None:
    """T-CAMs that are right but for their level, which no loss determines; without the filter all is well."""
    scores = raw_scores((60, 25, 40, 33, 80, 12))
    low = dataclasses.replace(scores, tcam=scores.tcam - 10, pooled=scores.pooled - 10)
    (line,) = doubts(from_scores("low", low, CONFIG))
    assert line.startswith("--class_filter=positive rejects 100 % of the classes annotated in the videos")
    assert "classification mAP is" in line and "--class_filter=all" in line
    assert doubts(from_scores("low", low, DetectionConfig(class_filter="all", max_classes=5))) == ()


def test_a_class_filter_that_rejects_what_the_model_ranks_first() -> None:
    """Also where nothing is annotated: new videos, or classes alone."""
    scores = raw_scores((60, 25, 40, 33, 80, 12))
    low = dataclasses.replace(scores, tcam=scores.tcam - 10, pooled=scores.pooled - 10)
    line = rejected_best_classes(low, CONFIG)
    assert line.startswith("--class_filter=positive rejects even the class that the model ranks first in 100 % of the")
    half = rejected_best_classes(low, DetectionConfig(class_filter="half_of_best"))
    assert half.startswith("--class_filter=half_of_best rejects")
    assert rejected_best_classes(scores, CONFIG) == ""
    assert rejected_best_classes(low, DetectionConfig(class_filter="all", min_probability=1.0)) == ""
    without = from_scores("low", dataclasses.replace(low, ground_truth=low.ground_truth.of_videos(())), CONFIG)
    assert implausible(without, assess_scored(without, [])) == (line,)


@pytest.mark.parametrize("renamed", ["v_{}", "{}.mp4", "{}"])
def test_ids_that_differ_by_the_same_from_the_annotations(renamed: str, tmp_path: Path) -> None:
    """Where some videos are found and most are not, and where none is."""
    truth = theirs(1.0).annotated.truth
    entry = {"label": truth.classes[0], "segment": [0.0, 2.0], "score": 1.0}
    named = [name.upper() if renamed == "{}" else renamed.format(name) for name in truth.video_ids]
    path = tmp_path / "theirs.json"

    def write(names: list[str]) -> None:
        path.write_text(json.dumps({"results": {name: [entry] for name in names}}))

    write([truth.video_ids[0], *named[1:]])
    lines = report_lines(load_detections(path, truth), truth.classes)
    what = {"v_{}": "the prefix 'v_' of the detections", "{}.mp4": "file ending", "{}": "case"}[renamed]
    (said,) = [line for line in lines if "would have detections" in line]
    assert said.startswith(f"5 annotated videos would have detections but for {what}") and named[1] in said
    write(named)
    with pytest.raises(UserError, match=f"6 annotated videos would have detections but for {what}"):
        load_detections(path, truth)
