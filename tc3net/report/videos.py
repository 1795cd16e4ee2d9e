"""The video browser's data: per video its classes with curve, threshold, detections, instances, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tc3net.evaluation import TYPES, Matches, error_types
from tc3net.intervals.columns import AnnotatedVideos
from tc3net.report.content import ReportInput
from tc3net.report.curves import packed
from tc3net.visualization.curves import CurveSource, VideoCurves

MOST_CLASSES = 20
# One character per detection: its position in TYPES, "i" where the protocol ignores it, "-" where it is not scored.
_IGNORED, _NOT_SCORED = "i", "-"


@dataclass(frozen=True)
class Judged:
    """What the page's protocol decided, in the order of the input; t thresholds.

    Attributes:
        types: [t, n] characters, one per detection.
        missed: [t, m] bool, one per instance.
        ap: (video, class) -> [t], for the classes annotated in the video.
        errors: [V, t, 7] int64 per video of the ground truth: detections by `TYPES`, then missed instances.
    """

    types: np.ndarray
    missed: np.ndarray
    ap: dict[tuple[int, int], np.ndarray]
    errors: np.ndarray


def judge(matches: Matches, num_detections: int) -> Judged:
    """Spreads a protocol's decisions over videos.

    Args:
        matches: the decisions.
        num_detections: n of the list that was evaluated.
    """
    found = error_types(matches)  # [t, ranked]
    letters = np.array([*(str(kind) for kind in range(len(TYPES))), _IGNORED])  # -1 is the last
    types = np.full((len(found), num_detections), _NOT_SCORED)
    types[:, matches.source] = letters[found]
    errors = np.zeros((len(matches.video_ids), len(found), len(TYPES) + 1), np.int64)
    for t, (row, missed) in enumerate(zip(found, matches.missed)):
        counted = row >= 0
        np.add.at(errors, (matches.video[counted], t, row[counted]), 1)
        np.add.at(errors, (matches.instance_video[missed], t, len(TYPES)), 1)
    return Judged(types, matches.missed, ap_per_video(matches), errors)


def ap_per_video(matches: Matches) -> dict[tuple[int, int], np.ndarray]:
    """AP [t] of each (video, class) with instances: the protocol's, over detections and instances of this video."""
    ap = {}
    for c in matches.by_class():
        owner, instance_owner = matches.video[c.detections], matches.instance_video[c.instances]
        for video in np.unique(instance_owner).tolist():
            mine = c.detections[owner == video]
            number = int((instance_owner == video).sum())
            ap[video, c.label] = matches.average_precision(matches.found[:, mine] >= 0, number, matches.ignored[mine])
    return ap


def entries(report: ReportInput, judged: Judged | None, most_classes: int = MOST_CLASSES) -> list[dict[str, Any]]:
    """One entry per video, as script.js reads it (see `_entry` and `_track`).

    Args:
        report: what to show.
        judged: decisions of the page's protocol; None without.
        most_classes: classes per video; those annotated come first, then the most probable ones.
    """
    browser = _Browser(report, judged, most_classes)
    return [browser.entry(video) for video in range(len(report.video_ids))]


