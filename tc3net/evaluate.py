"""Command: mAP, intervals and error analysis of a trained model, of raw scores, or of any tool's detections.

    python -m tc3net.evaluate --run_dir=RUN --dataset_dir=DATASET --protocols=thumos14,reference
    python -m tc3net.evaluate --scores=RUN/evaluation/raw_scores.npz --min_segments=2
    python -m tc3net.evaluate --detections=detections.json --annotations=annotations.json --subset=test
    python -m tc3net.evaluate --compare=RUN_A,RUN_B

Writes to --output_dir (RUN/evaluation; RUN/evaluation-SUBSET of another subset than the run's test subset):
detections.json and ground_truth.json (ActivityNet format, seconds), metrics.json, tables/, raw_scores.npz of a model,
and with --analysis an error analysis. An earlier evaluation there is replaced. docs/evaluation.md describes all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UserError
from tc3net.common.names import counted
from tc3net.common.storage import path_of
from tc3net.detection import DetectionConfig
from tc3net.evaluation import (
    DEFAULT_PROTOCOL,
    PROTOCOLS,
    Matches,
    Protocol,
    analyse,
    average_recall,
    check_resampling,
    error_table,
    find_protocol,
    proposals_line,
)
from tc3net.inference.raw_scores import RawScores, load_scores, save_scores
from tc3net.intervals.annotations_json import load_annotations
from tc3net.intervals.columns import AnnotatedVideos
from tc3net.intervals.from_dataset import read_annotated_videos
from tc3net.results.assessment import assess_scored, check_protocols, segment_grid
from tc3net.results.comparison import compare_scored, comparison_dict, load_pair, write_comparison
from tc3net.results.folder import (
    DETECTIONS,
    METRICS,
    RAW_SCORES,
    default_folder,
    read_metrics_file,
    settings_beside,
    write_analysis,
    write_evaluation,
)
from tc3net.results.plausibility import implausible
from tc3net.results.replacement import check_raw_scores, replacing
from tc3net.results.sources import Scored, background_blanked, chosen_only, from_detections, from_scores
from tc3net.results.video_lists import VideoChoice
from tc3net.runs.folder import CheckpointChoice, load_run
from tc3net.runs.provenance import versions
from tc3net.runs.scoring import open_run
from tc3net.terminal.command import define_json_flag, print_json, run_main

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
    flags.DEFINE_list("protocols", [DEFAULT_PROTOCOL], f"Any of {', '.join(PROTOCOLS)}, comma separated.")
    flags.DEFINE_list("tious", [], "Rising tIoU thresholds, as in 0.3,0.5,0.7; default: each protocol's own.")
    flags.DEFINE_integer(
        "bootstrap", 0, f"Resamples of the videos for confidence intervals; 0: none ({_USUAL_RESAMPLES} for --compare)."
    )
    flags.DEFINE_integer("bootstrap_seed", 0, "Seed of the resamples.")
    flags.DEFINE_float("confidence", 0.95, "What fraction of the resamples an interval covers.")
    flags.DEFINE_bool("analysis", False, "Also write an error analysis: types of false positives, missed instances.")
    flags.DEFINE_string(
        "output_dir",
        None,
        "Where results go; default: RUN/evaluation (RUN/evaluation-SUBSET for another subset than the run's test "
        "subset), the folder of --scores, or beside --detections.",
    )
    flags.DEFINE_bool(
        "keep_streams", False, "Keep the T-CAMs of rgb and flow in raw_scores.npz, for their weights: 3 times the size."
    )
    flags.DEFINE_string(
        "test_set_meta", None, "THUMOS14's test_set_meta.mat: its background videos count as negatives of every class."
    )
    define_json_flag()
    define_flags(VideoChoice)
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def _score_run(config: DetectionConfig) -> tuple[RawScores, str]:
    """Scores the subset with the run's model; also says which checkpoint that was."""
    if not FLAGS.run_dir or not FLAGS.dataset_dir:
        raise UserError(
            "Expected --run_dir and --dataset_dir, or --scores=FILE of an earlier evaluation, or --detections=FILE."
        )
    run = open_run(FLAGS.run_dir, from_flags(CheckpointChoice))
    run.check_detection(config)
    split = run.open_split(FLAGS.dataset_dir, FLAGS.subset)
    print(f"{counted(split.num_videos, 'video')} of subset {FLAGS.subset}, checkpoint {run.source}", flush=True)
    if FLAGS.checkpoint == "best":
        print(f"Note: the best checkpoint was selected by {run.info.training.selected_by}.")
    return run.score(split, keep_streams=FLAGS.keep_streams or config.needs_streams), run.source


