"""Every variable of a network, found by walking through it: names for checkpoints, and one owner for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tc3net.common.stack import own_variables, sublayers, tf_variable


def walk(layer: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every variable of a layer and of what it holds, under a path of names that no version of Keras chooses.

    Args:
        layer: a built layer or model.
        prefix: begins every name.

    Yields:
        Names such as `rgb_fc1_kernel`, and the variables as Keras holds them.
    """
    for name, variable in own_variables(layer).items():
        yield f"{prefix}{name}", variable
    for part in sublayers(layer):
        yield from walk(part, f"{prefix}{part.name}_")


def named_variables(model: Any) -> dict[str, tf.Variable]:
    """Every variable of a model by its name in checkpoints.

    Raises:
        RuntimeError: two have one name, or Keras knows a trainable variable that no layer holds where a walk finds it.
    """
    named: dict[str, tf.Variable] = {}
    seen: set[int] = set()
    for name, variable in walk(model):
        if id(variable) in seen:
            continue  # a layer that is held in two places
        seen.add(id(variable))
        if name in named:
            raise RuntimeError(f"two variables are named {name}; give the layers that hold them different names")
        named[name] = tf_variable(variable)
    lost = [variable.name for variable in model.trainable_variables if id(variable) not in seen]
    if lost:
        raise RuntimeError(f"trainable variables {lost} are not found by walking the model: hold their layers in it")
    return named


def check_ownership(model: Any) -> None:
    """Checks that whatever is trained has exactly one owner: the optimizer, or an update of its own.

    Trainable variables are the optimizer's. The centers are moved by their own update. What else does not train
    (statistics of a head's layers) belongs to its layer.

    Raises:
        RuntimeError: a variable is owned by both, or by neither.
    """
    network = {tf_variable(v).ref() for v in model.trainable_variables}
    centers = {tf_variable(v).ref() for v in model.centers.values()}
    heads = {tf_variable(v).ref() for layer in model.heads.values() for _, v in walk(layer)}
    for name, variable in named_variables(model).items():
        trained = variable.ref() in network
        owners = trained + (variable.ref() in centers)
        if owners != 1 and not (owners == 0 and variable.ref() in heads):
            raise RuntimeError(f"variable {name} has {owners} owners; expected exactly one")
