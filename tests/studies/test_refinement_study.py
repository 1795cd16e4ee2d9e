"""The study of second stages: how a variant is read, how good pseudo segments are, and the table by hand."""

from __future__ import annotations

import numpy as np
import pytest

from studies.refinement_study import WEIGHT, Rule, detections, parse_rule, quality, table
from tc3net.common.errors import UserError
from tc3net.detection import DetectionConfig
from tc3net.refinement.choice import ACTION, PseudoConfig, PseudoSegments
from tests.support.report_cases import raw_scores


def test_a_rule_with_its_settings() -> None:
    plain = PseudoConfig(pseudo_weight=WEIGHT, pseudo_batches="full", pseudo_tcams="fused")
    expected = PseudoConfig(pseudo_selection="relative", pseudo_share=0.7, pseudo_unsure=1.0, pseudo_weight=2.0)
    assert parse_rule("relative:share=0.7:unsure=1:weight=2:batches=all:tcams=all") == Rule(expected, "plus")
    assert parse_rule("counts") == Rule(plain, "plus") == parse_rule("truth")
    found = parse_rule("counts:find=probabilities")
    assert [found.detection(number).segment_scores for number in (1, 2, 3)] == ["none", "sigmoid", "sigmoid"]
    for wrong in ("best", "counts:beta=1", "counts:find=best"):
        with pytest.raises(UserError, match="--variants"):
            parse_rule(wrong)


def test_every_model_is_scored_with_four_settings() -> None:
    found = detections()
    assert found["paper"] == DetectionConfig() and found["plus"].threshold == "quantile"
    assert (found["soft"].nms, found["soft"].nms_sigma) == ("soft", 0.3)
    assert (found["probabilities"].segment_scores, found["probabilities"].score_track) == ("sigmoid", "thresholded")


def test_precision_and_recall_of_segments() -> None:
    """One instance from 0.64 s to 2.56 s, segments 1 to 3; one pseudo segment over 2 to 5."""
    scores = raw_scores((8,), instances=0)
    scores.ground_truth.start_s[0], scores.ground_truth.end_s[0] = 0.64, 2.56
    (label,) = scores.ground_truth.label
    row = (np.array([0]), np.array([label]), np.array([2.0]), np.array([6.0]), np.ones(1), np.array([ACTION]))
    found = PseudoSegments(scores.video_ids, np.array([8]), len(scores.classes), *row)
    assert quality(found, scores) == pytest.approx({"precision": 2 / 4, "recall": 2 / 3})


def test_the_table_by_hand() -> None:
    def stage(value: float) -> dict[str, dict[str, float]]:
        return {name: {"@0.5": value, "0.1:0.7": value / 2} for name in ("paper", "plus", "soft")}

    entries = [
        {"variant": "CLS+CL", "stages": [stage(0.2)]},
        {"variant": "CLS+CL>counts", "stages": [stage(0.2), stage(0.3)]},
        {"variant": "CLS+CL>counts", "stages": [stage(0.2), stage(0.5)]},
    ]
    cell = "40.0 ± 14.1 / 20.0 ± 7.1"
    assert table(entries).splitlines()[2:] == [
        "| CLS+CL | 1 | 1 | 20.0 / 10.0 | 20.0 / 10.0 | 20.0 / 10.0 |",
        f"| CLS+CL>counts | 2 | 2 | {cell} | {cell} | {cell} |",
    ]