class _Browser:
    """Finds what belongs to a video without searching through all detections for each."""

    def __init__(self, report: ReportInput, judged: Judged | None, most_classes: int) -> None:
        self.report, self.judged, self.most_classes = report, judged, most_classes
        found = report.detections
        self.of_video = _by_owner(found.video, np.argsort(-found.score, kind="stable"), len(report.video_ids))
        annotated = report.annotated
        self.truth_row = {name: row for row, name in enumerate(annotated.truth.video_ids)} if annotated else {}
        if annotated is not None:
            truth = annotated.truth
            number = len(truth.video_ids)
            self.instances = _by_owner(truth.video, np.arange(len(truth)), number)
            self.ambiguous = _by_owner(truth.ambiguous_video, np.arange(len(truth.ambiguous_video)), number)
        scores = report.scores
        self.score_row = {name: row for row, name in enumerate(scores.video_ids)} if scores else {}
        self.source = CurveSource(scores, report.config) if scores and report.config else None

    def entry(self, video: int) -> dict[str, Any]:
        """ "id"; "duration" and "end" of the time axis, seconds; "annotated"; "ambiguous" intervals; "errors" [t][7];
        "hidden", how many detections and classes are not on the page; "curve", time axis of the curves; "tracks"."""
        report, name = self.report, self.report.video_ids[video]
        detections, row, source = self.of_video[video], self.truth_row.get(name), self.score_row.get(name)
        mine = self.instances[row] if row is not None else np.zeros(0, np.int64)
        annotated = report.annotated.truth if report.annotated is not None else None
        present = set(annotated.label[mine].tolist()) if annotated is not None else set()
        probability = self.source.probability[source] if self.source and source is not None else None
        classes, hidden = self._classes(detections, present, probability)
        curves = self.source.of(source, classes) if self.source and source is not None else None
        ambiguous = self.ambiguous[row] if row is not None else np.zeros(0, np.int64)
        ends = [report.detections.end_s[detections], *([annotated.end_s[mine]] if annotated is not None else [])]
        duration_s = self._duration_s(report.annotated, row, source)
        known = [
            duration_s,
            float(curves.boundaries_s[-1]) if curves else 0.0,
            *(float(e.max(initial=0)) for e in ends),
        ]
        return {
            "id": name,
            "duration": _number(duration_s),
            "end": _number(float(np.nanmax(known))) or 1.0,
            "annotated": row is not None,
            "ambiguous": _intervals(annotated.ambiguous_start_s, annotated.ambiguous_end_s, ambiguous)
            if annotated is not None
            else [],
            "errors": self.judged.errors[row].tolist() if self.judged is not None and row is not None else None,
            "hidden": hidden,
            "curve": [float(curves.boundaries_s[0]), float(np.diff(curves.boundaries_s[:2])[0])] if curves else None,
            "tracks": [self._track(c, place, detections, mine, row, curves) for place, c in enumerate(classes)],
        }

    def _classes(
        self, detections: np.ndarray, present: set[int], probability: np.ndarray | None
    ) -> tuple[list[int], list[int]]:
        """Classes to show, annotated ones first, then the most certain; numbers of detections and classes left out."""
        labels, first = np.unique(self.report.detections.label[detections], return_index=True)
        best = {int(c): -int(rank) for c, rank in zip(labels, first)}  # by rank of the best detection, without scores
        chosen = sorted(
            present | set(best),
            key=lambda c: (c not in present, -(probability[c] if probability is not None else best.get(c, -(10**9)))),
        )
        if not chosen and probability is not None:
            chosen = [int(probability.argmax())]
        kept = chosen[: max(self.most_classes, len(present))]
        out = set(chosen) - set(kept)
        left_out = int(np.isin(self.report.detections.label[detections], list(out)).sum())
        return kept, [left_out, len(out)]

    def _duration_s(self, annotated: AnnotatedVideos | None, row: int | None, source: int | None) -> float:
        if annotated is not None and row is not None and np.isfinite(annotated.duration_s[row]):
            return float(annotated.duration_s[row])
        return float(self.report.scores.duration_s[source]) if self.report.scores and source is not None else np.nan

    def _track(
        self,
        c: int,
        place: int,
        detections: np.ndarray,
        mine: np.ndarray,
        row: int | None,
        curves: VideoCurves | None,
    ) -> dict[str, Any]:
        """ "class" id; "probability"; "eta"; "curve" (see `packed`); "ap" [t]; of the detections, best first, "start",
        "end", "score" and per threshold "types"; "instances" and per threshold "missed", "1" for a missed one."""
        found, judged = self.report.detections, self.judged
        own = detections[found.label[detections] == c]
        track: dict[str, Any] = {
            "class": c,
            "probability": float(f"{curves.probability[place]:.4g}") if curves else None,
            "eta": [float(f"{eta:.5g}") for eta in curves.thresholds[place]] if curves else [],
            "curve": packed(curves.tcam[:, place]) if curves else None,
            "ap": None,
            "start": np.round(found.start_s[own], 3).tolist(),
            "end": np.round(found.end_s[own], 3).tolist(),
            "score": [float(f"{score:.5g}") for score in found.score[own]],
            "types": ["".join(letters) for letters in judged.types[:, own]] if judged is not None else None,
            "instances": None,
            "missed": None,
        }
        if self.report.annotated is not None and row is not None:
            truth = self.report.annotated.truth
            here = mine[truth.label[mine] == c]
            track["instances"] = _intervals(truth.start_s, truth.end_s, here)
            if judged is not None:
                ap = judged.ap.get((row, c))
                track["ap"] = np.round(ap, 4).tolist() if ap is not None else None
                track["missed"] = ["".join(flags.astype(int).astype(str)) for flags in judged.missed[:, here]]
        return track


def _by_owner(owner: np.ndarray, order: np.ndarray, number: int) -> list[np.ndarray]:
    """Positions of each owner's items, in the given order."""
    order = order[np.argsort(owner[order], kind="stable")]
    return np.split(order, np.searchsorted(owner[order], np.arange(1, number)))


def _intervals(start_s: np.ndarray, end_s: np.ndarray, rows: Sequence[int] | np.ndarray) -> list[list[float]]:
    return np.round(np.stack([start_s[rows], end_s[rows]], axis=1), 3).tolist()


def _number(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
