"""Judges the videos of a data set before anything is written: what is found has a name in `data_prep.checks.rules`.

Every video can be examined by itself (`examine_video`); what needs all of them is decided afterwards, from small facts
(`judge`).
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from data_prep.annotations import AnnotationSet, VideoRecord
from data_prep.checks.feature_facts import FeatureFacts, examine, same_features
from data_prep.checks.plausible import implausible
from data_prep.checks.rules import ERROR, Problem
from data_prep.checks.spans import is_interval, length_differs, video_end_s
from data_prep.features import FeatureReader
from data_prep.output.folders import is_safe_name
from tc3net.common.errors import UserError
from tc3net.common.names import counted
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase
from tc3net.intervals.similar_ids import difference, similar_ids
from tc3net.terminal.progress import progress_bar

# What a spreadsheet writes where it took a name for a formula, or for a number of many digits.
_DAMAGE = re.compile(r"#(N/[A-Z]+|[A-ZÄÖÜ]+(/0)?[!?])|[0-9](\.[0-9]+)?E\+[0-9]+")


@dataclass(frozen=True)
class Findings:
    """Everything that was found out about the videos of a data set.

    Attributes:
        problems: in the order of the annotations, then features without annotation, then those about several videos,
            then those about the data set as a whole.
        streams: names and sizes of the streams, those of most videos; None when no video has usable features.
        features: video id -> facts, for videos with usable features.
    """

    problems: tuple[Problem, ...]
    streams: Streams | None
    features: Mapping[str, FeatureFacts]

    @property
    def num_segments(self) -> dict[str, int]:
        """Video id -> rows, for videos with usable features."""
        return {video_id: facts.num_segments for video_id, facts in self.features.items()}

    def errors(self) -> tuple[Problem, ...]:
        """The problems of severity ERROR."""
        return tuple(problem for problem in self.problems if problem.severity == ERROR)


def validate(
    annotations: AnnotationSet,
    reader: FeatureReader,
    time_bases: Mapping[str, TimeBase],
    feature_dtype: str = "float32",
    *,
    keep_late_instances: bool = False,
) -> Findings:
    """Checks every video, reading all features once, one video at a time; a progress bar goes to stderr.

    Args:
        annotations: the videos and classes.
        reader: their features.
        time_bases: video id -> how its rows relate to seconds.
        feature_dtype: storage dtype that the values must fit.
        keep_late_instances: an instance that starts after the end of its video is a warning, not an error.

    Returns:
        All findings; nothing is raised for a bad video.
    """
    with_features = reader.video_ids()
    available = set(with_features)
    results = {
        record.video_id: examine_video(record.video_id, reader, feature_dtype)
        for record in progress_bar(annotations.videos, "checking", "video")
        if record.video_id in available
    }
    return judge(annotations, with_features, results, time_bases, keep_late_instances=keep_late_instances)


def examine_video(video_id: str, reader: FeatureReader, feature_dtype: str) -> FeatureFacts | Problem:
    """Reads the features of one video: facts when they can be used, else what is wrong. Needs no other video."""
    try:
        streams = dict(zip(reader.streams, reader.read(video_id)))
    except UserError as error:
        return Problem(video_id, "bad_features", str(error))
    facts = examine(streams)
    limit = float(np.finfo(feature_dtype).max)
    if facts.largest > limit:
        message = f"the largest value is {facts.largest:g}; {feature_dtype} ends at {limit:g}"
        return Problem(video_id, "feature_range", f"{message}. Use --feature_dtype=float32 or rescale the features")
    return facts


def _words(sizes: Mapping[str, int]) -> str:
    """ "5 dims per stream" where all are alike, or "rgb 5, flow 3 dims"."""
    if len(set(sizes.values())) == 1:
        return f"{next(iter(sizes.values()))} dims per stream"
    return ", ".join(f"{name} {size}" for name, size in sizes.items()) + " dims"


def judge(
    annotations: AnnotationSet,
    with_features: Collection[str] | None,
    results: Mapping[str, FeatureFacts | Problem],
    time_bases: Mapping[str, TimeBase],
    *,
    keep_late_instances: bool = False,
) -> Findings:
    """Everything that can be said once the features of all videos were examined, each by itself.

    Args:
        annotations: the videos and classes.
        with_features: ids of all videos that have features, usable or not; None: the annotations are judged alone.
        results: of `examine_video`, for the annotated videos among them.
        time_bases: video id -> how its rows relate to seconds.
        keep_late_instances: see `validate`.
    """
    features = {video_id: result for video_id, result in results.items() if isinstance(result, FeatureFacts)}
    dims = Counter(tuple(facts.sizes.items()) for facts in features.values())
    usual = dims.most_common(1)[0][0] if dims else ()
    occurrences = Counter(record.video_id for record in annotations.videos)
    feature_ids = occurrences.keys() if with_features is None else dict.fromkeys(with_features)
    alike = similar_ids([*occurrences, *feature_ids])
    classes = frozenset(annotations.classes)
    problems: list[Problem] = []
    for record in annotations.videos:
        video_id = record.video_id
        facts, result = features.get(video_id), results.get(video_id)
        features_s = time_bases[video_id].duration_s(facts.num_segments) if facts else None
        if occurrences[video_id] > 1:
            message = f"the id occurs {occurrences[video_id]} times; expected once"
            problems.append(Problem(video_id, "duplicate_id", message))
        problems += check_record(
            record,
            classes,
            features_s,
            keep_late_instances,
            duration_stated=video_id not in annotations.without_duration,
        )
        if video_id not in feature_ids:
            message = "no features found for this annotated video" + _hint(video_id, alike, feature_ids, occurrences)
            problems.append(Problem(video_id, "no_features", message))
        if isinstance(result, Problem):
            problems.append(result)
        if facts and tuple(facts.sizes.items()) != usual:
            expected = f"expected {_words(dict(usual))}, as in {counted(dims[usual], 'other video')}"
            message = f"{_words(facts.sizes)}; {expected}"
            problems.append(Problem(video_id, "feature_dim", message))
        elif facts:
            problems += _check_features(video_id, facts)
    for video_id in feature_ids:
        if video_id not in occurrences:
            message = "has features but is not in the annotations" + _hint(video_id, alike, occurrences, feature_ids)
            problems.append(Problem(video_id, "no_annotation", message))
    problems += _check_together(annotations, features)
    problems += implausible(annotations, with_features, features, time_bases)
    return Findings(tuple(problems), Streams(usual) if usual else None, features)


def _hint(video_id: str, alike: Mapping[str, list[str]], wanted: Collection[str], other: Collection[str]) -> str:
    """Names an id on the other side that is probably meant: one that is spelled alike and has no partner either."""
    for candidate in alike.get(video_id, ()):
        if candidate in wanted and candidate not in other:
            return f"; {candidate!r} is there, which differs in {difference(video_id, candidate)}"
    return ""


def _check_features(video_id: str, facts: FeatureFacts) -> Iterable[Problem]:
    if all(number == facts.num_segments for number in facts.zero_rows.values()):
        yield Problem(video_id, "all_zero", f"all {facts.num_segments} rows of {_streams(facts)} are zero")
        return
    if facts.constant_streams:
        message = f"all {facts.num_segments} rows of {' and of '.join(facts.constant_streams)} are equal"
        message += "".join(f" ({name}: all zero)" for name in facts.constant_streams if facts.zero_rows[name])
        yield Problem(video_id, "constant_features", message)
    found = [
        f"{number} of {facts.num_segments} rows of {stream}"
        for stream, number in facts.zero_rows.items()
        if number and stream not in facts.constant_streams
    ]
    if found:
        yield Problem(
            video_id, "zero_rows", f"all zero: {' and '.join(found)}; the first is row {facts.first_zero_row}"
        )
    content = {stream: (facts.sizes[stream], checksum) for stream, checksum in zip(facts.sizes, facts.checksums)}
    for first, second in itertools.combinations(content, 2):
        if content[first] == content[second] and not {first, second} <= set(facts.constant_streams):
            yield Problem(video_id, "same_streams", f"{first} and {second} hold the same values")


def _streams(facts: FeatureFacts) -> str:
    return {1: next(iter(facts.sizes)), 2: "both streams"}.get(len(facts.sizes), "all streams")


def _check_together(annotations: AnnotationSet, features: Mapping[str, FeatureFacts]) -> Iterable[Problem]:
    """What shows only when the videos are seen side by side."""
    for video_id, others in similar_ids(record.video_id for record in annotations.videos).items():
        message = f"differs from {others[0]!r} only in {difference(video_id, others[0])}"
        yield Problem(video_id, "similar_ids", message)
    for group in same_features(features):
        for video_id in group:
            other = group[0] if video_id != group[0] else group[1]
            more = f" and {counted(len(group) - 2, 'more video')}" if len(group) > 2 else ""
            yield Problem(video_id, "same_features", f"has the same features as {other}{more}")
    present: dict[str, set[str]] = {}
    for record in annotations.videos:
        present.setdefault(record.subset, set()).update(record.present)
    for subset, names in present.items():
        for name in annotations.classes:
            if name not in names:
                yield Problem(f"{name} ({subset})", "class_missing", f"no video of {subset!r} has class {name!r}")


def check_record(
    record: VideoRecord,
    classes: frozenset[str],
    features_s: float | None,
    keep_late_instances: bool = False,
    *,
    duration_stated: bool = True,
) -> list[Problem]:
    """The problems of one video's annotation.

    Args:
        record: the annotation.
        classes: the data set's class names.
        features_s: seconds that the features cover; None when they are not usable.
        keep_late_instances: see `validate`.
        duration_stated: whether the annotation format tells the duration; then NaN is an error, else it may be unknown.
    """
    problems = [
        Problem(record.video_id, "unsafe_name", f"{what} {name!r} holds a path separator, is empty or is not printable")
        for what, name in (("video id", record.video_id), ("subset", record.subset))
        if not is_safe_name(name)
    ]
    for what, name in (("video id", record.video_id), *(("class", name) for name in sorted(record.present))):
        if _DAMAGE.fullmatch(name):
            message = f"{what} {name!r} is what a spreadsheet makes of another: format the column as text"
            problems.append(Problem(record.video_id, "spreadsheet_damage", message))
    duration_known = math.isfinite(record.duration_s) and record.duration_s > 0
    if not duration_known and (duration_stated or not math.isnan(record.duration_s)):
        message = f"duration is {record.duration_s} s; expected a positive number"
        problems.append(Problem(record.video_id, "bad_duration", message))
    for name in sorted(record.present - classes):
        problems.append(Problem(record.video_id, "unknown_class", f"class {name!r} is not in the class list"))
    late_rule = "late_instance" if keep_late_instances else "starts_after_video"
    problems += _check_intervals(record, video_end_s(record, features_s), late_rule, features_s)
    problems += _check_labels(record)
    if not record.present:
        what = "its annotation says that nothing occurs" if record.instances_known else "nothing is annotated"
        problems.append(Problem(record.video_id, "no_labels", f"no class: {what}"))
    if duration_known and features_s is not None and length_differs(features_s, record.duration_s):
        message = f"features cover {features_s:.1f} s of a video of {record.duration_s:.1f} s"
        problems.append(Problem(record.video_id, "length_differs", message))
    return problems


def _check_intervals(record: VideoRecord, end_s: float, late_rule: str, features_s: float | None) -> Iterable[Problem]:
    seen = set()
    for index, instance in enumerate(record.instances):
        what = f"instance {index} ({instance.label!r}, {instance.start_s:g} to {instance.end_s:g} s)"
        if not is_interval(instance.start_s, instance.end_s):
            yield Problem(record.video_id, "bad_interval", f"{what} is not an interval")
            continue
        if instance.start_s >= end_s:
            message = f"{what} starts at or after the end of the video ({end_s:.2f} s)"
            yield Problem(record.video_id, late_rule, message)
        elif features_s is not None and instance.start_s >= features_s:
            message = f"{what} starts at or after the last feature row ends ({features_s:.2f} s)"
            yield Problem(record.video_id, "after_features", message)
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
        if not is_interval(start_s, stop_s):
            message = f"ambiguous interval {start_s:g} to {stop_s:g} s is not an interval"
            yield Problem(record.video_id, "bad_interval", message)


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
