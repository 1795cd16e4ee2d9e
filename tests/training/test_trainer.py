"""Training runs: logging, evaluation, checkpoints, resume; and the same result on any number of replicas."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.pipeline import InputConfig, training_batches
from tc3net.data.split import open_split
from tc3net.data.streams import Streams
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import make_optimizer
from tc3net.runs.checkpoints import CheckpointFolder, latest, restore_network
from tc3net.training.metrics_log import read_metrics
from tc3net.training.trainer import Evaluation, Trainer, TrainerConfig
from tests.support import oracle
from tests.support.data import make_video, write_dataset
from tests.support.rehearsal import Rehearsal
from tests.support.replicas import strategy_of

INPUTS = InputConfig(batch_size=4, crop_segments=8, seed=3)


def make_model(classes: int = 3, dropout: float = 0.5) -> ThreeCNet:
    model = ThreeCNet(classes, 4, ModelConfig(dropout=dropout), seed=1)
    model.compile(make_optimizer(1e-2))
    return model


@functools.cache
def rehearsal(dropout: float = 0.5, replicas: int = 1) -> Rehearsal:
    return Rehearsal(lambda: make_model(dropout=dropout), strategy_of(replicas))


def run(
    dataset_dir: Path, run_dir: Path, iterations: int, evaluations: list[float] | None = None
) -> tuple[Trainer, dict[str, np.ndarray]]:
    """Trains to `iterations`; the i-th evaluation returns `evaluations[i]`. Also gives the weights."""
    values = iter(evaluations or [])
    evaluate = (lambda: Evaluation({"x": 0.0}, next(values), "")) if evaluations else None
    config = TrainerConfig(iterations=iterations, log_every=1, eval_every=2, checkpoint_every=2, keep_checkpoints=2)
    trainer = rehearsal().trainer(config, run_dir, evaluate)
    trainer.train(open_split(dataset_dir, "validation"), INPUTS)
    return trainer, rehearsal().weights()


def test_a_resumed_run_equals_an_uninterrupted_one(dataset_dir: Path, tmp_path: Path) -> None:
    """Dropout, crops, order, optimizer state and centers included."""
    _, whole = run(dataset_dir, tmp_path / "whole", 7)
    run(dataset_dir, tmp_path / "parts", 4)
    resumed, parts = run(dataset_dir, tmp_path / "parts", 7)
    assert resumed.step == 7
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-6, atol=1e-7, err_msg=name)
    logs = [[e["loss"] for e in read_metrics(tmp_path / n)] for n in ("whole", "parts")]
    assert len(logs[0]) == 7
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-5)


def test_a_finished_run_trains_no_further(dataset_dir: Path, tmp_path: Path) -> None:
    _, first = run(dataset_dir, tmp_path / "run", 4)
    _, again = run(dataset_dir, tmp_path / "run", 4)
    for name, value in first.items():
        np.testing.assert_array_equal(again[name], value)
    assert [e["step"] for e in read_metrics(tmp_path / "run")] == [1, 2, 3, 4]


def test_the_untrained_model_is_evaluated_and_last_and_best_are_kept(dataset_dir: Path, tmp_path: Path) -> None:
    run(dataset_dir, tmp_path, 7, evaluations=[0.1, 0.5, 0.4, 0.3, 0.2])
    evaluated = [e for e in read_metrics(tmp_path) if "evaluation" in e]
    assert [e["step"] for e in evaluated] == [0, 2, 4, 6, 7]
    assert latest(tmp_path / "best").endswith("step-2")
    assert latest(tmp_path / "checkpoints").endswith("step-7")
    kept = {path.stem for path in (tmp_path / "checkpoints").glob("*.index")}
    assert kept == {"step-6", "step-7"}


def test_the_best_value_survives_a_resume(dataset_dir: Path, tmp_path: Path) -> None:
    run(dataset_dir, tmp_path, 2, evaluations=[0.1, 0.5])
    run(dataset_dir, tmp_path, 4, evaluations=[0.4])
    assert latest(tmp_path / "best").endswith("step-2")


def test_count_terms_are_averaged_over_full_length_batches_only(dataset_dir: Path, tmp_path: Path) -> None:
    run(dataset_dir, tmp_path, 4)
    logged = read_metrics(tmp_path)  # one entry per step; even steps (from 0) are cropped
    assert ["count_positive" in entry for entry in logged] == [False, True, False, True]


def test_checkpoint_of_another_class_count_is_refused(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path, make_model(3), keep=1).save(1)
    with pytest.raises(UserError, match=r"step-1: variable centers_rgb has shape \[3, 4\].*5 classes"):
        restore_network(latest(tmp_path), ThreeCNet(5, 4))
    with pytest.raises(UserError, match="5 classes"):
        CheckpointFolder(tmp_path, make_model(5), keep=1).restore_latest()


def test_damaged_or_absent_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint found"):
        latest(tmp_path)
    CheckpointFolder(tmp_path, make_model(), keep=1).save(1)
    index = next(tmp_path.glob("*.index"))
    index.write_bytes(index.read_bytes()[:20])
    with pytest.raises(UserError, match="step-1: the checkpoint cannot be read"):
        restore_network(latest(tmp_path), ThreeCNet(3, 4))


def test_restored_network_gives_the_same_scores(dataset_dir: Path, tmp_path: Path) -> None:
    run(dataset_dir, tmp_path, 3)
    restored = ThreeCNet(3, 4)
    restore_network(latest(tmp_path / "checkpoints"), restored)
    features = tf.RaggedTensor.from_row_lengths(tf.random.stateless_normal([9, 8], [1, 2]), [4, 5])
    np.testing.assert_array_equal(
        restored(features)["tcam_fused"].flat_values, rehearsal().model(features)["tcam_fused"].flat_values
    )


@pytest.mark.parametrize("replicas", [2, 4])
def test_any_number_of_replicas_gives_the_same_training(dataset_dir: Path, tmp_path: Path, replicas: int) -> None:
    """20 steps without dropout: losses, centers and weights within 1e-5, though replicas hold different videos.

    Of four, one may hold no labelled video, or none whose counts are usable, while the others do.
    """
    split = open_split(dataset_dir, "validation")
    inputs = dataclasses.replace(INPUTS, max_segments=20)  # counts of longer videos are not usable
    shares = [
        (
            int(tf.math.count_nonzero(tf.reduce_any(share["labels"] > 0, 1))),
            int(tf.math.count_nonzero(share["full_length"])),
        )
        for share in training_batches(split, inputs, num_replicas=replicas).take(20 * replicas)
    ]
    steps = [shares[first : first + replicas] for first in range(0, len(shares), replicas)]
    for kind in (0, 1):  # labelled videos, videos with usable counts
        amounts = [{share[kind] for share in step} for step in steps]
        unequal = [found for found in amounts if len(found) > 1]
        assert unequal and (replicas == 2 or any(0 in found for found in unequal))
    config = TrainerConfig(iterations=20, log_every=1)
    results = []
    for name, count in (("one", 1), ("many", replicas)):
        training = rehearsal(0.0, count)
        training.trainer(config, tmp_path / name).train(split, inputs)
        results.append((training.weights(), [e["loss"] for e in read_metrics(tmp_path / name)]))
    (one, one_losses), (many, many_losses) = results
    np.testing.assert_allclose(many_losses, one_losses, rtol=1e-5)
    for name, value in one.items():
        assert oracle.relative_error(many[name], value) < 1e-5, name


@functools.cache
def other_streams(replicas: int, streams: Streams) -> Rehearsal:
    def make() -> ThreeCNet:
        model = ThreeCNet(3, streams, ModelConfig(dropout=0.0, hidden_dim=3), seed=1)
        model.compile(make_optimizer(1e-2))
        return model

    return Rehearsal(make, strategy_of(replicas))


@pytest.mark.parametrize("streams", [{"videomae": 5}, {"rgb": 4, "flow": 3, "audio": 2}])
def test_other_streams_train_alike_on_two_replicas_and_resume(tmp_path: Path, streams: dict[str, int]) -> None:
    sizes = Streams.of(streams)
    videos = []
    for index, length in enumerate((6, 20, 9, 14, 7, 12, 11, 8)):
        video = make_video(index, "validation", length)
        rng = np.random.default_rng(index)
        rows = {name: rng.random((length, size)).astype(np.float32) for name, size in sizes.sizes}
        videos.append(dataclasses.replace(video, features=rows))
    split = open_split(write_dataset(tmp_path / "data", {"validation": videos}), "validation")
    assert split.manifest.streams == sizes
    results = []
    for count in (1, 2):
        training, run_dir = other_streams(count, sizes), tmp_path / f"run{count}"
        for iterations in (3, 6):  # the second goes on where the first ended
            training.trainer(TrainerConfig(iterations=iterations, log_every=1), run_dir).train(split, INPUTS)
        results.append((training.weights(), [entry["loss"] for entry in read_metrics(run_dir)]))
    (one, one_losses), (two, two_losses) = results
    assert len(one_losses) == 6 and set(one) >= {f"centers_{name}" for name in sizes.names}
    np.testing.assert_allclose(two_losses, one_losses, rtol=1e-5)
    for name, value in one.items():
        assert oracle.relative_error(two[name], value) < 1e-5, name


def test_dropout_differs_between_replicas(dataset_dir: Path) -> None:
    """Otherwise every replica would drop the same units of its first row, and so on."""
    strategy = strategy_of(2)
    with strategy.scope():
        model = make_model()
    per_replica = strategy.run(lambda: model.streams["rgb"]._dropout_mask(tf.constant([5, 100]), step=0)[0])
    first, second = strategy.experimental_local_results(per_replica)
    assert not np.array_equal(first, second)


def test_fit_under_a_strategy_gives_the_weights_of_training_without(dataset_dir: Path, tmp_path: Path) -> None:
    split = open_split(dataset_dir, "validation")
    rehearsal(0.0).trainer(TrainerConfig(iterations=4), tmp_path).train(split, INPUTS)
    strategy = strategy_of(2)
    with strategy.scope():
        model = make_model(dropout=0.0)
    batches = strategy.distribute_datasets_from_function(lambda _: training_batches(split, INPUTS, num_replicas=2))
    model.fit(batches, steps_per_epoch=4, epochs=1, verbose=0)
    for name, value in rehearsal(0.0).weights().items():
        assert oracle.relative_error(model.named_variables()[name].numpy(), value) < 1e-5, name


def test_a_damaged_record_ends_training_with_its_shard_named(dataset_dir: Path, tmp_path: Path) -> None:
    shard = sorted(dataset_dir.glob("validation-*.tfrecord"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"validation-00000-of-00003\.tfrecord.*is damaged"):
        run(dataset_dir, tmp_path, 10)


def test_a_run_on_two_replicas_resumes_on_any_number(dataset_dir: Path, tmp_path: Path) -> None:
    """Without dropout the result does not depend on where it was interrupted and on what it went on."""
    split = open_split(dataset_dir, "validation")

    def part(name: str, replicas: int, iterations: int) -> dict[str, np.ndarray]:
        training = rehearsal(0.0, replicas)
        training.trainer(TrainerConfig(iterations=iterations), tmp_path / name).train(split, INPUTS)
        return training.weights()

    whole = part("whole", 1, 6)
    part("parts", 2, 2)
    part("parts", 2, 4)
    parts = part("parts", 1, 6)
    for name, value in whole.items():
        assert oracle.relative_error(parts[name], value) < 1e-5, name


def test_a_best_checkpoint_that_is_gone_is_replaced_loudly(
    dataset_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(dataset_dir, tmp_path, 2, evaluations=[0.1, 0.5])
    shutil.rmtree(tmp_path / "best")
    run(dataset_dir, tmp_path, 4, evaluations=[0.4])
    assert "the best checkpoint of step 2 is not there any more" in capsys.readouterr().err
    assert latest(tmp_path / "best").endswith("step-4")
