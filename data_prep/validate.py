"""Judges the videos of a data set before anything is written: every finding has a named rule, and every rule a fate.

An *error* makes a video unusable or shows that its annotation is surely wrong; the conversion stops, or leaves the
video out when asked to. A *warning* is something real data sets contain and this project has an answer to, stated in
`RULES`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from data_prep.annotations import AnnotationSet, VideoRecord
from data_prep.features import FeatureReader
from data_prep.folders import is_safe_name
from tc3net.errors import UserError
from tc3net.timebase import TimeBase

ERROR = "error"
WARNING = "warning"

# rule -> (severity, what it means for the data set)
RULES: dict[str, tuple[str, str]] = {
    "unsafe_name": (ERROR, "video id or subset cannot be part of a file name"),
    "duplicate_id": (ERROR, "several videos have the same id"),
    "bad_duration": (ERROR, "duration is not a positive number"),
    "unknown_class": (ERROR, "class is not in the class list"),
    "bad_interval": (ERROR, "interval ends before it starts, or is not finite"),
    "starts_after_video": (ERROR, "instance starts at or after the end of the video (see --keep_late_instances)"),
    "late_instance": (WARNING, "instance starts at or after the end of the video: kept as ground truth, not counted"),
    "no_features": (ERROR, "annotated video without features"),
    "no_annotation": (ERROR, "features without annotation"),
    "bad_features": (ERROR, "features cannot be used"),
    "feature_dim": (ERROR, "feature dims differ from the other videos'"),
    "feature_range": (ERROR, "feature values do not fit the storage dtype"),
    "ends_after_video": (WARNING, "instance ends after the video: kept as annotated"),
    "starts_before_video": (WARNING, "instance starts before 0 s: kept as annotated"),
    "zero_length": (WARNING, "instance of zero length: kept as ground truth, not counted"),
    "exact_duplicate": (WARNING, "instance listed more than once: kept as ground truth, counted once"),
    "labels_differ": (WARNING, "video-level labels differ from the instances': union used"),
    "length_differs": (WARNING, "features and duration differ by > 2 s and 5 %: kept; check fps and stride"),
}
LENGTH_TOLERANCE_S = 2.0
LENGTH_TOLERANCE = 0.05


@dataclass(frozen=True)
class Problem:
    """One finding about one video; `rule` is a key of `RULES`."""

    video_id: str
    rule: str
    message: str

    @property
    def severity(self) -> str:
        """ERROR or WARNING."""
        return RULES[self.rule][0]


@dataclass(frozen=True)
class Findings:
    """Result of `validate`.

    Attributes:
        problems: in the order of the annotations, then features without annotation.
        feature_dim: D of one stream; 0 when no video has usable features.
        num_segments: video id -> rows, for videos with usable features.
    """

    problems: tuple[Problem, ...]
    feature_dim: int
    num_segments: dict[str, int]

    def errors(self) -> tuple[Problem, ...]:
        """The problems of severity ERROR."""
        return tuple(problem for problem in self.problems if problem.severity == ERROR)


def validate(
    annotations: AnnotationSet,
    reader: FeatureReader,
    time_base: TimeBase,
    feature_dtype: str = "float32",
    *,
    keep_late_instances: bool = False,
) -> Findings:
    """Checks every video, reading all features once, one video at a time; a progress bar goes to stderr.

    Args:
        annotations: the videos and classes.
        reader: their features.
        time_base: how rows relate to seconds.
        feature_dtype: storage dtype that the values must fit.
        keep_late_instances: an instance that starts after the end of its video is a warning, not an error.

    Returns:
        All findings; nothing is raised for a bad video.
    """
    with_features = set(reader.video_ids())
    occurrences = Counter(record.video_id for record in annotations.videos)
    feature_problems: dict[str, Problem] = {}
    shapes: dict[str, tuple[int, int]] = {}
    for record in tqdm(annotations.videos, desc="checking", unit="video"):
        if record.video_id in with_features:
            result = _feature_shape(record.video_id, reader, feature_dtype)
            if isinstance(result, Problem):
                feature_problems[record.video_id] = result
            else:
                shapes[record.video_id] = result
    dims = Counter(dim for _, dim in shapes.values())
    feature_dim = dims.most_common(1)[0][0] if dims else 0

    problems: list[Problem] = []
    classes = frozenset(annotations.classes)
    for record in annotations.videos:
        video_id = record.video_id
        segments, dim = shapes.get(video_id, (0, feature_dim))
        features_s = time_base.duration_s(segments) if segments else None
        if occurrences[video_id] > 1:
            message = f"the id occurs {occurrences[video_id]} times; expected once"
            problems.append(Problem(video_id, "duplicate_id", message))
        problems += check_record(record, classes, features_s, keep_late_instances=keep_late_instances)
        if video_id not in with_features:
            problems.append(Problem(video_id, "no_features", "no features found for this annotated video"))
        if video_id in feature_problems:
            problems.append(feature_problems[video_id])
        if dim != feature_dim:
            message = f"{dim} dims per stream; expected {feature_dim}, as in {dims[feature_dim]} other videos"
            problems.append(Problem(video_id, "feature_dim", message))
    for video_id in reader.video_ids():
        if video_id not in occurrences:
            problems.append(Problem(video_id, "no_annotation", "has features but is not in the annotations"))
    return Findings(tuple(problems), feature_dim, {video_id: segments for video_id, (segments, _) in shapes.items()})


def _feature_shape(video_id: str, reader: FeatureReader, feature_dtype: str) -> tuple[int, int] | Problem:
    try:
        rgb, flow = reader.read(video_id)
    except UserError as error:
        return Problem(video_id, "bad_features", str(error))
    largest = max(float(np.max(np.abs(stream))) for stream in (rgb, flow))
    limit = float(np.finfo(feature_dtype).max)
    if largest > limit:
        message = f"the largest value is {largest:g}; {feature_dtype} ends at {limit:g}"
        return Problem(video_id, "feature_range", f"{message}. Use --feature_dtype=float32 or rescale the features")
    return rgb.shape[0], rgb.shape[1]


def video_end_s(record: VideoRecord, features_s: float | None) -> float:
    """Second at which a video ends: the later of its stated duration and what its features cover.

    Features that cover more than the stated duration show that the video goes on.

    Args:
        record: the annotation.
        features_s: seconds that the features cover; None when they are not usable.

    Returns:
        Seconds; infinity when neither is known.
    """
    stated_s = record.duration_s if math.isfinite(record.duration_s) else 0.0
    return max(stated_s, features_s or 0.0) or math.inf


def check_record(
    record: VideoRecord, classes: frozenset[str], features_s: float | None, *, keep_late_instances: bool = False
) -> list[Problem]:
    """Checks the annotation of one video.

    Args:
        record: the annotation.
        classes: the data set's class names.
        features_s: seconds that the features cover; None when they are not usable.
        keep_late_instances: see `validate`.

    Returns:
        The problems found.
    """
    problems = [
        Problem(record.video_id, "unsafe_name", f"{what} {name!r} holds a path separator, is empty or is not printable")
        for what, name in (("video id", record.video_id), ("subset", record.subset))
        if not is_safe_name(name)
    ]
    duration_known = math.isfinite(record.duration_s) and record.duration_s > 0
    if not duration_known:
        message = f"duration is {record.duration_s} s; expected a positive number"
        problems.append(Problem(record.video_id, "bad_duration", message))
    for name in sorted(record.present - classes):
        problems.append(Problem(record.video_id, "unknown_class", f"class {name!r} is not in the class list"))
    late_rule = "late_instance" if keep_late_instances else "starts_after_video"
    problems += _check_intervals(record, video_end_s(record, features_s), late_rule)
    problems += _check_labels(record)
    if duration_known and features_s is not None:
        difference_s = abs(features_s - record.duration_s)
        if difference_s > LENGTH_TOLERANCE_S and difference_s > LENGTH_TOLERANCE * record.duration_s:
            message = f"features cover {features_s:.1f} s of a video of {record.duration_s:.1f} s"
            problems.append(Problem(record.video_id, "length_differs", message))
    return problems


def _check_intervals(record: VideoRecord, end_s: float, late_rule: str) -> Iterable[Problem]:
    seen = set()
    for index, instance in enumerate(record.instances):
        what = f"instance {index} ({instance.label!r}, {instance.start_s:g} to {instance.end_s:g} s)"
        if not _is_interval(instance.start_s, instance.end_s):
            yield Problem(record.video_id, "bad_interval", f"{what} is not an interval")
            continue
        if instance.start_s >= end_s:
            message = f"{what} starts at or after the end of the video ({end_s:.2f} s)"
            yield Problem(record.video_id, late_rule, message)
        elif instance.end_s > end_s:
            message = f"{what} ends after the video ({end_s:.2f} s)"
            yield Problem(record.video_id, "ends_after_video", message)
        if instance.start_s < 0:
            yield Problem(record.video_id, "starts_before_video", f"{what} starts before the video")
        if instance.start_s == instance.end_s:
            yield Problem(record.video_id, "zero_length", f"{what} has no length")
        if instance in seen:
            yield Problem(record.video_id, "exact_duplicate", f"{what} is listed more than once")
        seen.add(instance)
    for start_s, stop_s in record.ambiguous:
        if not _is_interval(start_s, stop_s):
            message = f"ambiguous interval {start_s:g} to {stop_s:g} s is not an interval"
            yield Problem(record.video_id, "bad_interval", message)


def _is_interval(start_s: float, end_s: float) -> bool:
    return math.isfinite(start_s) and math.isfinite(end_s) and start_s <= end_s


def _check_labels(record: VideoRecord) -> Iterable[Problem]:
    annotated, of_instances = set(record.labels), {instance.label for instance in record.instances}
    if record.instances_known and annotated != of_instances:
        parts = [
            f"{where}: {', '.join(sorted(names))}"
            for where, names in (
                ("only at video level", annotated - of_instances),
                ("only among the instances", of_instances - annotated),
            )
            if names
        ]
        yield Problem(record.video_id, "labels_differ", "; ".join(parts))
