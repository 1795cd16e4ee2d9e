"""TensorBoard's event files, read back: every tag with its values, pictures, texts; nothing twice after a resume."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.colors
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

from tc3net.common.errors import UserError
from tc3net.common.storage import RemotePath, local_copy
from tc3net.common.storage.copies import put_folder
from tc3net.data.holdout import divide
from tc3net.data.pipeline import InputConfig
from tc3net.data.split import open_split
from tc3net.detection import DetectionConfig, video_scores
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import make_optimizer
from tc3net.training.event_files import trim_events
from tc3net.training.metrics_log import read_metrics
from tc3net.training.observers import Evaluation, IntervalFacts
from tc3net.training.tensorboard_log import (
    MAX_CLASSES,
    RunCard,
    TensorBoardConfig,
    TensorBoardLog,
    choose_videos,
    markdown_table,
    timeline_of,
)
from tc3net.training.trainer import TrainerConfig
from tc3net.training.validation import Validation, Watched
from tc3net.visualization.curves import CurveSource
from tc3net.visualization.timeline import DETECTION, TRUTH
from tests.support.memory import memory_folder
from tests.support.rehearsal import Rehearsal

Points = dict[str, list[tuple[int, Any]]]
CARD = RunCard(
    texts={"dataset": "test data (simulated features)", "flags": markdown_table(("flag", "value"), [("alpha", "a|b")])},
    hparams={"alpha": 0.5, "batch_size": 4, "optimizer": "adam", "temporal_conv": False},
    metrics={"selection": "selection", "thumos14/mAP@0.50": "mAP"},
)


def read_events(folder: Path) -> Points:
    """Tag -> (step, value) in the order of the files; a summary without a tensor (HParams) as its metadata."""
    found: Points = defaultdict(list)
    for path in sorted(folder.glob("*tfevents*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                shown = value.metadata if value.tag.startswith("_hparams_/") else tf.make_ndarray(value.tensor)
                found[value.tag].append((event.step, shown))
    return found


def make_model(seed: int = 1) -> ThreeCNet:
    model = ThreeCNet(3, 4, ModelConfig(dropout=0.0), seed=seed)
    model.compile(make_optimizer(1e-2))
    return model


@functools.cache
def rehearsal() -> Rehearsal:
    return Rehearsal(make_model)


def run(
    dataset_dir: Path, run_dir: Path, iterations: int, config: TensorBoardConfig, hold_out: bool
) -> tuple[Points, Points, list[Evaluation]]:
    """Trains; what the folders train and eval hold then, and the evaluations."""
    split, held_out = open_split(dataset_dir, "validation"), None
    if hold_out:
        split, held_out = divide(split, 0.4, seed=0)
    test, model, evaluations = open_split(dataset_dir, "test"), rehearsal().model, []
    validation = Validation(
        model, DetectionConfig(), ("thumos14", "reference"), test=test, held_out=held_out, selection="localization"
    )

    def evaluate() -> Evaluation:
        evaluations.append(validation())
        return evaluations[-1]

    settings = TrainerConfig(iterations=iterations, log_every=1, eval_every=2, checkpoint_every=2)
    log = TensorBoardLog(run_dir, model, config=config, card=CARD)
    trainer = rehearsal().trainer(settings, run_dir, evaluate, [log])
    trainer.train(split, InputConfig(batch_size=4, crop_segments=8, seed=3))
    folders = [read_events(run_dir / "tensorboard" / name) for name in ("train", "eval")]
    return folders[0], folders[1], evaluations


def test_a_run_shows_everything_once_also_when_it_was_killed_and_resumed(dataset_dir: Path, tmp_path: Path) -> None:
    one = TensorBoardConfig(tensorboard_videos=1)
    train, evaluated, evaluations = run(dataset_dir, tmp_path, 3, one, True)

    # Scalars: the same numbers that metrics.jsonl has.
    logged = {e["step"]: e for e in read_metrics(tmp_path) if "loss" in e}
    terms = [name for name in make_model().term_names() if name != "loss" and not name.startswith("count")]
    norms = ["learning_rate", "gradient_norm", "center_norm_rgb", "center_norm_flow"]
    names = {"loss": "loss", **{f"loss/{name}": name for name in terms}}
    names.update({f"optimization/{name}": name for name in norms})
    names.update({f"speed/{n}": n for n in ("steps_per_second", "segments_per_second", "input_wait_share")})
    for tag, name in names.items():
        assert [step for step, _ in train[tag]] == [1, 2, 3], tag
        np.testing.assert_allclose([v for _, v in train[tag]], [logged[s][name] for s in (1, 2, 3)], rtol=1e-6)
    assert {"loss/count_positive", "loss/count_negative"} <= set(train)
    for position, (step, evaluation) in enumerate(zip((0, 2, 3), evaluations)):
        expected = {**evaluation.scalars, "selection": evaluation.selection}
        assert {"holdout/loss", "holdout/thumos14/mAP@0.50", "thumos14/mAP@0.1:0.7"} <= set(expected)
        for subset in evaluation.details:
            group = "per_class/holdout" if subset.held_out else "per_class"
            result = subset.assessment.localization[0]
            for name, ap in zip(result.classes, result.ap[result.tious.index(0.5)]):
                expected[f"{group}/thumos14@0.50/{name}"] = ap
            for name, ap in zip(subset.scores.classes, subset.assessment.classification.ap):
                expected[f"{group}/classification/{name}"] = ap
        for tag, value in expected.items():
            if not np.isnan(value):
                assert evaluated[tag][position][0] == step
                assert evaluated[tag][position][1] == pytest.approx(value, rel=1e-6), tag

    # Killed after step 2 in the middle of a write; the log had step 3, which is trained again.
    for path in (tmp_path / "checkpoints").glob("step-3*"):
        path.unlink()
    (tmp_path / "checkpoints" / "checkpoint").write_text('model_checkpoint_path: "step-2"\n')
    newest = max((tmp_path / "tensorboard" / "train").glob("*tfevents*"))
    newest.write_bytes(newest.read_bytes() + b"\x07torn")
    resumed = run(dataset_dir, tmp_path, 4, one, True)[:2]
    for before, after in zip((train, evaluated), resumed):
        assert set(before) == set(after)
        for tag, points in after.items():
            steps = [step for step, _ in points]
            assert steps == sorted(set(steps)), tag
            assert steps[-1] in (0, 4) or "count" in tag, tag
    assert [step for step, _ in resumed[0]["loss"]] == [1, 2, 3, 4]
    assert [step for step, _ in resumed[1]["selection"]] == [0, 2, 4]
    np.testing.assert_allclose(resumed[0]["loss"][2][1], train["loss"][2][1], rtol=1e-5)
    assert [path.name for path in tmp_path.glob(".events*")] == []


def test_pictures_histograms_texts_and_hyperparameters(dataset_dir: Path, tmp_path: Path) -> None:
    train, evaluated, evaluations = run(dataset_dir, tmp_path, 2, TensorBoardConfig(tensorboard_videos=2), False)
    watched = evaluations[-1].details[-1]
    assert not watched.held_out

    pictures = {tag: points for tag, points in evaluated.items() if tag.startswith("timeline/")}
    chosen = choose_videos(watched.scores.labels, 2)
    assert list(pictures) == [f"timeline/{watched.scores.video_ids[video]}" for video in chosen]
    for points in pictures.values():
        assert [step for step, _ in points] == [0, 2]
        assert len({tuple(picture[:2]) for _, picture in points}) == 1  # one size
        image = tf.io.decode_png(points[-1][1][2]).numpy() / 255
        assert (int(points[-1][1][1]), int(points[-1][1][0])) == image.shape[:2]
        assert has_colour(image, TRUTH)

    pmfs = video_scores(tf.constant(watched.scores.pooled), DetectionConfig()).numpy()
    owner = np.repeat(np.arange(len(pmfs)), np.diff(watched.scores.row_splits))
    for name, table, rows in (("tcam_fused", watched.scores.tcam, owner), ("video_scores", pmfs, np.arange(len(pmfs)))):
        for part, mask in (("labelled", watched.scores.labels[rows] > 0), ("other", watched.scores.labels[rows] == 0)):
            check_histogram(evaluated[f"{name}/{part}_classes"][-1][1], table[mask])
    kernels = {f"weights/{name}" for name in make_model().network_variables() if name.endswith("kernel")}
    assert {tag for tag in train if tag.startswith("weights/")} == kernels
    assert [step for step, _ in train["weights/rgb_fc1_kernel"]] == [0, 2]
    check_histogram(train["weights/rgb_fc1_kernel"][0][1], make_model().named_variables()["rgb_fc1_kernel"].numpy())

    assert train["run/dataset"] == [(0, b"test data (simulated features)")]
    assert train["run/flags"] == [(0, b"| flag | value |\n| --- | --- |\n| `alpha` | `a\\|b` |")]
    (_, start), (_, experiment) = (evaluated[f"_hparams_/{n}"][0] for n in ("session_start_info", "experiment"))
    content = plugin_data_pb2.HParamsPluginData.FromString(start.plugin_data.content).session_start_info
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in content.hparams.items()}
    assert (values, content.group_name) == (CARD.hparams, str(tmp_path))
    shown = plugin_data_pb2.HParamsPluginData.FromString(experiment.plugin_data.content).experiment
    assert [info.name.tag for info in shown.metric_infos] == list(CARD.metrics)
    assert set(CARD.metrics) <= set(evaluated)


def has_colour(image: np.ndarray, colour: str) -> bool:
    return bool((np.abs(image - matplotlib.colors.to_rgb(colour)) < 0.02).all(axis=2).any())


def check_histogram(bins: np.ndarray, values: np.ndarray) -> None:
    """Bins [k, 3] (left, right, count) hold all values."""
    assert bins[:, 2].sum() == values.size
    assert bins[0, 0] == pytest.approx(values.min(), rel=1e-5)
    assert bins[-1, 1] == pytest.approx(values.max(), rel=1e-5)


def watched_test_subset(dataset_dir: Path) -> Watched:
    test = open_split(dataset_dir, "test")
    validation = Validation(
        make_model(), DetectionConfig(), ("thumos14",), test=test, held_out=None, selection="localization"
    )
    return validation().details[0]


def test_a_picture_shows_the_videos_own_classes_and_the_best_other_one(dataset_dir: Path) -> None:
    watched = watched_test_subset(dataset_dir)
    source = CurveSource(watched.scores, DetectionConfig())
    for video in range(3):  # of no label, of one, of two
        image = tf.io.decode_png(timeline_of(watched, source, video, "x")).numpy()[:, :, :3] / 255
        known, panels = watched.scores.labels[video].sum(), (image.shape[0] / 100 - 0.8) / 2.4
        assert panels == pytest.approx(min(known, 2) + 1, abs=0.02)
        assert has_colour(image, TRUTH) == (known > 0)
        assert has_colour(image, DETECTION) == bool((watched.assessment.detections.video == video).any())


def test_neither_pictures_nor_curves_of_very_many_classes(dataset_dir: Path, tmp_path: Path) -> None:
    watched = watched_test_subset(dataset_dir)
    log = TensorBoardLog(tmp_path, make_model(), config=TensorBoardConfig(tensorboard_videos=0))
    many = tuple(f"class {i}" for i in range(MAX_CLASSES + 1))
    object.__setattr__(watched.scores, "classes", many)
    log.on_start(0, None)
    log.on_evaluation(0, Evaluation({"x": 1.0}, 0.5, "", details=(watched,)), best=True)
    log.on_end(0)
    assert not [t for t in read_events(tmp_path / "tensorboard" / "eval") if t.startswith(("timeline/", "per_class/"))]


def test_an_evaluation_without_details_and_a_run_without_a_card_are_shown(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path, make_model())
    assert not (tmp_path / "tensorboard").exists()  # a worker that is not the chief makes one, and never starts it
    log.on_start(0, None)
    log.on_evaluation(0, Evaluation({"x": 0.25}, 0.5, ""), best=True)
    log.on_log(IntervalFacts(1, 2, {"loss": 1.5}, {}, 1, 2.0, 0.5, 30))
    log.on_end(1)
    train, evaluated = (read_events(tmp_path / "tensorboard" / name) for name in ("train", "eval"))
    assert evaluated == {"x": [(0, 0.25)], "selection": [(0, 0.5)]}
    assert train["speed/segments_per_second"] == [(1, 15.0)]
    assert not [tag for tag in train if tag.startswith("run/")]
    # The run begins again: nothing of the first attempt stays.
    log.on_start(0, None)
    log.on_end(0)
    assert not [*read_events(tmp_path / "tensorboard" / "train"), *read_events(tmp_path / "tensorboard" / "eval")]


@pytest.mark.parametrize(
    ("labels", "count", "expected"),
    [
        ([[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], 3, [1, 3, 5]),
        ([[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], 4, [1, 2, 3, 5]),
        ([[1, 1, 1], [1, 0, 0]], 1, [0]),
        ([[1, 1, 1], [1, 0, 0]], 9, [0, 1]),
        ([[0, 0, 0]], 3, []),
        ([[1, 0, 0]], 0, []),
    ],
)
def test_the_drawn_videos_have_different_classes(labels: Sequence[Any], count: int, expected: list[int]) -> None:
    assert choose_videos(np.array(labels, np.float32), count) == expected


def test_a_negative_number_of_videos_is_refused() -> None:
    with pytest.raises(UserError, match=r"--tensorboard_videos=-1; expected 0 \(none\) or more"):
        TensorBoardConfig(tensorboard_videos=-1)


def write_steps(folder: Path, steps: Sequence[int]) -> Path:
    writer = tf.summary.create_file_writer(str(folder))
    for step in steps:
        with writer.as_default(step):
            tf.summary.scalar("a", float(step))
            tf.summary.scalar("run/b", float(step))
    writer.close()
    return max(folder.glob("*tfevents*"))


@pytest.mark.parametrize(("last", "kept"), [(-1, []), (0, [0]), (3, [0, 1, 2, 3]), (99, [0, 1, 2, 3, 4, 5])])
def test_later_events_and_named_tags_are_removed(tmp_path: Path, last: int, kept: list[int]) -> None:
    path = write_steps(tmp_path / "log" / "train", range(6))
    trim_events(tmp_path / "log", last, ["run/"])
    assert read_events(path.parent) == ({"a": [(step, float(step)) for step in kept]} if kept else {})
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_a_record_cut_off_at_any_byte_is_removed_and_all_before_it_stays(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "log", [0, 1])
    whole = path.read_bytes()
    two = write_steps(tmp_path / "other", [0, 1, 2]).read_bytes()
    third = two[len(whole) :]
    for size in range(1, 20):
        path.write_bytes(whole + third[:size])
        trim_events(tmp_path / "log", 9)
        assert [step for step, _ in read_events(path.parent)["a"]] == [0, 1]


def test_no_folder_is_nothing_to_trim(tmp_path: Path) -> None:
    trim_events(tmp_path / "none", 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("last", "kept"), [(-1, []), (1, [0, 1]), (9, [0, 1, 2])])
def test_events_on_other_storage_than_disks_are_trimmed_too(tmp_path: Path, last: int, kept: list[int]) -> None:
    path = write_steps(tmp_path / "log" / "train", range(3))
    with memory_folder() as top:
        assert isinstance(top, RemotePath)
        put_folder(tmp_path, top)
        trim_events(top / "log", last, ["run/"])
        assert [found.name for found in top.rglob("*tfevents*")] == [path.name]
        with local_copy(top) as copy:
            assert read_events(copy / "log" / "train") == (
                {"a": [(step, float(step)) for step in kept]} if kept else {}
            )
        trim_events(top / "none", 5)
        assert not (top / "none").exists()
