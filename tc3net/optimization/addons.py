"""What tensorflow-addons adds: RectifiedAdam and LAMB, decoupled weight decay for them, Lookahead and SWA.

It knows optimizers of `keras.optimizers.legacy` alone, so those are what its wrappers get here. Which flags lead to
them stands in `tc3net.optimization.optimizers`; the library itself comes from `tc3net.common.stack`, which says so
where it is missing.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def make_legacy(
    tfa: Any, class_name: str, learning_rate: Any, options: dict[str, Any], weight_decay: float | None
) -> Any:
    """An optimizer that the wrappers accept.

    Args:
        tfa: `tensorflow_addons.optimizers`.
        class_name: of a class there, or in `keras.optimizers.legacy`.
        learning_rate: a number or a schedule.
        options: its other arguments.
        weight_decay: decoupled decay; None for an optimizer without.
    """
    base = getattr(tfa, class_name, None) or getattr(keras.optimizers.legacy, class_name)
    if weight_decay is None:
        return base(learning_rate=learning_rate, **options)
    return _decoupled(tfa, base)(weight_decay, learning_rate=learning_rate, **options)


def _decoupled(tfa: Any, base: type) -> Any:
    """The class with tensorflow-addons' decay, acting as Keras's does: learning rate times decay, kernels alone."""

    class Decoupled(tfa.extend_with_decoupled_weight_decay(base)):  # type: ignore[misc]
        def _decayed_wd(self, var_dtype: Any) -> tf.Tensor:
            # tensorflow-addons leaves it to the caller to scale the decay as the learning rate.
            return self._get_hyper("weight_decay", var_dtype) * self._decayed_lr(var_dtype)

        def _do_use_weight_decay(self, var: Any) -> bool:
            # By shape. Its own lists of variables never match the copies of a variable on several devices.
            return len(var.shape) > 1

        def _prepare_local(self, var_device: Any, var_dtype: Any, apply_state: dict[Any, Any]) -> None:
            super()._prepare_local(var_device, var_dtype, apply_state)
            # LAMB finds the same setting and would decay once more, scaled by its trust ratio.
            apply_state[var_device, var_dtype]["weight_decay"] = tf.zeros([], var_dtype)

    return Decoupled


def averaging_slots(optimizer: Any, weights: dict[str, tf.Variable]) -> tuple[dict[str, tf.Variable], int]:
    """Averages of the weights that a built optimizer keeps itself: Lookahead's slow weights, or SWA's mean.

    Args:
        optimizer: any Keras optimizer.
        weights: the network's weights by name.

    Returns:
        The averages by the weights' names, empty for other optimizers; and the number of steps that end before SWA's
        first snapshot (0 for Lookahead), in which it does not touch them.
    """
    names: list[str] = getattr(optimizer, "get_slot_names", list)()
    slot = next((name for name in ("slow", "average") if name in names), None)
    if slot is None:
        return {}, 0
    averages = {name: optimizer.get_slot(weight, slot) for name, weight in weights.items()}
    return averages, int(getattr(optimizer, "start_averaging", 0))
