"""Detections for people to check: subtitles that any player shows, and pre-annotations for Label Studio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tc3net.common.errors import UserError
from tc3net.data.timebase import frame_at
from tc3net.intervals.activitynet_json import DETECTIONS, read_section
from tc3net.intervals.json_values import detection_problem


@dataclass(frozen=True)
class Shown:
    """One detection that is handed out, in seconds."""

    label: str
    score: float
    start_s: float
    end_s: float


def read_shown(path: str | Path, min_score: float = 0.0, most: int = 0) -> dict[str, list[Shown]]:
    """The detections of a file by video, in the order of time.

    Args:
        path: ActivityNet JSON with "results", as evaluate, predict and other tools write it.
        min_score: those below are left out.
        most: of each video, only so many with the best scores; 0: all.

    Raises:
        UserError: another file, or an entry that is no detection.
    """
    _, videos = read_section(path, "results", f"detections {DETECTIONS}")
    found = {}
    for video_id, entries in videos:
        if not isinstance(entries, list):
            raise UserError(f"{path}: video {video_id!r} has {entries!r}; expected a list of detections.")
        shown = []
        for number, entry in enumerate(entries):
            problem = detection_problem(entry)
            if problem:
                raise UserError(
                    f"{path}: detection {number} of {video_id!r} {problem}; expected one. Correct the file."
                )
            start_s, end_s = map(float, entry["segment"])
            if entry["score"] >= min_score:
                shown.append(Shown(entry["label"], float(entry["score"]), max(start_s, 0.0), max(end_s, 0.0)))
        best = sorted(shown, key=lambda one: -one.score)[: most or None]
        found[video_id] = sorted(best, key=lambda one: (one.start_s, one.end_s, one.label))
    return found


def _clock(time_s: float, point: str) -> str:
    ms = round(time_s * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"


def webvtt(shown: Sequence[Shown]) -> str:
    """WebVTT: a cue for each detection, its class and score; those at the same time stand above each other."""
    cues = [
        f"{_clock(one.start_s, '.')} --> {_clock(one.end_s, '.')}\n{_escaped(one.label)} {one.score:.2f}"
        for one in shown
        if _clock(one.end_s, ".") > _clock(one.start_s, ".")
    ]
    return "\n\n".join(["WEBVTT", *cues]) + "\n"


def _escaped(text: str) -> str:
    plain = " ".join(text.split())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def srt(shown: Sequence[Shown]) -> str:
    """SubRip: as `webvtt`, numbered; the text has no markup."""
    lasting = [one for one in shown if _clock(one.end_s, ",") > _clock(one.start_s, ",")]
    cues = []
    for number, one in enumerate(lasting, 1):
        times = f"{_clock(one.start_s, ',')} --> {_clock(one.end_s, ',')}"
        cues.append(f"{number}\n{times}\n{' '.join(one.label.split())} {one.score:.2f}")
    return "\n\n".join(cues) + ("\n" if cues else "")


def label_studio_tasks(
    found: Mapping[str, Sequence[Shown]], fps: float, address: str, model: str, *, control: str, media: str
) -> list[dict[str, Any]]:
    """Tasks with pre-annotations, to be imported into a project of Label Studio with `<TimelineLabels>`.

    Args:
        found: detections by video.
        fps: of the `<Video frameRate=...>` tag of the project; frames there count from 1.
        address: of a video file, with {video} for its id.
        model: what the predictions are said to be from.
        control: name of the `<TimelineLabels>` tag.
        media: name of the `<Video>` tag.
    """
    tasks = []
    for video_id, shown in found.items():
        result = [
            {
                "id": f"d{number}",
                "from_name": control,
                "to_name": media,
                "type": "timelinelabels",
                "score": one.score,
                "value": {
                    "ranges": [
                        {
                            "start": frame_at(one.start_s, fps) + 1,
                            "end": max(frame_at(one.end_s, fps), frame_at(one.start_s, fps) + 1),
                        }
                    ],
                    "timelinelabels": [one.label],
                },
            }
            for number, one in enumerate(shown, 1)
        ]
        best = max((one.score for one in shown), default=0.0)
        tasks.append(
            {
                "data": {"video": address.replace("{video}", video_id), "video_id": video_id, "fps": fps},
                "predictions": [{"model_version": model, "score": best, "result": result}],
            }
        )
    return tasks
