"""In any configuration: what is trained is checkpointed, restored, averaged, and moved by exactly one optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.stack import KERAS_3, optimizer_variables, tf_variable
from tc3net.losses import LossConfig, Pooled, Suppressed
from tc3net.model import Attention, BackgroundClass, ModelConfig, Pooling, ThreeCNet
from tc3net.model.heads import Head, NetworkShape, make_heads
from tc3net.model.variables import check_ownership, named_variables
from tc3net.optimization.optimizers import OptimizerConfig, make_optimizer
from tc3net.runs.checkpoints import CheckpointFolder, restore_network, saved_variables

CLASSES, DIM = 3, 4


class Nested(keras.layers.Layer):
    """Layers in a list, in a dict and in another layer; statistics that do not train; a weight of its own."""

    def __init__(self, shape: NetworkShape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.listed = [keras.layers.Dense(DIM, name=f"listed{i}") for i in range(2)]
        self.by_name = {"norm": keras.layers.BatchNormalization(name="norm")}
        for layer in (*self.listed, *self.by_name.values()):
            layer.build((None, shape.feature_dim))
        self.offset = self.add_weight(shape=(shape.num_classes,), initializer="zeros", name="offset", trainable=True)
        self.built = True

    def call(self, outputs: dict[str, Any], training: bool = False, step: Any = 0) -> dict[str, Any]:
        rows = outputs["features_rgb"].flat_values
        for layer in self.listed:
            rows = layer(rows)
        rows = self.by_name["norm"](rows, training=training)
        gate = tf.reduce_mean(rows, axis=1, keepdims=True)
        fused = outputs["tcam_fused"]
        return {"tcam_fused": fused.with_flat_values(fused.flat_values * gate + self.offset)}


@dataclass(frozen=True)
class NestedHead(Head):
    name: ClassVar[str] = "nested"

    def make_layer(self, shape: NetworkShape) -> keras.layers.Layer:
        return Nested(shape, name=self.name)


# Every head of other methods, and what trains them.
METHODS = (Attention("conv", 3), BackgroundClass(True), Pooling("attention"))
METHOD_TERMS = (Suppressed(1.0), Pooled(1.0, "sigmoid"))
CONFIGURATIONS = {
    "paper": (ModelConfig(), OptimizerConfig(), ()),
    "temporal filter": (ModelConfig(temporal_conv=True), OptimizerConfig(ema_decay=0.9), ()),
    "bfloat16": (ModelConfig(precision="bfloat16", temporal_conv=True), OptimizerConfig(optimizer="sgd"), ()),
    "head": (ModelConfig(), OptimizerConfig(optimizer="rmsprop"), (NestedHead(),)),
    "methods": (ModelConfig(dropout=0.0), OptimizerConfig(ema_decay=0.9), METHODS),
    "selection": (ModelConfig(), OptimizerConfig(), (Pooling("selection"),)),
    "everything": (ModelConfig(temporal_conv=True), OptimizerConfig(optimizer="adamw", weight_decay_mode="decoupled",
                   ema_decay=0.9), (NestedHead(),)),
}  # fmt: skip
if not KERAS_3:
    CONFIGURATIONS["lookahead"] = (ModelConfig(), OptimizerConfig(lookahead_steps=2), (NestedHead(),))
    CONFIGURATIONS["swa"] = (ModelConfig(), OptimizerConfig(swa_period=1), (NestedHead(),))


@pytest.fixture(scope="module", params=list(CONFIGURATIONS))
def configuration(request: pytest.FixtureRequest) -> tuple[ModelConfig, OptimizerConfig, tuple[Head, ...]]:
    return CONFIGURATIONS[request.param]


def make_model(configuration: Any, seed: int = 0) -> ThreeCNet:
    config, optimizer, heads = configuration
    model = ThreeCNet(CLASSES, DIM, config, seed=seed, heads=heads)
    model.compile(
        make_optimizer(0.1, optimizer, model.trainable_variables),
        loss_config=LossConfig(),
        terms=[term for term in METHOD_TERMS if set(term.needs) <= {head.name for head in heads}],
        weight_decay=optimizer.l2,
        ema_decay=optimizer.ema_decay,
    )
    return model


def batch() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    features = tf.RaggedTensor.from_row_lengths(tf.constant(rng.random((12, 2 * DIM)), tf.float32), [5, 7])
    counts = tf.constant([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    ones = tf.ones([2, CLASSES], tf.bool)
    labels = tf.cast(counts > 0, tf.float32)
    return {
        "features": features, "labels": labels, "counts": counts, "counts_known": ones, "full_length": ones[:, 0],
    }  # fmt: skip


def used_in_training(model: ThreeCNet) -> set[Any]:
    """The trainable variables that the loss depends on, as TensorFlow itself saw them: not by anybody's list."""
    given = batch()
    with tf.GradientTape() as tape:
        outputs = model(given["features"], training=True, step=tf.constant(0, tf.int64))
        inputs = model.loss_inputs(given, outputs, tf.constant(0, tf.int64))
        tf.add_n([term.compute(inputs).total for term in model.objective.terms])
    return {variable.ref() for variable in tape.watched_variables()}


