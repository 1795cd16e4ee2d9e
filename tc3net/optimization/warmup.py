"""A linear warm-up before another schedule."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.utils.register_keras_serializable("tc3net")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up before another schedule: min(1, (t + 1) / (W + 1)) * schedule(max(t - W, 0)).

    No step is wasted on a rate of 0, and step W is the first one at the full rate.

    Args:
        schedule: what follows, beginning at step W; a number stays as it is.
        warmup_steps: W.
    """

    def __init__(self, schedule: Any, warmup_steps: int) -> None:
        self.schedule, self.warmup_steps = schedule, warmup_steps

    def __call__(self, step: Any) -> tf.Tensor:
        """The learning rate of `step` (from 0), float32."""
        step = tf.cast(tf.convert_to_tensor(step), tf.float32)
        rise = tf.minimum(1.0, (step + 1.0) / (self.warmup_steps + 1.0))
        full = self.schedule(tf.maximum(step - self.warmup_steps, 0.0)) if callable(self.schedule) else self.schedule
        return rise * full

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as plain JSON values."""
        nested = keras.saving.serialize_keras_object(self.schedule) if callable(self.schedule) else self.schedule
        return {"schedule": nested, "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Warmup:
        """Inverse of `get_config`."""
        nested = config["schedule"]
        return cls(
            keras.saving.deserialize_keras_object(nested) if isinstance(nested, dict) else nested,
            config["warmup_steps"],
        )
