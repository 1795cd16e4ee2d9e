"""Command: detections in new videos: video files, feature files, a converted data set, or a file that still grows.

    python -m tc3net.predict --run_dir=RUN --video=match.mp4 --output_dir=OUT
    python -m tc3net.predict --run_dir=RUN --video=rtsp://... --follow --output_dir=OUT
    python -m tc3net.predict --run_dir=RUN --rgb=a_rgb.npy,b_rgb.npy --flow=a_flow.npy,b_flow.npy --output_dir=OUT
    python -m tc3net.predict --run_dir=RUN --features=a.npy --annotations=annotations.json --output_dir=OUT
    python -m tc3net.predict --run_dir=RUN --features=live.npy --follow --output_dir=OUT
    python -m tc3net.predict --run_dir=RUN --dataset_dir=DATASET --subset=test --output_dir=OUT \
        --task_index=0 --num_tasks=8
    python -m tc3net.predict --merge --output_dir=OUT --num_tasks=8

Of video files: their features are extracted as the run's were, and kept in OUT/features. Written are
OUT/detections.json (ActivityNet format, seconds), one OUT/<video>.png per video, and one page with all of them and the
videos, OUT/report.html. Of feature files: the same, and the page with --report. A video is named after its (rgb)
feature file. `--features` are files with both streams, such as arrays [segments, 2D], rgb first; or folders, files with
many videos, patterns, lists of files. With --follow: OUT/detections.jsonl, a line per detection as soon as it is
complete, also printed. Of a data set: OUT/detections.json, or with several tasks one file each (--merge makes one).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError, UserError
from tc3net.common.extensions import loaded_extensions
from tc3net.common.names import counted
from tc3net.common.storage import path_of
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.engines import engine as engines
from tc3net.engines.engine import define_engine_flags, engine_choice
from tc3net.inference.new_videos import score_features
from tc3net.inference.raw_scores import RawScores
from tc3net.prediction.engine_scoring import predict_on
from tc3net.prediction.feature_files import FeatureFiles, FileChoices, describe_and_read, open_growing
from tc3net.prediction.follow import FollowConfig, Found, StreamDetector, follow_files
from tc3net.prediction.tasks import Task, merge_tasks, run_task
from tc3net.prediction.video_features import extract_features, find_videos, read_features
from tc3net.prediction.video_follow import VideoFollower
from tc3net.prediction.video_networks import TIMES, RunNetworks, VideoChoices, open_networks, time_base_of
from tc3net.prediction.video_times import Annotated, read_annotated, rescaled_time_bases, stated_durations
from tc3net.report.predictions import Predicted, Wanted, write_predictions
from tc3net.results.plausibility import rejected_best_classes
from tc3net.runs.description import RunInfo
from tc3net.runs.folder import CheckpointChoice, load_run
from tc3net.runs.scoring import DatasetChoice, OpenedRun, Scoring, open_run
from tc3net.terminal.command import run_main
from tc3net.terminal.interruption import Interruptions

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("run_dir", None, "Run folder of the model; its detection settings are the defaults here.")
    flags.DEFINE_list("rgb", [], "Feature files [segments, D] of the rgb stream, one per video; or their folder.")
    flags.DEFINE_list("flow", [], "Feature files of the flow stream, in the same order; or their folder.")
    flags.DEFINE_list(
        "features", [], "Instead of --rgb and --flow: files with both streams, folders, patterns, or lists of files."
    )
    flags.DEFINE_list(
        "video", [], "Video files, or folders of them: features are extracted first. With --follow: a file that grows, "
        "the address of a stream, or camera:0.",
    )  # fmt: skip
    flags.DEFINE_bool(
        "embed_videos", False, "With --video: put the video files into the page instead of links to them."
    )
    flags.DEFINE_bool("clips", False, "With --video: also cut a short clip of each detection, clips/<video>/.")
    flags.DEFINE_integer("max_clips", 20, "Clips per video, of the best detections; 0: of all.", lower_bound=0)
    flags.DEFINE_string("annotations", None, "ActivityNet JSON with the instances of these videos, for the picture.")
    flags.DEFINE_bool("rescaled_rows", None, "Whether the rows of each video span it; default: as in training.")
    flags.DEFINE_list("duration_s", [], "Seconds of each video, in their order, where rows span it.")
    flags.DEFINE_string("output_dir", None, "Where detections and pictures go.")
    flags.DEFINE_bool(
        "report", False, "Also write report.html, a page to look through all videos; --video always does."
    )
    flags.DEFINE_float("fps", None, "Frames per second the features were extracted at; default: the run's.")
    flags.DEFINE_integer("frames_per_segment", None, "Frames per feature row; default: the run's.")
    flags.DEFINE_integer("stride_frames", None, "Frames from one row to the next; default: the run's.")
    flags.DEFINE_bool(
        "follow", False, "Give out detections while the one --video, --features file, or --rgb and --flow, grows."
    )
    flags.DEFINE_integer("task_index", 0, "Which part of --dataset_dir to score.")
    flags.DEFINE_integer("num_tasks", 1, "Number of parts that --dataset_dir is divided into.")
    define_engine_flags(FLAGS)
    flags.DEFINE_bool("merge", False, "Make one file of those of all --num_tasks parts; needs no run.")
    define_flags(DatasetChoice)
    flags.DEFINE_alias("dataset", "dataset_dir")  # its name here before every command had the same
    define_flags(FileChoices)
    define_flags(FollowConfig)
    define_flags(VideoChoices)
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    for module in (config_module, engines):
        flags.adopt_module_key_flags(module)  # so that --help shows them


def _time_base(run: RunInfo) -> TimeBase:
    """The run's, with what the flags say."""
    base = time_base_of(run) if FLAGS.video else run.time_base
    return replace(base, **{n: getattr(FLAGS, n) for n in TIMES if getattr(FLAGS, n) is not None})


