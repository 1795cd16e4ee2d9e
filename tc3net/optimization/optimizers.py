"""The network's optimizer and its weight decay. The centers' own update: `tc3net.losses.center`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.common.stack import addons_optimizers, require_keras_3
from tc3net.optimization.addons import make_legacy


class Kind(NamedTuple):
    """One choice of `--optimizer`.

    Attributes:
        class_name: in `keras.optimizers`; where it is not there, tensorflow-addons' is taken.
        options: what `--optimizer_options` may set, with our defaults.
        legacy_name: the class in tensorflow-addons or `keras.optimizers.legacy`, for its wrappers; empty: none.
        keras_3_only: why it cannot be used with Keras 2.15; empty where it can.
        instead: the nearest choice where `keras.optimizers` has no such class.
    """

    class_name: str
    options: dict[str, float | bool]
    legacy_name: str = ""
    keras_3_only: str = ""
    instead: str = ""


# PyTorch's epsilon, the paper's framework; Keras's own is 1e-7.
_ADAM: dict[str, float | bool] = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
_NADAM = "there it gives NaN on several devices, and does not save all of its state"
OPTIMIZERS = {
    "adadelta": Kind("Adadelta", {"rho": 0.95, "epsilon": 1e-8}, "Adadelta"),
    "adafactor": Kind("Adafactor", {"clip_threshold": 1.0, "relative_step": True}),
    "adagrad": Kind("Adagrad", {"initial_accumulator_value": 0.1, "epsilon": 1e-8}, "Adagrad"),
    "adam": Kind("Adam", {**_ADAM, "amsgrad": False}, "Adam"),
    "adamax": Kind("Adamax", _ADAM, "Adamax"),
    "adamw": Kind("AdamW", {**_ADAM, "amsgrad": False}, "Adam"),  # which the decoupled decay turns into AdamW
    "ftrl": Kind("Ftrl", {"initial_accumulator_value": 0.1, "l1_regularization_strength": 0.0}, "Ftrl"),
    "lamb": Kind("Lamb", {**_ADAM, "epsilon": 1e-6}, "LAMB", instead="--optimizer=adam"),
    "lion": Kind("Lion", {"beta_1": 0.9, "beta_2": 0.99}),
    "nadam": Kind("Nadam", _ADAM, keras_3_only=_NADAM),
    "radam": Kind(
        "RectifiedAdam",
        {**_ADAM, "sma_threshold": 5.0},
        "RectifiedAdam",
        instead="--optimizer=adam --warmup_steps=2000",
    ),
    "rmsprop": Kind("RMSprop", {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-8, "centered": False}, "RMSprop"),
    "sgd": Kind("SGD", {"momentum": 0.9, "nesterov": False}, "SGD"),
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
    lookahead_steps: int = option(
        0,
        "Lookahead (tensorflow-addons): steps after which slow weights, which evaluation and export then use, follow "
        "the weights, and the weights return to them; 0: off.",
    )
    lookahead_step_size: float = option(0.5, "How much of the way to the weights Lookahead's slow weights go.")
    swa_period: int = option(
        0,
        "Stochastic weight averaging (tensorflow-addons): steps between two snapshots of the weights, whose mean "
        "evaluation and export then use; 0: off.",
    )
    swa_start: int = option(0, "Steps after which the first snapshot is taken; 0: after swa_period steps.")

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"--learning_rate={self.learning_rate}; expected a positive number (the paper uses 1e-4).")
        for name in ("weight_decay", "clip_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"--{name}={getattr(self, name)}; expected 0 or a positive number.")
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"--ema_decay={self.ema_decay}; expected 0 (no average) or a decay below 1, such as 0.999.")
        parse_options(self.optimizer, self.optimizer_options)
        self._check_wrappers()
        if self.optimizer == "adamw" and self.weight_decay_mode == "l2":
            raise UserError(
                "--optimizer=adamw with --weight_decay_mode=l2: AdamW is Adam with decoupled decay. Give "
                "--weight_decay_mode=decoupled, or --optimizer=adam."
            )

    def check_stack(self) -> None:
        """Raises UserError where this stack lacks the optimizer or its wrapper; a run of the other one can be read."""
        kind = kind_of(self.optimizer)
        if self.wrapped:
            flag = "lookahead_steps" if self.lookahead_steps else "swa_period"
            asked = f"--{flag}={getattr(self, flag)}"
            addons_optimizers(asked, "--ema_decay=0.999")
            if not kind.legacy_name:
                usable = ", ".join(name for name, other in OPTIMIZERS.items() if other.legacy_name)
                raise UserError(
                    f"{asked} with --optimizer={self.optimizer}: tensorflow-addons cannot wrap it. Choose one of "
                    f"{usable}, or --ema_decay=0.999 in its place."
                )

    def _check_wrappers(self) -> None:
        """Raises UserError unless Lookahead and SWA are off, or at most one of them can act."""
        for name in ("lookahead_steps", "swa_period", "swa_start"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name}={getattr(self, name)}; expected 0 or more steps.")
        if not 0 < self.lookahead_step_size <= 1:
            raise UserError(f"--lookahead_step_size={self.lookahead_step_size}; expected a number in (0, 1].")
        if self.swa_start and not self.swa_period:
            raise UserError(f"--swa_start={self.swa_start} without --swa_period, which alone switches SWA on.")
        averaging = ("ema_decay", "lookahead_steps", "swa_period")
        chosen = [f"--{name}={getattr(self, name)}" for name in averaging if getattr(self, name)]
        if len(chosen) > 1:
            raise UserError(f"{' with '.join(chosen)}: each gives the weights to evaluate. Choose one of them.")

    @property
    def wrapped(self) -> bool:
        """Whether the optimizer acts inside Lookahead or SWA."""
        return self.lookahead_steps > 0 or self.swa_period > 0

    @property
    def first_snapshot(self) -> int:
        """Number of steps after which SWA takes its first snapshot."""
        return self.swa_start or self.swa_period

    def acting(self) -> OptimizerConfig:
        """The same with defaults in place of choices that do not act, so that equal trainings are equal."""
        if self.lookahead_steps:
            return self
        return replace(self, lookahead_step_size=OptimizerConfig.lookahead_step_size)

    def recorded(self) -> dict[str, Any]:
        """The choices that act, for the run's description; wrappers are named where there are any."""
        choices = asdict(self)
        for switch, others in {"lookahead_steps": ["lookahead_step_size"], "swa_period": ["swa_start"]}.items():
            if not choices[switch]:
                for name in (switch, *others):
                    del choices[name]
        return choices

    @property
    def l2(self) -> float:
        """What is added to the gradient, times the weight."""
        return self.weight_decay if self.weight_decay_mode == "l2" else 0.0


