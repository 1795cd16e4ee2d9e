"""Nothing that becomes a graph is rewritten by TensorFlow before it is traced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.python.autograph.impl import api

from data_prep.inspection.verify import verify
from tc3net.data.cache import TrainingSource
from tc3net.data.holdout import divide
from tc3net.data.pipeline import InputConfig, annotation_batches
from tc3net.data.split import open_split
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.intervals.from_dataset import read_annotated_videos
from tc3net.model import ThreeCNet
from tc3net.ops.tracing import as_written
from tc3net.training.validation import LossMeter
from tests.support.data import CLASSES, FEATURE_DIM


@pytest.fixture
def rewritten(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What TensorFlow rewrites from here on."""
    found: list[Any] = []
    original = api._convert_actual

    def convert(entity: Any, context: Any) -> Any:
        found.append(entity)
        return original(entity, context)

    monkeypatch.setattr(api, "_convert_actual", convert)
    return found


def test_what_it_would_do(rewritten: list[Any]) -> None:
    numbers = tf.data.Dataset.range(3)
    assert [int(x) for x in numbers.map(as_written(lambda x: 2 * x))] == [0, 2, 4]
    assert not rewritten
    assert [int(x) for x in numbers.map(lambda x: 2 * x)] == [0, 2, 4]
    assert rewritten


def test_it_does_nothing_between_records_and_raw_scores(rewritten: list[Any], dataset_dir: Path) -> None:
    split = open_split(dataset_dir, "validation")
    config = InputConfig(batch_size=4, crop_segments=8)
    model = ThreeCNet(len(CLASSES), FEATURE_DIM)
    model.compile()
    for cache in ("none", "host", "device"):
        source = TrainingSource(split, config, cache, tf.distribute.get_strategy())
        for batch in source.batches(0, 1, (0, 2)).take(1):
            tf.function(model.update, autograph=False)(source.fill(batch))
    score_videos(Scorer(model), split)
    LossMeter(model, split)()
    divide(split, 0.5, 0)
    list(annotation_batches(split))
    read_annotated_videos(dataset_dir, "validation")
    verify(dataset_dir)
    assert not rewritten
