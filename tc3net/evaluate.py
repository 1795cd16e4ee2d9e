"""Command: mAP, intervals and error analysis of a trained model, of raw scores, or of any tool's detections.

    python -m tc3net.evaluate --run_dir=RUN --dataset_dir=DATASET --protocols=thumos14,reference
    python -m tc3net.evaluate --scores=RUN/evaluation/raw_scores.npz --min_segments=2
    python -m tc3net.evaluate --detections=detections.json --annotations=annotations.json --subset=test
    python -m tc3net.evaluate --compare=RUN_A,RUN_B

Writes to --output_dir: detections.json and ground_truth.json (ActivityNet format, seconds), metrics.json, tables/,
raw_scores.npz of a model, and with --analysis an error analysis. docs/evaluation.md describes all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from tc3net.common import config as config_module
from tc3net.common.command import run_main
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.evaluation import (
    ClassificationComparison,
    analyse,
    average_recall,
    check_resampling,
    check_same_truth,
    class_comparison_table,
    compare,
    compare_classification,
    comparison_table,
    error_table,
    match_localization,
    proposals_line,
)
from tc3net.inference.raw_scores import RawScores, load_scores, save_scores
from tc3net.intervals.annotations_json import load_annotations
from tc3net.intervals.columns import AnnotatedVideos
from tc3net.intervals.from_dataset import read_annotated_videos
from tc3net.results.assessment import assess_scored, check_protocols, segment_grid
from tc3net.results.folder import (
    DETECTIONS,
    FIGURE_TIOU,
    RAW_SCORES,
    load_folder,
    write_analysis,
    write_comparison,
    write_evaluation,
)
from tc3net.results.sources import Scored, from_detections, from_scores
from tc3net.runs.folder import CheckpointChoice, load_run
from tc3net.runs.provenance import versions
from tc3net.runs.scoring import open_run

FLAGS = flags.FLAGS
_USUAL_RESAMPLES = 1000


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("run_dir", None, "Run folder of the model; its detection settings are the defaults here.")
    flags.DEFINE_string("dataset_dir", None, "Folder written by `python -m data_prep.convert`.")
    flags.DEFINE_string("subset", "test", "Subset to evaluate on (THUMOS14: test; ActivityNet: validation).")
    flags.DEFINE_string("scores", None, "Raw scores of an earlier evaluation, instead of --dataset_dir and the model.")
    flags.DEFINE_string(
        "detections", None, "Detections of any tool (ActivityNet JSON), scored against --dataset_dir or --annotations."
    )
    flags.DEFINE_string("annotations", None, "Ground truth for --detections or --compare: ActivityNet JSON.")
    flags.DEFINE_list(
        "compare", [], "A,B: two runs, evaluation folders, raw scores or detection files; differences are A - B."
    )
    flags.DEFINE_list("protocols", ["thumos14"], "Any of thumos14, reference, activitynet, comma separated.")
    flags.DEFINE_integer(
        "bootstrap", 0, f"Resamples of the videos for confidence intervals; 0: none ({_USUAL_RESAMPLES} for --compare)."
    )
    flags.DEFINE_integer("bootstrap_seed", 0, "Seed of the resamples.")
    flags.DEFINE_float("confidence", 0.95, "What fraction of the resamples an interval covers.")
    flags.DEFINE_bool("analysis", False, "Also write an error analysis: types of false positives, missed instances.")
    flags.DEFINE_string(
        "output_dir", None, "Where results go; default: RUN/evaluation, the folder of --scores, or beside --detections."
    )
    flags.DEFINE_bool(
        "keep_streams", False, "Keep the T-CAMs of rgb and flow in raw_scores.npz, for their weights: 3 times the size."
    )
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def _score_run(keep_streams: bool) -> tuple[RawScores, str]:
    """Scores the subset with the run's model; also says which checkpoint that was."""
    if not FLAGS.run_dir or not FLAGS.dataset_dir:
        raise UserError(
            "Expected --run_dir and --dataset_dir, or --scores=FILE of an earlier evaluation, or --detections=FILE."
        )
    run = open_run(FLAGS.run_dir, from_flags(CheckpointChoice))
    split = run.open_split(FLAGS.dataset_dir, FLAGS.subset)
    print(f"{split.num_videos} videos of subset {FLAGS.subset}, checkpoint {run.source}", flush=True)
    if FLAGS.checkpoint == "best":
        print(f"Note: the best checkpoint was selected by {run.info.training.selected_by}.")
    return run.score(split, keep_streams=keep_streams), run.source


