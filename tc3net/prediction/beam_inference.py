"""Scoring a data set's tasks with Apache Beam's RunInference. The only module of tc3net that needs Beam to be imported.

It holds no command, so that worker processes find by name what is sent to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Union

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from tc3net.common.errors import UserError
from tc3net.engines.outcomes import outcome_line
from tc3net.intervals.detections_json import save_results
from tc3net.prediction.tasks import Task, block_results, blocks
from tc3net.runs.scoring import Opened, Scoring

# Results of a block of videos; or an error as a value, since Beam would retry the block if it were raised.
Results = Union[dict[str, Any], UserError, OSError]
Block = tuple[int, range]  # task, positions of its videos
Scored = tuple[int, tuple[int, Results]]  # task, (first position, results)


class Loaded:
    """What `BlockHandler` keeps per process; unlike a plain value, Beam can share it between threads.

    Args:
        opened: model and data set, or why they could not be opened.
    """

    def __init__(self, opened: Opened | UserError | OSError) -> None:
        self.opened = opened


class BlockHandler(ModelHandler[Block, Scored, Loaded]):  # type: ignore[misc]
    """Scores blocks of a data set's videos.

    Args:
        scoring: what is scored with what.
        source: the weights that are expected; a run that goes on training replaces its last checkpoint.
    """

    def __init__(self, scoring: Scoring, source: str) -> None:
        super().__init__()
        self._scoring, self._source = scoring, source

    def load_model(self) -> Loaded:
        """Once per worker process."""
        try:
            opened = self._scoring.open()
        except (UserError, OSError) as error:
            return Loaded(error)
        if opened.source != self._source:
            found = f"A worker found {opened.source}; expected {self._source}, as when the scoring began."
            return Loaded(UserError(f"{found} Score again when the run does not write checkpoints any more."))
        return Loaded(opened)

    def run_inference(
        self, batch: Sequence[Block], model: Loaded, inference_args: dict[str, Any] | None = None
    ) -> Iterator[Scored]:
        """The results of each block."""
        del inference_args
        for task, videos in batch:
            yield task, (videos.start, self._results(videos, model.opened))

    def _results(self, videos: range, opened: Opened | UserError | OSError) -> Results:
        if not isinstance(opened, Opened):
            return opened
        try:
            return block_results(opened.scorer, opened.split, videos, self._scoring.detection) if videos else {}
        except (UserError, OSError) as error:
            return error

    def batch_elements_kwargs(self) -> dict[str, int]:
        """A block is a batch already: joined ones would only be distributed worse."""
        return {"min_batch_size": 1, "max_batch_size": 1}


def blocks_of_tasks(count: int, num_tasks: int) -> list[Block]:
    """The blocks of all tasks for `count` videos; a task without videos has one empty block, so that it is written."""
    parts = [Task(index, num_tasks).videos(count) for index in range(num_tasks)]
    return [(index, block) for index, videos in enumerate(parts) for block in blocks(videos) or [videos]]


def write_task(scored: tuple[int, Iterable[tuple[int, Results]]], num_tasks: int, output_dir: Path) -> str:
    """Writes a task's file from its blocks, which come in any order, and returns its `outcome_line`."""
    index, parts = scored

    def write() -> None:
        ordered = []
        for _, results in sorted(parts, key=lambda part: part[0]):
            if isinstance(results, Exception):
                raise results
            ordered.append(results)
        save_results(output_dir / Task(index, num_tasks).file_name, ordered)

    return outcome_line(index, write)


def run_pipeline(
    handler: BlockHandler,
    todo: Sequence[Block],
    write: Callable[[tuple[int, Iterable[tuple[int, Results]]]], str],
    outcomes: Path,
    options: PipelineOptions,
) -> None:
    """Scores blocks and writes the files of their tasks.

    Args:
        handler: scores a block.
        todo: blocks of all tasks.
        write: `write_task`, given the rest of its arguments.
        outcomes: what the names of the files begin with that take what `write` returned.
        options: of the runner.
    """
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "blocks" >> beam.Create(list(todo))
            | "distribute" >> beam.Reshuffle()
            | "score" >> RunInference(handler)
            | "tasks" >> beam.GroupByKey()
            | "write" >> beam.Map(write)
            | "outcomes" >> beam.io.WriteToText(str(outcomes))
        )