def _is_rescaled(run: RunInfo) -> bool:
    """Whether rows span their video: as the flag says, or else as in training unless another time base is given."""
    given = [f"--{name}" for name in TIMES if getattr(FLAGS, name) is not None]
    if FLAGS.rescaled_rows and given:
        raise UserError(f"--rescaled_rows and {' and '.join(given)} found; expected one of them. Drop the other.")
    return bool(FLAGS.rescaled_rows) if FLAGS.rescaled_rows is not None else run.rescaled_rows and not given


def _files() -> FeatureFiles:
    return FeatureFiles(FLAGS.rgb, FLAGS.flow, FLAGS.features)


def predict_dataset(output_dir: Path) -> None:
    """Scores a data set, or the task's part of it."""
    task, choice = Task(FLAGS.task_index, FLAGS.num_tasks), engine_choice(FLAGS)
    config = from_flags(DetectionConfig, base=load_run(FLAGS.run_dir).detection)
    extensions = loaded_extensions()
    scoring = Scoring(FLAGS.run_dir, from_flags(CheckpointChoice), from_flags(DatasetChoice), config, extensions)
    if not choice.is_local:
        paths = predict_on(choice, scoring, output_dir, FLAGS.num_tasks)
        print(f"Written: {paths[0]}" + (f" to {paths[-1].name}; --merge makes one of them" if len(paths) > 1 else ""))
        return
    opened = scoring.open()
    path = run_task(opened.scorer, opened.split, config, task, output_dir)
    count = opened.split.num_videos
    print(f"Written: {path}, {len(task.videos(count))} of {counted(count, 'video')}")


def _require_rate(run: RunInfo, flag: str) -> None:
    """Raises UserError where rows span their video, for flags that need rows at a fixed rate."""
    if _is_rescaled(run):
        raise UserError(
            f"{flag} found with rows that span their video (the run was trained on such, or --rescaled_rows); "
            "expected rows at a fixed rate, since a stream has no duration yet and a video is extracted at one. Give "
            "--fps and --stride_frames."
        )


