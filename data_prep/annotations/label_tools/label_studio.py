"""Label Studio's JSON export: labels on the timeline of a video, in frames, or on its sound track, in seconds.

A task is a video. Regions of type `timelinelabels` count frames from 1, with the frames per second from the task's data
(`fps`) or from `videos.csv` beside the file; regions of type `labels` are in seconds. `choices` are classes of the
whole video. Predictions, cancelled annotations and tasks that nobody annotated are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.annotations.label_tools.labelled import (
    LabelledVideo,
    SideTable,
    annotation_set,
    side_table,
    video_id_of,
)
from data_prep.annotations.records import AnnotationFormat, AnnotationSet, Instance, beginning_of
from tc3net.common.errors import Mistakes, UserError
from tc3net.common.files import read_json
from tc3net.common.names import counted
from tc3net.data.timebase import frame_start_s
from tc3net.intervals.json_values import as_float, segment_problem

_EXPECTED = 'an export of Label Studio (JSON, a list of tasks with "data" and "annotations")'
_MEDIA = ("video", "video_url", "videoSource", "video_path", "audio", "url")


def read_label_studio(path: Path, subset: str | None = None) -> AnnotationSet:
    """Reads an export.

    Args:
        path: the JSON file.
        subset: of tasks for which neither `videos.csv` nor their data ("subset") name one.

    Raises:
        UserError: it is damaged, a task has several annotations of which none is marked as ground truth, or frames per
            second are not known.
    """
    tasks = read_json(path, "export of Label Studio")
    table, mistakes, videos, left_out = side_table(path), Mistakes(path), [], 0
    for number, task in enumerate(tasks, 1):
        with mistakes.gathered():
            where = f"{path}: task {task.get('id', number) if isinstance(task, dict) else number}"
            video = _video(task, where, table)
            left_out += video is None
            videos += [] if video is None else [video]
    mistakes.raise_if_any()
    notes = [f"{counted(left_out, 'task')} without annotation left out"] if left_out else []
    return annotation_set(videos, path, table, subset, notes)


def _video(task: Any, where: str, table: SideTable) -> LabelledVideo | None:
    """A task as a video; None where nobody annotated it."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise UserError(f"{where} has no data; expected {_EXPECTED}. Export it again.")
    annotation = _annotation(task, where)
    if annotation is None:
        return None
    data = task["data"]
    media = next((data[name] for name in _MEDIA if isinstance(data.get(name), str)), None)
    if media is None and "video_id" not in data:
        raise UserError(f"{where}: no media among {', '.join(data)}; expected one of {', '.join(_MEDIA)}, or video_id.")
    video_id = str(data["video_id"]) if "video_id" in data else video_id_of(str(media))
    told_fps = as_float(data["fps"]) if "fps" in data else None
    mistakes, instances, labels, lengths_s = Mistakes(where), [], [], []
    for region in annotation["result"]:
        with mistakes.gathered():
            value = region.get("value") if isinstance(region, dict) else None
            if not isinstance(value, Mapping):
                raise UserError(f"{where}: a region without a value found; expected {_EXPECTED}. Export it again.")
            if "timelinelabels" in value:
                fps = table.require_fps(video_id, told_fps, where)
                for span in value.get("ranges", []):
                    start, end = as_float(span.get("start")), as_float(span.get("end"))
                    if start is None or end is None or start < 1 or end < start:
                        raise UserError(f"{where}: range {span!r}; expected frames from 1, start before end.")
                    times = frame_start_s(start - 1, fps), frame_start_s(end, fps)
                    instances += [Instance(*times, str(label).strip()) for label in value["timelinelabels"]]
            elif "labels" in value:
                problem = segment_problem([value.get("start"), value.get("end")])
                if problem:
                    raise UserError(f"{where}: {problem}; expected the two times of a region. Correct it.")
                times = float(value["start"]), float(value["end"])
                instances += [Instance(*times, str(label).strip()) for label in value["labels"]]
                lengths_s.append(as_float(region.get("original_length")) or 0.0)
            elif "choices" in value:
                labels += [str(label).strip() for label in value["choices"]]
    mistakes.raise_if_any()
    duration_s = as_float(data["duration_s"]) if "duration_s" in data else max(lengths_s, default=0.0) or None
    instances.sort(key=lambda one: (one.start_s, one.end_s))
    return LabelledVideo(video_id, instances, labels, duration_s, str(data.get("subset") or ""))


def _annotation(task: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
    """The annotation that counts: the only one, or the one that is marked as ground truth; None where there is none."""
    listed = task.get("annotations", task.get("completions", []))
    done = [one for one in listed if isinstance(one, dict) and isinstance(one.get("result"), list)]
    done = [one for one in done if not one.get("was_cancelled")]
    chosen = done if len(done) < 2 else [one for one in done if one.get("ground_truth")]
    if len(done) > 1 and len(chosen) != 1:
        raise UserError(
            f"{where}: {len(done)} annotations found, {len(chosen)} of them marked as ground truth; expected one. Mark "
            "it in Label Studio (the star), or delete the others."
        )
    return chosen[0] if chosen else None


def _is_label_studio(path: Path) -> bool:
    begins = beginning_of(path).lstrip()
    if not begins.startswith("[") or '"data"' not in path.read_text(encoding="utf-8-sig", errors="replace"):
        return False
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return bool(tasks) and all(
        isinstance(task, dict) and "data" in task and ("annotations" in task or "completions" in task) for task in tasks
    )


LABEL_STUDIO = AnnotationFormat(
    "label_studio", "Label Studio JSON", _EXPECTED, _is_label_studio, read_label_studio, takes_subset=True
)
