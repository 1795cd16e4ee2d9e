"""Which detections in the training videos become pseudo segments: counts say how many, where they are known.

Detections of a class in a video are gone through from the best on. One that overlaps no better one (more than
`pseudo_max_tiou` allows) is a *find*; the others say the same as a find once more, and are left out. With n annotated
instances of the class the n best finds are taken for actions; without a count, those whose score is at least
`pseudo_share` of the best one's. The following finds may be *unsure*: they are taken for nothing, neither action nor
background. What lies outside is background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.losses.pseudo_segments import PseudoTargets

OTHER, UNSURE, ACTION = 0, 1, 2


@dataclass(frozen=True)
class PseudoConfig:
    """How pseudo segments are chosen and weighted; docs/refinement.md says how the defaults were found."""

    pseudo_selection: str = option(
        "counts",
        "Which detections of a class in a training video are pseudo segments: counts, the n best where n instances are "
        "annotated (else as relative); relative: those of at least --pseudo_share of the video's best score.",
        choices=("counts", "relative"),
    )
    pseudo_weight: float = option(10.0, "Weight of the cross-entropy with the pseudo segments in the loss.")
    pseudo_batches: str = option(
        "all",
        "Which batches it acts on: full, those of full length, as the counting loss; all: cropped ones too.",
        choices=("full", "all"),
    )
    pseudo_tcams: str = option(
        "all",
        "Which T-CAMs it is of: all, summed over each stream's and the fused one as the classification loss is; or the "
        "fused one alone.",
        choices=("fused", "all"),
    )
    pseudo_share: float = option(0.5, "Smallest score of a pseudo segment without a count, relative to the best one's.")
    pseudo_max_tiou: float = option(
        0.0,
        "A detection that overlaps a better one of its class by more than this tIoU is the same find, and does not "
        "count again; 1: each detection counts.",
    )
    pseudo_unsure: float = option(
        0.0,
        "So many times as many of the next finds are neither action nor background: their segments are left out of "
        "the loss.",
    )
    pseudo_uncertainty: float = option(
        0.0,
        "Segments weigh exp(-this * u) in the loss, u in [0, 1] how little the score of the finds there speaks for "
        "what they are taken for; 0: all alike.",
    )

    def __post_init__(self) -> None:
        if not 0 < self.pseudo_weight < math.inf:
            raise UserError(f"--pseudo_weight={self.pseudo_weight}; expected a positive number.")
        for name, low, high, expected in (
            ("pseudo_share", 0, 1, "a number from 0 to 1"),
            ("pseudo_max_tiou", 0, 1, "a tIoU from 0 to 1"),
            ("pseudo_unsure", 0, 100, "0 (none) to 100"),
            ("pseudo_uncertainty", 0, 100, "0 (all alike) to 100"),
        ):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"--{name}={getattr(self, name)}; expected {expected}.")


@dataclass(frozen=True)
class PseudoSegments:
    """Finds in V training videos, ordered by video, class, and score.

    Attributes:
        video_ids: V names.
        num_segments: [V] int64, segments of each video.
        num_classes: C.
        video, label: [n] int64.
        start, end: [n] float64, in segments of the video from its first; end is exclusive.
        share: [n] float64 in [0, 1], score relative to the best of its class in the video.
        state: [n] int64, ACTION, UNSURE or OTHER.
    """

    video_ids: tuple[str, ...]
    num_segments: np.ndarray
    num_classes: int
    video: np.ndarray
    label: np.ndarray
    start: np.ndarray
    end: np.ndarray
    share: np.ndarray
    state: np.ndarray


def finds_of(start: np.ndarray, end: np.ndarray, score: np.ndarray, max_tiou: float) -> np.ndarray:
    """Positions of the finds among the detections of one class in one video, from the best on.

    Args:
        start, end, score: [n] of each; of equal scores the earlier in the list is better.
        max_tiou: largest tIoU with a better find.
    """
    kept: list[int] = []
    for place in np.argsort(-score, kind="stable"):
        inter = np.maximum(np.minimum(end[kept], end[place]) - np.maximum(start[kept], start[place]), 0)
        union = end[kept] - start[kept] + end[place] - start[place] - inter
        if not (inter > max_tiou * union).any():
            kept.append(int(place))
    return np.array(kept, np.int64)


def _states(share: np.ndarray, count: float, config: PseudoConfig) -> np.ndarray:
    """State of each find of one class in one video, by falling share; the count is NaN where it is unknown."""
    if config.pseudo_selection == "counts" and not math.isnan(count):
        actions = int(count)
    else:
        actions = int((share >= config.pseudo_share).sum())
    rank = np.arange(len(share))
    unsure = actions + math.ceil(config.pseudo_unsure * actions)
    return np.where(rank < actions, ACTION, np.where(rank < unsure, UNSURE, OTHER))


def choose(
    columns: dict[str, np.ndarray],
    *,
    cells_per_segment: int,
    video_ids: tuple[str, ...],
    num_segments: np.ndarray,
    counts: np.ndarray,
    config: PseudoConfig,
) -> PseudoSegments:
    """The rule of this module.

    Args:
        columns: `tc3net.detection.detect_cells` of the training videos, of the classes that are present.
        cells_per_segment: `upsampling` of the detection.
        video_ids: V names.
        num_segments: [V].
        counts: [V, C] annotated instances; NaN where unknown.
        config: choices.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("video", "label", "start", "end", "share", "state")}
    pair = columns["video"] * counts.shape[1] + columns["label"]
    order = np.argsort(pair, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1) if len(order) else []:
        start, end = (columns[name][group] / cells_per_segment for name in ("start_cell", "end_cell"))
        score = columns["score"][group].astype(np.float64)
        finds = finds_of(start, end, score, config.pseudo_max_tiou)
        best = score[finds[0]]
        share = np.maximum(score[finds], 0) / best if best > 0 else (score[finds] == best).astype(np.float64)
        video, label = columns["video"][group[0]], columns["label"][group[0]]
        values = {
            "video": np.full(len(finds), video),
            "label": np.full(len(finds), label),
            "start": start[finds],
            "end": end[finds],
            "share": share,
            "state": _states(share, counts[video, label], config),
        }
        for name, value in values.items():
            parts[name].append(value)
    empty = {name: np.zeros(0, np.float64 if name in ("start", "end", "share") else np.int64) for name in parts}
    joined = {name: np.concatenate(values) if values else empty[name] for name, values in parts.items()}
    return PseudoSegments(video_ids, num_segments, counts.shape[1], **joined)


