"""The network against the float64 transcription, its training step, and how it behaves in Keras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.data.pipeline import InputConfig, training_batches
from tc3net.data.split import open_split
from tc3net.data.streams import Streams
from tc3net.losses import LossConfig
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.model.variables import check_ownership
from tc3net.ops.filters import temporal_convolution
from tests.support import oracle

CLASSES, DIM = 4, 5
NO_DROPOUT = ModelConfig(dropout=0.0)
FILTERED = ModelConfig(dropout=0.0, temporal_conv=True)
STREAMS = [Streams.pair(DIM), Streams.of({"videomae": 6}), Streams.of({"rgb": 4, "flow": 3, "audio": 2})]


def random_batch(seed: int, lengths: list[int], width: int = 2 * DIM) -> dict[str, Any]:
    """A batch as NumPy float64; `videos` is a list of [s, width]."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((len(lengths), CLASSES)) < 0.5).astype(float)
    labels[:, 1] = 1
    return {
        "videos": [rng.normal(size=(s, width)) for s in lengths],
        "labels": labels,
        "counts": labels * rng.integers(1, 6, labels.shape),
        "counts_known": rng.random(labels.shape) < 0.8,
        "full_length": np.ones(len(lengths), bool),
    }


def as_tensors(batch: dict[str, Any]) -> dict[str, Any]:
    """The same batch as the model takes it."""
    videos = batch["videos"]
    rows = tf.constant(np.concatenate(videos), tf.float32)
    return {
        "features": tf.RaggedTensor.from_row_lengths(rows, [len(v) for v in videos]),
        "labels": tf.constant(batch["labels"], tf.float32),
        "counts": tf.constant(batch["counts"], tf.float32),
        "counts_known": tf.constant(batch["counts_known"]),
        "full_length": tf.constant(batch["full_length"]),
    }


def weights_of(model: ThreeCNet) -> dict[str, np.ndarray]:
    return {name: v.numpy().astype(np.float64) for name, v in model.named_variables().items()}


def randomize(model: ThreeCNet, seed: int) -> None:
    """Gives every variable, biases and centers too, values that matter."""
    rng = np.random.default_rng(seed)
    for variable in model.named_variables().values():
        variable.assign(rng.normal(size=variable.shape) * 0.7)


@pytest.mark.parametrize("streams", STREAMS, ids=str)
@pytest.mark.parametrize("config", [NO_DROPOUT, FILTERED, replace(FILTERED, temporal_conv_relu=False, hidden_dim=3)])
def test_forward_pass_agrees_with_the_paper(config: ModelConfig, streams: Streams) -> None:
    model = ThreeCNet(CLASSES, streams, config)
    randomize(model, 1)
    batch = random_batch(2, [1, 30, 7, 12, 13], streams.width)
    outputs = model(as_tensors(batch)["features"])
    named = {f"{kind}_{name}" for kind in ("tcam", "features") for name in streams.names}
    assert set(outputs) == {*named, "tcam_fused"}
    for i, video in enumerate(batch["videos"]):
        expected = oracle.forward(video, weights_of(model), config.temporal_conv_relu, streams.names)
        for name, values in expected.items():
            assert oracle.relative_error(outputs[name][i], values) < 1e-5, name


PAIR, (SINGLE, THREE) = STREAMS[0], STREAMS[1:]
LOSSES = [
    LossConfig(),
    LossConfig(alpha=0.3, beta=0.1, attention_axis="class", attention_threshold="mean"),
    LossConfig(alpha=0.3, classification_tcams="fused", center_streams="rgb"),
    LossConfig(alpha=0.3, center_streams="flow", count_negative_weight=0.0),
    LossConfig(alpha=0.3, center_normalization="pairs_squared", count_positives="below_length", count_error="absolute"),
]