def _named(name: str) -> Kind:
    """The optimizer of that name, whether this stack has it or not."""
    if name not in OPTIMIZERS:
        raise UserError(f"--optimizer={name}; expected one of {', '.join(OPTIMIZERS)}.")
    return OPTIMIZERS[name]


def kind_of(name: str) -> Kind:
    """The optimizer of that name.

    Raises:
        UserError: there is none, or none on this stack.
    """
    kind = _named(name)
    if kind.keras_3_only:
        require_keras_3(f"--optimizer={name}", kind.keras_3_only)
    if kind.instead and not hasattr(keras.optimizers, kind.class_name):  # the others are in every Keras
        addons_optimizers(f"--optimizer={name}", kind.instead)
    return kind


def parse_options(optimizer: str, text: str) -> dict[str, float | bool]:
    """`beta_2=0.99,epsilon=1e-6` -> the optimizer's options, defaults included.

    Args:
        optimizer: a name of `OPTIMIZERS`.
        text: value of `--optimizer_options`.

    Raises:
        UserError: an option that this optimizer has not, or an impossible value.
    """
    options = dict(_named(optimizer).options)
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
        learning_rate: a number or a schedule (`tc3net.optimization.schedules`); `config.learning_rate` is not read.
        config: which optimizer; its l2 decay is not the optimizer's matter, see `add_l2`.
        variables: the network's. Under decoupled decay, vectors among them (biases, fusion weights) do not decay.

    Returns:
        An optimizer of Keras, or of tensorflow-addons, then with the interface of `keras.optimizers.legacy`.
    """
    kind = kind_of(config.optimizer)
    options: dict[str, Any] = parse_options(config.optimizer, config.optimizer_options)
    decoupled = config.weight_decay_mode == "decoupled"
    if config.wrapped or not hasattr(keras.optimizers, kind.class_name):
        tfa = addons_optimizers(f"--optimizer={config.optimizer}", kind.instead)
        decay = config.weight_decay if decoupled else None
        legacy = make_legacy(tfa, kind.legacy_name, learning_rate, options, decay)
        if config.lookahead_steps:
            return tfa.Lookahead(legacy, config.lookahead_steps, config.lookahead_step_size)
        # tensorflow-addons counts from 0: m is the step after which m + 1 have been taken.
        return tfa.SWA(legacy, config.first_snapshot - 1, config.swa_period) if config.swa_period else legacy
    if decoupled:
        options["weight_decay"] = config.weight_decay
    optimizer = getattr(keras.optimizers, kind.class_name)(learning_rate=learning_rate, **options)
    if decoupled:
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
