"""What is measured while training: the held-out loss against the oracle, which weights are scored, and what selects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.holdout import divide
from tc3net.data.pipeline import evaluation_batches
from tc3net.data.split import Split, open_split
from tc3net.detection import DetectionConfig
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.losses import LossConfig
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.results.assessment import assess
from tc3net.training.validation import LossMeter, Validation, describe_selection
from tests.support import oracle
from tests.support.data import make_video, write_dataset


def make_model(ema_decay: float = 0.0, loss: LossConfig = LossConfig(alpha=0.0, beta=0.0)) -> ThreeCNet:
    model = ThreeCNet(3, 4, ModelConfig(dropout=0.5), seed=1)
    rng = np.random.default_rng(0)
    for variable in model.named_variables().values():
        variable.assign(rng.normal(size=variable.shape))
    model.compile(loss_config=loss, ema_decay=ema_decay)
    return model


def whole_split(split: Split) -> dict[str, Any]:
    """All videos of a split as the oracle's batch."""
    batch = next(iter(evaluation_batches(split, 100)))
    return {
        "videos": [video.numpy().astype(np.float64) for video in batch["features"]],
        **{key: batch[key].numpy() for key in ("labels", "counts", "counts_known")},
        "full_length": np.ones(split.num_videos, bool),
    }


def test_the_held_out_loss_is_equation_1_over_all_videos(dataset_dir: Path) -> None:
    """10 videos in batches of 8 and 2: the terms are summed before they are divided."""
    config = LossConfig(alpha=0.1, beta=0.3, center_normalization="pairs_squared")
    split = open_split(dataset_dir, "validation")
    model = make_model(loss=replace(config, center_multi_label_from_step=5000))
    weights = {name: v.numpy().astype(np.float64) for name, v in model.named_variables().items()}
    expected = oracle.total_loss(whole_split(split), weights, config)
    assert LossMeter(model, split)() == pytest.approx(expected, rel=1e-4)


def make_validation(model: ThreeCNet, protocols: Sequence[str] = ("thumos14",), **parts: Any) -> Validation:
    return Validation(model, DetectionConfig(), protocols, **{"test": None, "held_out": None, **parts})


def test_each_selection_picks_its_number_of_its_videos(dataset_dir: Path) -> None:
    _, held_out = divide(open_split(dataset_dir, "validation"), 0.4, seed=0)
    test, model = open_split(dataset_dir, "test"), make_model()
    found = make_validation(model, test=test, selection="localization")()
    assert found.selection == found.scalars["thumos14/mAP@0.50"]
    assert found.selected_by.endswith("on the test subset 'test'") and found.summary.startswith("test subset: ")
    both = make_validation(model, test=test, held_out=held_out, selection="classification")()
    assert both.selection == both.scalars["holdout/classification/mAP"]
    assert {key: both.scalars[key] for key in found.scalars} == found.scalars
    assert both.selected_by.endswith("on the held-out training videos")
    found = make_validation(model, held_out=held_out, selection="loss")()
    assert found.selection == -found.scalars["holdout/loss"] == -LossMeter(model, held_out)()
    expected = assess(score_videos(Scorer(model), held_out), DetectionConfig(), ("thumos14",)).scalars()
    assert {f"holdout/{tag}": value for tag, value in expected.items()}.items() <= found.scalars.items()


def test_the_averages_are_scored_and_the_model_in_training_is_left_alone(dataset_dir: Path) -> None:
    split = open_split(dataset_dir, "validation")
    model, averaged = make_model(ema_decay=0.9), make_model()
    assert model.average is not None
    rng = np.random.default_rng(5)
    for name, variable in model.average.variables.items():
        variable.assign(rng.normal(size=variable.shape))
        averaged.named_variables()[name].assign(tf.convert_to_tensor(variable))
    validation, reference = (make_validation(m, held_out=split, selection="loss") for m in (model, averaged))
    before = [v.numpy() for v in model.named_variables().values()]
    assert validation().scalars == reference().scalars
    # And again, after the averages have moved.
    for moved in (model.average.variables, averaged.named_variables()):
        moved["rgb_fc1_bias"].assign(tf.ones([4]))
    assert validation().scalars == reference().scalars
    for (name, variable), value in zip(model.named_variables().items(), before):
        np.testing.assert_array_equal(variable, value, err_msg=name)


def test_without_timestamps_classification_and_loss_select(tmp_path: Path) -> None:
    videos = [make_video(index, "validation", 6) for index in (1, 2, 4, 5)]
    nothing: dict[str, Any] = {"instance_start_s": [], "instance_end_s": [], "instance_label": []}
    videos = [replace(video, instances_known=False, **nothing) for video in videos]
    write_dataset(tmp_path, {"validation": videos})
    split, model = open_split(tmp_path, "validation"), make_model()
    found = make_validation(model, held_out=split, selection="loss")()
    assert set(found.scalars) == {"holdout/loss", "holdout/classification/mAP"}
    assert make_validation(model, test=split, selection="classification")().selection > 0
    with pytest.raises(UserError, match=r"on the test subset 'validation', which has no annotated instances.*--sel"):
        make_validation(model, test=split, selection="localization")()


def test_selection_in_words() -> None:
    assert describe_selection("loss", "thumos14", True, "") == "loss on the held-out training videos"
    assert describe_selection("localization", "reference", False, "test") == (
        "reference mAP@0.50 on the test subset 'test'"
    )