@pytest.mark.parametrize(
    ("config", "loss_config", "streams"),
    [
        *((config, loss_config, PAIR) for loss_config in LOSSES for config in (NO_DROPOUT, FILTERED)),
        (NO_DROPOUT, LossConfig(alpha=0.3), SINGLE),
        (replace(FILTERED, hidden_dim=3), LossConfig(alpha=0.3), THREE),
        (NO_DROPOUT, LossConfig(alpha=0.3, center_streams="audio,rgb"), THREE),
    ],
)
def test_loss_and_weight_gradients_agree_with_finite_differences(
    config: ModelConfig, loss_config: LossConfig, streams: Streams
) -> None:
    model = ThreeCNet(CLASSES, streams, config)
    randomize(model, 3)
    model.compile(loss_config=loss_config, weight_decay=0.0)
    batch = random_batch(5, [9, 17, 4], streams.width)
    captured: dict[str, tf.Tensor] = {}

    class Capture:
        """Stands in for the optimizer: keeps the gradients, changes nothing."""

        iterations, learning_rate = tf.constant(0), tf.constant(0.0)

        def apply_gradients(self, pairs: Any) -> None:
            by_id = {id(v): g for g, v in pairs}
            names = {v.ref(): n for n, v in model.named_variables().items()}
            for variable in model.trainable_variables:
                tensor = variable.value if hasattr(variable, "path") else variable
                captured[names[tensor.ref()]] = by_id[id(variable)]

    original = model.optimizer
    try:
        object.__setattr__(model, "optimizer", Capture())
        result = model.update(as_tensors(batch))
    finally:
        object.__setattr__(model, "optimizer", original)
    randomize(model, 3)  # undo the centers' update
    weights = weights_of(model)

    def loss() -> float:
        return oracle.total_loss(batch, weights, loss_config, streams.names)

    assert oracle.relative_error(result["loss"], loss()) < 1e-5
    assert set(captured) == {name for name in weights if not name.startswith("centers")}
    for name, gradient in captured.items():
        expected = oracle.numerical_gradient(loss, weights[name])
        assert oracle.relative_error(gradient, expected) < 1e-5, name


def test_update_moves_the_centers_as_equation_7_says() -> None:
    model = ThreeCNet(CLASSES, DIM, NO_DROPOUT)
    randomize(model, 7)
    model.compile(loss_config=LossConfig(center_learning_rate=0.25))
    batch, before = random_batch(8, [9, 17, 4]), weights_of(model)
    model.update(as_tensors(batch))
    after = weights_of(model)
    outputs = [oracle.forward(video, before) for video in batch["videos"]]
    for stream in ("rgb", "flow"):
        features, tcams = ([o[f"{kind}_{stream}"] for o in outputs] for kind in ("features", "tcam"))
        _, delta = oracle.center(features, tcams, batch["labels"], before[f"centers_{stream}"])
        expected = before[f"centers_{stream}"] - 0.25 * delta
        assert oracle.relative_error(after[f"centers_{stream}"], expected) < 1e-5


def test_multi_label_videos_join_the_center_loss_at_the_given_step() -> None:
    """Two videos of two labels each: before the step there is no center loss and no center moves, from it on both."""
    model = ThreeCNet(CLASSES, DIM, NO_DROPOUT)
    randomize(model, 7)
    model.compile(loss_config=LossConfig(center_multi_label_from_step=1))
    batch = random_batch(8, [9, 17])
    batch["labels"][:] = [1, 1, 0, 0]
    before = weights_of(model)["centers_rgb"]
    assert float(model.update(as_tensors(batch))["center_rgb"]) == 0
    np.testing.assert_array_equal(weights_of(model)["centers_rgb"], before)
    assert float(model.update(as_tensors(batch))["center_rgb"]) > 0
    moved = np.any(weights_of(model)["centers_rgb"] != before, axis=1)
    np.testing.assert_array_equal(moved, [True, True, False, False])


