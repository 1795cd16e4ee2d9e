"""Checks a converted data set against its own manifest, byte by byte and value by value, one video at a time.

The records become annotations and feature facts again, so that the rules for raw inputs apply to them as well.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from data_prep.annotations import AnnotationSet, Instance, VideoRecord
from data_prep.checks.counts import count_instances
from data_prep.checks.feature_facts import FeatureFacts, examine
from data_prep.checks.judge import Findings, judge
from data_prep.checks.rules import ERROR, Problem
from data_prep.checks.spans import video_end_s, visible_end_s
from data_prep.features.rows import check_features
from data_prep.output.folders import is_safe_name
from tc3net.common.errors import UserError, plain_message
from tc3net.common.files import sha256_of
from tc3net.common.names import counted
from tc3net.common.storage import path_of
from tc3net.data.record_index import INDEX_NAME
from tc3net.data.schema import FEATURE_DTYPES, MANIFEST_NAME, Manifest, Shard, load_manifest, parse
from tc3net.data.timebase import TimeBase
from tc3net.terminal.progress import progress_bar


@functools.lru_cache(maxsize=8)
def _parser(streams: tuple[str, ...]) -> Any:
    """`parse` of records with these streams, traced: eagerly it takes ten times as long."""
    record = tf.TensorSpec([], tf.string)
    return tf.function(lambda serialized: parse(serialized, streams), input_signature=[record], autograph=False)


@dataclass(frozen=True)
class Verified:
    """A data set as it lies on disk.

    Attributes:
        manifest: what `dataset.json` says.
        annotations: of the records that could be read.
        time_bases: video id -> how its rows relate to seconds.
        counts: video id -> class -> known count, as stored.
        findings: all problems; no "bad_manifest", "bad_shard" or "bad_record" among them means that the files are as
            they were written.
    """

    manifest: Manifest
    annotations: AnnotationSet
    time_bases: dict[str, TimeBase]
    counts: dict[str, dict[str, int]]
    findings: Findings


@dataclass(frozen=True)
class _Video:
    """One record, decoded."""

    record: VideoRecord
    counts: dict[str, int]
    time_base: TimeBase
    num_segments: int
    features: FeatureFacts | Problem


class _ContradictionError(Exception):
    """A record says something that cannot be."""


def verify(folder: str | Path) -> Verified:
    """Reads a whole data set and compares it with its manifest; a progress bar goes to stderr.

    Args:
        folder: written by `python -m data_prep.convert`.

    Raises:
        UserError: `dataset.json` is absent or cannot be read, so that there is nothing to compare with.
    """
    folder = path_of(folder)
    manifest = load_manifest(folder)
    problems = list(_check_manifest(folder, manifest))
    videos: list[_Video] = []
    shards = [(subset, shard) for subset, split in manifest.splits.items() for shard in split.shards]
    if not _has_errors(problems):
        segments = dict.fromkeys(manifest.splits, 0)
        with progress_bar(None, "verifying", "video", total=sum(shard.videos for _, shard in shards)) as progress:
            for subset, shard in shards:
                for item in _read_shard(folder / shard.file, subset, shard, manifest):
                    if isinstance(item, Problem):
                        problems.append(item)
                    else:
                        videos.append(item)
                        segments[subset] += item.num_segments
                        progress.update()
        if not _has_errors(problems):
            problems += _check_segments(manifest, segments)
    annotations = AnnotationSet(
        manifest.classes,
        tuple(video.record for video in videos),
        durations_of_features=_durations_of_features(manifest, videos),
    )
    time_bases = {video.record.video_id: video.time_base for video in videos}
    findings = judge(
        annotations,
        None,
        {video.record.video_id: video.features for video in videos},
        time_bases,
        keep_late_instances=bool(manifest.source.get("keep_late_instances")),
    )
    return Verified(
        manifest,
        annotations,
        time_bases,
        {video.record.video_id: video.counts for video in videos},
        Findings((*problems, *findings.problems), manifest.streams, findings.features),
    )


def _durations_of_features(manifest: Manifest, videos: list[_Video]) -> frozenset[str]:
    """Ids of the videos whose duration is the length of their features, if the conversion took any from there."""
    if not manifest.source.get("durations_of_features"):
        return frozenset()
    return frozenset(
        video.record.video_id
        for video in videos
        if video.record.duration_s == video.time_base.duration_s(video.num_segments)
    )


def _has_errors(problems: list[Problem]) -> bool:
    return any(problem.severity == ERROR for problem in problems)


def _check_manifest(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    def bad(message: str) -> Problem:
        return Problem(MANIFEST_NAME, "bad_manifest", message)

    numbers: list[tuple[str, int, int]] = []
    listed: list[str] = []
    for subset, split in manifest.splits.items():
        numbers += [(f"videos of {subset!r}", split.videos, 0), (f"segments of {subset!r}", split.segments, 0)]
        for shard in split.shards:
            numbers += [(f"videos of {shard.file!r}", shard.videos, 1), (f"bytes of {shard.file!r}", shard.bytes, 1)]
            listed.append(shard.file)
    for what, value, least in numbers:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield bad(f"{what} is {value!r}; expected a whole number, {least} or more")
    for subset, split in manifest.splits.items():
        total = sum(shard.videos for shard in split.shards if isinstance(shard.videos, int))
        if split.videos != total:
            yield bad(f"{subset!r} has {split.videos} videos, its shards {total}; expected as many")
    if manifest.feature_dtype not in FEATURE_DTYPES:
        yield bad(f"feature_dtype is {manifest.feature_dtype!r}; expected one of {', '.join(FEATURE_DTYPES)}")
    if len(set(manifest.classes)) != len(manifest.classes) or not manifest.classes:
        yield bad("the class names are not unique, or there are none")
    unknown = sorted(set(manifest.counted_classes) - set(manifest.classes))
    if unknown:
        yield bad(f"counted class {unknown[0]!r} is not among the classes")
    for name in listed:
        if not isinstance(name, str) or not is_safe_name(name) or listed.count(name) > 1:
            yield bad(f"shard name {name!r} leads out of the folder, or is listed more than once")
    for path in sorted(folder.iterdir()):
        if path.name not in {MANIFEST_NAME, INDEX_NAME, *listed}:
            yield Problem(path.name, "unlisted_file", "dataset.json does not list this file")


def _check_segments(manifest: Manifest, found: dict[str, int]) -> Iterator[Problem]:
    for subset, split in manifest.splits.items():
        if split.segments != found[subset]:
            message = f"{subset!r} has {split.segments} segments, its records {found[subset]}; expected as many"
            yield Problem(MANIFEST_NAME, "bad_manifest", message)


def _read_shard(path: Path, subset: str, shard: Shard, manifest: Manifest) -> Iterator[_Video | Problem]:
    if not path.is_file():
        yield Problem(shard.file, "bad_shard", "the file is absent")
        return
    if path.stat().st_size != shard.bytes:
        yield Problem(shard.file, "bad_shard", f"{path.stat().st_size} bytes; expected {shard.bytes}")
    elif sha256_of(path) != shard.sha256:
        yield Problem(shard.file, "bad_shard", f"SHA-256 is {sha256_of(path)}; expected {shard.sha256}")
    number = 0
    try:
        for serialized in tf.data.TFRecordDataset([str(path)]):
            try:
                yield _decode(serialized, subset, manifest)
            except (tf.errors.OpError, UnicodeDecodeError, _ContradictionError, UserError) as error:
                message = plain_message(error) if isinstance(error, tf.errors.OpError) else str(error)
                yield Problem(f"{shard.file}, record {number}", "bad_record", message)
            number += 1
    except tf.errors.OpError as error:
        yield Problem(
            shard.file, "bad_shard", f"cannot be read after {counted(number, 'record')}: {plain_message(error)}"
        )
        return
    if number != shard.videos:
        yield Problem(shard.file, "bad_shard", f"{number} records; expected {shard.videos}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _ContradictionError(message)


def _decode(serialized: tf.Tensor, subset: str, manifest: Manifest) -> _Video:
    """One record as what it was made from.

    Raises:
        _ContradictionError: it contradicts itself or the manifest.
        tf.errors.OpError, UnicodeDecodeError, UserError: it has not the form of a record.
    """
    raw: dict[str, Any] = {key: value.numpy() for key, value in _parser(manifest.streams.names)(serialized).items()}
    video_id = raw["id"].decode()
    where = f"video {video_id!r}"
    stored_subset, dtype = raw["subset"].decode(), raw["features/dtype"].decode()
    _require(stored_subset == subset, f"{where}: subset is {stored_subset!r}; the shard belongs to {subset!r}")
    _require(dtype == manifest.feature_dtype, f"{where}: features are {dtype}; expected {manifest.feature_dtype}")
    record = _record(raw, video_id, where, manifest)
    time_base = TimeBase(float(raw["fps"]), int(raw["frames_per_segment"]), int(raw["stride_frames"]))
    num_segments = int(raw["num_segments"])
    streams = {
        name: _stream(raw[f"features/{name}"], (num_segments, dim), f"{where}: {name}", manifest.feature_dtype)
        for name, dim in manifest.streams.sizes
    }
    counts = _counts(raw, record, where, manifest, time_base.duration_s(num_segments))
    features: FeatureFacts | Problem
    try:
        check_features(where, streams)
        features = examine(streams)
    except UserError as error:
        features = Problem(video_id, "bad_features", str(error))
    return _Video(record, counts, time_base, num_segments, features)


def _record(raw: dict[str, Any], video_id: str, where: str, manifest: Manifest) -> VideoRecord:
    labels, instance_labels = raw["labels"].tolist(), raw["instances/label"].tolist()
    starts, ends = raw["instances/start"].tolist(), raw["instances/end"].tolist()
    ambiguous = raw["ambiguous/start"].tolist(), raw["ambiguous/end"].tolist()
    valid = range(len(manifest.classes))
    _require(labels == sorted(set(labels)), f"{where}: labels {labels} are not ascending and unique")
    for label in (*labels, *instance_labels):
        _require(label in valid, f"{where}: label {label}; expected 0 to {len(valid) - 1}, a class of dataset.json")
    _require(set(instance_labels) <= set(labels), f"{where}: an instance has a class that is not among the labels")
    _require(
        len(starts) == len(ends) == len(instance_labels) and len(ambiguous[0]) == len(ambiguous[1]),
        f"{where}: starts, ends and labels of the instances differ in number",
    )
    _require(raw["instances_known"] in (0, 1), f"{where}: instances_known is {raw['instances_known']}")
    _require(bool(raw["instances_known"]) or not starts, f"{where}: has instances that are said to be unknown")
    return VideoRecord(
        video_id=video_id,
        subset=raw["subset"].decode(),
        duration_s=float(raw["duration"]),
        labels=tuple(manifest.classes[label] for label in labels),
        instances=tuple(
            Instance(start_s, end_s, manifest.classes[label])
            for start_s, end_s, label in zip(starts, ends, instance_labels)
        ),
        instances_known=bool(raw["instances_known"]),
        ambiguous=tuple(zip(*ambiguous)),
    )


def _stream(raw: bytes, shape: tuple[int, int], where: str, stored: str) -> np.ndarray:
    """Raw bytes -> [s, D]."""
    dtype = np.dtype(stored).newbyteorder("<")
    expected = shape[0] * shape[1] * dtype.itemsize
    _require(
        shape[0] > 0 and len(raw) == expected,
        f"{where}: {len(raw)} bytes; {shape[0]} segments of {shape[1]} {dtype.name} need {expected}",
    )
    return np.frombuffer(raw, dtype).reshape(shape)


def _counts(
    raw: dict[str, Any], record: VideoRecord, where: str, manifest: Manifest, covered_s: float
) -> dict[str, int]:
    """The known counts, which must be those of the instances where there are any."""
    counts, known = raw["counts"].tolist(), raw["counts_known"].tolist()
    _require(
        len(counts) == len(known) == len(record.labels) and set(known) <= {0, 1},
        f"{where}: {len(counts)} counts and {len(known)} marks of known ones; expected {len(record.labels)} of each",
    )
    stored = {name: count for name, count, is_known in zip(record.labels, counts, known) if is_known}
    unknown = [count for count, is_known in zip(counts, known) if not is_known]
    _require(not any(unknown), f"{where}: a count that is not known is {max(unknown, default=0)}; expected 0")
    _require(all(count > 0 for count in stored.values()), f"{where}: a known count is not positive: {stored}")
    _require(
        set(stored) <= set(manifest.counted_classes),
        f"{where}: counts of {sorted(set(stored) - set(manifest.counted_classes))}, which dataset.json does not count",
    )
    if record.instances_known:
        # Data sets that were written earlier count what starts before the stated end of the video.
        ends_s = visible_end_s(record, covered_s), video_end_s(record, covered_s)
        right, earlier = (count_instances(record, frozenset(manifest.counted_classes), end_s) for end_s in ends_s)
        _require(
            stored in (right, earlier),
            f"{where}: counts are {stored}; its instances give {dict(sorted(right.items()))}",
        )
    return stored
