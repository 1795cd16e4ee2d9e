"""A protocol that a user's module adds (the one of docs/extending.md) is everywhere where those of the package are."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.data.split import open_split
from tc3net.evaluation import (
    PROTOCOLS,
    Bootstrap,
    LocalizationResult,
    analyse,
    average_recall,
    evaluate_localization,
)
from tc3net.evaluation.tables import as_dict
from tc3net.experiments.ablation import FULL, columns, write_report
from tc3net.experiments.tuning import Objective
from tc3net.experiments.tuning_results import SearchFacts, write_tuning
from tc3net.inference.raw_scores import RawScores, save_scores
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.report import load_input
from tc3net.report.charts import curve_figure
from tc3net.report.page import browser_data, render, results_of
from tc3net.results.assessment import Assessment, assess_scored, selection_tag
from tc3net.results.comparison import compare_scored, load_pair, write_comparison
from tc3net.results.folder import write_analysis, write_evaluation
from tc3net.results.sources import Scored, from_scores
from tc3net.training.tensorboard_log import class_scalars
from tc3net.training.validation import Validation, describe_selection
from tests.support import forked_commands
from tests.support.docs import code_blocks, loaded
from tests.support.report_cases import CONFIG, raw_scores, report_input
from tests.support.rows_by_hand import found, ground_truth

NAME = "quarters"  # tIoU 0.25 and 0.75, the surest detection chooses first
EVERY = (NAME, "thumos14", "reference", "activitynet")


@pytest.fixture
def added(tmp_path: Path) -> Iterator[Path]:
    """The folder that holds the module, which is loaded."""
    folder = tmp_path / "mine"
    folder.mkdir()
    with loaded(folder, NAME, code_blocks("extending.md", "A protocol")[0]):
        yield folder
        del PROTOCOLS[NAME]


@pytest.fixture
def scores() -> RawScores:
    """Raw scores with T-CAMs of the streams."""
    scores = raw_scores((60, 25, 40, 33, 80, 12))
    return replace(scores, stream_tcams={name: scores.tcam for name in scores.streams})


def assessed(scores: RawScores, **options) -> tuple[Scored, Assessment]:
    scored = from_scores("example", scores, CONFIG)
    return scored, assess_scored(scored, EVERY, **options)


def written(folder: Path, scores: RawScores) -> Path:
    """What `python -m tc3net.evaluate --protocols=quarters,...` leaves."""
    scored, assessment = assessed(scores, resamples=100)
    recall = average_recall(scored.annotated.truth, scored.detections)
    save_scores(folder / "raw_scores.npz", scores)
    write_evaluation(folder, scored, assessment, recall, "test", {"detection": vars(CONFIG)})
    return folder


def test_its_numbers_by_hand(added: Path) -> None:
    truth = ground_truth([("a", 0, 0, 10), ("a", 0, 20, 30)])
    rows = found([("a", 0, 0, 4, 0.9), ("a", 0, 20, 30, 0.8), ("a", 0, 50, 60, 0.95), ("a", 0, 0, 10, 0.1)])
    result = evaluate_localization(NAME, truth, rows)
    # At 0.25 the ranks 2 and 3 hit; at 0.75 the ranks 3 and 4, since the exact one is free for the least sure.
    np.testing.assert_allclose(result.map, [2 / 3, 1 / 2])
    assert result.averages == {"0.25:0.75": pytest.approx((2 / 3 + 1 / 2) / 2)}
    again = as_dict(result)
    assert (again["protocol"], again["tious"]) == (NAME, [0.25, 0.75])


def test_the_screen_the_scalars_and_what_selects(added: Path, scores: RawScores) -> None:
    _, assessment = assessed(scores)
    result = assessment.localization[0]
    row = next(line for line in assessment.table().splitlines() if line.startswith(NAME)).split()
    assert row[1:] == [f"{100 * value:.1f}" for value in (*result.map, *result.averages.values())]
    scalars = assessment.scalars()
    assert {f"{NAME}/mAP@0.25", f"{NAME}/mAP@0.75", f"{NAME}/mAP@0.25:0.75"} <= set(scalars)
    assert selection_tag(NAME) == f"{NAME}/mAP@0.25"
    assert assessment.summary().startswith(f"{NAME} mAP@0.25 {row[1]} %, mAP@0.25:0.75 {row[3]} %; thumos14 mAP@0.5 ")


def test_the_files_of_an_evaluation(added: Path, scores: RawScores, tmp_path: Path) -> None:
    folder = written(tmp_path / "evaluation", scores)
    scored, assessment = assessed(scores)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["localization"][NAME]["map_fraction"] == assessment.localization[0].map.tolist()
    assert metrics["localization"][NAME]["bootstrap"]["map_fraction"] and metrics["extensions"] == [NAME]
    for table in ("summary", f"per_class_{NAME}"):
        for ending in ("csv", "md", "tex"):
            assert NAME in (folder / "tables" / f"{table}.{ending}").read_text() or ending == "csv"
    rows = list(csv.DictReader((folder / "tables" / "summary.csv").open()))
    assert [row["tiou"] for row in rows if row["protocol"] == NAME] == ["0.25", "0.75", "0.25:0.75"]
    assert (folder / "tables" / f"per_class_{NAME}.csv").read_text().startswith("class,instances,detections,0.25,0.75")
    analyses = [analyse(m, scored.annotated.truth, scored.annotated.duration_s) for m in assessment.matches]
    write_analysis(folder / "analysis", analyses, "x")
    for part in ("errors", "sensitivity", "missed"):
        assert (folder / "analysis" / f"{part}_{NAME}.png").stat().st_size > 5000
    assert "at tIoU 0.25" in (folder / "analysis" / f"profile_{NAME}.md").read_text()
    assert json.loads((folder / "analysis" / "analysis.json").read_text())[NAME]["tious"] == [0.25, 0.75]


def test_a_comparison(added: Path, scores: RawScores, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(size=scores.tcam.shape).astype(np.float32)
    for name, part in (("a", scores), ("b", replace(scores, tcam=scores.tcam + noise))):
        save_scores(tmp_path / f"{name}.npz", part)
    sides = load_pair([str(tmp_path / f"{name}.npz") for name in "ab"], CONFIG, None)
    pair = compare_scored(*sides, EVERY, resamples=100, seed=0, confidence=0.9)
    shown = "\n".join(table.text() for table in pair.tables())
    for text in (f"protocol {NAME} (90 % intervals", "mAP@0.25:0.75", "AP@0.25 per class", "AP@0.5 per class"):
        assert text in shown
    write_comparison(tmp_path / "compared", pair)
    compared = json.loads((tmp_path / "compared" / "comparison.json").read_text())
    assert set(compared) == {"first", "second", "classification", *EVERY}
    assert len(compared[NAME]["map_difference"]["value"]) == 2
    assert (tmp_path / "compared" / f"comparison_per_class_{NAME}.csv").is_file()


def test_the_best_checkpoint_and_tensorboard(added: Path, dataset_dir: Path) -> None:
    model = ThreeCNet(3, 4, ModelConfig(), seed=1)
    model.compile()
    split = open_split(dataset_dir, "test")
    validation = Validation(model, CONFIG, (NAME, "thumos14"), test=split, held_out=None, selection="localization")
    evaluation = validation()
    assert evaluation.selection == evaluation.scalars[f"{NAME}/mAP@0.25"]
    assert evaluation.selected_by == f"{NAME} mAP@0.25 on the test subset 'test'"
    assert describe_selection("localization", NAME, False, "test") == evaluation.selected_by
    (watched,) = evaluation.details
    result = watched.assessment.localization[0]
    per_class = {tag: value for tag, value in class_scalars(watched).items() if NAME in tag}
    assert per_class == {f"per_class/{NAME}@0.25/{c}": ap for c, ap in zip(result.classes, result.ap[0])}


def test_tuning_and_the_ablation(added: Path, scores: RawScores, tmp_path: Path) -> None:
    _, assessment = assessed(scores)
    result = assessment.localization[0]
    objectives = {kind: Objective([scores], NAME, kind)(CONFIG) for kind in ("map50", "average", "both")}
    average = result.averages["0.25:0.75"]
    for kind, value in (("map50", result.map[0]), ("average", average), ("both", (result.map[0] + average) / 2)):
        assert objectives[kind].value == pytest.approx(value)
        assert objectives[kind].numbers == pytest.approx({"map25": result.map[0], "average": average})
    facts = SearchFacts("videos", NAME, "both", 0, ())
    write_tuning(tmp_path / "tuned", facts, objectives["both"], [objectives["both"]])
    assert f"mAP@0.25 {100 * result.map[0]:.1f} %" in (tmp_path / "tuned" / "detection.cfg").read_text()
    assert "map25" in json.loads((tmp_path / "tuned" / "tuning.json").read_text())["trials"][0]
    assert list(columns(NAME)) == ["@0.25", "@0.75", "@0.25:0.75", "classification"]
    assert set(columns(NAME).values()) <= set(assessment.scalars())
    table = write_report(tmp_path / "ablation", {FULL: {0: assessment.scalars()}}, NAME, "caption", {})
    assert "mAP@0.25 − 3C-Net" in table


def test_a_protocol_without_averages(added: Path, scores: RawScores) -> None:
    """Its own mean over the thresholds is what tuning takes for the average; nothing else shows one."""
    alone = replace(PROTOCOLS[NAME], averages={})
    scored = from_scores("example", scores, CONFIG)
    result = evaluate_localization(alone, scored.annotated.truth, scored.detections)
    assert Objective([scores], alone, "average")(CONFIG).value == pytest.approx(result.map.mean())
    PROTOCOLS[NAME] = alone
    assert assess_scored(scored, [NAME]).summary().startswith(f"{NAME} mAP@0.25 {100 * result.map[0]:.1f} %; class")
    assert list(columns(NAME)) == ["@0.25", "@0.75", "classification"]


def test_the_report(added: Path, scores: RawScores, tmp_path: Path) -> None:
    report = load_input(written(tmp_path / "evaluation", scores))
    page = render(report)
    results = results_of(report)
    assert results is not None and results.curve.text.count("; ") == 3
    assert (results.protocol, results.tious, results.row) == (NAME, (0.25, 0.75), 0)
    assert [row.ap[0] for row in results.classes] == sorted((row.ap[0] for row in results.classes), reverse=True)
    assert "AP@0.25 first" in page and f"protocol {NAME}" in page
    data = browser_data(report)
    assert (data["protocol"], data["tious"], data["tiou"]) == (NAME, [0.25, 0.75], 0)
    assert all(len(track["types"]) == 2 for video in data["videos"] for track in video["tracks"])
    # Where 0.5 is the main one, it still is.
    data = browser_data(report_input(from_scores("x", scores, CONFIG), scores, protocols=("activitynet", NAME)))
    assert data["tious"][data["tiou"]] == 0.5


def test_the_report_scores_at_the_thresholds_of_the_evaluation(scores: RawScores, tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    scored = from_scores("example", scores, CONFIG)
    assessment = assess_scored(scored, [PROTOCOLS["thumos14"].at([0.2, 0.6])])
    recall = average_recall(scored.annotated.truth, scored.detections)
    write_evaluation(folder, scored, assessment, recall, "test", {})
    report = load_input(folder)
    assert report.assessment is not None
    (result,) = report.assessment.localization
    assert result.tious == (0.2, 0.6)
    np.testing.assert_array_equal(result.ap, assessment.localization[0].ap)


def test_the_report_asks_for_the_extension(added: Path, scores: RawScores, tmp_path: Path) -> None:
    folder = written(tmp_path / "evaluation", scores)
    metrics = json.loads((folder / "metrics.json").read_text())
    kept = PROTOCOLS.pop(NAME)
    try:
        (folder / "metrics.json").write_text(json.dumps({**metrics, "extensions": ["other.module"]}))
        with pytest.raises(UserError, match=r"was made with --extensions=other\.module; not loaded here"):
            load_input(folder)
        (folder / "metrics.json").write_text(json.dumps({**metrics, "extensions": []}))
        with pytest.raises(UserError, match=f"'{NAME}' is unknown"):
            load_input(folder)
    finally:
        PROTOCOLS[NAME] = kept


@pytest.mark.parametrize("number", [1, 3, 4, 84])
def test_every_curve_is_drawn_and_looks_different(number: int) -> None:
    ones = np.ones(1, int)
    results = [
        LocalizationResult(f"p{i}", (0.25, 0.75), ("Jump",), np.array([[0.5], [0.1]]), ones, ones, ())
        for i in range(number)
    ]
    samples = np.random.default_rng(0).random((20, 2, 1))
    intervals = [Bootstrap(result.protocol, result.tious, 0.9, 0, samples) for result in results]
    figure = curve_figure(results, intervals)
    plt.close(figure)
    (axis,) = figure.axes
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axis.lines}
    assert len(axis.lines) == len(looks) == len(axis.collections) == number
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [result.protocol for result in results]


def test_the_commands(tmp_path: Path, scores: RawScores) -> None:
    """As a user types them: the module lies where the command is started."""
    (tmp_path / f"{NAME}.py").write_text(code_blocks("extending.md", "A protocol")[0])
    save_scores(tmp_path / "raw_scores.npz", scores)

    def command(*arguments: str) -> tuple[int, str]:
        return forked_commands.screen(arguments, tmp_path)

    evaluate = ("tc3net.evaluate", "--scores=raw_scores.npz", f"--protocols={NAME},thumos14", "--analysis")
    status, screen = command(*evaluate)
    assert status == 1 and f"--protocols={NAME},thumos14: expected one or more of reference" in screen
    status, screen = command(*evaluate, f"--extensions={NAME}")
    assert status == 0, screen
    assert f"{NAME} " in screen and "gain@0.25" in screen and "gain@0.5" in screen
    assert json.loads((tmp_path / "metrics.json").read_text())["extensions"] == [NAME]
    status, screen = command("tc3net.report", ".")
    assert status == 1 and "Give the same flag" in screen
    status, screen = command("tc3net.report", ".", f"--extensions={NAME}")
    assert status == 0, screen
    assert f"protocol {NAME}" in (tmp_path / "report.html").read_text()
    status, screen = command("tc3net.evaluate", "--help", f"--extensions={NAME}")
    assert f"Any of reference, thumos14, thumos14_kit, activitynet, {NAME}" in " ".join(screen.split())
