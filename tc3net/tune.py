"""Command: chooses detection settings on videos that were held out from training; never on test videos.

    python -m tc3net.tune --run_dir=RUN --dataset_dir=DATASET --output_dir=OUT
    python -m tc3net.tune --scores=RUN/evaluation/raw_scores.npz --output_dir=OUT
    python -m tc3net.evaluate --flagfile=OUT/detection.cfg --run_dir=RUN --dataset_dir=DATASET

Writes OUT/detection.cfg, the detection flags for evaluate, predict and export, and OUT/tuning.json, all that was tried.
Detection flags that are given stay as given; the others are searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from absl import flags

from tc3net.common import config as config_module
from tc3net.common.command import run_main
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path, write_json
from tc3net.data.holdout import divide
from tc3net.data.split import Split
from tc3net.detection import DetectionConfig
from tc3net.experiments.tuning import OBJECTIVES, Objective, Trial, changed_settings, gain, open_axes, search
from tc3net.inference.raw_scores import RawScores, load_scores
from tc3net.results.assessment import check_protocols
from tc3net.runs.folder import CheckpointChoice, load_run
from tc3net.runs.scoring import OpenedRun, open_run

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
    flags.DEFINE_string("protocol", "thumos14", "Evaluation protocol of the objective.")
    flags.DEFINE_enum("objective", "both", OBJECTIVES, "mAP@0.5, average mAP, or both: their mean.")
    flags.DEFINE_integer("budget", 300, "Most settings to try.")
    flags.DEFINE_integer("seed", 0, "Seed of the search.")
    flags.DEFINE_string("output_dir", None, "Where detection.cfg and tuning.json go.")
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def guarded_subset() -> str:
    """The subset that must not be tuned on; empty if any may be."""
    if FLAGS.test_subset is not None:
        return str(FLAGS.test_subset)
    if not FLAGS.run_dir:
        return "test"
    return load_run(FLAGS.run_dir).test_subset or "test"


def check_subset(subset: str, what: str) -> None:
    """Raises UserError for the test subset, or an unknown one."""
    if not subset:
        raise UserError(f"{what}: which subset these videos are of is not known. Say so with --subset=NAME.")
    if subset == guarded_subset():
        raise UserError(
            f"{what}: subset {subset!r} is the test subset. Settings that are chosen on test videos make every number "
            "measured on them meaningless. Tune on videos held out from training (--subset, --videos)."
        )


def split_to_tune_on(run: OpenedRun) -> Split:
    """The videos of --subset, or those of the training subset that the run held out."""
    training = run.info.training
    trained_on = training.train_subset
    split = run.open_split(FLAGS.dataset_dir, FLAGS.subset or trained_on)
    if FLAGS.subset:
        if FLAGS.subset == trained_on and not FLAGS.videos:
            print(
                "Note: the model was trained on these videos. Its T-CAMs are better there than on new videos, and "
                "settings that suit them may not suit those; prefer held-out videos."
            )
        return split
    if not training.holdout_fraction:
        raise UserError(
            f"{FLAGS.run_dir} held out no training videos (--holdout_fraction). Name the videos to tune on: --subset."
        )
    return divide(split, training.holdout_fraction, training.inputs.seed)[1]


def score_run() -> RawScores:
    """Scores the videos to tune on with the run's model."""
    if not (FLAGS.run_dir and FLAGS.dataset_dir):
        raise UserError("Expected --run_dir and --dataset_dir, or --scores=FILE of `tc3net.evaluate`.")
    if FLAGS.subset:
        check_subset(FLAGS.subset, FLAGS.dataset_dir)
    run = open_run(FLAGS.run_dir, from_flags(CheckpointChoice))
    split = split_to_tune_on(run)
    print(f"{split.num_videos} videos of subset {split.subset}, checkpoint {run.source}", flush=True)
    return run.score(split, keep_streams=True)


