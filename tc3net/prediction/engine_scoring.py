"""Scoring a data set's tasks on an engine: each of its tasks is one of ours, and writes the file of that task.

It holds no command, so that worker processes find by name what is sent to them.
"""

from __future__ import annotations

import functools
import os
import threading
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from tc3net.common.errors import UserError
from tc3net.engines.engine import EngineChoice, open_engine, require, run_tasks
from tc3net.engines.outcomes import outcome_line
from tc3net.prediction.tasks import Task, run_task
from tc3net.runs.scoring import Opened, Scoring
from tc3net.terminal.progress import progress_bar

_one_at_a_time = threading.Lock()  # TensorFlow uses all cores for one video


@functools.lru_cache(maxsize=1)
def _opened(scoring: Scoring, run: str) -> Opened:
    del run  # opened anew for each: a cluster's workers outlive it, and files may have changed since
    return scoring.open()


def score_task(numbered: tuple[int, Task], scoring: Scoring, source: str, output_dir: Path, run: str) -> str:
    """In a worker: writes a task's file, and returns its `outcome_line`.

    Args:
        numbered: the task, and its position.
        scoring: what is scored with what; opened once per process.
        source: the weights that are expected; a run that goes on training replaces its last checkpoint.
        output_dir: where the file goes.
        run: a name that no other scoring has.
    """
    number, task = numbered

    def work() -> int:
        with _one_at_a_time:
            opened = _opened(scoring, run)
            if opened.source != source:
                _opened.cache_clear()
                raise UserError(
                    f"A worker found {opened.source}; expected {source}, as when the scoring began. Score again when "
                    "the run does not write checkpoints any more."
                )
            run_task(opened.scorer, opened.split, scoring.detection, task, output_dir)
        return len(task.videos(opened.split.num_videos))

    return outcome_line(number, work)


def predict_on(choice: EngineChoice, scoring: Scoring, output_dir: Path, num_tasks: int) -> list[Path]:
    """Scores a data set; the same files as `tc3net.predict` writes task by task.

    Args:
        choice: the engine, not local.
        scoring: what is scored with what.
        output_dir: created if absent.
        num_tasks: number of files, which is also how many workers can work at a time.

    Returns:
        The tasks' files, in order. Each appears when it is complete.

    Raises:
        UserError: the engine is not installed or cannot be reached, see `Scoring.open`, or a record is damaged; files
            of other tasks may be written.
    """
    require(choice.name, "score without it: --engine=local --task_index=... --num_tasks=...")
    tasks = [Task(index, num_tasks) for index in range(max(num_tasks, 1))]
    videos = replace(scoring.videos, dataset_dir=os.path.abspath(scoring.videos.dataset_dir))
    scoring = replace(scoring, run_dir=os.path.abspath(scoring.run_dir), videos=videos)
    opened = scoring.open()  # here too, since nothing need be started for what fails already here
    count = opened.split.num_videos
    folder = Path(os.path.abspath(output_dir))
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:  # a file of an earlier scoring must not pass for one of this
        (folder / task.file_name).unlink(missing_ok=True)
    known: dict[str, Any] = {"scoring": scoring, "source": opened.source, "output_dir": folder, "run": uuid.uuid4().hex}
    work = functools.partial(score_task, **known)
    with open_engine(choice, folder) as engine, progress_bar(None, "scoring", "video", total=count) as progress:
        for _, scored in run_tasks(engine, work, tasks, choice.name):
            progress.update(scored)
    paths = [folder / task.file_name for task in tasks]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{folder}: {missing[0]} and {len(missing) - 1} more are not here, although the workers wrote them; "
            "expected that they see this folder under the same path. Use a folder that all of them share."
        )
    return paths
