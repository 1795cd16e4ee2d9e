"""Detections and ground truth as columns: one array per attribute, so that evaluation never loops over objects."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from tc3net.data.timebase import TimeBase


def _renumbered(video_ids: tuple[str, ...], wanted: Collection[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The names that are wanted, in order, and each earlier position's new one, -1 for those left out."""
    chosen = [i for i, video_id in enumerate(video_ids) if video_id in wanted]
    number = np.full(len(video_ids), -1, np.int64)
    number[chosen] = np.arange(len(chosen))
    return tuple(video_ids[i] for i in chosen), number


@dataclass(frozen=True)
class Detections:
    """n detections in several videos.

    Attributes:
        video_ids: names of the videos; `video` indexes it. A video without detections may be listed.
        video: [n] int64, index into `video_ids`.
        label: [n] int64, class id.
        start_s, end_s: [n] float64, seconds.
        score: [n] float64, higher is more certain.
    """

    video_ids: tuple[str, ...]
    video: np.ndarray
    label: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.video)

    def of_videos(self, video_ids: Collection[str]) -> Detections:
        """The detections in some of the videos, in their order here; others are left out."""
        names, number = _renumbered(self.video_ids, video_ids)
        kept = number[self.video] >= 0
        return Detections(
            video_ids=names,
            video=number[self.video[kept]],
            label=self.label[kept],
            start_s=self.start_s[kept],
            end_s=self.end_s[kept],
            score=self.score[kept],
        )


@dataclass(frozen=True)
class GroundTruth:
    """m annotated instances, and the intervals in which nothing is scored.

    Attributes:
        classes: class names; a class id is the position in it.
        video_ids: every video with known instances, also those in which none occur; `video` indexes it.
        video: [m] int64, index into `video_ids`.
        label: [m] int64, class id.
        start_s, end_s: [m] float64, seconds.
        ambiguous_video: [a] int64, index into `video_ids`.
        ambiguous_start_s, ambiguous_end_s: [a] float64, seconds (THUMOS14's class "Ambiguous").
    """

    classes: tuple[str, ...]
    video_ids: tuple[str, ...]
    video: np.ndarray
    label: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    ambiguous_video: np.ndarray
    ambiguous_start_s: np.ndarray
    ambiguous_end_s: np.ndarray

    def __len__(self) -> int:
        return len(self.video)

    def of_videos(self, video_ids: Collection[str]) -> GroundTruth:
        """The ground truth of some of the videos, in their order here; others are left out."""
        names, number = _renumbered(self.video_ids, video_ids)
        kept, kept_ambiguous = number[self.video] >= 0, number[self.ambiguous_video] >= 0
        return GroundTruth(
            classes=self.classes,
            video_ids=names,
            video=number[self.video[kept]],
            label=self.label[kept],
            start_s=self.start_s[kept],
            end_s=self.end_s[kept],
            ambiguous_video=number[self.ambiguous_video[kept_ambiguous]],
            ambiguous_start_s=self.ambiguous_start_s[kept_ambiguous],
            ambiguous_end_s=self.ambiguous_end_s[kept_ambiguous],
        )


@dataclass(frozen=True)
class AnnotatedVideos:
    """Ground truth with what belongs to it.

    Attributes:
        dataset: title of the data set, as results show it.
        truth: the annotated instances.
        duration_s: [V] float64 by `truth.video_ids`; NaN where unknown.
        time_bases: the different time bases of the videos; none where they are unknown.
        notes: what had to be assumed or left out, in words.
    """

    dataset: str
    truth: GroundTruth
    duration_s: np.ndarray
    time_bases: tuple[TimeBase, ...] = ()
    notes: tuple[str, ...] = ()

    def of_videos(self, video_ids: Collection[str]) -> AnnotatedVideos:
        """Some of the videos, in their order here; others are left out."""
        chosen = [i for i, video_id in enumerate(self.truth.video_ids) if video_id in video_ids]
        return replace(self, truth=self.truth.of_videos(video_ids), duration_s=self.duration_s[chosen])
