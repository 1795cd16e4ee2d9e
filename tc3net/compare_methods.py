"""Command: trains and scores several methods on one trunk, one data set and one evaluator, over several seeds.

    python -m tc3net.compare_methods --methods=cls_cl,3c_net,3c_net+refine --dataset_dir=DATASET --output_dir=OUT

A method is a flagfile of configs/methods, by name, or any flagfile; NAME+refine adds the second stage. Training flags
that are given here hold for all methods. Settings are chosen on held-out training videos, with the same number of
trials for each method; the test subset is scored once per run. The same command again resumes: what is finished is not
repeated. OUT/methods.md, .json, .png and .svg hold what there is so far. See docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tc3net import ablate, train
from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UserError
from tc3net.common.files import write_json
from tc3net.data.split import open_split
from tc3net.detection import DetectionConfig
from tc3net.evaluation import DEFAULT_PROTOCOL, find_protocol
from tc3net.experiments.method_runs import Contest, MethodRuns, facts_of
from tc3net.experiments.method_tables import Standing, as_dict, markdown, picture
from tc3net.experiments.methods import Method, find_methods, known_methods
from tc3net.experiments.repeated_runs import ExperimentFolder
from tc3net.results.folder import write_text
from tc3net.runs.folder import CheckpointChoice
from tc3net.runs.provenance import dataset_checksum
from tc3net.terminal.command import run_main
from tc3net.terminal.flagfiles import config_of
from tc3net.visualization import style

FLAGS = flags.FLAGS
KIND = "a comparison of methods"
# Given here, each with a meaning of its own.
_OWN = {
    "methods", "dataset_dir", "output_dir", "seeds", "alternatives", "holdout_fraction", "trials", "protocol",
    "detection", "checkpoint", "weights", "run_dir", "seed", "train_subset", "test_subset",
}  # fmt: skip
# May differ from one start to the next: they change no number.
_FREE = {"log_every", "checkpoint_every", "keep_checkpoints", "cache", "tensorboard", "tensorboard_videos"}


def register_flags() -> None:
    """Defines this command's flags and those of the training command."""
    train.register_flags()
    flags.adopt_module_key_flags(train)
    flags.DEFINE_list(
        "methods", [], f"What to compare, the first with each of the others: {', '.join(known_methods())}."
    )
    flags.DEFINE_string("output_dir", None, "Folder of the comparison: runs, settings, logs, table.")
    flags.DEFINE_integer("seeds", 5, "Seeds per method, from 0.")
    flags.DEFINE_multi_string(
        "alternatives",
        [],
        "Training flags in one string, of which the best are found for each method; may be repeated.",
    )
    flags.DEFINE_integer("trials", 100, "Detection settings tried for each method and alternative.")
    flags.DEFINE_string(
        "detection",
        "configs/thumos14_plus.cfg",
        "Flagfile of the detection settings that all methods are scored under.",
    )
    flags.DEFINE_string("protocol", DEFAULT_PROTOCOL, "Evaluation protocol of the table.")
    define_flags(CheckpointChoice)
    flags.adopt_module_key_flags(config_module)


def common_flags() -> dict[str, str]:
    """The training flags that were given, as they are written."""
    given = {flag.name: flag for flag in train.own_flags() if flag.present and flag.name not in _OWN}
    return {name: line for name, flag in given.items() if (line := flag.serialize())}


def contest_of_flags() -> Contest:
    """What is the same for all methods.

    Raises:
        UserError: what would fail, or mean something else, after hours.
    """
    ablate.check_runs_flags()
    if FLAGS.trials < 1:
        raise UserError(f"--trials={FLAGS.trials}; expected 1 or more.")
    return Contest(
        folder=Path(FLAGS.output_dir),
        dataset_dir=FLAGS.dataset_dir,
        train_subset=FLAGS.train_subset,
        test_subset=FLAGS.test_subset,
        protocol=FLAGS.protocol,
        common_flags=tuple(common_flags().values()),
        alternatives=tuple(FLAGS.alternatives) or ("",),
        holdout_fraction=FLAGS.holdout_fraction or 0.25,
        trials=FLAGS.trials,
        common_rule=config_of(DetectionConfig, FLAGS.detection, "detection"),
        choice=from_flags(CheckpointChoice),
    )


def deciding_settings(contest: Contest) -> dict[str, str]:
    """What decides about the numbers: a folder's runs must not differ in any of it."""
    settings = {name: line for name, line in common_flags().items() if name not in _FREE}
    named = ("train_subset", "test_subset", "alternatives", "holdout_fraction", "trials", "common_rule", "choice")
    settings |= {name: str(getattr(contest, name)) for name in named}
    settings["protocol"] = find_protocol(contest.protocol).signature
    settings["data"] = dataset_checksum(open_split(contest.dataset_dir, contest.train_subset).manifest)
    return settings


def caption_of(contest: Contest) -> str:
    """What the numbers are of, in one line."""
    manifest = open_split(contest.dataset_dir, contest.test_subset).manifest
    given = " ".join(contest.common_flags) or "flagfiles as they are"
    return (
        f"{manifest.title}, subset {contest.test_subset}, protocol {contest.protocol}; streams "
        f"{manifest.streams.words()}; {given}"
    )


def write_results(contest: Contest, runs: MethodRuns, folder: ExperimentFolder, methods: dict[str, Method]) -> str:
    """Writes the table, JSON and pictures of what there is; returns the table."""
    found = folder.results(methods, FLAGS.seeds)
    standings = [
        Standing(methods[name], by_seed, {seed: runs.samples(methods[name], seed) for seed in by_seed})
        for name, by_seed in found.items()
        if by_seed
    ]
    caption = caption_of(contest)
    table = markdown(standings, contest.protocol, caption)
    write_text(contest.folder / "methods.md", table)
    rows = as_dict(standings, contest.protocol, lambda method: vars(runs.choose(method)))
    for row in rows.values():
        row["chosen"] = {**row["chosen"], "detection": vars(row["chosen"]["detection"])}
    write_json(contest.folder / "methods.json", {"caption": caption, **facts_of(contest), "methods": rows})
    style.save(contest.folder, "methods", picture, standings, contest.protocol, caption)
    return table


def main(argv: Sequence[str]) -> None:
    """Runs what is not there yet, one seed of every method after the other, and writes the table after each."""
    del argv
    methods = find_methods(FLAGS.methods)
    contest = contest_of_flags()
    folder = ExperimentFolder(contest.folder, deciding_settings(contest), KIND)
    runs = MethodRuns(contest, lambda line: print(line, flush=True))
    plan = [(seed, method) for seed in range(FLAGS.seeds) for method in methods.values()]
    for number, (seed, method) in enumerate(plan, 1):
        key = f"{method.name}-seed{seed}"
        if key in folder.runs:
            continue
        print(f"[{number}/{len(plan)}] {key} ...", flush=True)
        folder.add(key, runs.run(method, seed))
        write_results(contest, runs, folder, methods)
    table = write_results(contest, runs, folder, methods)
    print(f"\n{table}\nWritten to {contest.folder}: methods.md, methods.json, methods.png, methods.svg")


if __name__ == "__main__":
    run_main(main, register_flags)
