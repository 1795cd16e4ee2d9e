"""Command: detections in new videos: feature files, a converted data set, or a feature file that still grows.

    python -m tc3net.predict --run_dir=RUN --rgb=a_rgb.npy,b_rgb.npy --flow=a_flow.npy,b_flow.npy --output_dir=OUT
    python -m tc3net.predict --run_dir=RUN --features=a.npy --annotations=annotations.json --output_dir=OUT
    python -m tc3net.predict --run_dir=RUN --features=live.npy --follow --output_dir=OUT
    python -m tc3net.predict --run_dir=RUN --dataset_dir=DATASET --subset=test --output_dir=OUT \
        --task_index=0 --num_tasks=8
    python -m tc3net.predict --merge --output_dir=OUT --num_tasks=8

Of feature files: OUT/detections.json (ActivityNet format, seconds), one OUT/<video>.png per video, and with --report
one page with all of them, OUT/report.html. A video is named after its (rgb) feature file. `--features` are files with
both streams, such as arrays [segments, 2D], rgb first; or folders, files with many videos, patterns, lists of files.
With --follow: OUT/detections.jsonl, a line per detection as soon as it is complete, also printed. Of a data set:
OUT/detections.json, or with several tasks one file each, which --merge makes one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError, UserError
from tc3net.common.names import counted
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig, detect_videos
from tc3net.inference.new_videos import score_features
from tc3net.inference.scorer import Scorer
from tc3net.intervals.annotations_json import annotated_videos
from tc3net.intervals.columns import Detections
from tc3net.intervals.detections_json import save_detections
from tc3net.prediction.feature_files import FeatureFiles, FileChoices, describe_and_read, open_growing
from tc3net.prediction.follow import FollowConfig, StreamDetector, follow_files
from tc3net.prediction.tasks import Task, merge_tasks, run_task
from tc3net.prediction.video_times import Annotated, read_annotated, rescaled_time_bases, stated_durations
from tc3net.report import ReportInput, facts_of, write_report
from tc3net.runs.description import RunInfo
from tc3net.runs.folder import CheckpointChoice, load_run
from tc3net.runs.provenance import versions
from tc3net.runs.scoring import DatasetChoice, Scoring, open_run
from tc3net.terminal.command import run_main
from tc3net.terminal.interruption import Interruptions
from tc3net.visualization.curves import CurveSource, video_tracks
from tc3net.visualization.timeline import plot_timeline

FLAGS = flags.FLAGS
MAX_PANELS = 4
_TIME_BASE = ("fps", "frames_per_segment", "stride_frames")


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("run_dir", None, "Run folder of the model; its detection settings are the defaults here.")
    flags.DEFINE_list("rgb", [], "Feature files [segments, D] of the rgb stream, one per video; or their folder.")
    flags.DEFINE_list("flow", [], "Feature files of the flow stream, in the same order; or their folder.")
    flags.DEFINE_list(
        "features", [], "Instead of --rgb and --flow: files with both streams, folders, patterns, or lists of files."
    )
    flags.DEFINE_string("annotations", None, "ActivityNet JSON with the instances of these videos, for the picture.")
    flags.DEFINE_bool("rescaled_rows", None, "Whether the rows of each video span it; default: as in training.")
    flags.DEFINE_list("duration_s", [], "Seconds of each video, in their order, where rows span it.")
    flags.DEFINE_string("output_dir", None, "Where detections and pictures go.")
    flags.DEFINE_bool("report", False, "Also write report.html, a page to look through all videos.")
    flags.DEFINE_float("fps", None, "Frames per second the features were extracted at; default: the run's.")
    flags.DEFINE_integer("frames_per_segment", None, "Frames per feature row; default: the run's.")
    flags.DEFINE_integer("stride_frames", None, "Frames from one row to the next; default: the run's.")
    flags.DEFINE_bool("follow", False, "Give out detections while the one --features file, or --rgb and --flow, grows.")
    flags.DEFINE_integer("task_index", 0, "Which part of --dataset_dir to score.")
    flags.DEFINE_integer("num_tasks", 1, "Number of parts that --dataset_dir is divided into.")
    flags.DEFINE_bool("merge", False, "Make one file of those of all --num_tasks parts; needs no run.")
    define_flags(DatasetChoice)
    flags.DEFINE_alias("dataset", "dataset_dir")  # its name here before every command had the same
    define_flags(FileChoices)
    define_flags(FollowConfig)
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def draw_video(
    path: Path,
    source: CurveSource,
    video: int,
    detections: Detections,
    instances: Sequence[tuple[str, float, float]] | None,
) -> None:
    """Draws the timeline of one video: the classes detected or annotated in it, the most probable first.

    Args:
        path: picture to write.
        source: raw scores, and how detections were made.
        video: index into them.
        detections: of all videos.
        instances: (class, start s, end s), or None where unknown.
    """
    scores, probability = source.scores, source.probability[video]
    detected = detections.label[detections.video == video]
    annotated = {name for name, _, _ in instances or ()}
    shown = [c for c, name in enumerate(scores.classes) if name in annotated or c in detected]
    shown = sorted(shown, key=lambda c: (scores.classes[c] not in annotated, -probability[c]))[:MAX_PANELS]
    shown = shown or [int(probability.argmax())]
    plot_timeline(path, scores.video_ids[video], *video_tracks(source, video, shown, detections, instances))


def _time_base(run: RunInfo) -> TimeBase:
    """The run's, with what the flags say."""
    return replace(run.time_base, **{n: getattr(FLAGS, n) for n in _TIME_BASE if getattr(FLAGS, n) is not None})


