"""The conversion itself, free of command-line flags: read, validate, write aside, replace.

Nothing is written before every video was checked, and nothing takes the output folder's place before all of it was
written.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.annotations import AnnotationSet
from data_prep.folders import existing_marker, require_only, staged_folder
from data_prep.layouts import open_features, read_annotations
from data_prep.simulator import SIMULATED_MARKER
from data_prep.summary import closing_summary, first_problems
from data_prep.validate import Findings, Problem, validate
from data_prep.writer import write_dataset
from tc3net import __version__
from tc3net.errors import UserError
from tc3net.schema import FEATURE_DTYPES, MANIFEST_NAME, Manifest
from tc3net.timebase import TimeBase

DEFAULT_TIME_BASE = TimeBase()


@dataclass(frozen=True)
class ConvertOptions:
    """Everything a conversion needs to know.

    Attributes:
        annotations: ActivityNet JSON file or W-TALC folder.
        features: folder with rgb/ and flow/, or a W-TALC object array (.npy).
        output_dir: folder to create or replace.
        name: the data set's name.
        time_base: how feature rows relate to seconds.
        videos_per_shard: videos per TFRecord file.
        feature_dtype: storage dtype.
        counted_classes: classes whose instances are annotated; None: those with an instance in any video.
        skip_bad_videos: leave videos with errors out instead of stopping.
        keep_late_instances: keep instances that start after the end of their video as ground truth (a protocol decides
            about them), uncounted, instead of treating the video as bad.
    """

    annotations: str | Path
    features: str | Path
    output_dir: str | Path
    name: str
    time_base: TimeBase = DEFAULT_TIME_BASE
    videos_per_shard: int = 64
    feature_dtype: str = "float32"
    counted_classes: tuple[str, ...] | None = None
    skip_bad_videos: bool = False
    keep_late_instances: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            raise UserError("the data set's name is empty; expected some text. Set --name.")
        if self.videos_per_shard < 1:
            raise UserError(
                f"videos_per_shard is {self.videos_per_shard}; expected at least 1. Set --videos_per_shard."
            )
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
    _check_replaceable(options)
    annotations, annotation_layout = read_annotations(options.annotations)
    print(f"annotations: {options.annotations} ({annotation_layout}), {len(annotations.videos)} videos")
    reader, feature_layout = open_features(options.features, [video.video_id for video in annotations.videos])
    print(f"features:    {options.features} ({feature_layout}), {len(reader.video_ids())} videos", flush=True)
    counted_classes = _counted_classes(options, annotations)
    findings = validate(
        annotations,
        reader,
        options.time_base,
        options.feature_dtype,
        keep_late_instances=options.keep_late_instances,
    )
    left_out = _left_out(options, findings)
    manifest = Manifest(
        name=options.name,
        classes=annotations.classes,
        counted_classes=counted_classes,
        feature_dim=findings.feature_dim,
        feature_dtype=options.feature_dtype,
        time_base=options.time_base,
        splits={},
        source=_source(options, annotation_layout, feature_layout, findings),
        left_out=tuple({"video": video_id, "reason": reason} for video_id, reason in left_out.items()),
        converter_version=__version__,
    )
    records = [record for record in annotations.videos if record.video_id not in left_out]
    if not records:
        raise UserError(
            f"{options.annotations}: none of the {len(annotations.videos)} videos can be converted; expected at least "
            f"one.\n{first_problems(findings.problems)}\nCorrect the annotations or the features."
        )
    with staged_folder(options.output_dir, lambda: _check_replaceable(options)) as folder:
        manifest = write_dataset(folder, manifest, records, reader, options.videos_per_shard)
    print(closing_summary(manifest, records, findings))
    return manifest


def _fingerprint(options: ConvertOptions) -> str:
    """Identifies the data set by where its sources lie, so that a corrected source can replace its conversion."""
    paths = [str(Path(path).resolve()) for path in (options.annotations, options.features)]
    return hashlib.sha256(json.dumps(paths).encode()).hexdigest()[:16]


def _check_replaceable(options: ConvertOptions) -> None:
    earlier = existing_marker(options.output_dir, MANIFEST_NAME)
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
    require_only(options.output_dir, shards | {MANIFEST_NAME})


def _counted_classes(options: ConvertOptions, annotations: AnnotationSet) -> tuple[str, ...]:
    if options.counted_classes is None:
        counted = {instance.label for record in annotations.videos for instance in record.instances}
        counted |= {label for record in annotations.videos for label in record.counts or ()}
    else:
        counted = set(options.counted_classes)
        unknown = sorted(counted - set(annotations.classes))
        if unknown:
            raise UserError(
                f"counted class {unknown[0]!r} is not among the {len(annotations.classes)} classes of "
                f"{options.annotations}; expected names from its class list. Correct --counted_classes."
            )
    return tuple(name for name in annotations.classes if name in counted)


def _left_out(options: ConvertOptions, findings: Findings) -> dict[str, str]:
    """Video id -> reason, for the videos with errors; raises if they were not allowed to be left out."""
    by_video: dict[str, list[Problem]] = defaultdict(list)
    for problem in findings.errors():
        by_video[problem.video_id].append(problem)
    if by_video and not options.skip_bad_videos:
        count = len(findings.errors())
        raise UserError(
            f"{options.annotations} and {options.features}: {count} problem{'s' * (count > 1)} in {len(by_video)} "
            f"video{'s' * (len(by_video) > 1)}; expected none.\n{first_problems(findings.errors())}\n"
            "Correct the files, or pass --skip_bad_videos to leave these videos out. Nothing was written."
        )
    return {
        video_id: problems[0].message + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
        for video_id, problems in by_video.items()
    }


def _source(options: ConvertOptions, annotation_layout: str, feature_layout: str, findings: Findings) -> dict[str, Any]:
    features = Path(options.features).resolve()
    return {
        "annotations": str(options.annotations),
        "annotation_layout": annotation_layout,
        "features": str(options.features),
        "feature_layout": feature_layout,
        # Results on simulated features must be labelled as such wherever they are shown.
        "simulated_features": (features.parent / SIMULATED_MARKER).is_file(),
        "skip_bad_videos": options.skip_bad_videos,
        "keep_late_instances": options.keep_late_instances,
        "findings": dict(Counter(problem.rule for problem in findings.problems)),
        "fingerprint": _fingerprint(options),
    }
