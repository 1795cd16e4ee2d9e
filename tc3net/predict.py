"""Command: detections and a timeline picture for new videos, from their feature files.

    python -m tc3net.predict --run_dir=RUN --rgb=a_rgb.npy,b_rgb.npy --flow=a_flow.npy,b_flow.npy --output_dir=OUT
    python -m tc3net.predict --run_dir=RUN --features=a.npy --annotations=annotations.json --output_dir=OUT

Writes OUT/detections.json (ActivityNet format, seconds), one OUT/<video>.png per video, and with --report one page
with all of them, OUT/report.html. A video is named after its
(rgb) feature file. `--features` are arrays [segments, 2D], rgb first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags

from tc3net import config as config_module
from tc3net.activitynet_json import load_instances, save_detections
from tc3net.config import define_flags, from_flags
from tc3net.detection import DetectionConfig, detect_videos
from tc3net.errors import UserError, run_main
from tc3net.inference import RawScores, Scorer
from tc3net.intervals import AnnotatedVideos, Detections, GroundTruth
from tc3net.provenance import versions
from tc3net.report import ReportInput, facts_of, write_report
from tc3net.runs import CheckpointChoice, load_model
from tc3net.timebase import TimeBase
from tc3net.timeline import plot_timeline
from tc3net.video_curves import CurveSource, video_tracks

FLAGS = flags.FLAGS
MAX_PANELS = 4


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("run_dir", None, "Run folder of the model; its detection settings are the defaults here.")
    flags.DEFINE_list("rgb", [], "Feature files [segments, D] of the rgb stream, one per video, comma separated.")
    flags.DEFINE_list("flow", [], "Feature files of the flow stream, in the same order.")
    flags.DEFINE_list("features", [], "Instead of --rgb and --flow: files [segments, 2D], rgb first.")
    flags.DEFINE_string("annotations", None, "ActivityNet JSON with the instances of these videos, for the picture.")
    flags.DEFINE_string("output_dir", None, "Where detections and pictures go.")
    flags.DEFINE_bool("report", False, "Also write report.html, a page to look through all videos.")
    flags.DEFINE_float("fps", None, "Frames per second the features were extracted at; default: the run's.")
    flags.DEFINE_integer("frames_per_segment", None, "Frames per feature row; default: the run's.")
    flags.DEFINE_integer("stride_frames", None, "Frames from one row to the next; default: the run's.")
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def load_features(path: str, width: int) -> np.ndarray:
    """Reads one `.npy` feature file [s, width] as float32.

    Raises:
        UserError: absent, not a plain array, of another shape, empty, or with NaN or Inf.
    """
    try:
        features = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such feature file.") from None
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: expected a .npy array of numbers, found something else ({error}).") from None
    if features.ndim != 2 or features.shape[1] != width or len(features) == 0:
        raise UserError(
            f"{path}: shape {features.shape} found, [segments, {width}] expected: the run was trained on features of "
            "that size. Extract the features with the same network, or choose --rgb/--flow or --features to fit."
        )
    features = features.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise UserError(f"{path}: NaN or Inf in {len(bad)} segments, the first is {bad[0]}. Extract it again.")
    return features


def collect_videos(rgb: Sequence[str], flow: Sequence[str], joint: Sequence[str], dim: int) -> dict[str, np.ndarray]:
    """Features [s, 2D] by video id, from the file flags.

    Raises:
        UserError: no files, rgb and flow that do not fit together, or two videos of one name.
    """
    if bool(joint) == bool(rgb or flow) or len(rgb) != len(flow):
        raise UserError(
            f"Found {len(rgb)} --rgb, {len(flow)} --flow and {len(joint)} --features files; expected as many --rgb as "
            "--flow files, or only --features files."
        )
    videos: dict[str, np.ndarray] = {}
    groups = [[path] for path in joint] if joint else [[a, b] for a, b in zip(rgb, flow)]
    for files in groups:
        video_id = Path(files[0]).stem
        if video_id in videos:
            raise UserError(f"Two feature files name the video {video_id!r} ({files[0]}); rename one.")
        parts = [load_features(path, 2 * dim if joint else dim) for path in files]
        if len({len(part) for part in parts}) > 1:
            raise UserError(
                f"{files[0]} has {len(parts[0])} segments, {files[1]} has {len(parts[1])}; expected the same video."
            )
        videos[video_id] = np.concatenate(parts, axis=1)
    return videos


def score_features(
    scorer: Scorer, videos: dict[str, np.ndarray], classes: tuple[str, ...], base: TimeBase
) -> RawScores:
    """Raw scores of videos without labels.

    Args:
        scorer: the model.
        videos: features [s, 2D] by id.
        classes: class names.
        base: time base of all of them.
    """
    scored = [scorer.with_streams(tf.RaggedTensor.from_row_lengths(f, [len(f)])) for f in videos.values()]
    joined = {name: np.concatenate([part[name] for part in scored]) for name in scored[0]}
    lengths = np.array([len(f) for f in videos.values()], np.int64)
    count = len(videos)
    ids, times = np.zeros(0, np.int64), np.zeros(0)
    return RawScores(
        dataset="",
        classes=classes,
        video_ids=tuple(videos),
        row_splits=np.concatenate([[0], np.cumsum(lengths)]),
        top_k_divisor=scorer.top_k_divisor,
        fps=np.full(count, base.fps),
        frames_per_segment=np.full(count, base.frames_per_segment),
        stride_frames=np.full(count, base.stride_frames),
        duration_s=np.array([base.duration_s(int(length)) for length in lengths]),
        labels=np.zeros((count, len(classes)), np.float32),
        ground_truth=GroundTruth(classes, (), ids, ids, times, times, ids, times, times),
        tcam=joined["tcam"],
        tcam_rgb=joined["tcam_rgb"],
        tcam_flow=joined["tcam_flow"],
        pooled=joined["pooled"],
    )


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


def annotated_videos(annotated: dict[str, list[tuple[str, float, float]]], scores: RawScores) -> AnnotatedVideos | None:
    """Ground truth of the predicted videos, for the report; None where nothing is known about any of them.

    Args:
        annotated: instances (class, start s, end s) by video; those of classes that the model does not know are left
            out.
        scores: raw scores of the videos.
    """
    known = [video_id for video_id in scores.video_ids if video_id in annotated]
    if not known:
        return None
    id_of = {name: c for c, name in enumerate(scores.classes)}
    rows = [(v, id_of[c], s, e) for v, name in enumerate(known) for c, s, e in annotated[name] if c in id_of]
    video, label, start_s, end_s = np.array(rows, np.float64).reshape(-1, 4).T
    none, no_times = np.zeros(0, np.int64), np.zeros(0)
    truth = GroundTruth(
        scores.classes, tuple(known), video.astype(np.int64), label.astype(np.int64), start_s, end_s,
        ambiguous_video=none, ambiguous_start_s=no_times, ambiguous_end_s=no_times,
    )  # fmt: skip
    row_of = {video_id: row for row, video_id in enumerate(scores.video_ids)}
    return AnnotatedVideos(scores.dataset, truth, scores.duration_s[[row_of[video_id] for video_id in known]])


def main(argv: Sequence[str]) -> None:
    """Scores the files, writes detections and pictures."""
    del argv
    for name in ("run_dir", "output_dir"):
        if not getattr(FLAGS, name):
            raise UserError(f"--{name} is missing.")
    model, run, checkpoint = load_model(FLAGS.run_dir, FLAGS.checkpoint, FLAGS.weights)
    config = from_flags(DetectionConfig, base=run.detection)
    given = {
        n: getattr(FLAGS, n) for n in ("fps", "frames_per_segment", "stride_frames") if getattr(FLAGS, n) is not None
    }
    videos = collect_videos(FLAGS.rgb, FLAGS.flow, FLAGS.features, run.feature_dim)
    annotated = load_instances(FLAGS.annotations) if FLAGS.annotations else {}
    scorer = Scorer(model, run.training["top_k_divisor"])
    scores = score_features(scorer, videos, run.classes, replace(run.time_base, **given))
    detections = detect_videos(scores, config)
    output_dir = Path(FLAGS.output_dir)
    save_detections(output_dir / "detections.json", detections, run.classes)
    source = CurveSource(scores, config)
    for video, video_id in enumerate(scores.video_ids):
        draw_video(output_dir / f"{video_id}.png", source, video, detections, annotated.get(video_id))
        best = [i for i in (-detections.score).argsort(kind="stable") if detections.video[i] == video]
        print(f"\n{video_id}: {len(best)} detections in {scores.duration_s[video]:.1f} s")
        for i in best[:5]:
            print(
                f"  {run.classes[detections.label[i]]:24s} {detections.start_s[i]:8.2f} s to "
                f"{detections.end_s[i]:8.2f} s   score {detections.score[i]:.3f}"
            )
    if FLAGS.report:
        report = ReportInput(
            title=f"Predictions of {Path(FLAGS.run_dir).name}, trained on {run.dataset}",
            classes=run.classes,
            detections=detections,
            annotated=annotated_videos(annotated, scores),
            scores=scores,
            config=config,
            facts=facts_of({"source": checkpoint, "detection": vars(config), "versions": versions()}),
        )
        write_report(output_dir / "report.html", report)
    page = ", report.html" if FLAGS.report else ""
    print(f"\nWritten to {output_dir}: detections.json{page} and one timeline picture per video")


if __name__ == "__main__":
    register_flags()
    run_main(main)