def _detector(opened: OpenedRun, config: DetectionConfig) -> StreamDetector:
    run = opened.info
    return StreamDetector(opened.scorer, run.classes, _time_base(run), config, from_flags(FollowConfig))


def predict_stream(opened: OpenedRun, config: DetectionConfig, output_dir: Path) -> None:
    """Follows feature files until they stop growing, or until the process is asked to end."""
    _require_rate(opened.info, "--follow")
    files = open_growing(_files(), opened.info.streams, from_flags(FileChoices))
    follow, detector = from_flags(FollowConfig), _detector(opened, config)
    with Interruptions() as interruptions:
        _tell(output_dir, follow_files(detector, files, follow, lambda: interruptions.received is not None))
    print(f"\n{counted(detector.segments, 'segment')}; written to {output_dir / 'detections.jsonl'}")
    if interruptions.received is not None:
        raise SystemExit(128 + interruptions.received)


def _tell(output_dir: Path, found: Iterable[Found]) -> None:
    """Writes each detection as a line of detections.jsonl and of the screen, as soon as it is there."""
    output_dir.mkdir(parents=True, exist_ok=True)
    with open(output_dir / "detections.jsonl", "w", encoding="utf-8") as file:
        for one in found:
            line = {"label": one.label, "segment": [one.start_s, one.end_s], "score": one.score}
            print(json.dumps(line), file=file, flush=True)
            print(f"{one.label:24s} {one.start_s:8.2f} s to {one.end_s:8.2f} s   score {one.score:.3f}", flush=True)


def predict_live_video(opened: OpenedRun, config: DetectionConfig, output_dir: Path) -> None:
    """Follows a video that has not ended yet; at its end, what `predict_videos` does with the whole."""
    run = opened.info
    _require_rate(run, "--follow")
    if len(FLAGS.video) != 1:
        raise UserError(f"--video={','.join(FLAGS.video)} to follow found; expected one file, stream or camera.")
    known = _known()
    networks, features_dir = _networks(run), _features_dir(output_dir)
    networks.check_sizes()
    with Interruptions() as interruptions:
        follower = VideoFollower(
            FLAGS.video[0], networks, features_dir, from_flags(FollowConfig), lambda: interruptions.received is not None
        )
        _tell(output_dir, follower.detections(_detector(opened, config)))
    print(f"\n{counted(follower.segments, 'segment')}; written to {output_dir / 'detections.jsonl'}", flush=True)
    if follower.segments:
        rows = {follower.video_id: read_features(features_dir, follower.video_id, networks)}
        films = {} if follower.film is None else {follower.video_id: follower.film}
        scores = score_features(opened.scorer, rows, run.classes, _time_base(run))
        notes = [f"{follower.video_id}: {follower.error}"] if follower.error else []
        _write(opened, config, output_dir, scores, known, films, notes)
    if interruptions.received is not None:
        raise SystemExit(128 + interruptions.received)
    if follower.error is not None:
        raise follower.error


