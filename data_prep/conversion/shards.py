"""The two passes of a conversion over a staging folder: examine every video, then write the shards.

Both keep what is finished in the staging folder and do only what is missing. Which videos a shard holds depends on the
annotations, the findings and `videos_per_shard` alone, and its bytes on nothing else, so that it does not matter in how
many attempts or by how many processes it was made.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.annotations import VideoRecord
from data_prep.checks.feature_facts import FeatureFacts
from data_prep.checks.judge import Problem, examine_video
from data_prep.conversion.workers import Workers, named
from data_prep.conversion.writer import Expected, Rounding, write_shard
from data_prep.features import FeatureReader
from data_prep.features.read_ahead import ReadAhead
from data_prep.output.remote_staging import RemoteStaging
from data_prep.output.staging import Staging
from tc3net.common.files import sha256_of
from tc3net.data.schema import Manifest, Shard, SplitInfo
from tc3net.data.timebase import TimeBase
from tc3net.terminal.progress import progress_bar

CHECKED = "checked.jsonl"
_VIDEOS_PER_TASK = 8


@dataclass(frozen=True)
class ExamineTask:
    """Videos to examine for a storage dtype."""

    video_ids: tuple[str, ...]
    feature_dtype: str

    def __str__(self) -> str:
        return f"one of the videos {', '.join(map(repr, self.video_ids))}"


def examine_step(reader: FeatureReader, task: ExamineTask) -> list[dict[str, Any]]:
    """Results of `examine_video`, in the form of `_to_json`."""
    results = []
    with ReadAhead(reader, task.video_ids) as ahead:
        for video_id in task.video_ids:
            with named(video_id):
                results.append(_to_json(video_id, examine_video(video_id, ahead, task.feature_dtype)))
    return results


def _to_json(video_id: str, result: FeatureFacts | Problem) -> dict[str, Any]:
    kind = "problem" if isinstance(result, Problem) else "facts"
    return {"video": video_id, kind: asdict(result)}


def _from_json(entry: dict[str, Any]) -> FeatureFacts | Problem:
    if "problem" in entry:
        return Problem(**entry["problem"])
    facts = entry["facts"]
    return FeatureFacts(
        **{**facts, "constant_streams": tuple(facts["constant_streams"]), "checksums": tuple(facts["checksums"])}
    )


def examine(
    staging: Staging | RemoteStaging, workers: Workers, video_ids: Sequence[str], feature_dtype: str
) -> dict[str, FeatureFacts | Problem]:
    """Examines the features of all videos; a progress bar goes to stderr.

    What an earlier attempt examined is not read again: the staging folder's plan holds the size and time of every
    feature file, so that it belongs to the same files.

    Args:
        staging: keeps the results.
        workers: run `examine_step`.
        video_ids: videos that have features.
        feature_dtype: storage dtype that the values must fit.

    Returns:
        Per video id, in the order of `video_ids`.

    Raises:
        OSError: the results cannot be written.
    """
    results = {entry["video"]: _from_json(entry) for entry in staging.read_lines(CHECKED)}
    missing = [video_id for video_id in dict.fromkeys(video_ids) if video_id not in results]
    tasks = [
        ExamineTask(tuple(missing[i : i + _VIDEOS_PER_TASK]), feature_dtype)
        for i in range(0, len(missing), _VIDEOS_PER_TASK)
    ]
    with progress_bar(None, "checking", "video", total=len(video_ids), done=len(results)) as progress:
        for _, entries in workers.run(examine_step, tasks):
            staging.append_lines(CHECKED, entries)
            results.update((entry["video"], _from_json(entry)) for entry in entries)
            progress.update(len(entries))
    return {video_id: results[video_id] for video_id in video_ids}


@dataclass(frozen=True)
class ShardPlan:
    """One shard to write.

    Attributes:
        file: its name.
        subset: of all its videos.
        videos: in order.
    """

    file: str
    subset: str
    videos: tuple[Expected, ...]


def plan_shards(
    records: Sequence[VideoRecord],
    time_bases: Mapping[str, TimeBase],
    num_segments: Mapping[str, int],
    videos_per_shard: int,
) -> list[ShardPlan]:
    """Distributes videos over shards.

    Args:
        records: the videos to write; their order is kept within each subset.
        time_bases, num_segments: per video id.
        videos_per_shard: videos per file; the last file of a subset may hold fewer.
    """
    plans = []
    for subset in dict.fromkeys(record.subset for record in records):
        videos = [
            Expected(record, time_bases[record.video_id], num_segments[record.video_id])
            for record in records
            if record.subset == subset
        ]
        groups = [tuple(videos[i : i + videos_per_shard]) for i in range(0, len(videos), videos_per_shard)]
        plans += [
            ShardPlan(f"{subset}-{index:05d}-of-{len(groups):05d}.tfrecord", subset, group)
            for index, group in enumerate(groups)
        ]
    return plans


@dataclass(frozen=True)
class WriteTask:
    """A shard to write into a folder; the manifest needs no splits."""

    plan: ShardPlan
    folder: Path
    manifest: Manifest

    def __str__(self) -> str:
        first, last = (self.plan.videos[place].record.video_id for place in (0, -1))
        return f"{self.plan.file}, one of its videos {first!r} to {last!r}"


def write_step(reader: FeatureReader, task: WriteTask) -> dict[str, Any]:
    """Writes the shard; what is to be remembered about it."""
    path = task.folder / task.plan.file
    # A cluster may run a task twice at the same time: each writes its own file, and either may become the result.
    own = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    written = write_shard(own, task.plan.videos, reader, task.manifest)
    os.replace(own, path)
    return {"video_ids": [video.record.video_id for video in task.plan.videos], **asdict(written)}


def _is_intact(staging: Staging | RemoteStaging, plan: ShardPlan, record: dict[str, Any]) -> bool:
    path = staging.data / f"{staging.prefix}{plan.file}"
    same_videos = record["video_ids"] == [video.record.video_id for video in plan.videos]
    return same_videos and path.stat().st_size == record["bytes"] and sha256_of(path) == record["sha256"]


def write_shards(
    staging: Staging | RemoteStaging, workers: Workers, plans: Sequence[ShardPlan], manifest: Manifest
) -> Manifest:
    """Writes the shards that are not there yet; memory holds two videos per worker besides what the readers hold.

    Shards of an earlier attempt are kept when their SHA-256 is still the one that was recorded.

    Args:
        staging: where the shards go.
        workers: run `write_step`.
        plans: all shards.
        manifest: everything but the splits and `source["rounding"]`.

    Returns:
        The complete manifest.

    Raises:
        OSError: a file cannot be written.
        UserError: a video's features have become unreadable or changed.
    """
    staging.keep_only({plan.file for plan in plans})
    records: dict[str, dict[str, Any]] = {}
    for plan in plans:
        record = staging.finished(plan.file)
        if record is not None and _is_intact(staging, plan, record):
            records[plan.file] = record
    missing = [plan for plan in plans if plan.file not in records]
    if records:
        print(f"{staging.folder}: going on, {len(records)} of {len(plans)} shards are finished", flush=True)
    # The lists of a large data set would travel with every task.
    slim = replace(manifest, source={}, left_out=())
    tasks = [WriteTask(plan, staging.work, slim) for plan in missing]
    total, kept = (sum(len(plan.videos) for plan in some) for some in (plans, missing))
    with progress_bar(None, "writing", "video", total=total, done=total - kept) as progress:
        for index, record in workers.run(write_step, tasks):
            staging.finish(missing[index].file, record)
            records[missing[index].file] = record
            progress.update(len(missing[index].videos))
    return _complete(manifest, plans, records, staging.prefix)


def _complete(
    manifest: Manifest, plans: Sequence[ShardPlan], records: Mapping[str, dict[str, Any]], prefix: str
) -> Manifest:
    rounding = Rounding()
    splits: dict[str, SplitInfo] = {}
    for plan in plans:
        record = records[plan.file]
        rounding = rounding.merged(Rounding(**record["rounding"]))
        shard = Shard(f"{prefix}{plan.file}", record["videos"], record["bytes"], record["sha256"])
        before = splits.get(plan.subset, SplitInfo(0, 0, ()))
        splits[plan.subset] = SplitInfo(
            before.videos + record["videos"], before.segments + record["segments"], (*before.shards, shard)
        )
    return replace(manifest, splits=splits, source={**manifest.source, "rounding": asdict(rounding)})
