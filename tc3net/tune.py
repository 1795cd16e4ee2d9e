"""Command: chooses detection settings on videos that were held out from training; never on test videos.

    python -m tc3net.tune --run_dir=RUN --dataset_dir=DATASET --output_dir=OUT
    python -m tc3net.tune --scores=RUN/evaluation/raw_scores.npz --output_dir=OUT
    python -m tc3net.evaluate --flagfile=OUT/detection.cfg --run_dir=RUN --dataset_dir=DATASET

Writes OUT/detection.cfg, the detection flags for evaluate, predict and export, and OUT/tuning.json, all that was tried.
Detection flags that are given stay as given; the others are searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError, UserError
from tc3net.common.names import counted
from tc3net.data.split import Split
from tc3net.detection import DetectionConfig
from tc3net.evaluation import DEFAULT_PROTOCOL
from tc3net.experiments.tuning import OBJECTIVES, Objective, open_axes, search
from tc3net.experiments.tuning_results import FLAGFILE, TRIALS, SearchFacts, closing_words, write_tuning
from tc3net.experiments.tuning_videos import check_subset, guarded_subset, held_out_videos, videos_of_file
from tc3net.inference.raw_scores import RawScores, load_scores
from tc3net.results.assessment import check_protocols
from tc3net.runs.folder import CheckpointChoice, load_run
from tc3net.runs.scoring import OpenedRun, open_run
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("run_dir", None, "Run folder of the model.")
    flags.DEFINE_string("dataset_dir", None, "Folder written by `python -m data_prep.convert`.")
    flags.DEFINE_string(
        "subset", None, "Subset to tune on; default: the videos that the run held out (--holdout_fraction of training)."
    )
    flags.DEFINE_list(
        "scores", [], "Raw scores, instead of --run_dir and --dataset_dir; of several files the mean counts."
    )
    flags.DEFINE_string("videos", None, "Text file with one video id per line: tune on these only.")
    flags.DEFINE_string(
        "test_subset",
        None,
        "Subset that must not be tuned on; default: the run's, without a run 'test'. '' allows any.",
    )
    flags.DEFINE_string("protocol", DEFAULT_PROTOCOL, "Evaluation protocol of the objective.")
    flags.DEFINE_enum(
        "objective", "both", OBJECTIVES, "mAP@0.5 (the protocol's main tIoU), average mAP, or both: their mean."
    )
    flags.DEFINE_integer("budget", 300, "Most settings to try.")
    flags.DEFINE_integer("seed", 0, "Seed of the search.")
    flags.DEFINE_string("output_dir", None, "Where detection.cfg and tuning.json go.")
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def split_to_tune_on(run: OpenedRun) -> Split:
    """The videos of --subset, or those of the training subset that the run held out."""
    if not FLAGS.subset:
        return held_out_videos(FLAGS.dataset_dir, run)
    if FLAGS.subset == run.info.training.train_subset and not FLAGS.videos:
        print(
            "Note: the model was trained on these videos. Its T-CAMs are better there than on new videos, and "
            "settings that suit them may not suit those; prefer held-out videos."
        )
    return run.open_split(FLAGS.dataset_dir, FLAGS.subset)


def score_run(guarded: str) -> RawScores:
    """Scores the videos to tune on with the run's model."""
    if not (FLAGS.run_dir and FLAGS.dataset_dir):
        raise UserError("Expected --run_dir and --dataset_dir, or --scores=FILE of `tc3net.evaluate`.")
    if FLAGS.subset:
        check_subset(FLAGS.subset, guarded, FLAGS.dataset_dir)
    run = open_run(FLAGS.run_dir, from_flags(CheckpointChoice))
    split = split_to_tune_on(run)
    print(f"{counted(split.num_videos, 'video')} of subset {split.subset}, checkpoint {run.source}", flush=True)
    return run.score(split, keep_streams=True)


def read_scores() -> list[RawScores]:
    """All raw scores to tune on, checked."""
    guarded = guarded_subset(FLAGS.test_subset, FLAGS.run_dir)
    if FLAGS.scores:
        files = [load_scores(path) for path in FLAGS.scores]
        for path, part in zip(FLAGS.scores, files):
            check_subset(part.subset or FLAGS.subset or "", guarded, path)
    else:
        files = [score_run(guarded)]
    return videos_of_file(files, FLAGS.videos) if FLAGS.videos else files


def main(argv: Sequence[str]) -> None:
    """Searches, prints, writes."""
    del argv
    check_protocols([FLAGS.protocol])
    if not FLAGS.output_dir:
        raise UsageError("--output_dir is missing.")
    if FLAGS.budget < 1:
        raise UserError(f"--budget={FLAGS.budget}; expected 1 or more.")
    fixed = [item.name for item in fields(DetectionConfig) if FLAGS[item.name].present]
    base = from_flags(DetectionConfig, base=load_run(FLAGS.run_dir).detection if FLAGS.run_dir else None)
    files = read_scores()
    streams = files[0].streams if all(part.stream_tcams is not None for part in files) else ()
    if not streams:
        print("Note: the raw scores hold no T-CAMs of the streams (--keep_streams); their weights stay as they are.")
    attended, bounded = (all(getattr(part, name) is not None for part in files) for name in ("attention", "boundaries"))
    axes = open_axes(fixed, streams, attended, bounded)
    objective = Objective(files, FLAGS.protocol, FLAGS.objective)
    source = ", ".join(f"{counted(len(part.ground_truth.video_ids), 'video')} of {part.dataset}" for part in files)
    print(f"Tuning on {source}: {', '.join(axes)}")
    facts = SearchFacts(source, FLAGS.protocol, FLAGS.objective, FLAGS.seed, fixed)
    best, trials = search(objective, base, axes, FLAGS.budget, FLAGS.seed, facts.report)
    write_tuning(FLAGS.output_dir, facts, best, trials)
    print(f"\n{closing_words(facts, best, trials)}\nWritten to {FLAGS.output_dir}: {FLAGFILE}, {TRIALS}")


if __name__ == "__main__":
    run_main(main, register_flags)