def main(argv: Sequence[str]) -> None:
    """Detections of whatever the flags name."""
    del argv
    for name in ("output_dir",) if FLAGS.merge else ("run_dir", "output_dir"):
        if not getattr(FLAGS, name):
            raise UsageError(f"--{name} is missing.")
    output_dir = path_of(FLAGS.output_dir)
    if FLAGS.merge:
        print(f"Written: {merge_tasks(output_dir, FLAGS.num_tasks)}")
        return
    if FLAGS.dataset_dir and (FLAGS.video or FLAGS.rgb or FLAGS.flow or FLAGS.features or FLAGS.follow):
        raise UserError(
            "--dataset_dir found together with --video, feature files or --follow; expected one or the other."
        )
    if FLAGS.dataset_dir:
        predict_dataset(output_dir)
        return
    if FLAGS.engine != engines.LOCAL:
        raise UserError(f"--engine={FLAGS.engine} found without --dataset_dir; expected it for a data set. Drop it.")
    if FLAGS.video and (FLAGS.rgb or FLAGS.flow or FLAGS.features):
        raise UserError("--video found together with feature files; expected one or the other.")
    for name in ("embed_videos", "clips"):
        if FLAGS[name].value and not FLAGS.video:
            raise UserError(f"--{name} needs --video: the video files themselves.")
    opened = open_run(FLAGS.run_dir, from_flags(CheckpointChoice))
    config = from_flags(DetectionConfig, base=opened.info.detection)
    opened.check_detection(config)
    if FLAGS.video:
        (predict_live_video if FLAGS.follow else predict_videos)(opened, config, output_dir)
    else:
        (predict_stream if FLAGS.follow else predict_files)(opened, config, output_dir)


def _known() -> Annotated:
    """What --annotations says of the videos."""
    return read_annotated(FLAGS.annotations) if FLAGS.annotations else Annotated()


def predict_files(opened: OpenedRun, config: DetectionConfig, output_dir: Path) -> None:
    """Scores feature files, writes detections and pictures."""
    run = opened.info
    words, videos = describe_and_read(_files(), run.streams, from_flags(FileChoices))
    print(f"features: {words}, {len(videos)} video{'s' * (len(videos) > 1)}", flush=True)
    known = _known()
    base: TimeBase | dict[str, TimeBase] = _time_base(run)
    if _is_rescaled(run):
        durations_s = {**known.duration_s, **stated_durations(FLAGS.duration_s, list(videos))}
        base = rescaled_time_bases({video_id: len(rows) for video_id, rows in videos.items()}, durations_s)
    elif FLAGS.duration_s:
        raise UserError("--duration_s found without --rescaled_rows; expected it for rows that span their video.")
    _write(opened, config, output_dir, score_features(opened.scorer, videos, run.classes, base), known, {}, ())


def predict_videos(opened: OpenedRun, config: DetectionConfig, output_dir: Path) -> None:
    """Extracts the features of video files, scores them, writes detections, pictures, and the page with the videos."""
    run = opened.info
    _require_rate(run, "--video")
    known = _known()
    videos = find_videos(FLAGS.video)
    networks = _networks(run)
    features = extract_features(videos, networks, _features_dir(output_dir))
    if features.rows:
        scores = score_features(opened.scorer, features.rows, run.classes, _time_base(run))
        _write(opened, config, output_dir, scores, known, videos, features.notes)
    features.raise_if_failed()


def _networks(run: RunInfo) -> RunNetworks:
    """The networks that extract the run's streams; prints which they are."""
    networks = open_networks(run, _time_base(run), from_flags(VideoChoices), FLAGS.missing_stream)
    print("\n".join(networks.words), flush=True)
    return networks


def _features_dir(output_dir: Path) -> Path:
    return path_of(FLAGS.features_dir) if FLAGS.features_dir else output_dir / "features"


def _write(
    opened: OpenedRun,
    config: DetectionConfig,
    output_dir: Path,
    scores: RawScores,
    known: Annotated,
    films: Mapping[str, Path],
    notes: Sequence[str],
) -> None:
    """Writes all that the flags ask for."""
    if doubt := rejected_best_classes(scores, config):
        print(f"Note: {doubt}")
    predicted = Predicted(
        title=f"Predictions of {path_of(FLAGS.run_dir).name}, trained on {opened.info.dataset}",
        scores=scores,
        config=config,
        instances=known.instances,
        films=films,
        facts={"source": opened.source},
        notes=tuple(notes),
    )
    clips = 0 if not FLAGS.clips else FLAGS.max_clips or -1
    write_predictions(output_dir, predicted, Wanted(FLAGS.report or bool(films), FLAGS.embed_videos, clips))


if __name__ == "__main__":
    run_main(main, register_flags)
