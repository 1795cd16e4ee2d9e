"""The search for detection settings: what is open to it, what it believes, and that its numbers are the protocol's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.data.split import open_split
from tc3net.data.streams import RGB_FLOW
from tc3net.detection import DetectionConfig, detect_videos
from tc3net.evaluation import evaluate_localization
from tc3net.experiments.tuning import (
    ATTENDED,
    BOUNDED,
    SPACE,
    Objective,
    Trial,
    changed_settings,
    gain,
    open_axes,
    search,
)
from tc3net.inference.raw_scores import RawScores
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.model import ThreeCNet

PAPER = DetectionConfig()


@pytest.fixture
def scores(dataset_dir: Path) -> RawScores:
    """10 videos; the T-CAM is 1 + noise in the segments of the instances."""
    scores = score_videos(Scorer(ThreeCNet(3, 4)), open_split(dataset_dir, "validation"), keep_streams=True)
    tcam = np.random.default_rng(0).normal(size=scores.tcam.shape).astype(np.float32)
    truth = scores.ground_truth
    for video, label, start, end in zip(truth.video, truth.label, truth.start_s * 25 / 16, truth.end_s * 25 / 16):
        tcam[scores.row_splits[video] + int(start) : scores.row_splits[video] + int(end) + 1, label] += 1
    return replace(scores, tcam=tcam)


def test_the_space_starts_at_the_papers_rule_and_holds_valid_settings() -> None:
    every = [choice for alternatives in SPACE.values() for choice in alternatives]
    assert all(isinstance(replace(PAPER, **choice), DetectionConfig) for choice in every)
    for alternatives in SPACE.values():
        assert replace(PAPER, **alternatives[0]) == PAPER
    named = [set().union(*alternatives) for alternatives in SPACE.values()]
    assert sum(len(names) for names in named) == len(set().union(*named))  # no setting on two axes
    levels = [choice["threshold_levels"] for choice in SPACE["threshold"] if "threshold_levels" in choice]
    assert {"0.3,0.4,0.5,0.6", "0.35,0.375,0.4,0.425,0.45,0.475,0.5,0.525,0.55"} <= set(levels)


def test_fixed_settings_and_missing_streams_close_their_axes() -> None:
    assert set(open_axes((), RGB_FLOW)) == set(SPACE)
    assert set(SPACE) - set(open_axes(("nms_sigma", "max_classes"), ())) == {"streams", "classes", "nms"}


def test_an_attention_that_the_scores_hold_is_an_axis_in_place_of_the_segments_scores() -> None:
    assert set(open_axes((), RGB_FLOW, attended=True)) ^ set(SPACE) == {"attention", "segments"}
    assert "attention" not in open_axes(("track",), RGB_FLOW, attended=True)
    assert replace(PAPER, **ATTENDED[0]) == PAPER
    assert len({replace(PAPER, **choice) for choice in ATTENDED}) == len(ATTENDED)
    others = open_axes(("track",), RGB_FLOW, attended=True)
    assert not set().union(*ATTENDED) & {name for choices in others.values() for choice in choices for name in choice}


def test_boundaries_that_the_scores_hold_are_one_more_axis() -> None:
    assert set(open_axes((), RGB_FLOW, bounded=True)) - set(SPACE) == {"proposals"}
    assert "proposals" not in open_axes(("proposals",), RGB_FLOW, bounded=True)
    assert [replace(PAPER, **choice).proposals for choice in BOUNDED] == ["runs", "boundaries"]


def trial(value: float, without: list[float], config: DetectionConfig = PAPER) -> Trial:
    return Trial(config, value, np.array(without), {"map50": value, "average": value})


def test_gain_and_its_standard_error_in_closed_form() -> None:
    """Of a mean of n values the delete-one jackknife gives the textbook's standard error, s / sqrt(n)."""
    values = np.array([3.0, 1, 4, 1, 5, 9, 2, 6])
    without = [(values.sum() - value) / 7 for value in values]
    improvement, error = gain(trial(values.mean(), without), trial(0.0, [0.0] * 8))
    assert improvement == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(8))


