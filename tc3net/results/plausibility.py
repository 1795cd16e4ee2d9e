"""Says when a result can hardly be meant: one line each, with what was seen and what to try.

A number that is wrong for a trivial reason looks like a bad model. None of these lines changes a number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tc3net.detection import DetectionConfig, class_gate, evidence_of
from tc3net.inference.raw_scores import RawScores
from tc3net.results.assessment import Assessment
from tc3net.results.sources import Scored

_MOST = 0.5
_MANY_DETECTIONS = 20
_BEYOND = 5.0  # times the end of the last instance, where durations are unknown
_LEVEL = (
    "The softmax over the classes trains how the T-CAMs of the classes differ, not their common level, which this "
    "filter compares with 0. Where the model tells the classes apart, try --class_filter=all --max_classes=5"
)


def implausible(scored: Scored, assessment: Assessment) -> tuple[str, ...]:
    """What looks wrong, in words; nothing where all is usual.

    Args:
        scored: detections and ground truth.
        assessment: their scores.
    """
    checks: tuple[Callable[[Scored, Assessment], str], ...] = (_rejected_classes, _unit_of_time, _nothing_found)
    lines: list[str] = []
    for check in checks:
        if not (check is _nothing_found and lines):  # the line before says why
            line = check(scored, assessment)
            lines += [line] if line else []
    return tuple(lines)


def _passing(scores: RawScores, config: DetectionConfig) -> tuple[np.ndarray, np.ndarray]:
    """The video-level scores [V, C] that the filter reads, and which classes pass it [V, C]."""
    outputs = scores.outputs(0, len(scores.video_ids))
    classes = evidence_of(outputs, scores.streams, config, scores.top_k_divisor).classes
    return classes.numpy(), class_gate(classes, config).numpy()


def rejected_best_classes(scores: RawScores, config: DetectionConfig) -> str:
    """Says that in most videos not even the class that the model ranks first passes the class filter; else "".

    Needs no annotations.

    Args:
        scores: of at least one video, with the streams' T-CAMs where the settings read them.
        config: detection settings.
    """
    if config.class_filter == "all":
        return ""
    means, passes = _passing(scores, config)
    rejected = 1 - passes[np.arange(len(means)), means.argmax(axis=1)].mean()
    if rejected <= _MOST:
        return ""
    return (
        f"--class_filter={config.class_filter} rejects even the class that the model ranks first in "
        f"{100 * rejected:.0f} % of the videos: they get no detection. {_LEVEL}"
    )


def _rejected_classes(scored: Scored, assessment: Assessment) -> str:
    """Most classes that are annotated in a video, or rank first there, do not pass the class filter."""
    scores, config, truth = scored.scores, scored.config, scored.annotated.truth
    if scores is None or config is None:
        return ""
    if not len(truth):
        return rejected_best_classes(scores, config)
    row_of = {video_id: row for row, video_id in enumerate(scores.video_ids)}
    pairs = np.unique(np.stack([truth.video, truth.label]), axis=1)  # [2, n]
    rows = np.array([row_of[truth.video_ids[video]] for video in pairs[0]])
    rejected = 1 - _passing(scores, config)[1][rows, pairs[1]].mean()
    if rejected <= _MOST:
        return ""
    of = f"; classification mAP is {100 * assessment.classification.map:.1f} %" if assessment.classification else ""
    return (
        f"--class_filter={config.class_filter} rejects {100 * rejected:.0f} % of the classes annotated in the "
        f"videos: they get no detection{of}. {_LEVEL}"
    )


def _unit_of_time(scored: Scored, _: Assessment) -> str:
    """Another tool's detections are in frames, milliseconds or fractions of the video."""
    found, truth, duration_s = scored.detections, scored.annotated.truth, scored.annotated.duration_s
    if scored.scores is not None or len(found) < _MANY_DETECTIONS or not len(truth):
        return ""
    last_s = np.zeros(len(truth.video_ids))  # end of each video's last instance
    np.maximum.at(last_s, truth.video, truth.end_s)
    if np.median(last_s[last_s > 0]) > 3 and found.end_s.max() <= 1.01:
        return (
            f"all detections end before {found.end_s.max():.2f} s, and the median video has instances up to "
            f"{np.median(last_s[last_s > 0]):.0f} s: they look like fractions of the video; expected seconds"
        )
    place = {video_id: row for row, video_id in enumerate(truth.video_ids)}
    row = np.array([place.get(video_id, -1) for video_id in found.video_ids])[found.video]
    known = row >= 0
    limit_s = np.where(np.isnan(duration_s), _BEYOND * last_s, duration_s + np.maximum(0.1 * duration_s, 1))[row]
    usable = known & (limit_s > 0)
    if not usable.any() or (found.end_s > limit_s)[usable].mean() <= _MOST:
        return ""
    times = float(np.median((found.end_s / limit_s)[usable]))
    unit = "milliseconds" if times > 100 else "frames"
    what = "its last instance" if np.isnan(duration_s).all() else "the end of its video"
    return (
        f"{100 * (found.end_s > limit_s)[usable].mean():.0f} % of the detections end long after {what} (the median one "
        f"{times:.0f} times as late): they look like {unit}; expected seconds"
    )


def _nothing_found(scored: Scored, assessment: Assessment) -> str:
    """Many detections, and not one of them finds an instance."""
    results = assessment.localization
    if len(scored.detections) < _MANY_DETECTIONS or not results or not len(scored.annotated.truth):
        return ""
    if any(np.nansum(result.map) > 0 for result in results):
        return ""
    return (
        f"none of the {len(scored.detections)} detections finds an instance at any threshold: the times are in another "
        "unit or of another version of the videos, or rows are in another order"
    )
