"""What a prediction leaves: detections, a picture of each video, one page to look through all of them, and clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.names import counted
from tc3net.detection import DetectionConfig, detect_videos
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.annotations_json import annotated_videos
from tc3net.intervals.columns import Detections
from tc3net.intervals.detections_json import save_detections
from tc3net.prediction.video_copies import clip_name, playable_copy, remove_clips, write_clip
from tc3net.report.content import ReportInput, facts_of
from tc3net.report.page import write_report
from tc3net.report.video_files import VideoFiles
from tc3net.runs.provenance import versions
from tc3net.visualization.curves import CurveSource, video_tracks
from tc3net.visualization.timeline import plot_timeline

MAX_PANELS = 4
_BEST = 5
PAGE, CLIPS, COPIES = "report.html", "clips", "videos"


@dataclass(frozen=True)
class Predicted:
    """Scores of new videos, and what is known of them.

    Attributes:
        title: of the page.
        scores: raw scores.
        config: how they become detections.
        instances: (class, start s, end s) of the videos that are annotated.
        films: video files by video, where there are any.
        facts: source, settings; see `facts_of`.
        notes: what a reader must know, one line each.
    """

    title: str
    scores: RawScores
    config: DetectionConfig
    instances: Mapping[str, Sequence[tuple[str, float, float]]] = field(default_factory=dict)
    films: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What is written besides detections and pictures.

    Attributes:
        page: one page with all videos.
        embed: whether the page holds the video files instead of links to them.
        clips: of how many detections of a video a clip is cut, the best first; 0 for none, -1 for all.
    """

    page: bool = False
    embed: bool = False
    clips: int = 0


def write_predictions(output_dir: Path, predicted: Predicted, wanted: Wanted) -> Detections:
    """Detects, prints each video's best detections, and writes everything.

    Args:
        output_dir: gets detections.json, <video>.png, and what is wanted.
        predicted: the videos.
        wanted: see there.

    Raises:
        UserError: a video file cannot be decoded or embedded.
        OSError: something cannot be written.
    """
    scores = predicted.scores
    detections = detect_videos(scores, predicted.config)
    save_detections(output_dir / "detections.json", detections, scores.classes)
    source = CurveSource(scores, predicted.config)
    for video, video_id in enumerate(scores.video_ids):
        draw_video(output_dir / f"{video_id}.png", source, video, detections, predicted.instances.get(video_id))
        _print_best(scores, video, detections)
    if wanted.page:
        write_report(output_dir / PAGE, _page(predicted, detections), _films(output_dir, predicted, wanted))
    number = _write_clips(output_dir / CLIPS, predicted, detections, wanted.clips) if wanted.clips else 0
    page = f", {PAGE}" if wanted.page else ""
    clips = f", {counted(number, 'clip')} in {CLIPS}/" if wanted.clips else ""
    print(f"\nWritten to {output_dir}: detections.json{page}{clips} and one timeline picture per video")
    return detections


def _best_first(detections: Detections, video: int) -> list[int]:
    return [int(i) for i in (-detections.score).argsort(kind="stable") if detections.video[i] == video]


def _print_best(scores: RawScores, video: int, detections: Detections) -> None:
    best = _best_first(detections, video)
    found = counted(len(best), "detection")
    print(f"\n{scores.video_ids[video]}: {found} in {scores.duration_s[video]:.1f} s")
    for i in best[:_BEST]:
        print(
            f"  {scores.classes[detections.label[i]]:24s} {detections.start_s[i]:8.2f} s to "
            f"{detections.end_s[i]:8.2f} s   score {detections.score[i]:.3f}"
        )


def draw_video(
    path: Path,
    source: CurveSource,
    video: int,
    detections: Detections,
    instances: Sequence[tuple[str, float, float]] | None,
) -> None:
    """Draws the timeline of one video: the classes detected or annotated in it, the most probable first.

    Args:
        path: picture to write.
        source: raw scores, and how detections were made.
        video: index into them.
        detections: of all videos.
        instances: (class, start s, end s), or None where unknown.
    """
    scores, probability = source.scores, source.probability[video]
    detected = detections.label[detections.video == video]
    annotated = {name for name, _, _ in instances or ()}
    shown = [c for c, name in enumerate(scores.classes) if name in annotated or c in detected]
    shown = sorted(shown, key=lambda c: (scores.classes[c] not in annotated, -probability[c]))[:MAX_PANELS]
    shown = shown or [int(np.argmax(probability))]
    plot_timeline(path, scores.video_ids[video], *video_tracks(source, video, shown, detections, instances))


def _page(predicted: Predicted, detections: Detections) -> ReportInput:
    scores = predicted.scores
    durations_s = dict(zip(scores.video_ids, scores.duration_s.tolist()))
    return ReportInput(
        title=predicted.title,
        classes=scores.classes,
        detections=detections,
        annotated=annotated_videos(predicted.instances, scores.classes, durations_s, dataset=scores.dataset),
        scores=scores,
        config=predicted.config,
        facts=facts_of({**predicted.facts, "detection": vars(predicted.config), "versions": versions()}),
        notes=predicted.notes,
    )


def _films(output_dir: Path, predicted: Predicted, wanted: Wanted) -> VideoFiles | None:
    """The video files as browsers play them."""
    if not predicted.films:
        return None
    files = {
        video_id: playable_copy(predicted.films[video_id], output_dir / COPIES / f"{video_id}.mp4")
        for video_id in predicted.scores.video_ids
        if video_id in predicted.films
    }
    return VideoFiles(files, wanted.embed)


def _write_clips(folder: Path, predicted: Predicted, detections: Detections, most: int) -> int:
    """A clip of each of the best detections; how many there are. Clips of an earlier prediction are removed."""
    scores, written = predicted.scores, 0
    for video, video_id in enumerate(scores.video_ids):
        if video_id not in predicted.films:
            raise UserError(f"--clips: no video file of {video_id!r} is known; expected --video. Drop the flag.")
        remove_clips(folder / video_id)
        best = _best_first(detections, video)
        for rank, i in enumerate(best if most < 0 else best[:most], start=1):
            label, start_s, end_s = (
                scores.classes[detections.label[i]], float(detections.start_s[i]), float(detections.end_s[i]),
            )  # fmt: skip
            target = folder / video_id / clip_name(rank, label, start_s, end_s)
            title = f"{video_id}: {label}, {start_s:.2f} to {end_s:.2f} s, score {detections.score[i]:.3f}"
            written += write_clip(predicted.films[video_id], start_s, end_s, target, title)
    return written
