"""From raw scores to numbers: what decides, what is shown, and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.data.split import open_split
from tc3net.detection import DetectionConfig
from tc3net.inference.raw_scores import RawScores
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.model import ThreeCNet
from tc3net.results.assessment import assess, check_protocols, selection_tag


@pytest.fixture
def scores(dataset_dir: Path) -> RawScores:
    return score_videos(Scorer(ThreeCNet(3, 4)), open_split(dataset_dir, "test"))


def test_perfect_scores_give_perfect_numbers(scores: RawScores) -> None:
    """A T-CAM that is 1 on the grid cells of the instances and -1 elsewhere, one instance per video and class."""
    tcam = -np.ones_like(scores.tcam)
    truth = scores.ground_truth
    _, first = np.unique(np.stack([truth.video, truth.label]), axis=1, return_index=True)
    kept = np.sort(first)
    starts = np.floor(truth.start_s[kept] * 25 / 16)
    for video, label, start in zip(truth.video[kept], truth.label[kept], starts.astype(int)):
        tcam[scores.row_splits[video] + start : scores.row_splits[video] + start + 2, label] = 1
    exact = replace(
        truth,
        video=truth.video[kept],
        label=truth.label[kept],
        start_s=starts * 16 / 25,
        end_s=(starts + 2) * 16 / 25,
        ambiguous_video=truth.ambiguous_video[:0],
        ambiguous_start_s=truth.ambiguous_start_s[:0],
        ambiguous_end_s=truth.ambiguous_end_s[:0],
    )
    pooled = np.repeat(np.where(scores.labels > 0, 9.0, -9.0)[:, np.newaxis], 3, axis=1).astype(np.float32)
    perfect = replace(scores, tcam=tcam, pooled=pooled, ground_truth=exact, top_k_divisor=1000)
    found = assess(perfect, DetectionConfig(), ("thumos14", "reference", "activitynet"))
    for result in found.localization:
        np.testing.assert_allclose(result.map, 1.0)
    assert found.classification.map == pytest.approx(1.0)
    assert found.scalars()[selection_tag(found.localization[0].protocol)] == pytest.approx(1.0)
    assert "thumos14 mAP@0.5 100.0 %" in found.summary()


def test_the_tag_that_selects_is_among_the_scalars(scores: RawScores) -> None:
    """As the public code: mAP@0.5, for ActivityNet the average mAP."""
    scalars = assess(scores, DetectionConfig(), ("thumos14", "activitynet")).scalars()
    assert selection_tag("thumos14") == "thumos14/mAP@0.50" in scalars
    assert selection_tag("activitynet") == "activitynet/mAP@0.5:0.95" in scalars


def test_without_protocols_only_classification_is_scored(scores: RawScores) -> None:
    found = assess(scores, DetectionConfig(), ())
    assert set(found.scalars()) == {"classification/mAP"} and found.summary().startswith("classification mAP")


def test_different_time_bases_have_no_common_grid(scores: RawScores) -> None:
    mixed = replace(scores, fps=np.where(np.arange(len(scores.fps)) == 0, 30.0, scores.fps))
    with pytest.raises(UserError, match=r"2 time bases .*Use thumos14 or thumos14_kit or activitynet"):
        assess(mixed, DetectionConfig(), ("thumos14", "reference"))
    assess(mixed, DetectionConfig(), ("thumos14", "activitynet"))


def test_unknown_protocols_are_refused() -> None:
    with pytest.raises(UserError, match="--protocols=coco"):
        check_protocols(["coco"])
    with pytest.raises(UserError, match="one or more"):
        check_protocols([])
