"""The training loop: steps, logging, periodic evaluation, checkpoints, resume; the same for one and many devices.

It knows no loss and no metric by name: the model's `update` reports values, the caller passes a function that
evaluates, and observers show what happens. Settings come from dataclasses, never from flags.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.common.storage import path_of
from tc3net.data.cache import CACHES, TrainingSource
from tc3net.data.sampling import InputConfig
from tc3net.data.split import Split, readable
from tc3net.runs.checkpoints import CheckpointFolder, step_of
from tc3net.terminal.interruption import Interrupted, Interruptions
from tc3net.training.divergence import explain, variables_not_finite
from tc3net.training.metrics_log import MetricsLog
from tc3net.training.observers import Evaluation, Observer, TerminalLog
from tc3net.training.selection import Progress
from tc3net.training.step_log import LogInterval
from tc3net.training.strategies import STRATEGIES, all_present, from_chief, is_chief, num_workers

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet

# Workers act on a request to stop this many steps after it was passed round, so that none waits for the device.
_NOTICE_STEPS = 4


@dataclass(frozen=True)
class TrainerConfig:
    """How long, how often, where."""

    iterations: int = option(50_000, "Training steps in all (not stated in the paper; reference code: 50000).")
    log_every: int = option(50, "Steps between two log lines.")
    eval_every: int = option(500, "Steps between two evaluations (reference code: 500); 0: only at the end.")
    early_stopping_patience: int = option(
        0, "Evaluations without a better one (by --selection) after which training stops; 0: never."
    )
    checkpoint_every: int = option(
        500, "Steps between two checkpoints; one is also saved before each evaluation and at the end."
    )
    keep_checkpoints: int = option(3, "How many of the newest checkpoints are kept.")
    strategy: str = option(
        "auto",
        "Devices: one_device; mirrored (all GPUs of this machine, tf.distribute.MirroredStrategy); multi_worker "
        "(several machines, tf.distribute.MultiWorkerMirroredStrategy, described by TF_CONFIG); or auto: multi_worker "
        "where TF_CONFIG names several machines, mirrored where there are at least two GPUs.",
        choices=STRATEGIES,
    )
    cache: str = option(
        "none",
        "Where the training features are kept: none (read from disk for every step), host (in memory), or device (in "
        "the memory of every device: a step then reads nothing from the host). Makes no difference to the results.",
        choices=CACHES,
    )
    deterministic: bool = option(
        False, "Use only operations whose results are the same bits in every run on the same hardware; slower."
    )

    def __post_init__(self) -> None:
        for name in ("iterations", "log_every", "checkpoint_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name}={getattr(self, name)}; expected 1 or more.")
        if self.eval_every < 0:
            raise UserError(f"--eval_every={self.eval_every}; expected 0 (only at the end) or more.")
        if self.early_stopping_patience < 0:
            raise UserError(
                f"--early_stopping_patience={self.early_stopping_patience}; expected 0 (never stop early) or more."
            )
        if self.early_stopping_patience and not self.eval_every:
            raise UserError(
                f"--early_stopping_patience={self.early_stopping_patience} with --eval_every=0: without evaluations "
                "nothing tells when to stop. Give --eval_every."
            )


class Trainer:
    """Trains one compiled model in one run folder.

    Under several workers each makes one, and all call `train`; the chief alone writes, evaluates and observes.

    Args:
        model: compiled inside `strategy.scope()`.
        strategy: from `make_strategy`.
        config: how long and how often.
        run_dir: run folder, made if it is not there; workers share it.
        evaluate: called after `eval_every` steps, after the last, and before the first (an untrained model's score
            tells what the numbers after it are worth); None for no evaluation.
        observers: told what happens, beside the terminal and `metrics.jsonl`; the chief's alone are.
        require_lock: called before a checkpoint is written; raises UserError where another may train in the folder.
    """

    def __init__(
        self,
        model: ThreeCNet,
        strategy: tf.distribute.Strategy,
        config: TrainerConfig,
        run_dir: str | Path,
        evaluate: Callable[[], Evaluation] | None = None,
        observers: Sequence[Observer] = (),
        require_lock: Callable[[], None] = lambda: None,
    ) -> None:
        self._model, self._strategy, self._config, self._evaluate = model, strategy, config, evaluate
        self._workers, self._chief = num_workers(strategy), is_chief(strategy)
        folder, self._require_lock = path_of(run_dir), require_lock
        self._last = CheckpointFolder(folder / "checkpoints", model, keep=config.keep_checkpoints)
        self._best = CheckpointFolder(folder / "best", model, keep=1)
        self._restore(folder)
        self._observers: Sequence[Observer] = ()
        if self._chief:
            folder.mkdir(parents=True, exist_ok=True)
            # Without a checkpoint the run begins again, and so does its log.
            self._log = MetricsLog(folder, self.step if self._restored else -1)
            self._observers = (TerminalLog(), self._log, *observers)
            self._check_best()

    def _restore(self, folder: Path) -> None:
        """Sets model, step and the unfinished logging interval to the newest checkpoint, which the chief chooses."""
        path = self._last.newest_readable() if self._chief else None
        step = from_chief(self._strategy, step_of(path) if path else -1)
        self._restored = str(folder / "checkpoints" / f"step-{step}") if step >= 0 else None
        self._interval = LogInterval()
        self.step = 0
        if self._restored:
            self._interval = LogInterval(self._last.restore(self._restored) or ())
            self.step = step

    def _check_best(self) -> None:
        """Compares `best` with the log, from which an interruption may have removed the newest entries."""
        evaluations = self._log.evaluations()
        self._progress = Progress(self._config.early_stopping_patience, evaluations.values())
        best_steps = [step for step, value in evaluations.items() if value == self._progress.best]
        path = self._best.newest_readable() if best_steps else None
        if best_steps and (path is None or step_of(path) not in best_steps):
            print(
                f"warning: the best checkpoint of step {best_steps[0]} is not there any more (found: {path}); the next "
                "evaluation replaces it.",
                file=sys.stderr,
            )
            self._progress = Progress(self._config.early_stopping_patience)

    def _make_train_step(self, fill: Callable[[Any], Any]) -> Callable[[Any, tf.Tensor], dict[str, tf.Tensor]]:
        """One step on all replicas: takes the batch and whether this worker was asked to stop."""
        strategy, model, workers = self._strategy, self._model, self._workers

        def replica_step(batch: Any, leaving: tf.Tensor) -> dict[str, tf.Tensor]:
            values = model.update(fill(batch))
            if workers > 1:
                replica = tf.distribute.get_replica_context()
                # The copy lies on the replica's device, which a lone replica's reduction asks for.
                values["leaving"] = replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(leaving))
            return values

        @tf.function(autograph=False)  # nothing to convert: traced in 60 % of the time
        def train_step(batch: Any, leaving: tf.Tensor) -> dict[str, tf.Tensor]:
            values = strategy.run(replica_step, args=(batch, leaving))
            # Every replica reports the global values; take the first one's.
            return {name: strategy.experimental_local_results(value)[0] for name, value in values.items()}

        return train_step

    def _batches(self, source: TrainingSource, split: Split) -> Iterator[Any]:
        """This process's batches from the current step on."""
        replicas = self._strategy.num_replicas_in_sync

        def pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
            return source.batches(self.step, replicas, (context.input_pipeline_id, context.num_input_pipelines))

        if replicas == 1:
            return readable(source.batches(self.step, 1), split)
        return readable(self._strategy.distribute_datasets_from_function(pipeline), split)

    def train(self, split: Split, config: InputConfig) -> signal.Signals | None:
        """Runs the remaining steps; SIGTERM and SIGINT end it after the current one, with a checkpoint.

        Args:
            split: training videos.
            config: how batches are drawn.

        Returns:
            The signal that ended it early (here or at another worker), None where it finished.

        Raises:
            UserError: the batch size does not fit the number of replicas, a record is damaged, a loss or a weight is
                NaN or Inf, or another worker is gone.
        """
        source = TrainingSource(split, config, self._config.cache, self._strategy)
        if source.bytes and self._chief:
            print(f"{source.bytes / 1e9:.2f} GB of features are in memory ({self._config.cache}).", flush=True)
        batches, self._train_step = self._batches(source, split), self._make_train_step(source.fill)
        for observer in self._observers:
            observer.on_start(self.step, self._restored)
        finished = False
        with Interruptions() as interruptions, all_present(self._strategy), contextlib.suppress(Interrupted):
            finished = self._run(batches, split, config, interruptions)
        for observer in self._observers:
            observer.on_end(self.step)
        # Where another worker was asked to stop, this one received nothing.
        return None if finished else interruptions.received or signal.SIGTERM

    def _run(self, batches: Iterator[Any], split: Split, config: InputConfig, interruptions: Interruptions) -> bool:
        """The loop; returns whether it finished, rather than being interrupted."""
        if self.step == 0 or self._is_evaluation_step():
            self._run_evaluation(interruptions)
        done = self._exhausted() or self.step >= self._config.iterations
        notices: deque[tf.Tensor] = deque()
        self._interval = LogInterval(self._interval.state())  # its time begins here
        while not done:
            asked = time.monotonic()
            batch = next(batches)
            wait_s = time.monotonic() - asked
            values = self._train_step(batch, tf.constant(float(interruptions.received is not None)))
            self.step += 1
            stop = interruptions.received is not None
            if self._workers > 1:
                notices.append(values.pop("leaving"))
                stop = len(notices) > _NOTICE_STEPS and bool(notices.popleft() > 0)
            self._interval.add(values, wait_s)
            done = self.step >= self._config.iterations
            evaluate = self._is_evaluation_step()
            save = done or stop or evaluate or self.step % self._config.checkpoint_every == 0
            log = done or self.step % self._config.log_every == 0
            if log or save:
                self._check_losses(split, config)
            if log:
                self._log_interval()
            with self._interval.paused():
                if save:
                    self._save(split, config)
                if stop:
                    break
                if evaluate:
                    self._run_evaluation(interruptions)
                    done = done or self._exhausted()
            if done and not log:
                self._log_interval()
        from_chief(self._strategy, 0)  # no worker leaves before the chief has saved and evaluated
        return done and self._evaluated()

    def _log_interval(self) -> None:
        facts = self._interval.facts(self.step, self._config.iterations, self._model.objective)
        for observer in self._observers:
            observer.on_log(facts)
        self._interval = LogInterval()

    def _is_evaluation_step(self) -> bool:
        every = self._config.eval_every
        at_end = self.step >= self._config.iterations
        return self._evaluate is not None and (at_end or bool(every and self.step and self.step % every == 0))

    def _evaluated(self) -> bool:
        """Whether the evaluation that is due, if any, is in the log; the chief knows."""
        known = self._chief and self.step in self._log.evaluations()
        return not self._is_evaluation_step() or bool(from_chief(self._strategy, int(known)))

    def _exhausted(self) -> bool:
        """Whether patience is at an end, which the chief knows."""
        if not self._config.early_stopping_patience:
            return False
        exhausted = bool(from_chief(self._strategy, int(self._chief and self._progress.exhausted)))
        if exhausted and self._chief and self.step < self._config.iterations:
            print(
                f"Stopped early after step {self.step}: the last {self._progress.since_best} evaluations were no "
                f"better than the best one (--early_stopping_patience={self._config.early_stopping_patience}).",
                flush=True,
            )
        return exhausted

    def _check_losses(self, split: Split, config: InputConfig) -> None:
        """Raises UserError if a value of the interval is NaN or Inf. All workers see the same values."""
        found = self._interval.first_not_finite()
        if found is not None:
            distance, names = found
            raise explain(split, config, self.step - distance, names, self._restored)

    def _save(self, split: Split, config: InputConfig) -> None:
        """Saves a checkpoint, unless a weight is NaN or Inf: the last update may have been bad after a finite loss."""
        names = variables_not_finite(self._model)
        if names:
            raise explain(split, config, self.step, names, self._restored)
        if self._chief:
            self._require_lock()
            self._restored = self._last.save(self.step, self._interval.state())

    def _run_evaluation(self, interruptions: Interruptions) -> None:
        """Evaluates unless the log has it already, and keeps the checkpoint if it is the best so far."""
        if self._evaluate is None or not self._chief or self.step in self._log.evaluations():
            return
        if self._workers > 1:  # the others are at work: the chief leaves together with them
            result = self._evaluate()
        else:
            with interruptions.immediate():
                result = self._evaluate()
        best = self._progress.add(result.selection)
        if best:
            self._require_lock()
            self._best.save(self.step)
        for observer in self._observers:
            observer.on_evaluation(self.step, result, best)
