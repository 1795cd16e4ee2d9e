"""Detections of a converted data set too large for one process: cut into tasks that know nothing of each other.

Task i of N takes a contiguous block of the subset's videos and writes `detections-i-of-N.json`; `merge_tasks` makes one
file of them. Each video is scored by itself, so that it gets the same detections to the last bit in whatever task, and
whoever runs the tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tc3net.common.errors import UserError
from tc3net.data.parts import Part
from tc3net.data.split import Split
from tc3net.detection import DetectionConfig, detect_videos
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.intervals.activitynet_json import read_section
from tc3net.intervals.detections_json import results_dict, save_results

BLOCK_VIDEOS = 64  # whose T-CAMs are in memory at a time


@dataclass(frozen=True)
class Task(Part):
    """A part of the videos, whose results have a file of their own."""

    @property
    def file_name(self) -> str:
        """`detections.json`, or with several tasks `detections-00002-of-00008.json`."""
        return "detections.json" if self.total == 1 else f"detections-{self.index:05d}-of-{self.total:05d}.json"


def block_results(scorer: Scorer, split: Split, videos: range, config: DetectionConfig) -> dict[str, Any]:
    """`{id: [{"label", "score", "segment"}]}` of the videos at these positions, in the ActivityNet format.

    The network sees one video at a time: matrix products of other shapes round differently. Detection, which finds the
    same in a video whatever is beside it, sees the block at once.

    Args:
        scorer: the model.
        split: the subset.
        videos: positions, a block that fits into memory.
        config: detection choices.

    Raises:
        UserError: a record is damaged.
    """
    scores = score_videos(scorer, split, 1, keep_streams=config.needs_streams, videos=videos)
    return results_dict(detect_videos(scores, config), scores.classes)


def blocks(videos: range) -> list[range]:
    """The positions in blocks of at most `BLOCK_VIDEOS`, in order."""
    return [videos[first : first + BLOCK_VIDEOS] for first in range(0, len(videos), BLOCK_VIDEOS)]


def run_task(scorer: Scorer, split: Split, config: DetectionConfig, task: Task, output_dir: Path) -> Path:
    """Scores the task's videos and writes its file.

    Args:
        scorer: the model.
        split: the subset, of which the task takes its part.
        config: detection choices.
        task: which part.
        output_dir: created if absent.

    Returns:
        The file. It appears when it is complete.
    """
    path = output_dir / task.file_name
    parts = (block_results(scorer, split, block, config) for block in blocks(task.videos(split.num_videos)))
    save_results(path, parts)
    return path


def merge_tasks(output_dir: Path, total: int) -> Path:
    """Makes `detections.json` of the files of all tasks.

    Args:
        output_dir: where they are.
        total: number of tasks.

    Raises:
        UserError: a task's file is missing, or two of them have the same video.
    """
    paths = [output_dir / Task(index, total).file_name for index in range(total)]
    missing = [index for index, path in enumerate(paths) if not path.is_file()]
    if missing:
        raise UserError(
            f"{output_dir}: the files of {len(missing)} of {total} tasks are missing; run those with "
            f"--task_index={','.join(map(str, missing[:10]))}{',...' if len(missing) > 10 else ''} first."
        )
    target = output_dir / Task().file_name
    save_results(target, _parts(paths))
    return target


def _parts(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What the tasks found, a file at a time."""
    seen: set[str] = set()
    for path in paths:
        part = dict(read_section(path, "results", "detections of one task")[1])
        again = seen & part.keys()
        if again:
            raise UserError(f"{path}: video {min(again)!r} is in another task's file too. Remove old files, run again.")
        seen |= part.keys()
        yield part
