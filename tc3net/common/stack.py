"""The differences between the two supported stacks: Keras 3 on TensorFlow 2.21, and Keras 2.15 on TensorFlow 2.15.

No other module asks for a version. The second stack is there for tensorflow-addons, see `tc3net.optimization.addons`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tc3net.common.errors import UserError

KERAS_3: bool  # found out when it is asked for, so that importing this module imports no Keras
NAME: str  # what a checkpoint says of the stack that wrote it: the state of an optimizer has another order on each


@functools.cache
def _is_keras_3() -> bool:
    return keras.__version__.startswith("3.")


def __getattr__(name: str) -> Any:
    if name == "KERAS_3":
        return _is_keras_3()
    if name == "NAME":
        return "Keras 3" if _is_keras_3() else "Keras 2"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def tf_variable(variable: Any) -> tf.Variable:
    """The `tf.Variable` behind what `add_weight` returns (Keras 3 wraps it, Keras 2 does not)."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def sublayers(layer: Any) -> list[Any]:
    """The layers that a layer holds directly, also in lists and dicts; the order is each stack's own."""
    found = layer._layers if _is_keras_3() else layer._flatten_layers(recursive=False, include_self=False)
    return [part for part in found if not isinstance(part, keras.metrics.Metric)]


def own_variables(layer: Any) -> dict[str, Any]:
    """The variables that a layer itself made, by the names it gave them; those of its sublayers are not its own."""
    if _is_keras_3():
        generators = [generator.state for generator in layer._seed_generators]
        variables = [*layer._trainable_variables, *layer._non_trainable_variables, *generators]
    else:
        variables = [*layer._trainable_weights, *layer._non_trainable_weights]
    # Keras 2 says `fc1/kernel:0` or `kernel:0`, by how the layer was built.
    return {variable.name.rpartition("/")[2].partition(":")[0]: variable for variable in variables}


def require_keras_3(asked: str, why: str) -> None:
    """Raises UserError with Keras 2.

    Args:
        asked: the flag with its value.
        why: what is wrong with it there.
    """
    if not _is_keras_3():
        raise UserError(
            f"{asked} is not available with Keras {keras.__version__}: {why}. Choose another one, or install "
            "requirements.txt (Keras 3)."
        )


def addons_optimizers(asked: str, instead: str) -> Any:
    """The module `tensorflow_addons.optimizers`.

    Args:
        asked: what needs it: a flag with its value.
        instead: flags of the nearest choice without it.

    Raises:
        UserError: it cannot be imported on this stack, or is not installed.
    """
    cure = (
        "Install requirements-addons.txt in an environment of its own with Python 3.9 to 3.11 (docs/addons.md), or "
        f"take the nearest choice without it: {instead}."
    )
    if _is_keras_3():
        raise UserError(
            f"{asked} needs tensorflow-addons, which cannot be imported with Keras {keras.__version__}. {cure}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that its development has ended, and that TensorFlow 2.15 is newer
            import tensorflow_addons
    except ImportError as error:
        raise UserError(f"{asked} needs tensorflow-addons, which is not installed here ({error}). {cure}") from None
    return tensorflow_addons.optimizers


def _is_legacy(optimizer: Any) -> bool:
    """Whether an optimizer has the older interface of `keras.optimizers.legacy`, as all of tensorflow-addons have."""
    return not hasattr(optimizer, "build")


def build_optimizer(optimizer: Any, variables: Sequence[Any]) -> None:
    """Creates all of an optimizer's variables; call inside the strategy's scope.

    Args:
        optimizer: a Keras optimizer.
        variables: what it will move.
    """
    if not _is_legacy(optimizer):
        optimizer.build(variables)
        return
    if hasattr(optimizer, "_optimizer"):
        # Lookahead and SWA do this too, in the first step; until then the inner one would count for itself.
        optimizer._optimizer._iterations = optimizer.iterations
    optimizer._create_all_weights(variables)


def optimizer_variables(optimizer: Any) -> list[tf.Variable]:
    """All variables of a built optimizer that change in training, in an order that is fixed on each stack."""
    variables = optimizer.weights if _is_legacy(optimizer) else optimizer.variables
    return [tf_variable(variable) for variable in variables]


def learning_rate_of(optimizer: Any) -> tf.Tensor:
    """The learning rate that the optimizer's next step will use; scalar float32."""
    # Keras 2.15's `learning_rate` is the last step's; the schedule itself lies under the same private name in both.
    rate = getattr(optimizer, "_learning_rate", None)
    if rate is None:  # legacy, where `learning_rate` is the schedule
        rate = optimizer.learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return tf.cast(rate(optimizer.iterations), tf.float32)
    return tf.cast(tf.convert_to_tensor(optimizer.learning_rate), tf.float32)