def _ground_truth() -> AnnotatedVideos:
    """Of --annotations or --dataset_dir."""
    if bool(FLAGS.annotations) == bool(FLAGS.dataset_dir):
        raise UserError("Detections need ground truth: expected one of --annotations=FILE and --dataset_dir=FOLDER.")
    if FLAGS.annotations:
        return load_annotations(FLAGS.annotations, FLAGS.subset)
    return read_annotated_videos(FLAGS.dataset_dir, FLAGS.subset)


def _detection_config() -> DetectionConfig:
    """Flags over the run's settings, or those of the evaluation that left the scores, over the defaults."""
    if FLAGS.run_dir:
        return from_flags(DetectionConfig, base=load_run(FLAGS.run_dir).detection)
    beside = settings_beside(FLAGS.scores) if FLAGS.scores else None
    if beside is not None:
        print(f"Detection settings that are not given: those of {path_of(FLAGS.scores).parent / METRICS}.")
    return from_flags(DetectionConfig, base=beside)


def _scored() -> tuple[Scored, Path, dict[str, Any]]:
    """What the flags ask to evaluate, where results go, and what metrics.json should say about it."""
    if FLAGS.detections:
        if FLAGS.scores or FLAGS.run_dir:
            raise UserError("--detections is evaluated without a model: leave out --run_dir and --scores.")
        source = path_of(FLAGS.detections)
        output_dir = path_of(FLAGS.output_dir or source.with_name(f"{source.stem}_evaluation"))
        if (output_dir / DETECTIONS).resolve() == source.resolve():
            raise UserError(f"Results would overwrite {source}. Choose another --output_dir.")
        check_raw_scores(output_dir, None)
        return from_detections(source, _ground_truth()), output_dir, {"source": str(source)}
    config = _detection_config()
    if FLAGS.scores:
        scores, origin = load_scores(FLAGS.scores), FLAGS.scores
        output_dir = path_of(FLAGS.output_dir or path_of(FLAGS.scores).parent)
        check_raw_scores(output_dir, FLAGS.scores)
    else:
        scores, origin = _score_run(config)
        output_dir = path_of(
            FLAGS.output_dir or default_folder(FLAGS.run_dir, FLAGS.subset, load_run(FLAGS.run_dir).test_subset)
        )
    return from_scores(origin, scores, config), output_dir, {"source": origin, "detection": vars(config)}


def _protocols() -> list[Protocol]:
    """What --protocols names, at --tious where they are given.

    Raises:
        UserError: an unknown protocol, or none; thresholds that are not rising or out of their range.
    """
    check_protocols(FLAGS.protocols)
    protocols = [find_protocol(name) for name in FLAGS.protocols]
    if not FLAGS.tious:
        return protocols
    try:
        tious = [float(text) for text in FLAGS.tious]
    except ValueError:
        tious = []
    if not tious or not all(0 < tiou <= 1 for tiou in tious) or tious != sorted(set(tious)):
        raise UserError(
            f"--tious={','.join(FLAGS.tious)}: expected rising numbers above 0 and up to 1, as in 0.3,0.5,0.7. "
            "Correct them, or leave the flag out for the protocol's own."
        )
    return [protocol.at([_own(protocol, tiou) for tiou in tious]) for protocol in protocols]


def _own(protocol: Protocol, tiou: float) -> float:
    """The protocol's own threshold where that is meant: the ActivityNet toolkit's 0.9 is 0.8999999999999999."""
    return next((own for own in protocol.tious if abs(own - tiou) < 1e-9), tiou)


