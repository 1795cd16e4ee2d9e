"""Saving and restoring the network, its centers and the optimizer, under names that do not depend on Keras."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from tc3net.errors import UserError
from tc3net.model import ThreeCNet
from tc3net.stack import tf_variable

_VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def training_checkpoint(model: ThreeCNet) -> tf.train.Checkpoint:
    """Checkpoint object of a compiled model: network, centers, optimizer slots and step, and any averages."""
    optimizer = [tf_variable(variable) for variable in model.optimizer.variables]
    averages = {"averages": model.average.variables} if model.average is not None else {}
    return tf.train.Checkpoint(network=model.named_variables(), optimizer=optimizer, **averages)


class CheckpointFolder:
    """The newest checkpoints of a run in one folder, or its single best one.

    Args:
        folder: where the checkpoints lie.
        model: the compiled model they belong to.
        keep: how many to keep.
    """

    def __init__(self, folder: str | Path, model: ThreeCNet, keep: int) -> None:
        self._checkpoint = training_checkpoint(model)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(folder), max_to_keep=keep, checkpoint_name="step"
        )
        self._model = model

    def save(self, step: int) -> str:
        """Saves the state after `step` steps; returns the checkpoint's path."""
        return str(self._manager.save(checkpoint_number=step))

    def restore_latest(self) -> str | None:
        """Restores the newest checkpoint, everything included; returns its path, or None where there is none.

        Raises:
            UserError: the checkpoint belongs to another architecture, or is damaged.
        """
        path = self._manager.latest_checkpoint
        if path is not None:
            check_shapes(path, self._model)
            self._checkpoint.restore(path).assert_existing_objects_matched()
        return path


def latest(folder: str | Path) -> str:
    """Path of the newest checkpoint in a folder.

    Raises:
        UserError: there is none.
    """
    path = tf.train.latest_checkpoint(os.fspath(folder))
    if path is None:
        raise UserError(f"{folder}: no checkpoint found; expected one written by `python -m tc3net.train`.")
    return path


def restore_network(path: str, model: ThreeCNet, weights: str = "averaged") -> bool:
    """Restores network and centers, for inference (no optimizer needed).

    Args:
        path: checkpoint path as `latest` returns it.
        model: model of the same architecture.
        weights: "averaged": the moving average of the weights where the checkpoint has one; "raw": those of the step.

    Returns:
        Whether the network's weights are averages.

    Raises:
        UserError: the checkpoint belongs to another architecture, or is damaged.
    """
    check_shapes(path, model)
    named, averaged = model.named_variables(), model.network_variables()
    stored = {name for name, _ in tf.train.list_variables(path)}
    use_averages = weights == "averaged" and any(name.startswith("averages/") for name in stored)
    if use_averages:
        centers = {name: variable for name, variable in named.items() if name not in averaged}
        checkpoint = tf.train.Checkpoint(network=centers, averages=averaged)
    else:
        checkpoint = tf.train.Checkpoint(network=named)
    status = checkpoint.restore(path)
    status.assert_existing_objects_matched()
    status.expect_partial()
    return use_averages


def check_shapes(path: str, model: ThreeCNet) -> None:
    """Compares the variables of a checkpoint with the model's, before anything is restored.

    Raises:
        UserError: unreadable, or made by a model with other classes, feature size or layers.
    """
    try:
        stored: dict[str, Any] = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path}: the checkpoint cannot be read ({error}). Use an earlier one, or train again."
        ) from None
    for name, variable in model.named_variables().items():
        found, expected = stored.get(f"network/{name}{_VALUE_SUFFIX}"), variable.shape.as_list()
        if found != expected:
            raise UserError(
                f"{path}: variable {name} has shape {found}, the model of {model.num_classes} classes and "
                f"{model.feature_dim} features per stream expects {expected}. The checkpoint was trained with other "
                "classes, features or layers: give the run folder and the data set that belong together."
            )
