"""What `python -m data_prep.inspect` finds out about raw inputs, annotations alone, or a converted data set.

All three end in the same `Inspection`, from which the table on the screen, the JSON report and the page are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.annotations import AnnotationSet
from data_prep.checks.counts import count_instances
from data_prep.checks.judge import Findings, judge, validate
from data_prep.checks.rules import ERROR, RULES, Problem
from data_prep.checks.spans import visible_end_s
from data_prep.inputs.options import Inputs
from data_prep.inspection.distributions import VideoFacts, describe
from data_prep.inspection.verify import verify
from tc3net import __version__
from tc3net.common.names import counted
from tc3net.data.timebase import TimeBase


@dataclass(frozen=True)
class Inspection:
    """Everything found out about one data set.

    Attributes:
        title: names it.
        descriptions: what was recognised, one line each.
        numbers: see `data_prep.inspection.distributions.describe`.
        classes: class names in the order of their ids.
        problems: all findings.
    """

    title: str
    descriptions: tuple[str, ...]
    numbers: dict[str, Any]
    classes: tuple[str, ...]
    problems: tuple[Problem, ...]

    def errors(self) -> tuple[Problem, ...]:
        """The problems of severity ERROR."""
        return tuple(problem for problem in self.problems if problem.severity == ERROR)


def inspect_inputs(title: str, inputs: Inputs, feature_dtype: str, *, keep_late_instances: bool) -> Inspection:
    """Inspects annotations and features; memory holds the features of one video, besides what the reader holds.

    Args:
        title: names the data.
        inputs: opened inputs.
        feature_dtype: storage dtype that the values must fit.
        keep_late_instances: see `data_prep.checks.judge.validate`.
    """
    findings = validate(
        inputs.annotations, inputs.reader, inputs.time_bases, feature_dtype, keep_late_instances=keep_late_instances
    )
    return _inspection(title, inputs.descriptions, inputs.annotations, inputs.time_bases, findings)


def inspect_annotations(
    title: str,
    descriptions: Sequence[str],
    annotations: AnnotationSet,
    time_base: TimeBase,
    *,
    keep_late_instances: bool,
) -> Inspection:
    """Inspects annotations without features.

    Args:
        title: names the data.
        descriptions: what was recognised.
        annotations: the videos and classes.
        time_base: of every video; nothing depends on it without features.
        keep_late_instances: see `data_prep.checks.judge.validate`.
    """
    time_bases = {record.video_id: time_base for record in annotations.videos}
    findings = judge(annotations, None, {}, time_bases, keep_late_instances=keep_late_instances)
    return _inspection(title, tuple(descriptions), annotations, time_bases, findings)


def inspect_dataset(folder: str | Path) -> Inspection:
    """Inspects a converted data set, and verifies its files.

    Args:
        folder: written by `python -m data_prep.convert`.

    Raises:
        UserError: its manifest is absent or cannot be read.
    """
    verified = verify(folder)
    manifest = verified.manifest
    shards = sum(len(split.shards) for split in manifest.splits.values())
    descriptions = (
        f"data set: {folder} ({manifest.title}), {counted(shards, 'shard')}, 2 x {manifest.feature_dim} dims, "
        f"{manifest.feature_dtype}, written by version {manifest.converter_version}",
        f"left out by the conversion: {counted(len(manifest.left_out), 'video')}",
    )
    facts = [
        VideoFacts(
            record,
            verified.counts[record.video_id],
            verified.findings.num_segments.get(record.video_id),
            verified.time_bases[record.video_id],
            record.video_id not in verified.annotations.durations_of_features,
        )
        for record in verified.annotations.videos
    ]
    numbers = describe(facts, manifest.classes)
    return Inspection(manifest.title, descriptions, numbers, manifest.classes, verified.findings.problems)


def _inspection(
    title: str,
    descriptions: tuple[str, ...],
    annotations: AnnotationSet,
    time_bases: Mapping[str, TimeBase],
    findings: Findings,
) -> Inspection:
    # As the conversion does without --counted_classes: every class with an instance or a count in any video.
    with_counts = frozenset(item.label for record in annotations.videos for item in record.instances)
    with_counts |= {label for record in annotations.videos for label in record.counts or ()}
    facts = []
    for record in annotations.videos:
        num_segments = findings.num_segments.get(record.video_id)
        time_base = time_bases[record.video_id]
        end_s = visible_end_s(record, None if num_segments is None else time_base.duration_s(num_segments))
        stated = record.video_id not in annotations.durations_of_features
        facts.append(VideoFacts(record, count_instances(record, with_counts, end_s), num_segments, time_base, stated))
    return Inspection(title, descriptions, describe(facts, annotations.classes), annotations.classes, findings.problems)


def grouped(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Problems by rule, in the order of `RULES`: its severity and meaning, how many findings on how many subjects."""
    groups = []
    for rule, (severity, meaning) in RULES.items():
        found = [problem for problem in problems if problem.rule == rule]
        if found:
            groups.append(
                {
                    "rule": rule,
                    "severity": severity,
                    "meaning": meaning,
                    "findings": len(found),
                    "subjects": len({problem.video_id for problem in found}),
                    "all": [{"subject": problem.video_id, "message": problem.message} for problem in found],
                }
            )
    return groups


def to_json(inspection: Inspection) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "title": inspection.title,
        "inspector_version": __version__,
        "descriptions": list(inspection.descriptions),
        "errors": len(inspection.errors()),
        "warnings": len(inspection.problems) - len(inspection.errors()),
        "problems": grouped(inspection.problems),
        **inspection.numbers,
    }