def _covered(start: np.ndarray, end: np.ndarray, segments: int) -> np.ndarray:
    """[n, s] which share of each segment an interval covers."""
    cell = np.arange(segments)
    return np.clip(np.minimum(cell + 1, end[:, None]) - np.maximum(cell, start[:, None]), 0, 1)


def targets_of(found: PseudoSegments, config: PseudoConfig) -> PseudoTargets:
    """What the loss reads: y and w of each segment, for every class with finds.

    y is the share of the segment that an action covers. A segment that no action touches has w = 1 - the share that
    unsure finds cover. Both times exp(-uncertainty * u) with u = y (1 - r) + (1 - y) r, where r is the highest share of
    the score of a find there, times the share of the segment that it covers.

    Args:
        found: of `choose`.
        config: choices.
    """
    first = np.full((len(found.video_ids), found.num_classes), -1, np.int64)
    targets, weights = [], []
    filled = 0
    pair = found.video * found.num_classes + found.label
    for group in np.split(np.arange(len(pair)), np.flatnonzero(np.diff(pair)) + 1) if len(pair) else []:
        video, label = found.video[group[0]], found.label[group[0]]
        segments = int(found.num_segments[video])
        covered = _covered(found.start[group], found.end[group], segments)  # [n, s]
        state = found.state[group][:, None]
        y = np.max(covered, axis=0, initial=0, where=state == ACTION)
        w = np.where(y > 0, 1, 1 - np.max(covered, axis=0, initial=0, where=state == UNSURE))
        r = np.max(covered * found.share[group][:, None], axis=0)
        w = w * np.exp(-config.pseudo_uncertainty * (y * (1 - r) + (1 - y) * r))
        first[video, label] = filled
        filled += segments
        targets.append(y)
        weights.append(w)
    return PseudoTargets(
        first,
        np.concatenate([*targets, np.zeros(0)]).astype(np.float32),
        np.concatenate([*weights, np.zeros(0)]).astype(np.float32),
    )