def _evaluate(protocols: Sequence[Protocol]) -> None:
    """Scores, writes, prints."""
    scored, output_dir, facts = _scored()
    every_score = scored.scores
    scored = chosen_only(scored, from_flags(VideoChoice))
    if FLAGS.test_set_meta:
        scored = background_blanked(scored, FLAGS.test_set_meta)
    annotated = scored.annotated
    has_times = bool(len(annotated.truth))
    if not has_times and scored.videos is not None:
        print("Note: no instances with times are annotated in these videos; their classes alone are evaluated.")
        protocols = ()
    under = f" under {', '.join(protocol.name for protocol in protocols)}" if protocols else ""
    resamples = f", {FLAGS.bootstrap} resamples of the videos" if under and FLAGS.bootstrap else ""
    print(f"Evaluating {len(scored.detections)} detections{under}{resamples}", flush=True)
    assessment = assess_scored(
        scored, protocols, resamples=FLAGS.bootstrap, seed=FLAGS.bootstrap_seed, confidence=FLAGS.confidence
    )
    recall = average_recall(annotated.truth, scored.detections) if has_times else None
    subset = (scored.scores.subset if scored.scores is not None else "") or FLAGS.subset
    doubts = implausible(scored, assessment)
    facts = {**facts, "implausible": list(doubts), "versions": versions()}
    print("\n".join(["", annotated.dataset, *annotated.notes, *(f"{scored.name}: {note}" for note in scored.notes)]))
    rounding = [protocol.name for protocol in protocols if protocol.needs_grid]
    if rounding and not annotated.time_bases:
        print(f"{', '.join(rounding)}: grid of {segment_grid(annotated)} assumed; the annotations do not tell it")
    print(f"\n{assessment.table()}" + (f"\n\n{proposals_line(recall)}" if recall else ""), flush=True)
    print("".join(f"\nImplausible: {doubt}." for doubt in doubts), end="\n" if doubts else "", flush=True)
    with replacing(output_dir) as folder:
        if every_score is not None and not FLAGS.scores:
            save_scores(folder / RAW_SCORES, every_score)  # of all videos, so that others can be chosen from them
        write_evaluation(folder, scored, assessment, recall, subset, facts)
        if FLAGS.analysis and assessment.matches:
            _analyse(assessment.matches, annotated, folder / "analysis")
    print(f"\nWritten to {output_dir}")
    print_json({"output_dir": str(output_dir), **read_metrics_file(output_dir)})


def _analyse(matches: Sequence[Matches], annotated: AnnotatedVideos, folder: Path) -> None:
    """The error analysis, written and printed."""
    analyses = [analyse(each, annotated.truth, annotated.duration_s) for each in matches]
    write_analysis(folder, analyses, annotated.dataset)
    for errors in (analysis.errors for analysis in analyses):
        main = find_protocol(errors.protocol).main_row(errors.tious)
        print(f"\n{error_table(errors, [errors.tious[main]]).text()}")


def _compare(protocols: Sequence[Protocol]) -> None:
    """Differences, with intervals; written only where --output_dir says so."""
    given = _ground_truth() if FLAGS.annotations or FLAGS.dataset_dir else None
    resamples = FLAGS.bootstrap or _USUAL_RESAMPLES
    check_resampling(resamples, FLAGS.confidence)
    first, second = load_pair(FLAGS.compare, _detection_config(), given)
    first, second = (chosen_only(scored, from_flags(VideoChoice)) for scored in (first, second))
    pair = compare_scored(
        first, second, protocols, resamples=resamples, seed=FLAGS.bootstrap_seed, confidence=FLAGS.confidence
    )
    notes = [f"{scored.name}: {note}" for scored in (first, second) for note in scored.notes]
    print("\n".join(["", first.annotated.dataset, *first.annotated.notes, *notes]))
    print("".join(f"\n{table.text()}\n" for table in pair.tables()), end="")
    if FLAGS.output_dir:
        write_comparison(FLAGS.output_dir, pair)
        print(f"\nWritten to {FLAGS.output_dir}")
    print_json(comparison_dict(pair))


def main(argv: Sequence[str]) -> None:
    """Evaluates, or compares."""
    del argv
    protocols = _protocols()
    if FLAGS.bootstrap:
        check_resampling(FLAGS.bootstrap, FLAGS.confidence)
    if FLAGS.compare:
        _compare(protocols)
    else:
        _evaluate(protocols)


if __name__ == "__main__":
    run_main(main, register_flags)