def _ground_truth() -> AnnotatedVideos:
    """Of --annotations or --dataset_dir."""
    if bool(FLAGS.annotations) == bool(FLAGS.dataset_dir):
        raise UserError("Detections need ground truth: expected one of --annotations=FILE and --dataset_dir=FOLDER.")
    if FLAGS.annotations:
        return load_annotations(FLAGS.annotations, FLAGS.subset)
    return read_annotated_videos(FLAGS.dataset_dir, FLAGS.subset)


def _detection_config() -> DetectionConfig:
    """Flags over the run's settings over the defaults."""
    return from_flags(DetectionConfig, base=load_run(FLAGS.run_dir).detection if FLAGS.run_dir else None)


def _scored() -> tuple[Scored, Path, dict[str, Any]]:
    """What the flags ask to evaluate, where results go, and what metrics.json should say about it."""
    if FLAGS.detections:
        if FLAGS.scores or FLAGS.run_dir:
            raise UserError("--detections is evaluated without a model: leave out --run_dir and --scores.")
        source = Path(FLAGS.detections)
        output_dir = Path(FLAGS.output_dir or source.with_name(f"{source.stem}_evaluation"))
        if (output_dir / DETECTIONS).resolve() == source.resolve():
            raise UserError(f"Results would overwrite {source}. Choose another --output_dir.")
        return from_detections(source, _ground_truth()), output_dir, {"source": str(source)}
    config = _detection_config()
    if FLAGS.scores:
        scores, origin = load_scores(FLAGS.scores), FLAGS.scores
        output_dir = Path(FLAGS.output_dir or Path(FLAGS.scores).parent)
    else:
        scores, origin = _score_run(FLAGS.keep_streams or config.needs_streams)
        output_dir = Path(FLAGS.output_dir or Path(FLAGS.run_dir) / "evaluation")
        save_scores(output_dir / RAW_SCORES, scores)
    return from_scores(origin, scores, config), output_dir, {"source": origin, "detection": vars(config)}


def _evaluate() -> None:
    """Scores, writes, prints."""
    scored, output_dir, facts = _scored()
    annotated = scored.annotated
    assessment = assess_scored(
        scored, FLAGS.protocols, resamples=FLAGS.bootstrap, seed=FLAGS.bootstrap_seed, confidence=FLAGS.confidence
    )
    recall = average_recall(annotated.truth, scored.detections)
    write_evaluation(
        output_dir, scored, assessment, recall, subset=FLAGS.subset, facts={**facts, "versions": versions()}
    )
    print("\n".join(["", annotated.dataset, *annotated.notes, *(f"{scored.name}: {note}" for note in scored.notes)]))
    if "reference" in FLAGS.protocols and not annotated.time_bases:
        print(f"reference: grid of {segment_grid(annotated)} assumed; the annotations do not tell it")
    print(f"\n{assessment.table()}\n\n{proposals_line(recall)}")
    if FLAGS.analysis:
        analyses = [analyse(matches, annotated.truth, annotated.duration_s) for matches in assessment.matches]
        write_analysis(output_dir / "analysis", analyses, annotated.dataset)
        for analysis in analyses:
            print(f"\n{error_table(analysis.errors, [FIGURE_TIOU]).text()}")
    print(f"\nWritten to {output_dir}")


