"""Who watches a training run: the loop hands its facts to observers, and knows nothing of terminals or files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tc3net.terminal.lines import in_columns


@dataclass(frozen=True)
class IntervalFacts:
    """What happened since the last log line.

    Attributes:
        step: steps done in all.
        iterations: steps to do in all.
        means: mean of the loss and of each term over the interval's steps; the count terms' over the steps whose
            batch had usable counts.
        others: mean of whatever else the steps reported (learning rate, norms).
        steps: how many of the interval's steps this process ran (fewer than the interval's after a resume).
        seconds: what those steps took, evaluations and checkpoints not included.
        input_wait_s: seconds of those in which the loop waited for the next batch.
        segments: segments in those steps' batches.
    """

    step: int
    iterations: int
    means: dict[str, float]
    others: dict[str, float]
    steps: int
    seconds: float
    input_wait_s: float
    segments: int

    @property
    def steps_per_second(self) -> float:
        """Training speed."""
        return self.steps / self.seconds

    @property
    def segments_per_second(self) -> float:
        """Training speed in segments, which does not depend on how long the videos of the interval were."""
        return self.segments / self.seconds

    @property
    def input_wait_share(self) -> float:
        """Fraction of the time spent waiting for the next batch; near 0 the input is fast enough."""
        return self.input_wait_s / self.seconds

    @property
    def remaining_s(self) -> float:
        """Seconds until the last step, at this speed."""
        return (self.iterations - self.step) / self.steps_per_second


@dataclass(frozen=True)
class Evaluation:
    """What the caller's evaluation found.

    Attributes:
        scalars: TensorBoard tag -> value.
        selection: the value that decides which checkpoint is best; higher is better.
        summary: for the terminal; " | " stands between subsets, "; " between a subset's numbers.
        selected_by: what `selection` measured, and on which videos.
        details: what the caller's own observers draw from, so that nothing is scored twice; the loop does not look.
    """

    scalars: dict[str, float]
    selection: float
    summary: str
    selected_by: str = ""
    details: tuple[Any, ...] = ()


class Observer:
    """Is told what a run does; override what is of interest. Only the chief's observers are called."""

    def on_start(self, step: int, checkpoint: str | None) -> None:
        """The run begins, after `step` steps of an earlier part, restored from `checkpoint` (None: a new run)."""

    def on_log(self, facts: IntervalFacts) -> None:
        """A logging interval is over."""

    def on_evaluation(self, step: int, evaluation: Evaluation, best: bool) -> None:
        """The model was evaluated; `best` so far or not."""

    def on_end(self, step: int) -> None:
        """The run ends, finished or interrupted."""


def hours(seconds: float) -> str:
    """Duration as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class TerminalLog(Observer):
    """Plain lines of at most 100 columns, for a terminal as for a pipe; `metrics.jsonl` has every value."""

    def on_start(self, step: int, checkpoint: str | None) -> None:
        """Says where a resumed run goes on."""
        if checkpoint is not None:
            print(f"Resuming after step {step} ({checkpoint}).", flush=True)

    def on_log(self, facts: IntervalFacts) -> None:
        """Step, loss, speed and time left; the loss's terms and the learning rate below them where they do not fit.

        step 500/50000  loss 3.21  0.31 steps/s  2710 segments/s  waiting for input 2 %  ETA 44:21:07
            classification 2.1  center 0.9  count 0.2  learning_rate 0.0001
        """
        step = f"step {facts.step:>{len(str(facts.iterations))}}/{facts.iterations}"
        means = [f"{name} {value:.4g}" for name, value in facts.means.items()]
        rate = [f"{name} {value:.4g}" for name, value in facts.others.items() if name == "learning_rate"]
        speed = (
            f"{facts.steps_per_second:.2f} steps/s", f"{facts.segments_per_second:.0f} segments/s",
            f"waiting for input {100 * facts.input_wait_share:.0f} %", f"ETA {hours(facts.remaining_s)}",
        )  # fmt: skip
        print(in_columns([step, *means[:1], *speed, *means[1:], *rate]), flush=True)

    def on_evaluation(self, step: int, evaluation: Evaluation, best: bool) -> None:
        """evaluation at step 500: <summary>, a line for each subset."""
        first, *others = evaluation.summary.split(" | ")
        note = [f"(best so far by {evaluation.selected_by})"] if best else []
        subsets = [in_columns(subset.split("; "), gap="; ", indent=" " * 8) for subset in others]
        begin = in_columns(f"evaluation at step {step}: {first}".split("; "), gap="; ")
        print(
            "\n".join([begin, *(f"    {subset}" for subset in subsets), *(f"    {line}" for line in note)]), flush=True
        )
