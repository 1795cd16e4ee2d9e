"""Inputs for reports: evaluations made from random T-CAMs, as large or as hostile as a test wants them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tc3net.detection import DetectionConfig
from tc3net.evaluation import average_recall
from tc3net.inference.raw_scores import RawScores, save_scores
from tc3net.intervals.columns import GroundTruth
from tc3net.report import ReportInput
from tc3net.results.assessment import assess_scored
from tc3net.results.folder import write_evaluation
from tc3net.results.sources import Scored, from_scores

CLASSES = ("Jump", "Run", "Throw")
CONFIG = DetectionConfig()
HOSTILE = (
    '"><img src=x onerror="window.hit=1">',
    "</script><script>window.hit=2</script>",
    "__proto__",
    "a&b=c#d+e%20f/..",
    "<!--<script>",
    "{{ 7 * 7 }}${window.hit=3}'\\",
)


def raw_scores(
    lengths: Sequence[int],
    classes: Sequence[str] = CLASSES,
    video_ids: Sequence[str] | None = None,
    dataset: str = "random (simulated features)",
    instances: int = 3,
) -> RawScores:
    """Videos of the given numbers of segments; random scores that rise where `instances` random instances are."""
    rng = np.random.default_rng(0)
    names = tuple(video_ids or (f"video_{i:04d}" for i in range(len(lengths))))
    splits = np.concatenate([[0], np.cumsum(lengths)])
    tcam = rng.normal(size=(splits[-1], len(classes))).astype(np.float32)
    rows = []
    for video, length in enumerate(lengths):
        for _ in range(instances):
            label, start, size = video % len(classes), rng.integers(length), 1 + rng.integers(6)
            tcam[splits[video] + start : min(splits[video] + start + size, splits[video + 1]), label] += 3
            rows.append((video, label, start * 0.64 + 0.1, min(start + size, length) * 0.64))
    rows.append((0, 1 % len(classes), 0.0, 0.5))
    video, label, start_s, end_s = np.array(rows, np.float64).T
    count = len(names)
    labels = np.zeros((count, len(classes)), np.float32)
    labels[video.astype(int), label.astype(int)] = 1
    pooled = np.stack([tcam[a:b].mean(axis=0) + 1 for a, b in zip(splits[:-1], splits[1:])])
    truth = GroundTruth(
        tuple(classes), names, video.astype(np.int64), label.astype(np.int64), start_s, end_s,
        ambiguous_video=np.array([0]), ambiguous_start_s=np.array([1.0]), ambiguous_end_s=np.array([2.5]),
    )  # fmt: skip
    return RawScores(
        dataset=dataset,
        classes=tuple(classes),
        video_ids=names,
        row_splits=splits.astype(np.int64),
        tcam=tcam,
        pooled=np.repeat(pooled[:, np.newaxis], 3, axis=1).astype(np.float32),
        top_k_divisor=8,
        fps=np.full(count, 25.0),
        frames_per_segment=np.full(count, 16),
        stride_frames=np.full(count, 16),
        duration_s=np.asarray(lengths) * 0.64,
        labels=labels,
        ground_truth=truth,
    )


def report_input(scored: Scored, scores: RawScores | None = None, **options) -> ReportInput:
    """An input as `load_input` makes it, without files."""
    return ReportInput(
        title=scored.annotated.dataset,
        classes=scored.annotated.truth.classes,
        detections=scored.detections,
        annotated=scored.annotated,
        assessment=assess_scored(scored, options.pop("protocols", ("thumos14", "reference"))),
        recall=average_recall(scored.annotated.truth, scored.detections),
        scores=scores,
        config=CONFIG if scores is not None else None,
        **options,
    )


def example(lengths: Sequence[int] = (60, 25, 40, 33, 80, 12), **options) -> ReportInput:
    """A scored input of `raw_scores`."""
    scores = raw_scores(lengths, **options)
    return report_input(from_scores("example", scores, CONFIG), scores)


def write_folder(
    folder: Path, scores: RawScores, resamples: int = 0, protocols: Sequence[str] = ("thumos14", "reference")
) -> Path:
    """The folder that `python -m tc3net.evaluate` would leave."""
    scored = from_scores("example", scores, CONFIG)
    save_scores(folder / "raw_scores.npz", scores)
    assessment = assess_scored(scored, protocols, resamples=resamples, seed=3)
    recall = average_recall(scored.annotated.truth, scored.detections)
    facts = {"source": "step-1", "detection": vars(CONFIG), "versions": {"tc3net": "1"}}
    write_evaluation(folder, scored, assessment, recall, subset="test", facts=facts)
    return folder
