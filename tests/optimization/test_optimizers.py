"""The registry of optimizers, weight decay, and gradient clipping; on one and on several replicas."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.stack import KERAS_3, build_optimizer, optimizer_variables
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import OPTIMIZERS, OptimizerConfig, clip_shares, make_optimizer, parse_options
from tests.support.replicas import strategy_of

HERE = [name for name in OPTIMIZERS if name != ("radam" if KERAS_3 else "nadam")]
# In Keras 3 only, or wrappers of other optimizers.
NOT_IN_BOTH = {"LossScaleOptimizer", "MultiOptimizer", "Muon", "Optimizer", "OptimizerMap", "ScheduleFreeAdamW"}


def config_of(name: str, **changes: object) -> OptimizerConfig:
    mode = "decoupled" if name == "adamw" else "l2"
    return OptimizerConfig(**{"optimizer": name, "weight_decay_mode": mode, **changes})


def test_the_registry_has_every_optimizer_of_both_stacks() -> None:
    found = {name for name in dir(keras.optimizers) if inspect.isclass(getattr(keras.optimizers, name))}
    of_addons = {"RectifiedAdam"} if KERAS_3 else {"RectifiedAdam", "Lamb"}
    assert found - NOT_IN_BOTH == {kind.class_name for kind in OPTIMIZERS.values()} - of_addons


@pytest.mark.parametrize("name", HERE)
def test_every_option_of_the_registry_reaches_keras(name: str) -> None:
    options = {key: not value if isinstance(value, bool) else 0.25 for key, value in OPTIMIZERS[name].options.items()}
    text = ",".join(f"{key}={str(value).lower()}" for key, value in options.items())
    config = make_optimizer(0.5, config_of(name, optimizer_options=text)).get_config()
    assert {key: config[key] for key in options} == options
    assert config["learning_rate"] == 0.5


def test_the_default_is_the_papers_adam() -> None:
    optimizer = make_optimizer()
    config = optimizer.get_config()
    assert type(optimizer) is keras.optimizers.Adam
    assert (config["beta_1"], config["beta_2"], config["epsilon"], config["amsgrad"]) == (0.9, 0.999, 1e-8, False)
    assert config["learning_rate"] == pytest.approx(1e-4) and not config["weight_decay"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adamm"}, "--optimizer=adamm; expected one of adadelta, adafactor"),
        ({"optimizer": "sgd", "optimizer_options": "beta_1=0.9"}, "sgd has no option 'beta_1'. It has momentum=0.9"),
        ({"optimizer_options": "beta_1=1"}, r"beta_1=1; expected a number in \[0, 1\)"),
        ({"optimizer_options": "epsilon=0"}, "epsilon=0; expected a positive number"),
        ({"optimizer_options": "epsilon"}, "epsilon=; expected a positive number"),
        ({"optimizer_options": "amsgrad=1"}, "amsgrad=1; expected true or false"),
        ({"optimizer": "adamw"}, "AdamW is Adam with decoupled decay"),
    ],
)
def test_impossible_choices_name_their_cure(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        OptimizerConfig(**changes)


def test_an_optimizer_of_the_other_stack_names_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tc3net.common.stack._is_keras_3", lambda: False)
    with pytest.raises(UserError, match=r"--optimizer=nadam is not available with Keras .*install requirements.txt"):
        OptimizerConfig(optimizer="nadam").check_stack()


def test_options_are_parsed_over_the_defaults() -> None:
    assert parse_options("sgd", "nesterov=true, momentum=0.5") == {"nesterov": True, "momentum": 0.5}
    assert parse_options("sgd", "") == {"nesterov": False, "momentum": 0.9}


def train_dense(name: str, replicas: int, restart_after: int | None = None) -> np.ndarray:
    """Five steps of least squares, each replica on its share of the rows; optionally through a restart."""
    rows = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    strategy = strategy_of(replicas)

    def start() -> tuple[keras.layers.Layer, keras.optimizers.Optimizer]:
        with strategy.scope():
            layer = keras.layers.Dense(2, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
            layer.build((None, 3))
            optimizer = make_optimizer(0.05, config_of(name))
            build_optimizer(optimizer, layer.trainable_variables)
        return layer, optimizer

    def step() -> None:
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        share = tf.gather(rows, tf.range(4 // replicas) + rank * (4 // replicas))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(share) - 1.0)) / 4
        weights = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

    layer, optimizer = start()
    for number in range(5):
        if number == restart_after:
            old = (*layer.weights, *optimizer_variables(optimizer))
            layer, optimizer = start()
            for before, after in zip(old, (*layer.weights, *optimizer_variables(optimizer))):
                after.assign(tf.convert_to_tensor(before))
        strategy.run(step)
    return tf.convert_to_tensor(layer.kernel).numpy()


@pytest.mark.parametrize("name", HERE)
def test_every_optimizer_is_indifferent_to_restarts_and_replicas(name: str) -> None:
    whole = train_dense(name, 1)
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(train_dense(name, 1, restart_after=3), whole)
    np.testing.assert_allclose(train_dense(name, 2), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0, 1000.0])
def test_clipping_is_by_the_norm_of_the_gradient_summed_over_replicas(replicas: int, clip_norm: float) -> None:
    """Shares of (3, 4, 12), of norm 13, far larger than it and different on every replica."""
    strategy = strategy_of(replicas)
    total = np.array([3.0, 4.0, 12.0], np.float32)
    noise = np.random.default_rng(0).normal(size=(replicas, 3)).astype(np.float32) * 10
    shares = total / replicas + noise - noise.mean(axis=0)

    def step() -> tuple[tf.Tensor, tf.Tensor]:
        replica = tf.distribute.get_replica_context()
        share = tf.gather(shares, replica.replica_id_in_sync_group)
        clipped, norm = clip_shares([share[:1], share[1:]], clip_norm)
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.concat(clipped, axis=0)), norm

    summed, norm = (strategy.experimental_local_results(value)[-1] for value in strategy.run(step))
    assert float(norm) == pytest.approx(13, rel=1e-5)
    factor = 1.0 if clip_norm in (0.0, 1000.0) else clip_norm / 13
    np.testing.assert_allclose(summed, total * factor, rtol=1e-4, atol=1e-5)


def test_a_gradient_that_is_not_finite_stays_so() -> None:
    """Clipping must not turn a broken step into one that looks healthy."""
    for bad in (np.nan, np.inf):
        clipped, norm = clip_shares([tf.constant([bad, 1.0])], 1.0)
        assert not np.isfinite(norm) and not np.isfinite(clipped[0][0])


def unlabelled(videos: int) -> dict[str, object]:
    """A batch that gives no loss and no gradient."""
    nothing = tf.zeros([videos, 3])
    return {
        "features": tf.RaggedTensor.from_row_lengths(tf.ones([4 * videos, 8]), [4] * videos),
        "labels": nothing,
        "counts": nothing,
        "counts_known": nothing > 0,
        "full_length": tf.ones([videos], tf.bool),
    }


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("name", ["adam", "adamw", "lamb", "sgd", *({"radam"} & set(HERE))])
def test_decoupled_decay_shrinks_kernels_alone(name: str, replicas: int) -> None:
    """Without a gradient a kernel becomes (1 - rate * decay) of itself; biases, fusion weights and centers stay."""
    strategy = strategy_of(replicas)
    config = config_of(name, weight_decay=0.5, weight_decay_mode="decoupled")
    with strategy.scope():
        model = ThreeCNet(3, 4, ModelConfig(dropout=0.0, temporal_conv=True))
        for variable in model.named_variables().values():
            variable.assign(tf.fill(variable.shape, 2.0))
        model.compile(make_optimizer(0.1, config, model.trainable_variables), weight_decay=config.l2)
    strategy.run(lambda: model.update(unlabelled(2)))
    for variable_name, variable in model.named_variables().items():
        decays = "kernel" in variable_name
        np.testing.assert_allclose(variable.numpy(), 2 * 0.95 if decays else 2.0, rtol=1e-6, err_msg=variable_name)
