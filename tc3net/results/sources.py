"""What can be evaluated, wherever it comes from: raw scores, a file of detections, the folder of an evaluation or run.

Ground truth comes with raw scores, from a converted data set (its features are not decoded), or from a JSON file.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.names import some_names
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig, detect_videos, video_scores
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.columns import AnnotatedVideos, Detections
from tc3net.intervals.detections_json import load_detections, report_lines
from tc3net.results.background_videos import read_background_videos, without_background_labels
from tc3net.results.video_lists import VideoChoice, chosen_videos


@dataclass(frozen=True)
class VideoScores:
    """Video-level scores and labels of n videos.

    Attributes:
        video_ids: n names.
        scores: [n, C] float.
        labels: [n, C], 0 or 1.
        background: the videos whose labels were taken away, because they show no class; None: nobody said which do.
    """

    video_ids: tuple[str, ...]
    scores: np.ndarray
    labels: np.ndarray
    background: tuple[str, ...] | None = None

    def of_videos(self, video_ids: Collection[str]) -> VideoScores:
        """Some of the videos, in their order here; others are left out."""
        chosen = [i for i, video_id in enumerate(self.video_ids) if video_id in video_ids]
        names = tuple(self.video_ids[i] for i in chosen)
        background = None if self.background is None else tuple(i for i in self.background if i in video_ids)
        return VideoScores(names, self.scores[chosen], self.labels[chosen], background)

    def without_labels_of(self, background: Collection[str]) -> VideoScores:
        """The same with the labels of background videos taken away."""
        found = tuple(video_id for video_id in self.video_ids if video_id in background)
        labels = without_background_labels(self.labels, self.video_ids, frozenset(found))
        return replace(self, labels=labels, background=found)

    @property
    def convention(self) -> str:
        """Which labels the classification mAP is of, in words."""
        if self.background is None:
            return f"{len(self.video_ids)} videos, labels as annotated"
        return (
            f"{len(self.video_ids)} videos, {len(self.background)} of them background and so negatives of every class, "
            "as public code scores all of THUMOS14's test videos"
        )


@dataclass(frozen=True)
class Scored:
    """Detections with the ground truth they are scored against.

    Attributes:
        name: where they came from, for messages.
        annotated: ground truth.
        detections: labels index `annotated.truth.classes`.
        videos: video-level scores, where there are any.
        scores: the raw scores that the detections were made from; None: another tool's detections.
        config: how they were made; with `scores`.
        notes: what a file of detections held that cannot be scored; one line each.
        out_of_scope: the same with all names, for JSON.
        chosen: which videos are scored, where only some are; see `chosen_only`.
    """

    name: str
    annotated: AnnotatedVideos
    detections: Detections
    videos: VideoScores | None = None
    scores: RawScores | None = None
    config: DetectionConfig | None = None
    notes: tuple[str, ...] = ()
    out_of_scope: dict[str, Any] | None = None
    chosen: dict[str, Any] | None = None

    def all_videos(self) -> set[str]:
        """Names of the videos with ground truth or video-level scores."""
        return {*self.annotated.truth.video_ids, *(self.videos.video_ids if self.videos else ())}


def annotated_videos(scores: RawScores) -> AnnotatedVideos:
    """The ground truth that raw scores carry."""
    row_of = {video_id: row for row, video_id in enumerate(scores.video_ids)}
    rows = [row_of[video_id] for video_id in scores.ground_truth.video_ids]
    bases = set(zip(scores.fps.tolist(), scores.frames_per_segment.tolist(), scores.stride_frames.tolist()))
    return AnnotatedVideos(
        dataset=scores.dataset,
        truth=scores.ground_truth,
        duration_s=scores.duration_s[rows],
        time_bases=tuple(TimeBase(*base) for base in sorted(bases)),
    )


def from_scores(name: str, scores: RawScores, config: DetectionConfig) -> Scored:
    """Detects.

    Args:
        name: for messages.
        scores: raw scores with labels and ground truth.
        config: detection choices.
    """
    found = Scored(name, annotated_videos(scores), detect_videos(scores, config))
    return with_scores(found, scores, config)


def with_scores(scored: Scored, scores: RawScores, config: DetectionConfig) -> Scored:
    """Detections with the raw scores that they were made from.

    Args:
        scored: the detections.
        scores: raw scores with labels.
        config: how the detections were made.
    """
    video_level = video_scores(tf.constant(scores.pooled), config).numpy()
    videos = VideoScores(scores.video_ids, video_level, scores.labels)
    return replace(scored, videos=videos, scores=scores, config=config)


def chosen_only(scored: Scored, choice: VideoChoice) -> Scored:
    """The same of some videos only, with a note of how many they are and under which list.

    Args:
        scored: of all videos.
        choice: which to keep.

    Raises:
        UserError: see `chosen_videos`.
    """
    if choice == VideoChoice():
        return scored
    known = scored.all_videos()
    stays, absent = chosen_videos(choice, known)
    kept = set(filter(stays, known))
    annotated, named = scored.annotated.of_videos(kept), choice.named
    number, of = len(annotated.truth.video_ids), len(scored.annotated.truth.video_ids)
    notes = [f"{number} of {of} annotated videos scored: {choice.words()}"]
    if named and number != named.number:
        notes.append(f"the list {named.name} has {named.number} videos, {number} of which are annotated here")
    if absent:
        notes.append(f"{len(absent)} of the names given are of no video here ({some_names(absent)})")
    facts = {
        "videos": choice.videos,
        "exclude_videos": choice.exclude_videos,
        "source": named.source if named else "",
        "annotated": number,
        "left_out": sorted(known - kept),
        "absent": list(absent),
    }
    return replace(
        scored,
        annotated=replace(annotated, notes=(*annotated.notes, *notes)),
        detections=scored.detections.of_videos(kept),
        videos=scored.videos.of_videos(kept) if scored.videos else None,
        scores=scored.scores.of_videos(kept) if scored.scores else None,
        chosen=facts,
    )


def background_blanked(scored: Scored, test_set_meta: str | Path) -> Scored:
    """The same with the labels of background videos taken away, for the classification mAP.

    Args:
        scored: with video-level scores.
        test_set_meta: THUMOS14's test_set_meta.mat.

    Raises:
        UserError: no video-level scores, see `read_background_videos`, or a file of other videos.
    """
    background = read_background_videos(test_set_meta)
    if scored.videos is None:
        raise UserError(
            f"--test_set_meta={test_set_meta} is about the classification mAP, and there are no video-level scores: "
            "expected a run or raw scores. Leave the flag out."
        )
    names = scored.videos.video_ids
    if background.isdisjoint(names) and not any("_test_" in name for name in names):
        raise UserError(
            f"{test_set_meta}: none of its {len(background)} background videos is scored; the videos here are named "
            f"otherwise (first: {min(names)}). Use it with THUMOS14's test videos."
        )
    return replace(scored, videos=scored.videos.without_labels_of(background))


def from_detections(path: str | Path, annotated: AnnotatedVideos) -> Scored:
    """A file of detections in the ActivityNet format, against any ground truth.

    Raises:
        UserError: see `load_detections`.
    """
    loaded = load_detections(path, annotated.truth)
    out_of_scope = {
        "unknown_labels": loaded.unknown_labels,
        "unknown_videos": loaded.unknown_videos,
        "videos_without_detections": list(loaded.empty_videos),
    }
    notes = tuple(report_lines(loaded, annotated.truth.classes))
    return Scored(str(path), annotated, loaded.detections, notes=notes, out_of_scope=out_of_scope)
