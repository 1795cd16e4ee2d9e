"""How the learning rate goes with the step: a warm-up, then constant, exponential or cosine.

A schedule is a function of `optimizer.iterations` alone, so a resumed run goes on where it was. The shapes after the
warm-up are Keras's own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import keras

from tc3net.common.config import option
from tc3net.common.errors import UserError


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate's course; the paper and the reference code keep it constant."""

    schedule: str = option(
        "constant", "Learning rate after the warm-up.", choices=("constant", "exponential", "cosine")
    )
    warmup_steps: int = option(0, "Training steps over which the learning rate rises linearly to its full value.")
    decay_steps: int = option(
        0,
        "Training steps after the warm-up within which the learning rate falls to learning_rate_decay times its full "
        "value; 0: all that remain of --iterations. Then cosine stays there, and exponential goes on falling.",
    )
    learning_rate_decay: float = option(
        0.01, "What the learning rate is multiplied by within decay_steps (exponential and cosine)."
    )

    def __post_init__(self) -> None:
        for name in ("warmup_steps", "decay_steps"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name}={getattr(self, name)}; expected 0 or more steps.")
        if not 0 <= self.learning_rate_decay <= 1:
            raise UserError(f"--learning_rate_decay={self.learning_rate_decay}; expected a factor from 0 to 1.")
        if self.schedule == "exponential" and self.learning_rate_decay == 0:
            raise UserError("--learning_rate_decay=0.0 with --schedule=exponential; expected a factor above 0.")

    def resolved_decay_steps(self, iterations: int) -> int:
        """`decay_steps`, or where that is 0 all steps after the warm-up; 0 for a constant learning rate.

        Raises:
            UserError: the warm-up leaves no steps.
        """
        if self.schedule == "constant":
            return 0
        steps = self.decay_steps or iterations - self.warmup_steps
        if steps < 1:
            raise UserError(
                f"--warmup_steps={self.warmup_steps} leaves none of --iterations={iterations} for the "
                f"{self.schedule} schedule. Shorten the warm-up, or give --decay_steps."
            )
        return steps

    def acting(self, iterations: int) -> ScheduleConfig:
        """The same with `decay_steps` decided, and defaults in place of choices that do not act.

        A constant rate does not depend on `iterations`.
        """
        if self.schedule == "constant":
            return ScheduleConfig(self.schedule, self.warmup_steps)
        return replace(self, decay_steps=self.resolved_decay_steps(iterations))

    def recorded(self) -> dict[str, Any]:
        """The choices that act, for the run's description."""
        acting = asdict(self)
        if self.schedule == "constant":
            del acting["decay_steps"], acting["learning_rate_decay"]
        return acting


def make_schedule(config: ScheduleConfig, learning_rate: float, iterations: int) -> Any:
    """What an optimizer takes as its learning rate: a Keras schedule, or a number where it is constant throughout.

    Args:
        config: the course.
        learning_rate: the full rate.
        iterations: training steps in all.

    Raises:
        UserError: the warm-up leaves no steps.
    """
    course: Any = learning_rate
    steps = config.resolved_decay_steps(iterations)
    if config.schedule == "exponential":
        course = keras.optimizers.schedules.ExponentialDecay(learning_rate, steps, config.learning_rate_decay)
    elif config.schedule == "cosine":
        course = keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=config.learning_rate_decay)
    if not config.warmup_steps:
        return course
    from tc3net.optimization.warmup import Warmup  # a Keras schedule itself

    return Warmup(course, config.warmup_steps)