def _is_rescaled(run: RunInfo) -> bool:
    """Whether rows span their video: as the flag says, or else as in training unless another time base is given."""
    given = [f"--{name}" for name in _TIME_BASE if getattr(FLAGS, name) is not None]
    if FLAGS.rescaled_rows and given:
        raise UserError(f"--rescaled_rows and {' and '.join(given)} found; expected one of them. Drop the other.")
    return bool(FLAGS.rescaled_rows) if FLAGS.rescaled_rows is not None else run.rescaled_rows and not given


def _files() -> FeatureFiles:
    return FeatureFiles(FLAGS.rgb, FLAGS.flow, FLAGS.features)


def predict_dataset(output_dir: Path) -> None:
    """Scores a data set, or the task's part of it."""
    task = Task(FLAGS.task_index, FLAGS.num_tasks)
    config = from_flags(DetectionConfig, base=load_run(FLAGS.run_dir).detection)
    opened = Scoring(FLAGS.run_dir, from_flags(CheckpointChoice), from_flags(DatasetChoice), config).open()
    path = run_task(opened.scorer, opened.split, config, task, output_dir)
    count = opened.split.num_videos
    print(f"Written: {path}, {len(task.videos(count))} of {counted(count, 'video')}")


def predict_stream(scorer: Scorer, run: RunInfo, config: DetectionConfig, output_dir: Path) -> None:
    """Follows feature files until they stop growing, or until the process is asked to end."""
    if _is_rescaled(run):
        raise UserError(
            "--follow found with rows that span their video (the run was trained on such, or --rescaled_rows); "
            "expected rows at a fixed rate, since a stream has no duration yet. Give --fps and --stride_frames."
        )
    files = open_growing(_files(), run.streams, from_flags(FileChoices))
    follow = from_flags(FollowConfig)
    detector = StreamDetector(scorer, run.classes, _time_base(run), config, follow)
    output_dir.mkdir(parents=True, exist_ok=True)
    with open(output_dir / "detections.jsonl", "w", encoding="utf-8") as file, Interruptions() as interruptions:
        for found in follow_files(detector, files, follow, lambda: interruptions.received is not None):
            line = {"label": found.label, "segment": [found.start_s, found.end_s], "score": found.score}
            print(json.dumps(line), file=file, flush=True)
            print(
                f"{found.label:24s} {found.start_s:8.2f} s to {found.end_s:8.2f} s   score {found.score:.3f}",
                flush=True,
            )
    print(f"\n{counted(detector.segments, 'segment')}; written to {output_dir / 'detections.jsonl'}")
    if interruptions.received is not None:
        raise SystemExit(128 + interruptions.received)