def test_first_adam_step_with_l2_decay_has_the_closed_form() -> None:
    """Adam's first step is lr * g / (|g| + e), e = 1e-8 / sqrt(1 - 0.999) as Keras places epsilon.

    Without labels and counts only the L2 decay is left as gradient: g = 0.01 w.
    """
    model = ThreeCNet(CLASSES, DIM, NO_DROPOUT)
    randomize(model, 1)
    before = weights_of(model)
    model.compile(weight_decay=0.01)
    batch = random_batch(1, [5])
    batch["labels"][:], batch["counts_known"][:] = 0, False
    model.update(as_tensors(batch))
    for name, value in weights_of(model).items():
        g = 0.0 if name.startswith("centers") else 0.01 * before[name]
        expected = 1e-4 * g / (np.abs(g) + 1e-8 / np.sqrt(1 - 0.999))
        np.testing.assert_allclose(before[name] - value, expected, rtol=0.01, atol=1e-7, err_msg=name)


@settings(deadline=None, max_examples=10)
@given(lengths=st.lists(st.integers(1, 40), min_size=2, max_size=5), seed=st.integers(0, 1000))
def test_each_video_is_scored_as_if_it_were_alone(lengths: list[int], seed: int) -> None:
    """Also with the temporal filter, which must not see its neighbours in the batch."""
    model = ThreeCNet(CLASSES, DIM, FILTERED)
    randomize(model, seed)
    batch = random_batch(seed, lengths)
    together = model(as_tensors(batch)["features"])["tcam_fused"]
    for i, video in enumerate(batch["videos"]):
        alone = model(tf.RaggedTensor.from_row_lengths(tf.constant(video, tf.float32), [len(video)]))["tcam_fused"]
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-5, atol=1e-5)


def test_temporal_convolution_reads_zero_beyond_each_video() -> None:
    """Kernel of ones over [1, 2, 3 | 10]: dilation 2 reaches t-12 ... t+12 in steps of 2, within the video only."""
    rows = tf.constant([[1.0], [2.0], [3.0], [10.0]])
    found = temporal_convolution(rows, tf.ones([13, 1]), tf.constant([0, 0, 0, 1], tf.int64))
    np.testing.assert_array_equal(found, [[4], [2], [4], [10]])


def test_dropout_depends_on_seed_and_step_only() -> None:
    features = as_tensors(random_batch(1, [20]))["features"]

    def tcam(seed: int, step: int) -> np.ndarray:
        model = ThreeCNet(CLASSES, DIM, ModelConfig(dropout=0.5), seed=seed)
        return model(features, training=True, step=tf.constant(step))["tcam_rgb"].flat_values.numpy()

    np.testing.assert_array_equal(tcam(0, 3), tcam(0, 3))
    assert not np.array_equal(tcam(0, 3), tcam(0, 4))
    model = ThreeCNet(CLASSES, DIM, ModelConfig(dropout=0.5))
    assert not np.array_equal(model(features, training=True)["tcam_rgb"][0], model(features)["tcam_rgb"][0])


@pytest.mark.parametrize("rate", [0.7, 0.5, 0.123, 1e-9])
def test_dropout_drops_its_rate_and_scales_the_rest(rate: float) -> None:
    """The mean over (nearly) all 2^16 random values is 1: the factor fits the rounded rate exactly."""
    stream = ThreeCNet(1, 1001, ModelConfig(dropout=rate)).streams["rgb"]
    mask, kept_fraction = stream._dropout_mask(tf.constant([201, 1001]), step=0)  # an odd number of values
    assert mask.shape == [201, 1001]
    assert kept_fraction == pytest.approx(1 - rate, abs=1 / 65536)
    assert mask.numpy().mean() == pytest.approx(kept_fraction, abs=0.005)