def test_whatever_the_loss_depends_on_is_named_checkpointed_averaged_and_optimized(configuration: Any) -> None:
    model = make_model(configuration)
    used = used_in_training(model)
    named = {variable.ref() for variable in model.named_variables().values()}
    network = {variable.ref() for variable in model.network_variables().values()}
    assert used and used <= named and used == network
    assert named == {v.ref() for v in saved_variables(model)["network"].values()}
    if model.average is not None:
        assert model.average.variables.keys() == model.network_variables().keys()
    # The optimizer holds as many slots for every weight as it holds for any, and slots of the right shapes only.
    shapes = sorted(tuple(v.shape) for v in optimizer_variables(model.optimizer) if len(v.shape))
    weights = sorted(tuple(v.shape) for v in model.network_variables().values())
    assert not shapes or shapes == sorted(weights * (len(shapes) // len(weights)))


def test_one_step_moves_every_variable_once_and_a_checkpoint_restores_all_of_it(
    configuration: Any, tmp_path: Path
) -> None:
    model = make_model(configuration)
    before = {name: v.numpy() for name, v in model.named_variables().items()}
    model.update(batch())
    moved = {name for name, v in model.named_variables().items() if not np.array_equal(v, before[name])}
    assert {"rgb_fc1_kernel", "flow_classifier_bias", "fusion_weight_flow", "centers_rgb"} <= moved
    path = CheckpointFolder(tmp_path, model, keep=1).save(1)
    other = make_model(configuration, seed=9)
    CheckpointFolder(tmp_path, other, keep=1).restore(path)
    for kind, variables in saved_variables(model).items():
        for name, variable in variables.items():
            np.testing.assert_array_equal(saved_variables(other)[kind][name], variable, err_msg=f"{kind}/{name}")
    config, _, heads = configuration
    bare = ThreeCNet(CLASSES, DIM, config, seed=5, heads=heads)
    averaged = restore_network(path, bare)
    source = {**model.named_variables(), **(model.average.variables if model.average is not None else {})}
    assert averaged == (model.average is not None)
    for name, variable in bare.named_variables().items():
        np.testing.assert_array_equal(variable, source[name], err_msg=name)


def test_names_in_checkpoints_are_those_of_earlier_versions() -> None:
    model = ThreeCNet(CLASSES, DIM, ModelConfig(temporal_conv=True))
    layers = [
        f"{s}_{layer}_{v}"
        for s in ("rgb", "flow")
        for layer in ("fc1", "fc2", "classifier")
        for v in ("kernel", "bias")
    ]
    fusion = ["fusion_weight_rgb", "fusion_weight_flow", "fusion_temporal_kernel"]
    assert set(model.named_variables()) == {"centers_rgb", "centers_flow", *layers, *fusion}


def test_statistics_of_a_head_are_kept_but_neither_optimized_nor_averaged() -> None:
    model = make_model(CONFIGURATIONS["everything"])
    statistics = {"nested_norm_moving_mean", "nested_norm_moving_variance"}
    assert statistics <= model.named_variables().keys()
    assert not statistics & model.network_variables().keys()
    check_ownership(model)


def test_a_layer_that_keras_tracks_but_no_walk_finds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ThreeCNet(CLASSES, DIM)
    lost = model.streams["rgb"].fc1
    monkeypatch.setattr(
        "tc3net.model.variables.sublayers",
        lambda layer: [part for part in _sublayers(layer) if part is not lost],
    )
    with pytest.raises(RuntimeError, match=r"trainable variables .*kernel.* are not found by walking the model"):
        named_variables(model)


def test_two_variables_of_one_name_are_refused() -> None:
    model = ThreeCNet(CLASSES, DIM)
    twin = keras.layers.Dense(2, name="fusion")
    twin.build((None, 2))
    model.twins = [twin, keras.layers.Dense(2, name="fusion")]
    model.twins[1].build((None, 2))
    with pytest.raises(RuntimeError, match="two variables are named fusion_kernel"):
        named_variables(model)


def test_a_head_has_to_be_built_and_named_as_itself() -> None:
    @dataclass(frozen=True)
    class Unbuilt(Head):
        name: ClassVar[str] = "unbuilt"

        def make_layer(self, shape: NetworkShape) -> keras.layers.Layer:
            return keras.layers.Dense(2, name="other")

    with pytest.raises(UserError, match="made a layer named 'other', built: False; expected name='unbuilt'"):
        make_heads((Unbuilt(),), NetworkShape(CLASSES, DIM, 0))


def _sublayers(layer: Any) -> list[Any]:
    from tc3net.common.stack import sublayers

    return sublayers(layer)


def test_the_variable_behind_keras_is_tensorflows_own() -> None:
    assert all(isinstance(v, tf.Variable) for v in named_variables(ThreeCNet(CLASSES, DIM)).values())
    assert tf_variable(tf.Variable(1.0)).shape == ()
