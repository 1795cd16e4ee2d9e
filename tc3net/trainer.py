"""The training loop: steps, logging, periodic evaluation, checkpoints, resume; the same for one and many devices.

It knows no loss and no metric by name: the model's `update` reports values, and the caller passes a function that
evaluates. Settings come from dataclasses, never from flags.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tc3net.checkpoints import CheckpointFolder
from tc3net.config import option
from tc3net.errors import UserError
from tc3net.input_pipeline import InputConfig, Split, readable, training_batches
from tc3net.metrics_log import MetricsLog
from tc3net.model import ThreeCNet
from tc3net.selection import Progress


@dataclass(frozen=True)
class TrainerConfig:
    """How long, how often, where."""

    iterations: int = option(50_000, "Training steps in all (not stated in the paper; reference code: 50000).")
    log_every: int = option(50, "Steps between two log lines.")
    eval_every: int = option(500, "Steps between two evaluations (reference code: 500); 0: only at the end.")
    early_stopping_patience: int = option(
        0, "Evaluations without a better one (by --selection) after which training stops; 0: never."
    )
    checkpoint_every: int = option(500, "Steps between two checkpoints; there is one at the end in any case.")
    keep_checkpoints: int = option(3, "How many of the newest checkpoints are kept.")
    strategy: str = option(
        "auto",
        "Devices: mirrored (all GPUs of this machine, tf.distribute.MirroredStrategy), one_device, or auto: mirrored "
        "where there are at least two GPUs.",
        choices=("auto", "one_device", "mirrored"),
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


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy for `--strategy`.

    MirroredStrategy spans the GPUs or, where there are none, the logical CPU devices.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@dataclass(frozen=True)
class Evaluation:
    """What the caller's evaluation found.

    Attributes:
        scalars: TensorBoard tag -> value.
        selection: the value that decides which checkpoint is best; higher is better.
        summary: one line for the terminal.
        selected_by: what `selection` measured, and on which videos.
    """

    scalars: dict[str, float]
    selection: float
    summary: str
    selected_by: str = ""


class Trainer:
    """Trains one compiled model in one run folder.

    Args:
        model: compiled inside `strategy.scope()`.
        strategy: from `make_strategy`.
        config: how long and how often.
        run_dir: run folder, existing.
        evaluate: called after `eval_every` steps, after the last, and before the first (an untrained model's score
            tells what the numbers after it are worth); None for no evaluation.
    """

    def __init__(
        self,
        model: ThreeCNet,
        strategy: tf.distribute.Strategy,
        config: TrainerConfig,
        run_dir: str | Path,
        evaluate: Callable[[], Evaluation] | None = None,
    ) -> None:
        self._model, self._strategy, self._config, self._evaluate = model, strategy, config, evaluate
        folder = Path(run_dir)
        self._last = CheckpointFolder(folder / "checkpoints", model, keep=config.keep_checkpoints)
        self._best = CheckpointFolder(folder / "best", model, keep=1)
        self.step = 0
        restored = self._last.restore_latest()
        if restored is not None:
            self.step = int(model.optimizer.iterations)
            print(f"Resuming after step {self.step} ({restored}).", flush=True)
        # Without a checkpoint the run begins again, and so does its log.
        self._log = MetricsLog(folder, -1 if restored is None else self.step)
        past = [entry["selection"] for entry in self._log.entries if "selection" in entry]
        self._progress = Progress(config.early_stopping_patience, past)
        self._writers = {
            name: tf.summary.create_file_writer(str(folder / "tensorboard" / name)) for name in ("train", "eval")
        }

        @tf.function
        def train_step(batch: Any) -> dict[str, tf.Tensor]:
            values = strategy.run(model.update, args=(batch,))
            # Every replica reports the global values; take the first one's.
            return {name: strategy.experimental_local_results(value)[0] for name, value in values.items()}

        self._train_step = train_step

    def train(self, split: Split, config: InputConfig) -> None:
        """Runs the remaining steps.

        Args:
            split: training videos.
            config: how batches are drawn.

        Raises:
            UserError: the batch size does not fit the number of replicas, or a record is damaged.
        """
        replicas = self._strategy.num_replicas_in_sync

        def pipeline(_: Any) -> tf.data.Dataset:
            return training_batches(split, config, start_step=self.step, num_replicas=replicas)

        distribute = self._strategy.distribute_datasets_from_function
        batches = readable(distribute(pipeline) if replicas > 1 else pipeline(None), split)
        if self.step == 0:
            self._run_evaluation()
        pending: list[dict[str, tf.Tensor]] = []
        started = time.monotonic()
        done = self._stops_here()
        while not done:
            pending.append(self._train_step(next(batches)))
            self.step += 1
            last = self.step == self._config.iterations
            if last or self.step % self._config.log_every == 0:
                self._log_steps(pending, time.monotonic() - started)
                pending, started = [], time.monotonic()
            if last or (self._config.eval_every and self.step % self._config.eval_every == 0):
                paused = time.monotonic()
                self._run_evaluation()
                started += time.monotonic() - paused
            done = self._stops_here()
            if done and pending:
                self._log_steps(pending, time.monotonic() - started)
            if done or self.step % self._config.checkpoint_every == 0:
                self._last.save(self.step)
        for writer in self._writers.values():
            writer.flush()

    def _stops_here(self) -> bool:
        """Whether all steps are done, or patience is exhausted."""
        if self._progress.exhausted and self.step < self._config.iterations:
            print(
                f"Stopped early after step {self.step}: the last {self._progress.since_best} evaluations were no "
                f"better than the best one (--early_stopping_patience={self._config.early_stopping_patience}).",
                flush=True,
            )
        return self._progress.exhausted or self.step >= self._config.iterations

    def _log_steps(self, values: list[dict[str, tf.Tensor]], seconds: float) -> None:
        """Mean of each value over the interval; the count terms' over the steps whose batch had usable counts."""
        columns = {name: [float(v[name]) for v in values] for name in values[0]}
        counted = [videos > 0 for videos in columns.pop("count_videos")]
        means = {}
        for name, column in columns.items():
            kept = [v for v, c in zip(column, counted) if c] if name.startswith("count") else column
            if kept:
                means[name] = sum(kept) / len(kept)
        rate = len(values) / seconds
        with self._writers["train"].as_default(self.step):
            for name, value in means.items():
                group = "loss" if name in self._model.term_names() else "optimization"
                tf.summary.scalar(f"{group}/{name}" if name != "loss" else "loss", value)
            tf.summary.scalar("steps_per_second", rate)
        self._log.append({"step": self.step, "steps_per_second": rate, **means})
        shown = (*self._model.term_names(), "learning_rate")
        terms = "  ".join(f"{name} {value:.4g}" for name, value in means.items() if name in shown)
        remaining = (self._config.iterations - self.step) / rate
        print(
            f"step {self.step}/{self._config.iterations}  {terms}  {rate:.2f} steps/s  {remaining:.0f} s left",
            flush=True,
        )

    def _run_evaluation(self) -> None:
        """Evaluates, logs, and keeps the checkpoint if it is the best so far."""
        if self._evaluate is None:
            return
        result = self._evaluate()
        with self._writers["eval"].as_default(self.step):
            for tag, value in result.scalars.items():
                tf.summary.scalar(tag, value)
        best = self._progress.add(result.selection)
        if best:
            self._best.save(self.step)
        entry = {"step": self.step, "selection": result.selection, "selected_by": result.selected_by}
        self._log.append({**entry, "evaluation": result.scalars})
        note = f" (best so far by {result.selected_by})" if best else ""
        print(f"evaluation at step {self.step}: {result.summary}{note}", flush=True)
