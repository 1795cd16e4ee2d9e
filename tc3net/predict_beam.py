"""Command: detections of a converted data set, scored on many machines by Apache Beam's RunInference.

    python -m tc3net.predict_beam --run_dir=RUN --dataset_dir=DATASET --subset=test --output_dir=OUT --num_tasks=8 \
        --beam_option=runner=FlinkRunner

Writes the files of all tasks of `tc3net.predict --dataset_dir`, the same to the byte: OUT/detections.json, or with
several tasks one file each, which `tc3net.predict --merge` makes one. Run, data set and OUT have to lie where the
driver and every worker see them under the same path.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError
from tc3net.common.extensions import loaded_extensions
from tc3net.detection import DetectionConfig
from tc3net.engines.beam import define_beam_flag, pipeline_options, read_outcomes
from tc3net.engines.engine import require
from tc3net.prediction.tasks import Task
from tc3net.runs.folder import CheckpointChoice, load_run
from tc3net.runs.scoring import DatasetChoice, Scoring
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS


def predict_on_beam(
    scoring: Scoring, output_dir: str | Path, num_tasks: int = 1, beam_options: Sequence[str] = ()
) -> list[Path]:
    """Scores a data set and writes the files of all tasks.

    Args:
        scoring: what is scored with what.
        output_dir: created if absent.
        num_tasks: number of files.
        beam_options: options of Beam and its runner, as `name` or `name=value`.

    Returns:
        The tasks' files, in order. Each appears when it is complete.

    Raises:
        UserError: Beam is not installed, see `Scoring.open`, or a record is damaged; files of other tasks are written.
    """
    require("beam", "score without it: python -m tc3net.predict --dataset_dir=... --task_index=... --num_tasks=...")
    from tc3net.prediction.beam_inference import BlockHandler, blocks_of_tasks, run_pipeline, write_task

    tasks = [Task(index, num_tasks) for index in range(max(num_tasks, 1))]
    videos = replace(scoring.videos, dataset_dir=os.path.abspath(scoring.videos.dataset_dir))
    scoring = replace(scoring, run_dir=os.path.abspath(scoring.run_dir), videos=videos)
    opened = scoring.open()  # here too, since nothing need be started for what fails already here
    folder = Path(os.path.abspath(output_dir))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".outcomes-", dir=folder) as outcomes:
        os.chmod(outcomes, folder.stat().st_mode)  # whoever may write the files may write these
        run_pipeline(
            BlockHandler(scoring, opened.source),
            blocks_of_tasks(opened.split.num_videos, num_tasks),
            functools.partial(write_task, num_tasks=num_tasks, output_dir=folder),
            Path(outcomes) / "task",
            pipeline_options(beam_options),
        )
        for _ in read_outcomes(Path(outcomes), "task", num_tasks):
            pass  # it raises what went wrong
    return [folder / task.file_name for task in tasks]


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("run_dir", None, "Run folder of the model; its detection settings are the defaults here.")
    flags.DEFINE_string("output_dir", None, "Where detections go.")
    flags.DEFINE_integer("num_tasks", 1, "Number of files that --dataset_dir is divided into.")
    define_flags(DatasetChoice)
    flags.DEFINE_alias("dataset", "dataset_dir")  # its name here before every command had the same
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    define_beam_flag(FLAGS)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def main(argv: Sequence[str]) -> None:
    """Scores the data set that the flags name."""
    del argv
    for name in ("run_dir", "dataset_dir", "output_dir"):
        if not getattr(FLAGS, name):
            raise UsageError(f"--{name} is missing.")
    detection = from_flags(DetectionConfig, base=load_run(FLAGS.run_dir).detection)
    videos, extensions = from_flags(DatasetChoice), loaded_extensions()
    scoring = Scoring(FLAGS.run_dir, from_flags(CheckpointChoice), videos, detection, extensions)
    paths = predict_on_beam(scoring, FLAGS.output_dir, FLAGS.num_tasks, FLAGS.beam_option)
    print(f"Written: {paths[0]}" + (f" to {paths[-1].name}" if len(paths) > 1 else ""))


if __name__ == "__main__":
    run_main(main, register_flags)