def _load_for_comparison(path: str, annotated: AnnotatedVideos | None) -> Scored | None:
    """A folder, raw scores, or a file of detections; None for the last where no ground truth is known yet."""
    if path.endswith(".npz"):
        return from_scores(path, load_scores(path), _detection_config())
    if Path(path).is_dir():
        return load_folder(path)
    return from_detections(path, annotated) if annotated is not None else None


def _pair() -> tuple[Scored, Scored]:
    """Both sides of --compare; a file of detections without ground truth of its own is scored against the other's."""
    if len(FLAGS.compare) != 2:
        raise UserError(f"--compare={','.join(FLAGS.compare)}: expected two, as in --compare=RUN_A,RUN_B.")
    given = _ground_truth() if FLAGS.annotations or FLAGS.dataset_dir else None
    sides = [_load_for_comparison(path, given) for path in FLAGS.compare]
    known = given or next((side.annotated for side in sides if side is not None), None)
    if known is None:
        raise UserError(
            f"{FLAGS.compare[0]} and {FLAGS.compare[1]} are files of detections; expected ground truth with them. "
            "Add --annotations=FILE or --dataset_dir=FOLDER."
        )
    first, second = (side or from_detections(path, known) for side, path in zip(sides, FLAGS.compare))
    return first, second


def _video_level(first: Scored, second: Scored, columns: np.ndarray, resamples: int) -> ClassificationComparison | None:
    """Difference in classification mAP, where both have scores of the same labelled videos.

    Args:
        first, second: the two sides.
        columns: [C] column of the second's scores for each class of the first.
        resamples: of the bootstrap.
    """
    a, b = first.videos, second.videos
    if a is None or b is None or set(a.video_ids) != set(b.video_ids):
        return None
    row_of = {name: row for row, name in enumerate(b.video_ids)}
    rows = [row_of[name] for name in a.video_ids]
    scores, labels = b.scores[rows][:, columns], b.labels[rows][:, columns]
    if not np.array_equal(a.labels, labels):
        return None
    seed, confidence = FLAGS.bootstrap_seed, FLAGS.confidence
    return compare_classification(a.scores, scores, labels, resamples=resamples, seed=seed, confidence=confidence)


def _compare() -> None:
    """Differences, with intervals; written only where --output_dir says so."""
    resamples = FLAGS.bootstrap or _USUAL_RESAMPLES
    check_resampling(resamples, FLAGS.confidence)
    first, second = _pair()
    names = (first.name, second.name)
    truth, other = first.annotated.truth, second.annotated.truth
    check_same_truth(truth, other, names)
    label_of = {name: label for label, name in enumerate(truth.classes)}
    to_first = np.array([label_of[name] for name in other.classes])
    detections = first.detections, replace(second.detections, label=to_first[second.detections.label])
    print("\n".join(["", first.annotated.dataset, *(f"{s.name}: {note}" for s in (first, second) for note in s.notes)]))
    grid = segment_grid(first.annotated) if "reference" in FLAGS.protocols else TimeBase()
    classification = _video_level(first, second, np.argsort(to_first), resamples)
    comparisons = []
    for protocol in FLAGS.protocols:
        matches = [match_localization(protocol, truth, found, time_base=grid) for found in detections]
        comparison = compare(*matches, resamples=resamples, seed=FLAGS.bootstrap_seed, confidence=FLAGS.confidence)
        comparisons.append(comparison)
        print(f"\n{comparison_table(comparison, names, classification).text()}")
        print(f"\n{class_comparison_table(comparison, FIGURE_TIOU).text()}")
    if FLAGS.output_dir:
        write_comparison(FLAGS.output_dir, comparisons, names, classification)
        print(f"\nWritten to {FLAGS.output_dir}")


def main(argv: Sequence[str]) -> None:
    """Evaluates, or compares."""
    del argv
    check_protocols(FLAGS.protocols)
    if FLAGS.bootstrap:
        check_resampling(FLAGS.bootstrap, FLAGS.confidence)
    if FLAGS.compare:
        _compare()
    else:
        _evaluate()


if __name__ == "__main__":
    run_main(main, register_flags)
