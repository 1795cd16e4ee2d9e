"""The conversion itself, free of command-line flags: read, validate, write aside, replace.

Nothing is written into the shards before every video was checked, and nothing takes the output folder's place before
all of it was written. A conversion that was killed goes on where it was when it is started again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.annotations import AnnotationSet, VideoRecord
from data_prep.checks.judge import Findings, Problem, judge
from data_prep.checks.rules import DATA_SET
from data_prep.conversion.plan import make_plan
from data_prep.conversion.shards import CHECKED, examine, plan_shards, write_shards
from data_prep.conversion.summary import closing_summary, first_problems
from data_prep.conversion.workers import LocalWorkers, Workers
from data_prep.inputs.extraction_notes import common_extraction
from data_prep.inputs.options import InputOptions, Inputs, open_inputs
from data_prep.output.folders import existing_marker, require_only
from data_prep.output.remote_staging import RemoteStaging, is_prefixed, remote_folder
from data_prep.output.staging import Staging, resumable_folder
from data_prep.simulation.simulator import SIMULATED_MARKER
from tc3net import __version__
from tc3net.common.errors import UserError
from tc3net.common.names import counted
from tc3net.common.storage import is_remote, path_of
from tc3net.data.record_index import INDEX_NAME, unfinished_indices, write_index
from tc3net.data.schema import EXTRACTION, FEATURE_DTYPES, MANIFEST_NAME, RESCALED_ROWS, Manifest, save_manifest


@dataclass(frozen=True)
class ConvertOptions:
    """Everything a conversion needs to know.

    Attributes:
        inputs: annotations, features and time base.
        output_dir: folder to create or replace.
        name: the data set's name.
        videos_per_shard: videos per TFRecord file.
        feature_dtype: storage dtype.
        counted_classes: classes whose instances are annotated; None: those with an instance in any video.
        skip_bad_videos: leave videos with errors out instead of stopping.
        keep_late_instances: keep instances that start after the end of their video as ground truth (a protocol decides
            about them), uncounted, instead of treating the video as bad.
        num_workers: processes that read features and write shards; the output does not depend on it.
    """

    inputs: InputOptions
    output_dir: str | Path
    name: str
    videos_per_shard: int = 64
    feature_dtype: str = "float32"
    counted_classes: tuple[str, ...] | None = None
    skip_bad_videos: bool = False
    keep_late_instances: bool = False
    num_workers: int = 1

    def __post_init__(self) -> None:
        if not self.name:
            raise UserError("the data set's name is empty; expected some text. Set --name.")
        if self.videos_per_shard < 1:
            raise UserError(
                f"videos_per_shard is {self.videos_per_shard}; expected at least 1. Set --videos_per_shard."
            )
        if self.num_workers < 1:
            raise UserError(f"num_workers is {self.num_workers}; expected at least 1. Set --num_workers.")
        if self.feature_dtype not in FEATURE_DTYPES:
            raise UserError(
                f"feature_dtype is {self.feature_dtype!r}; expected one of {', '.join(FEATURE_DTYPES)}. "
                "Set --feature_dtype."
            )


def convert(options: ConvertOptions) -> Manifest:
    """Converts one data set; prints the layouts found and a closing summary.

    An existing output folder is replaced when it holds an earlier conversion of the same data set (same name, same
    annotation and feature paths) and nothing else.

    Args:
        options: see `ConvertOptions`.

    Returns:
        The manifest, as written to `dataset.json`.

    Raises:
        UserError: anything about the inputs, the options or the output folder; the output folder is unchanged then.
    """
    return convert_with(options, lambda inputs, _: LocalWorkers(options.num_workers, options.inputs, inputs.reader))


def convert_with(
    options: ConvertOptions, start_workers: Callable[[Inputs, Path], contextlib.AbstractContextManager[Workers]]
) -> Manifest:
    """As `convert`, with other workers.

    Args:
        options: see `ConvertOptions`; `num_workers` has no meaning here.
        start_workers: called with the opened inputs and a folder for files that are needed meanwhile.
    """
    _check_replaceable(options)
    inputs = open_inputs(options.inputs)
    print("\n".join(inputs.descriptions), flush=True)
    counted_classes = _counted_classes(options, inputs.annotations)
    plan = make_plan(options.inputs, _settings(options, counted_classes))
    with _staging_of(options, plan) as staging:
        with start_workers(inputs, staging.work) as workers:
            findings = _check(options, inputs, staging, workers)
            records, manifest = _accepted(options, inputs, counted_classes, findings, staging)
            plans = plan_shards(records, inputs.time_bases, findings.num_segments, options.videos_per_shard)
            manifest = write_shards(staging, workers, plans, manifest)
        write_index(staging.top, manifest, staging.index_rows(manifest))
        staging.publishing()
        save_manifest(staging.top, manifest)
        for name in (MANIFEST_NAME, INDEX_NAME):
            staging.settle(name)
    print(closing_summary(manifest, records, findings, inputs.time_bases))
    return manifest


def _staging_of(
    options: ConvertOptions, plan: dict[str, Any]
) -> contextlib.AbstractContextManager[Staging | RemoteStaging]:
    """Where the output is written meanwhile: beside it on a disk, in it on other storage."""
    target, check = options.output_dir, lambda: _check_replaceable(options)
    if not is_remote(path_of(target)):
        return resumable_folder(target, plan, {CHECKED}, check)

    def named() -> list[str]:
        present = existing_marker(target, MANIFEST_NAME, is_prefixed) or {"splits": {}}
        return [shard["file"] for split in present["splits"].values() for shard in split["shards"]]

    return remote_folder(target, plan, named, check)


def _settings(options: ConvertOptions, counted_classes: Sequence[str]) -> dict[str, Any]:
    """The options that have a say in the output, apart from the inputs."""
    return {
        "name": options.name,
        "videos_per_shard": options.videos_per_shard,
        "feature_dtype": options.feature_dtype,
        "counted_classes": list(counted_classes),
        "skip_bad_videos": options.skip_bad_videos,
        "keep_late_instances": options.keep_late_instances,
    }


def _check(options: ConvertOptions, inputs: Inputs, staging: Staging | RemoteStaging, workers: Workers) -> Findings:
    with_features = inputs.reader.video_ids()
    available = set(with_features)
    annotated = [record.video_id for record in inputs.annotations.videos if record.video_id in available]
    results = examine(staging, workers, list(dict.fromkeys(annotated)), options.feature_dtype)
    return judge(
        inputs.annotations, with_features, results, inputs.time_bases, keep_late_instances=options.keep_late_instances
    )


def _accepted(
    options: ConvertOptions,
    inputs: Inputs,
    counted_classes: tuple[str, ...],
    findings: Findings,
    staging: Staging | RemoteStaging,
) -> tuple[list[VideoRecord], Manifest]:
    """The videos to write, and the manifest but for the splits; raises if there are errors or no videos."""
    try:
        left_out = _left_out(options, findings)
        records = [record for record in inputs.annotations.videos if record.video_id not in left_out]
        if not records:
            raise UserError(
                f"{options.inputs.annotations}: none of the {counted(len(inputs.annotations.videos), 'video')} can be "
                f"converted; expected at least one.\n{first_problems(findings.problems)}\n"
                "Correct the annotations or the features."
            )
    except UserError:
        staging.keep = False  # nothing to go on from: the inputs or the options have to change
        raise
    # Each Example carries its own time base; the manifest shows the most common one.
    common = Counter(inputs.time_bases.values()).most_common(1)
    assert findings.streams is not None  # of the videos that are written
    return records, Manifest(
        name=options.name,
        classes=inputs.annotations.classes,
        counted_classes=counted_classes,
        streams=findings.streams,
        feature_dtype=options.feature_dtype,
        time_base=common[0][0] if common else options.inputs.time_base,
        splits={},
        source=_source(options, inputs, findings),
        left_out=tuple({"video": video_id, "reason": reason} for video_id, reason in left_out.items()),
        converter_version=__version__,
    )


def _fingerprint(options: ConvertOptions) -> str:
    """Identifies the data set by where its sources lie, so that a corrected source can replace its conversion."""
    sources = (options.inputs.annotations, options.inputs.features, options.inputs.flow_features)
    paths = [str(path_of(path).resolve()) for path in sources if path is not None]
    return hashlib.sha256(json.dumps(paths).encode()).hexdigest()[:16]


def _check_replaceable(options: ConvertOptions) -> None:
    on_a_disk = not is_remote(path_of(options.output_dir))
    earlier = existing_marker(options.output_dir, MANIFEST_NAME, (lambda name: False) if on_a_disk else is_prefixed)
    if earlier is None:
        return
    # The raw JSON is enough here, and also readable when another version of the schema wrote it.
    source = earlier.get("source")
    fingerprint = source.get("fingerprint") if isinstance(source, dict) else None
    if (earlier.get("name"), fingerprint) != (options.name, _fingerprint(options)):
        raise UserError(
            f"{options.output_dir}: holds the data set {earlier.get('name')!r}, converted from other files or under "
            f"another name; expected nothing, or an earlier conversion of {options.name!r} from the same --annotations "
            "and --features. Give another --output_dir, or remove it."
        )
    try:
        shards = {shard["file"] for split in earlier["splits"].values() for shard in split["shards"]}
    except (KeyError, TypeError, AttributeError):
        raise UserError(
            f"{options.output_dir}/{MANIFEST_NAME}: expected the manifest of an earlier conversion, but its shards are "
            "not listed in a known form. Give another --output_dir, or remove the folder."
        ) from None
    if on_a_disk:  # elsewhere only what the manifest names is replaced
        require_only(options.output_dir, shards | {MANIFEST_NAME, INDEX_NAME} | unfinished_indices(options.output_dir))


def _counted_classes(options: ConvertOptions, annotations: AnnotationSet) -> tuple[str, ...]:
    if options.counted_classes is None:
        chosen = {instance.label for record in annotations.videos for instance in record.instances}
        chosen |= {label for record in annotations.videos for label in record.counts or ()}
    else:
        chosen = set(options.counted_classes)
        unknown = sorted(chosen - set(annotations.classes))
        if unknown:
            raise UserError(
                f"counted class {unknown[0]!r} is not among the {counted(len(annotations.classes), 'class')} of "
                f"{options.inputs.annotations}; expected names from its class list. Correct --counted_classes."
            )
    return tuple(name for name in annotations.classes if name in chosen)


def _left_out(options: ConvertOptions, findings: Findings) -> dict[str, str]:
    """Video id -> reason, for the videos with errors; raises if they were not allowed to be left out."""
    by_video: dict[str, list[Problem]] = defaultdict(list)
    for problem in findings.errors():
        by_video[problem.video_id].append(problem)
    if by_video and not options.skip_bad_videos:
        count = len(findings.errors())
        of_all = tuple(problem for problem in findings.problems if problem.video_id == DATA_SET)
        raise UserError(
            f"{options.inputs.annotations} and {options.inputs.features}: {counted(count, 'problem')} in "
            f"{counted(len(by_video), 'video')}; expected none.\n{first_problems((*of_all, *findings.errors()))}\n"
            "Correct the files, or pass --skip_bad_videos to leave these videos out. Nothing was written."
        )
    return {
        video_id: problems[0].message + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
        for video_id, problems in by_video.items()
    }


def _source(options: ConvertOptions, inputs: Inputs, findings: Findings) -> dict[str, Any]:
    features = path_of(options.inputs.features).resolve()
    with_features = frozenset(inputs.reader.video_ids())
    extraction = common_extraction(
        features, [v.video_id for v in inputs.annotations.videos if v.video_id in with_features]
    )
    return {
        "annotations": str(options.inputs.annotations),
        "features": str(options.inputs.features),
        "recognised": list(inputs.descriptions),
        # So that nobody takes these for a check of the time base.
        "durations_of_features": len(inputs.annotations.durations_of_features),
        # Results on simulated features must be labelled as such wherever they are shown.
        "simulated_features": (features.parent / SIMULATED_MARKER).is_file(),
        "skip_bad_videos": options.skip_bad_videos,
        "keep_late_instances": options.keep_late_instances,
        # The time base of such videos is their own: new videos need their durations too.
        **({RESCALED_ROWS: True} if options.inputs.rescaled_rows else {}),
        # So that videos can be given to the model as they are: they are extracted in the same way.
        **({EXTRACTION: extraction} if extraction else {}),
        "findings": dict(Counter(problem.rule for problem in findings.problems)),
        "fingerprint": _fingerprint(options),
    }
