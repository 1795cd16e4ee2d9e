"""The network's optimizer and its weight decay. The centers have their own update, see `tc3net.centers`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tc3net.config import option
from tc3net.errors import UserError
from tc3net.stack import KERAS_3


class Kind(NamedTuple):
    """One choice of `--optimizer`.

    Attributes:
        class_name: in `keras.optimizers`.
        options: what `--optimizer_options` may set, with our defaults.
        keras_3_only: why it cannot be used with Keras 2.15; empty where it can.
    """

    class_name: str
    options: dict[str, float | bool]
    keras_3_only: str = ""


# PyTorch's epsilon, the paper's framework; Keras's own is 1e-7.
_ADAM: dict[str, float | bool] = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
OPTIMIZERS = {
    "adadelta": Kind("Adadelta", {"rho": 0.95, "epsilon": 1e-8}),
    "adafactor": Kind("Adafactor", {"clip_threshold": 1.0, "relative_step": True}),
    "adagrad": Kind("Adagrad", {"initial_accumulator_value": 0.1, "epsilon": 1e-8}),
    "adam": Kind("Adam", {**_ADAM, "amsgrad": False}),
    "adamax": Kind("Adamax", _ADAM),
    "adamw": Kind("AdamW", {**_ADAM, "amsgrad": False}),
    "ftrl": Kind("Ftrl", {"initial_accumulator_value": 0.1, "l1_regularization_strength": 0.0}),
    "lion": Kind("Lion", {"beta_1": 0.9, "beta_2": 0.99}),
    "nadam": Kind("Nadam", _ADAM, "there it gives NaN on several devices, and does not save all of its state"),
    "rmsprop": Kind("RMSprop", {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-8, "centered": False}),
    "sgd": Kind("SGD", {"momentum": 0.9, "nesterov": False}),
}


@dataclass(frozen=True)
class OptimizerConfig:
    """Sec. 4.1: Adam, learning rate 1e-4, weight decay 0.005 (reference code: 0.0005)."""

    optimizer: str = option("adam", f"One of {', '.join(OPTIMIZERS)} (the paper: adam).")
    optimizer_options: str = option(
        "", "Options of the optimizer, for example beta_2=0.99,epsilon=1e-6; docs/training.md lists them."
    )
    learning_rate: float = option(1e-4, "Learning rate; with a schedule, its full value.")
    weight_decay: float = option(5e-3, "Weight decay of the network; the centers have none.")
    weight_decay_mode: str = option(
        "l2",
        "l2: added to the gradient of every weight (paper). decoupled: kernels shrink by learning rate times "
        "weight_decay in each step, biases and fusion weights do not (as AdamW does).",
        choices=("l2", "decoupled"),
    )
    clip_norm: float = option(
        0.0, "Largest global norm of the loss's gradient, over all weights and devices; 0: no clipping."
    )
    ema_decay: float = option(
        0.0,
        "Decay of the moving average of the network's weights, which evaluation and export then use; 0: no average.",
    )

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"--learning_rate={self.learning_rate}; expected a positive number (the paper uses 1e-4).")
        for name in ("weight_decay", "clip_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"--{name}={getattr(self, name)}; expected 0 or a positive number.")
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"--ema_decay={self.ema_decay}; expected 0 (no average) or a decay below 1, such as 0.999.")
        kind_of(self.optimizer)
        parse_options(self.optimizer, self.optimizer_options)
        if self.optimizer == "adamw" and self.weight_decay_mode == "l2":
            raise UserError(
                "--optimizer=adamw with --weight_decay_mode=l2: AdamW is Adam with decoupled decay. Give "
                "--weight_decay_mode=decoupled, or --optimizer=adam."
            )

    @property
    def l2(self) -> float:
        """What is added to the gradient, times the weight."""
        return self.weight_decay if self.weight_decay_mode == "l2" else 0.0


def kind_of(name: str) -> Kind:
    """The optimizer of that name.

    Raises:
        UserError: there is none, or none on this stack.
    """
    if name not in OPTIMIZERS:
        raise UserError(f"--optimizer={name}; expected one of {', '.join(OPTIMIZERS)}.")
    kind = OPTIMIZERS[name]
    if kind.keras_3_only and not KERAS_3:
        raise UserError(
            f"--optimizer={name} is not available with Keras {keras.__version__}: {kind.keras_3_only}. Choose another "
            "one, or install requirements.txt (Keras 3)."
        )
    return kind


def parse_options(optimizer: str, text: str) -> dict[str, float | bool]:
    """`beta_2=0.99,epsilon=1e-6` -> the optimizer's options, defaults included.

    Args:
        optimizer: a name of `OPTIMIZERS`.
        text: value of `--optimizer_options`.

    Raises:
        UserError: an option that this optimizer has not, or an impossible value.
    """
    options = dict(kind_of(optimizer).options)
    for item in filter(None, text.split(",")):
        name, _, value = (part.strip() for part in item.partition("="))
        if name not in options:
            known = ", ".join(f"{key}={default}" for key, default in options.items())
            raise UserError(f"--optimizer_options={text}: {optimizer} has no option {name!r}. It has {known}.")
        options[name] = _parse_value(name, value, isinstance(options[name], bool), text)
    return options


def _parse_value(name: str, value: str, is_bool: bool, text: str) -> float | bool:
    """One option's value, in its range."""
    if is_bool:
        if value not in ("true", "false"):
            raise UserError(f"--optimizer_options={text}: {name}={value}; expected true or false.")
        return value == "true"
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if name in ("beta_1", "beta_2", "rho", "momentum"):
        valid, expected = 0 <= number < 1, "a number in [0, 1)"
    elif name in ("epsilon", "clip_threshold"):
        valid, expected = 0 < number < math.inf, "a positive number"
    else:
        valid, expected = 0 <= number < math.inf, "0 or a positive number"
    if not valid:
        raise UserError(f"--optimizer_options={text}: {name}={value}; expected {expected}.")
    return number


