"""The differences between the two supported stacks (Keras 3 on TensorFlow 2.21, Keras 2.15 on TensorFlow 2.15)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

KERAS_3 = keras.__version__.startswith("3.")


def tf_variable(variable: Any) -> tf.Variable:
    """The `tf.Variable` behind what `add_weight` returns (Keras 3 wraps it, Keras 2 does not)."""
    return variable if isinstance(variable, tf.Variable) else variable.value
