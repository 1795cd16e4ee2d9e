"""Many short trainings by one traced step: tracing takes ten times as long as the few steps that a test looks at.

Every training starts from the variables of a new model, in a Trainer and a run folder of its own, and whatever was
trained before leaves nothing behind: all variables that the traced step touches are set back, which is checked.
Processes of their own, which trace again, are what `training_process` starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.common.stack import optimizer_variables, tf_variable
from tc3net.model import ThreeCNet
from tc3net.training.observers import Evaluation, Observer
from tc3net.training.trainer import Trainer, TrainerConfig


def copies(variables: Iterable[Any]) -> list[tf.Variable]:
    """The variable of every replica, each once."""
    every = [part for v in map(tf_variable, variables) for part in getattr(v, "values", (v,))]
    return list({id(part): part for part in every}.values())


class Rehearsal:
    """A model whose step is traced once.

    Args:
        make: a compiled model; called once, in the strategy's scope.
        strategy: where it trains.
    """

    def __init__(self, make: Callable[[], ThreeCNet], strategy: tf.distribute.Strategy | None = None) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        with self.strategy.scope():
            self.model = make()
        averages = self.model.average.variables.values() if self.model.average is not None else ()
        optimizer = self.model.optimizer
        rate = optimizer.learning_rate  # a variable on Keras 2, which does not list it
        rates = [rate] if isinstance(rate, tf.Variable) else []
        self._variables = copies([*self.model.variables, *optimizer_variables(optimizer), *averages, *rates])
        self._start = [variable.numpy() for variable in self._variables]
        self._step: Any = None

    def trainer(
        self,
        config: TrainerConfig,
        run_dir: Path,
        evaluate: Callable[[], Evaluation] | None = None,
        observers: Sequence[Observer] = (),
    ) -> Trainer:
        """A Trainer of the model as it was when it was made, but for what it restores from the run folder."""
        for variable, value in zip(self._variables, self._start):
            variable.assign(value)
        trainer = Trainer(self.model, self.strategy, config, run_dir, evaluate, observers)
        make_step = trainer._make_train_step

        def shared_step(fill: Callable[[Any], Any]) -> Callable[[Any, tf.Tensor], dict[str, tf.Tensor]]:
            if self._step is None:
                self._step = make_step(fill)
                return self._checked_step
            return self._step

        trainer._make_train_step = shared_step  # type: ignore[method-assign]
        return trainer

    def _checked_step(self, batch: Any, leaving: tf.Tensor) -> dict[str, tf.Tensor]:
        """The step, after a look at what it touches."""
        touched = self._step.get_concrete_function(batch, leaving).captured_inputs
        known = {id(variable.handle) for variable in self._variables}
        assert all(id(tensor) in known for tensor in touched if tensor.dtype == tf.resource), "not set back: a variable"
        return self._step(batch, leaving)

    def weights(self) -> dict[str, np.ndarray]:
        """Network and centers as they are now."""
        return {name: variable.numpy() for name, variable in self.model.named_variables().items()}