def main(argv: Sequence[str]) -> None:
    """Detections of whatever the flags name."""
    del argv
    for name in ("output_dir",) if FLAGS.merge else ("run_dir", "output_dir"):
        if not getattr(FLAGS, name):
            raise UsageError(f"--{name} is missing.")
    output_dir = Path(FLAGS.output_dir)
    if FLAGS.merge:
        print(f"Written: {merge_tasks(output_dir, FLAGS.num_tasks)}")
        return
    if FLAGS.dataset_dir and (FLAGS.rgb or FLAGS.flow or FLAGS.features or FLAGS.follow):
        raise UserError("--dataset_dir found together with feature files or --follow; expected one or the other.")
    if FLAGS.dataset_dir:
        predict_dataset(output_dir)
        return
    run = open_run(FLAGS.run_dir, from_flags(CheckpointChoice))
    config = from_flags(DetectionConfig, base=run.info.detection)
    if FLAGS.follow:
        predict_stream(run.scorer, run.info, config, output_dir)
    else:
        predict_files(run.scorer, run.info, config, output_dir, run.source)


def predict_files(scorer: Scorer, run: RunInfo, config: DetectionConfig, output_dir: Path, checkpoint: str) -> None:
    """Scores the files, writes detections and pictures."""
    words, videos = describe_and_read(_files(), run.streams, from_flags(FileChoices))
    print(f"features: {words}, {len(videos)} video{'s' * (len(videos) > 1)}", flush=True)
    known = read_annotated(FLAGS.annotations) if FLAGS.annotations else Annotated()
    annotated = known.instances
    base: TimeBase | dict[str, TimeBase] = _time_base(run)
    if _is_rescaled(run):
        durations_s = {**known.duration_s, **stated_durations(FLAGS.duration_s, list(videos))}
        base = rescaled_time_bases({video_id: len(rows) for video_id, rows in videos.items()}, durations_s)
    elif FLAGS.duration_s:
        raise UserError("--duration_s found without --rescaled_rows; expected it for rows that span their video.")
    scores = score_features(scorer, videos, run.classes, base)
    detections = detect_videos(scores, config)
    save_detections(output_dir / "detections.json", detections, run.classes)
    source = CurveSource(scores, config)
    for video, video_id in enumerate(scores.video_ids):
        draw_video(output_dir / f"{video_id}.png", source, video, detections, annotated.get(video_id))
        best = [i for i in (-detections.score).argsort(kind="stable") if detections.video[i] == video]
        print(f"\n{video_id}: {counted(len(best), 'detection')} in {scores.duration_s[video]:.1f} s")
        for i in best[:5]:
            print(
                f"  {run.classes[detections.label[i]]:24s} {detections.start_s[i]:8.2f} s to "
                f"{detections.end_s[i]:8.2f} s   score {detections.score[i]:.3f}"
            )
    if FLAGS.report:
        durations_s = dict(zip(scores.video_ids, scores.duration_s.tolist()))
        report = ReportInput(
            title=f"Predictions of {Path(FLAGS.run_dir).name}, trained on {run.dataset}",
            classes=run.classes,
            detections=detections,
            annotated=annotated_videos(annotated, run.classes, durations_s, dataset=scores.dataset),
            scores=scores,
            config=config,
            facts=facts_of({"source": checkpoint, "detection": vars(config), "versions": versions()}),
        )
        write_report(output_dir / "report.html", report)
    page = ", report.html" if FLAGS.report else ""
    print(f"\nWritten to {output_dir}: detections.json{page} and one timeline picture per video")


if __name__ == "__main__":
    run_main(main, register_flags)