def make_optimizer(
    learning_rate: Any = OptimizerConfig.learning_rate,
    config: OptimizerConfig = OptimizerConfig(),
    variables: Sequence[Any] = (),
) -> keras.optimizers.Optimizer:
    """The optimizer of a configuration; by default the paper's Adam.

    Args:
        learning_rate: a number or a schedule (`tc3net.schedules`); `config.learning_rate` is not read.
        config: which optimizer; its l2 decay is not the optimizer's matter, see `add_l2`.
        variables: the network's. Under decoupled decay, vectors among them (biases, fusion weights) do not decay.
    """
    kind = kind_of(config.optimizer)
    options: dict[str, Any] = parse_options(config.optimizer, config.optimizer_options)
    if config.weight_decay_mode == "decoupled":
        options["weight_decay"] = config.weight_decay
    optimizer = getattr(keras.optimizers, kind.class_name)(learning_rate=learning_rate, **options)
    if config.weight_decay_mode == "decoupled":
        # A fusion weight is a gain that begins at 1: pulling it to 0 would silence a class, not regularise it.
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
    return optimizer


def add_l2(gradients: Sequence[tf.Tensor], variables: Sequence[Any], weight_decay: float) -> list[tf.Tensor]:
    """Adds weight_decay * w to each gradient (L2 regularisation as the reference's Adam does it, not decoupled).

    The optimizer sums gradients over replicas, so each replica adds its share.

    Args:
        gradients, variables: aligned.
        weight_decay: 0 leaves the gradients as they are.
    """
    if weight_decay == 0:
        return list(gradients)
    share = weight_decay / tf.distribute.get_strategy().num_replicas_in_sync
    return [g + share * tf.convert_to_tensor(v) for g, v in zip(gradients, variables)]


def clip_shares(gradients: Sequence[tf.Tensor], clip_norm: float) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Clips by the global norm of the gradient summed over all replicas, and reports that norm.

    Every replica's share is scaled by the same factor, so the optimizer's own sum over replicas is the clipped
    gradient, and with a factor of 1 exactly the unclipped one. Call in replica context.

    Args:
        gradients: this replica's share of the gradient of each weight.
        clip_norm: 0 leaves the gradients as they are.

    Returns:
        The shares, and the norm before clipping.
    """
    replica = tf.distribute.get_replica_context()
    total = list(gradients)
    if replica.num_replicas_in_sync > 1:
        total = replica.all_reduce(tf.distribute.ReduceOp.SUM, total)
    norm = tf.linalg.global_norm(total)
    if clip_norm == 0:
        return list(gradients), norm
    factor = clip_norm / tf.maximum(norm, clip_norm)
    return [factor * g for g in gradients], norm