def chosen_videos(scores: RawScores) -> RawScores:
    """The videos named by --videos."""
    path = Path(FLAGS.videos)
    try:
        ids = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a text file with one video id per line ({error}).") from None
    unknown = sorted(ids - set(scores.video_ids))
    if unknown or not ids:
        raise UserError(f"{path}: {len(ids)} video ids, {len(unknown)} not among the scored videos: {unknown[:3]}.")
    return scores.of_videos(ids)


def read_scores() -> list[RawScores]:
    """All raw scores to tune on, checked."""
    if FLAGS.scores:
        files = [load_scores(path) for path in FLAGS.scores]
        for path, part in zip(FLAGS.scores, files):
            check_subset(part.subset or FLAGS.subset or "", path)
    else:
        files = [score_run()]
    return [chosen_videos(part) for part in files] if FLAGS.videos else files


def percent(trial: Trial) -> str:
    """The trial's numbers for the screen."""
    return f"mAP@0.5 {100 * trial.numbers['map50']:.1f} %, average mAP {100 * trial.numbers['average']:.1f} %"


def report(number: int, trial: Trial, best: Trial) -> None:
    """One line per improvement."""
    if trial.accepted:
        print(f"  {number:4d}  {percent(best)}", flush=True)


def write_flagfile(path: Path, best: Trial, base: Trial, source: str) -> None:
    """Writes every detection setting as a flag."""
    lines = [
        "# Detection settings chosen by `python -m tc3net.tune`.",
        "# Use:       --flagfile=THIS_FILE with tc3net.evaluate, tc3net.predict or tc3net.export.",
        f"# Tuned on:  {source}; protocol {FLAGS.protocol}, objective {FLAGS.objective}, seed {FLAGS.seed}.",
        f"# There:     {percent(best)}; before: {percent(base)}.",
    ]
    lines += [f"--{item.name}={getattr(best.config, item.name)}" for item in fields(best.config)]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(argv: Sequence[str]) -> None:
    """Searches, prints, writes."""
    del argv
    check_protocols([FLAGS.protocol])
    if not FLAGS.output_dir:
        raise UserError("--output_dir is missing.")
    if FLAGS.budget < 1:
        raise UserError(f"--budget={FLAGS.budget}; expected 1 or more.")
    fixed = [item.name for item in fields(DetectionConfig) if FLAGS[item.name].present]
    base = from_flags(DetectionConfig, base=load_run(FLAGS.run_dir).detection if FLAGS.run_dir else None)
    files = read_scores()
    streams = all(part.tcam_rgb is not None for part in files)
    if not streams:
        print("Note: the raw scores hold no T-CAMs of the streams (--keep_streams); their weights stay as they are.")
    axes = open_axes(fixed, streams)
    objective = Objective(files, FLAGS.protocol, FLAGS.objective)
    source = ", ".join(f"{len(part.ground_truth.video_ids)} videos of {part.dataset}" for part in files)
    print(f"Tuning on {source}: {', '.join(axes)}")
    best, trials = search(objective, base, axes, FLAGS.budget, FLAGS.seed, report)
    output_dir = Path(FLAGS.output_dir)
    write_flagfile(output_dir / "detection.cfg", best, trials[0], source)
    table = [
        {"settings": asdict(trial.config), "objective": trial.value, **trial.numbers, "accepted": trial.accepted}
        for trial in trials
    ]
    choices = {"protocol": FLAGS.protocol, "objective": FLAGS.objective, "seed": FLAGS.seed, "fixed": fixed}
    write_json(output_dir / "tuning.json", {"tuned_on": source, **choices, "trials": table})
    improvement, error = gain(best, trials[0])
    print(
        f"\n{len(trials)} settings tried\n  before  {percent(trials[0])}\n  best    {percent(best)}\n"
        f"  gain of the objective: {100 * improvement:.1f} points, standard error {100 * error:.1f}\n"
        f"  changed: {changed_settings(best.config)}\n\n"
        "The best of many is flattered by the choice; evaluate it once on the test videos.\n"
        f"Written to {output_dir}: detection.cfg, tuning.json"
    )


if __name__ == "__main__":
    run_main(main, register_flags)