def test_dropout_applies_its_mask_between_features_and_classifier() -> None:
    model = ThreeCNet(CLASSES, DIM, ModelConfig(dropout=0.7))
    stream = model.streams["rgb"]
    rows = np.random.default_rng(0).normal(size=(20, DIM)).astype(np.float32)
    features, tcam = stream(tf.constant(rows), training=True, step=5)
    without, _ = stream(tf.constant(rows))
    np.testing.assert_allclose(features, without, rtol=1e-6)  # the center loss sees the features without dropout
    mask, kept_fraction = stream._dropout_mask(tf.shape(features), 5)
    dropped = features.numpy() * mask.numpy() / kept_fraction
    expected = dropped @ stream.classifier.kernel.numpy() + stream.classifier.bias.numpy()
    np.testing.assert_allclose(tcam, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_changes_training_a_little_and_inference_not_at_all() -> None:
    features = as_tensors(random_batch(1, [20, 9]))["features"]
    exact, rounded = (ThreeCNet(CLASSES, DIM, ModelConfig(dropout=0.0, precision=p)) for p in ("float32", "bfloat16"))
    np.testing.assert_array_equal(
        exact(features)["tcam_fused"].flat_values, rounded(features)["tcam_fused"].flat_values
    )
    one, other = (model(features, training=True)["tcam_fused"].flat_values for model in (exact, rounded))
    assert one.dtype == other.dtype == tf.float32
    assert 0 < np.abs(one - other).max() < 0.05 * np.abs(one).max()
    assert all(variable.dtype == tf.float32 for variable in rounded.named_variables().values())


def test_rgb_and_flow_are_initialised_differently_and_reproducibly() -> None:
    first, second = weights_of(ThreeCNet(CLASSES, DIM, seed=1)), weights_of(ThreeCNet(CLASSES, DIM, seed=1))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert not np.array_equal(first["rgb_fc1_kernel"], first["flow_fc1_kernel"])
    assert not np.array_equal(first["rgb_fc1_kernel"], first["rgb_fc2_kernel"])
    other = weights_of(ThreeCNet(CLASSES, DIM, seed=2))
    assert not np.array_equal(first["rgb_fc1_kernel"], other["rgb_fc1_kernel"])


def test_features_of_another_size_are_refused() -> None:
    model = ThreeCNet(CLASSES, DIM)
    with pytest.raises(UserError, match=r"\[videos, \(segments\), 10\]"):
        model.call(tf.RaggedTensor.from_row_lengths(tf.zeros([3, 8]), [3]))
    with pytest.raises(UserError, match="ragged batch"):
        model.call(tf.zeros([1, 3, 2 * DIM]))


def test_config_round_trip_gives_the_same_architecture() -> None:
    model = ThreeCNet(CLASSES, DIM, FILTERED, seed=3)
    twin = ThreeCNet.from_config(model.get_config())
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, weights_of(twin)[name])


def test_a_variable_without_owner_is_refused() -> None:
    model = ThreeCNet(CLASSES, DIM)
    model.compile()
    model.streams["rgb"].trainable = False
    with pytest.raises(RuntimeError, match="0 owners"):
        check_ownership(model)


def test_fit_gives_the_weights_of_the_same_updates(dataset_dir: Path) -> None:
    """`fit` in a notebook and `update` in the trainer are the same training."""
    split = open_split(dataset_dir, "validation")
    batches = training_batches(split, InputConfig(batch_size=4, crop_segments=8))

    def model() -> ThreeCNet:
        made = ThreeCNet(3, 4, ModelConfig(dropout=0.5), seed=5)
        made.compile()
        return made

    fitted, stepped = model(), model()
    history = fitted.fit(batches, steps_per_epoch=6, epochs=1, verbose=0).history
    step = tf.function(stepped.update, autograph=False)  # as the trainer traces it
    losses = [float(step(batch)["loss"]) for batch in batches.take(6)]
    assert history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-5)
    for name, value in weights_of(stepped).items():
        np.testing.assert_allclose(weights_of(fitted)[name], value, rtol=1e-6, atol=1e-7, err_msg=name)