def test_a_gain_within_its_standard_error_is_not_believed() -> None:
    def noisy(config: DetectionConfig) -> Trial:
        sign = 1.0 if config.min_segments > 1 else 0.0
        return trial(0.5 + 0.01 * sign, [0.5 + sign * (0.01 + offset) for offset in (-0.02, 0.02, -0.02, 0.02)], config)

    best, trials = search(noisy, PAPER, {"min_segments": SPACE["min_segments"]}, 10, 0)
    assert best.config == PAPER
    assert len(trials) == 3
    assert [t.accepted for t in trials] == [True, False, False]


def separable(config: DetectionConfig) -> Trial:
    """A value with one best choice per axis, known without a doubt."""
    names = ("smoothing", "score", "nms")
    value = sum(0.1 * (getattr(config, name) == best) for name, best in zip(names, ("savgol", "contrast", "hard")))
    return trial(value, [value] * 5, config)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_the_best_choice_of_every_axis(seed: int) -> None:
    axes = {name: SPACE[name] for name in ("smoothing", "score", "nms")}
    best, trials = search(separable, PAPER, axes, 60, seed)
    assert (best.config.smoothing, best.config.score, best.config.nms) == ("savgol", "contrast", "hard")
    assert len({t.config for t in trials}) == len(trials) <= 60
    assert trials[0].config == PAPER
    assert best == [t for t in trials if t.accepted][-1]


def test_the_search_keeps_to_its_budget_and_repeats_itself() -> None:
    for budget in (1, 2, 7):
        first, second = (search(separable, PAPER, SPACE, budget, 5)[1] for _ in range(2))
        assert len(first) == budget
        assert [t.config for t in first] == [t.config for t in second]


def test_the_objective_is_the_protocols_number_with_and_without_each_group(scores: RawScores) -> None:
    config = DetectionConfig(class_filter="all", smoothing="gaussian")
    found = {kind: Objective([scores], "thumos14", kind, groups=3)(config) for kind in ("map50", "average", "both")}
    chosen = [set(scores.video_ids), *(set(scores.video_ids) - set(scores.video_ids[group::3]) for group in range(3))]
    truths = [scores.ground_truth.of_videos(ids) for ids in chosen]
    results = [evaluate_localization("thumos14", truth, detect_videos(scores, config)) for truth in truths]
    at_half = np.array([result.map[4] for result in results])
    average = np.array([result.averages["0.1:0.7"] for result in results])
    for kind, values in (("map50", at_half), ("average", average), ("both", (at_half + average) / 2)):
        assert found[kind].value == pytest.approx(values[0])
        np.testing.assert_allclose(found[kind].without, values[1:])
        assert found[kind].numbers == pytest.approx({"map50": at_half[0], "average": average[0]})
    assert at_half[0] > 0


def test_several_files_count_equally(scores: RawScores) -> None:
    worse = replace(scores, tcam=scores.tcam[::-1].copy())
    one, other, both = (
        Objective(files, "thumos14", "both", groups=2)(PAPER) for files in ([scores], [worse], [scores, worse])
    )
    assert both.value == pytest.approx((one.value + other.value) / 2)
    expected = [(x + other.value) / 2 for x in one.without] + [(one.value + x) / 2 for x in other.without]
    np.testing.assert_allclose(both.without, expected)


def test_tuning_on_noisy_scores_finds_something_better(scores: RawScores) -> None:
    best, _ = search(Objective([scores], "thumos14", "both"), PAPER, open_axes((), RGB_FLOW), 30, 0)
    assert gain(best, Objective([scores], "thumos14", "both")(PAPER))[0] > 0
    assert changed_settings(best.config)
    assert changed_settings(PAPER) == {}


def test_too_few_videos_are_refused(scores: RawScores) -> None:
    with pytest.raises(UserError, match="3 videos with temporal annotation"):
        Objective([scores.of_videos(scores.video_ids[:3])], "thumos14", "both")
