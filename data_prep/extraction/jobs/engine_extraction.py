"""Extracting features on an engine: each of its tasks is a video, whose files the worker writes.

It holds no command, so that worker processes find by name what is sent to them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.extraction.extracting import Extraction, Extractor, check_earlier
from data_prep.extraction.jobs.recipe import Recipe
from data_prep.extraction.outcome import Outcome
from data_prep.extraction.progress import PARTIAL, side_file
from tc3net.common.errors import UserError
from tc3net.engines.engine import EngineChoice, open_engine, require, run_tasks
from tc3net.engines.outcomes import outcome_line
from tc3net.terminal.progress import progress_bar

_one_at_a_time = threading.Lock()  # the network uses all cores, or the GPU, for one video


@dataclass(frozen=True)
class VideoTask:
    """One video of an extraction."""

    video_id: str
    path: Path

    def __str__(self) -> str:
        return f"{self.path}: video {self.video_id!r}"


@functools.lru_cache(maxsize=1)
def _opened(recipe: Recipe, run: str) -> Extraction:
    del run  # opened anew for each: a cluster's workers outlive it, and weights may have changed since
    return recipe.open()


def extract_task(
    numbered: tuple[int, VideoTask], recipe: Recipe, settings: Mapping[str, Any], output_dir: Path, run: str
) -> str:
    """In a worker: writes a video's files, and returns its `outcome_line`.

    Args:
        numbered: the task, and its position.
        recipe: what the features are made with; opened once per process.
        settings: `Extraction.settings` as the driver has them.
        output_dir: where the files go.
        run: a name that no other extraction has.
    """
    number, task = numbered

    def work() -> dict[str, Any]:
        with _one_at_a_time:
            extraction = _opened(recipe, run)
            found = extraction.settings()
            if found != settings:
                _opened.cache_clear()
                changed = ", ".join(sorted(key for key in found if found[key] != settings.get(key)))
                raise UserError(
                    f"A worker would make other features than the driver (other: {changed}); expected the same "
                    "weights, functions and version of tc3net everywhere. Install the driver's on the workers."
                )
            return asdict(Extractor(extraction, output_dir).run({task.video_id: task.path}))

    return outcome_line(number, work)


def extract_on(
    choice: EngineChoice, recipe: Recipe, extraction: Extraction, output_dir: str | Path, videos: Mapping[str, Path]
) -> Outcome:
    """Extracts videos on an engine; the same files as `Extractor.run`, and what fails is noted in the same way.

    Args:
        choice: the engine, not local.
        recipe: what the features are made with.
        extraction: the same, opened here.
        output_dir: a folder that all workers see under this path, as they see the videos and `recipe.cache_dir`.
        videos: id -> file.

    Returns:
        What became of the videos; the seconds are those of all workers together.

    Raises:
        UserError: the engine is not installed or cannot be reached, workers would make other features or do not see
            the folder, or a video ended every process it was given to; see also `Extractor.run`.
    """
    require(choice.name, "extract without it: --engine=local --task_index=... --num_tasks=...")
    folder, run = Path(os.path.abspath(output_dir)), uuid.uuid4().hex
    settings = extraction.settings()
    check_earlier(folder, videos, settings)  # here too, since nothing need be started for what fails already here
    recipe = replace(recipe, cache_dir=Path(os.path.abspath(recipe.cache_dir)), streams=tuple(extraction.backbones))
    tasks = [VideoTask(video_id, Path(os.path.abspath(path))) for video_id, path in videos.items()]
    known: dict[str, Any] = {
        "recipe": recipe,
        "settings": settings,
        "output_dir": folder,
        "run": run,
    }
    work = functools.partial(extract_task, **known)
    between = folder / PARTIAL / f"engine-{run}"
    between.mkdir(parents=True)
    outcome = Outcome()
    try:
        with (
            open_engine(choice, between) as engine,
            progress_bar(None, "extracting", "video", total=len(tasks)) as progress,
        ):
            for number, result in run_tasks(engine, work, tasks, choice.name):
                _add(outcome, Outcome(**result), tasks[number], folder)
                progress.update(1)
    finally:
        shutil.rmtree(between, ignore_errors=True)
        with contextlib.suppress(OSError):  # unfinished videos are there
            between.parent.rmdir()
    return outcome


def _add(outcome: Outcome, one: Outcome, task: VideoTask, folder: Path) -> None:
    """Adds what became of one video."""
    if one.segments and not side_file(folder, task.video_id).is_file():
        raise UserError(
            f"{side_file(folder, task.video_id)} is not here, although a worker wrote it; expected that the workers "
            "see this folder under the same path. Use a folder that all of them share."
        )
    for name in ("segments", "skipped", "failed", "incomplete"):
        getattr(outcome, name).update(getattr(one, name))
    for what, seconds in one.seconds.items():
        outcome.seconds[what] = outcome.seconds.get(what, 0.0) + seconds
