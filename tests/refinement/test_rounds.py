"""Rounds of a second stage: resumed to the bit, learning from what was found in the training videos alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.sampling import InputConfig
from tc3net.detection import DetectionConfig, detect_cells
from tc3net.losses import LossConfig
from tc3net.model import ModelConfig
from tc3net.refinement.choice import PseudoConfig
from tc3net.refinement.finding import find_segments, read_annotated
from tc3net.refinement.pseudo_file import load_segments, save_segments
from tc3net.refinement.rounds import (
    Refinement,
    RoundsConfig,
    check_refinement,
    last_round,
    make_segments,
    refine,
    with_segments,
)
from tc3net.runs.checkpoints import CheckpointFolder
from tc3net.runs.folder import PSEUDO_SEGMENTS, load_model, load_run, save_run
from tc3net.runs.scoring import open_run
from tc3net.training.selection import SelectionConfig
from tc3net.training.session import Place, Videos, open_videos
from tc3net.training.settings import Settings
from tc3net.training.tensorboard_log import TensorBoardConfig
from tc3net.training.trainer import TrainerConfig

SETTINGS = Settings(
    train_subset="validation",
    test_subset="",
    protocols=("reference",),
    inputs=InputConfig(batch_size=4, crop_segments=8, seed=3),
    model=ModelConfig(dropout=0.5),
    loss=LossConfig(alpha=0.0, beta=0.0, classification_tcams="fused"),
    trainer=TrainerConfig(iterations=3, log_every=1, eval_every=0, checkpoint_every=1),
    detection=DetectionConfig(class_filter="all", min_segments=1),
    tensorboard=TensorBoardConfig(tensorboard=False),
)

PSEUDO = PseudoConfig(pseudo_batches="full", pseudo_weight=3.0)


def first_run(folder: Path, dataset_dir: Path, settings: Settings = SETTINGS, seed: int = 11) -> Refinement:
    """An untrained network as the first stage."""
    manifest = open_videos(settings, str(dataset_dir)).training.manifest
    seeded = dataclasses.replace(settings, inputs=dataclasses.replace(settings.inputs, seed=seed))
    CheckpointFolder(folder / "checkpoints", seeded.make_model(manifest), keep=1).save(1)
    save_run(folder, settings.describe(manifest))
    return Refinement(RoundsConfig(first_run=str(folder), rounds=2), pseudo=PSEUDO)


def train(refinement: Refinement, dataset_dir: Path, folder: Path, settings: Settings = SETTINGS) -> Any:
    videos = open_videos(settings, str(dataset_dir))
    check_refinement(settings, refinement, str(folder), str(dataset_dir), videos)
    place = Place(str(dataset_dir), str(folder), "--x=1\n")
    return refine(settings, refinement, videos.divided(settings), tf.distribute.get_strategy(), place)


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in load_model(folder, "last")[0].named_variables().items()}


def test_an_interrupted_refinement_goes_on_to_the_bit(dataset_dir: Path, tmp_path: Path) -> None:
    refinement = first_run(tmp_path / "first", dataset_dir)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(refinement, dataset_dir, whole) is None
    assert {path.name for path in whole.iterdir()} == {"round1", "round2"}
    assert (whole / "round2" / "flags.cfg").read_text() == "--x=1\n"
    # As if killed after round 1's first step: no later checkpoint, no second round.
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "round2")
    for path in (parts / "round1" / "checkpoints").glob("step-[23].*"):
        path.unlink()
    assert train(refinement, dataset_dir, parts) is None
    for number in ("round1", "round2"):
        expected, found = weights(whole / number), weights(parts / number)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=f"{number} {name}")
        kept = [load_run(folder / number).training.terms["pseudo_segments"]["sha256"] for folder in (whole, parts)]
        assert (
            kept[0] == kept[1] == load_segments(whole / number / PSEUDO_SEGMENTS, load_run(whole / number).classes)[2]
        )
    first, second = (weights(whole / number) for number in ("round1", "round2"))
    assert any((first[name] != second[name]).any() for name in first)  # they learned from other segments
    entries = [json.loads(line) for line in (whole / "round1" / "metrics.jsonl").read_text().splitlines()]
    assert ["pseudo_segments" in entry for entry in entries] == [False, True, False]  # batches of full length

    # Without the file it is made again; with another one, or a first stage that has changed, the round is refused.
    (parts / "round1" / PSEUDO_SEGMENTS).unlink()
    assert (
        train(dataclasses.replace(refinement, rounds=RoundsConfig(str(tmp_path / "first"), 1)), dataset_dir, parts)
        is None
    )
    other = dataclasses.replace(refinement, pseudo=dataclasses.replace(PSEUDO, pseudo_selection="relative"))
    with pytest.raises(UserError, match="made with another choice than"):
        train(other, dataset_dir, parts)
    heavier = dataclasses.replace(refinement, pseudo=dataclasses.replace(PSEUDO, pseudo_weight=5.0))
    with pytest.raises(UserError, match=r"another training: terms, pseudo_segments, weight is 3.0 there, 5.0 here"):
        train(heavier, dataset_dir, parts)
    another = first_run(tmp_path / "another", dataset_dir, seed=12)
    with pytest.raises(UserError, match="made with another weights than"):
        train(another, dataset_dir, parts)
    (parts / "round1" / PSEUDO_SEGMENTS).unlink()
    with pytest.raises(UserError, match="sha256 is"):
        train(another, dataset_dir, parts)


def test_without_a_first_stage_it_is_trained_as_round_0(dataset_dir: Path, tmp_path: Path) -> None:
    alone = Refinement(RoundsConfig(rounds=1), pseudo=PSEUDO)
    assert train(alone, dataset_dir, tmp_path / "alone") is None
    assert {path.name for path in (tmp_path / "alone").iterdir()} == {"round0", "round1"}
    assert "pseudo_segments" not in load_run(tmp_path / "alone" / "round0").training.terms
    given = dataclasses.replace(alone, rounds=RoundsConfig(str(tmp_path / "alone" / "round0"), 1))
    assert train(given, dataset_dir, tmp_path / "given") is None
    expected, found = weights(tmp_path / "given" / "round1"), weights(tmp_path / "alone" / "round1")
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert train(alone, dataset_dir, tmp_path / "alone") is None  # everything is there
    # Segments of the first round may be found otherwise than those of the others.
    strict = dataclasses.replace(SETTINGS.detection, min_segments=3)
    other = dataclasses.replace(given, first_detection=strict)
    assert [other.detection(number, SETTINGS) for number in (1, 2)] == [strict, SETTINGS.detection]
    with pytest.raises(UserError, match="made with another detection than"):
        train(other, dataset_dir, tmp_path / "given")
    assert last_round(tmp_path / "alone").name == "round1"


def test_segments_are_those_of_present_classes_as_many_as_counted(dataset_dir: Path, tmp_path: Path) -> None:
    refinement, videos = first_run(tmp_path / "first", dataset_dir), open_videos(SETTINGS, str(dataset_dir))
    make_segments(str(tmp_path / "first"), tmp_path / "found.json", SETTINGS.detection, refinement, videos)
    annotated = read_annotated(videos.training)
    found, source, _ = load_segments(tmp_path / "found.json", videos.training.manifest.classes)
    assert annotated.labels[found.video, found.label].all() and source["detection"]["class_filter"] == "all"
    scores = open_run(str(tmp_path / "first")).score(videos.training)
    every = detect_cells(scores, SETTINGS.detection, annotated.labels)
    for video, label in {*zip(found.video.tolist(), found.label.tolist())}:
        mine = (found.video == video) & (found.label == label)
        there = ((every["video"] == video) & (every["label"] == label)).sum()
        count = annotated.counts[video, label]
        assert (found.state[mine] == 2).sum() == min(count, there)  # detections are runs: no two overlap
    # A strict class filter takes nothing away: the classes are known.
    strict = dataclasses.replace(SETTINGS.detection, min_probability=1.0)
    again = find_segments(scores, annotated, strict, PseudoConfig())
    np.testing.assert_array_equal(again.start, found.start)
    learning = with_segments(SETTINGS, tmp_path / "found.json", PseudoConfig(), videos)
    (term,) = learning.terms
    np.testing.assert_array_equal(term.targets.first >= 0, annotated.labels)  # type: ignore[attr-defined]
    fewer = Videos(
        dataclasses.replace(videos.training, shard=videos.training.shard[1:], offset=videos.training.offset[1:])
    )
    with pytest.raises(UserError, match="of other videos than the training videos"):
        with_segments(SETTINGS, tmp_path / "found.json", PseudoConfig(), fewer)


def test_a_setting_that_came_later_is_as_it_is_by_default(dataset_dir: Path, tmp_path: Path) -> None:
    refinement, path = first_run(tmp_path / "first", dataset_dir), tmp_path / "found.json"
    videos, first = open_videos(SETTINGS, str(dataset_dir)), str(tmp_path / "first")
    make_segments(first, path, SETTINGS.detection, refinement, videos)
    found, source, _ = load_segments(path, videos.training.manifest.classes)
    earlier = {name: value for name, value in source["detection"].items() if name != "proposals"}
    save_segments(path, found, videos.training.manifest.classes, {**source, "detection": earlier})
    make_segments(first, path, SETTINGS.detection, refinement, videos)
    with pytest.raises(UserError, match="made with another detection than"):
        make_segments(first, path, dataclasses.replace(SETTINGS.detection, nms="soft"), refinement, videos)


def test_what_was_held_out_stays_held_out(dataset_dir: Path, tmp_path: Path) -> None:
    held = dataclasses.replace(SETTINGS, selection=SelectionConfig(holdout_fraction=0.3))
    refinement, videos = first_run(tmp_path / "first", dataset_dir, held), open_videos(held, str(dataset_dir))
    divided = videos.divided(held)
    assert divided.held_out is not None
    make_segments(str(tmp_path / "first"), tmp_path / "found.json", held.detection, refinement, divided)
    found = load_segments(tmp_path / "found.json", videos.training.manifest.classes)[0]
    assert found.video_ids == read_annotated(divided.training).video_ids
    assert not {*found.video_ids} & {*read_annotated(divided.held_out).video_ids}
    check_refinement(held, refinement, str(tmp_path / "out"), str(dataset_dir), videos)
    for other in (
        SETTINGS,
        dataclasses.replace(held, selection=SelectionConfig(holdout_fraction=0.5)),
        dataclasses.replace(held, inputs=dataclasses.replace(held.inputs, seed=4)),
    ):
        with pytest.raises(UserError, match="other videos would be held out"):
            check_refinement(other, refinement, str(tmp_path / "out"), str(dataset_dir), videos)


def test_test_videos_and_other_first_stages_are_refused(dataset_dir: Path, tmp_path: Path) -> None:
    refinement = first_run(tmp_path / "first", dataset_dir)

    def refused(message: str, settings: Settings = SETTINGS, folder: str = "out") -> None:
        with pytest.raises(UserError, match=message):
            train(refinement, dataset_dir, tmp_path / folder, settings)

    refused("a subset to be tested on", dataclasses.replace(SETTINGS, train_subset="test"))
    refused("a subset to be tested on", dataclasses.replace(SETTINGS, test_subset="validation"))
    cropped = dataclasses.replace(SETTINGS, inputs=dataclasses.replace(SETTINGS.inputs, batches="cropped"))
    refused("would never be used", cropped)
    refused("is the folder of a run", folder="first")
    info = load_run(tmp_path / "first")
    for training in (
        dataclasses.replace(info.training, train_subset="test"),
        dataclasses.replace(info.training, shards={"validation": ["0" * 64]}),
    ):
        save_run(tmp_path / "first", dataclasses.replace(info, training=training))
        refused("was trained on the subset")
    save_run(tmp_path / "first", dataclasses.replace(info, classes=("Jump", "Run", "Sit")))
    refused("was trained on 3 classes")
    with pytest.raises(UserError, match="--rounds=0"):
        RoundsConfig(rounds=0)
