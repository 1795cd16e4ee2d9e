"""What a conversion tells its user at the end: what the data set holds, what was left out, and what was noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from data_prep.annotations import VideoRecord
from data_prep.checks.counts import count_instances
from data_prep.checks.judge import Findings
from data_prep.checks.rules import DATA_SET, ERROR, RULES, Problem
from data_prep.checks.spans import visible_end_s
from tc3net.common.names import counted
from tc3net.data.schema import Manifest
from tc3net.data.timebase import TimeBase

PROBLEMS_LISTED = 20
EXAMPLES_LISTED = 3
_HEADER = ("subset", "videos", "segments", "hours", "annotated", "instances", "classes", "counts", "sum", "mean", "max")


def first_problems(problems: Sequence[Problem]) -> str:
    """What is said of the data set as a whole, then the first problems of videos, a line for each video and rule, and
    how many more there are.
    """
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.video_id, problem.rule), []).append(problem)
    lines = [f"  {alike[0].message}" for (subject, _), alike in groups.items() if subject == DATA_SET]
    groups = {key: alike for key, alike in groups.items() if key[0] != DATA_SET}
    for (video_id, _), alike in list(groups.items())[:PROBLEMS_LISTED]:
        more = f" ({len(alike) - 1} more like it)" if len(alike) > 1 else ""
        lines.append(f"  {video_id}: {alike[0].message}{more}")
    if len(groups) > PROBLEMS_LISTED:
        hidden = list(groups.values())[PROBLEMS_LISTED:]
        lines.append(f"  ... and {counted(sum(map(len, hidden)), 'more problem')}")
    return "\n".join(lines)


def closing_summary(
    manifest: Manifest, records: Sequence[VideoRecord], findings: Findings, time_bases: Mapping[str, TimeBase]
) -> str:
    """A table of the subsets, then the findings grouped by rule.

    Args:
        manifest: what was written.
        records: the videos that were written.
        findings: of the validation, including the videos left out.
        time_bases: video id -> how its rows relate to seconds.

    Returns:
        Text of several lines. In the table, "annotated" counts the videos with known instances, and "counts" the
        pairs of video and class whose number of instances is known; sum, mean and max are over these.
    """
    rows: list[tuple[str, ...]] = [_HEADER]
    for subset, split in manifest.splits.items():
        members = [record for record in records if record.subset == subset]
        statistics = _statistics(members, manifest, findings, time_bases)
        rows.append((subset, str(split.videos), str(split.segments), *statistics))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = [
        "",
        f"{manifest.title}: {counted(len(manifest.classes), 'class')} ({len(manifest.counted_classes)} counted), "
        f"2 x {manifest.feature_dim} dims, {manifest.feature_dtype}",
        *("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows),
    ]
    if manifest.left_out:
        lines.append(f"left out: {counted(len(manifest.left_out), 'video')}")
        lines += _grouped(findings, is_error=True)
    noticed = _grouped(findings, is_error=False)
    if noticed:
        lines += ["noticed:", *noticed]
    return "\n".join(lines)


def _statistics(
    records: Sequence[VideoRecord], manifest: Manifest, findings: Findings, time_bases: Mapping[str, TimeBase]
) -> tuple[str, ...]:
    counted = frozenset(manifest.counted_classes)
    counts: list[int] = []
    for record in records:
        end_s = visible_end_s(record, time_bases[record.video_id].duration_s(findings.num_segments[record.video_id]))
        counts += count_instances(record, counted, end_s).values()
    return (
        f"{sum(record.duration_s for record in records) / 3600:.2f}",
        str(sum(record.instances_known for record in records)),
        str(sum(len(record.instances) for record in records)),
        str(len(frozenset().union(*(record.present for record in records)))),
        str(len(counts)),
        str(sum(counts)),
        f"{sum(counts) / len(counts):.1f}" if counts else "-",
        str(max(counts)) if counts else "-",
    )


def _grouped(findings: Findings, *, is_error: bool) -> list[str]:
    lines = []
    for rule, (severity, meaning) in RULES.items():
        of_rule = [problem for problem in findings.problems if problem.rule == rule]
        found = [problem.video_id for problem in of_rule if problem.video_id != DATA_SET]
        if not is_error:
            lines += [f"  {problem.message} [{rule}]" for problem in of_rule if problem.video_id == DATA_SET]
        if found and (severity == ERROR) == is_error:
            videos = list(dict.fromkeys(found))
            examples = ", ".join(videos[:EXAMPLES_LISTED]) + (", ..." if len(videos) > EXAMPLES_LISTED else "")
            number = (
                f"{len(found)} in {counted(len(videos), 'video')}" if len(found) != len(videos) else f"{len(found)}"
            )
            lines.append(f"  {number}: {meaning} [{rule}]: {examples}")
    return lines
