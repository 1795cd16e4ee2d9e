"""Command: trains and scores the variants of the paper's Table 4 and Figure 3, over several seeds.

    python -m tc3net.ablate --flagfile=configs/ablation.cfg --dataset_dir=DATASET --output_dir=OUT --seeds=5

All flags of tc3net.train are the variants' common settings. Each variant and seed is an ordinary run folder,
OUT/runs/VARIANT-seedN, trained by tc3net.train (its output: OUT/logs) and evaluated as by tc3net.evaluate. The same
command again resumes: what is finished is not repeated. OUT/ablation.md, .json and .png hold what there is so far.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from absl import flags

from tc3net import train
from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError, UserError
from tc3net.data.split import open_split
from tc3net.evaluation import DEFAULT_PROTOCOL, find_protocol
from tc3net.experiments.ablation import FULL, Variant, variants_of, write_report
from tc3net.experiments.repeated_runs import ExperimentFolder, RunScoring, train_run
from tc3net.results.assessment import check_protocols, selection_tag
from tc3net.results.folder import write_text
from tc3net.runs.folder import CheckpointChoice
from tc3net.runs.provenance import dataset_checksum
from tc3net.runs.scoring import DatasetChoice
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
# May differ from one start to the next: they change no number. (Data that moved is recognised by its checksum.)
_FREE = {
    "dataset_dir", "log_every", "checkpoint_every", "keep_checkpoints", "cache", "tensorboard", "tensorboard_videos",
}  # fmt: skip


def register_flags() -> None:
    """Defines this command's flags and those of the training command."""
    train.register_flags()
    flags.adopt_module_key_flags(train)
    flags.DEFINE_string("output_dir", None, "Folder of the ablation: runs, logs, table.")
    flags.DEFINE_integer("seeds", 5, "Seeds per variant, from 0.")
    flags.DEFINE_list("variants", [], "Which variants, in the order of the table; default: all that the streams have.")
    flags.DEFINE_string("protocol", DEFAULT_PROTOCOL, "Evaluation protocol of the table.")
    define_flags(CheckpointChoice)
    flags.adopt_module_key_flags(config_module)


def common_flags() -> dict[str, str]:
    """Every training flag but those that differ between the runs, as it is written."""
    own = {"output_dir", "seeds", "variants", "protocol", "checkpoint", "weights", "run_dir", "seed"}
    return {flag.name: line for flag in train.own_flags() if flag.name not in own and (line := flag.serialize())}


def check_runs_flags() -> None:
    """Raises UserError for flags of many runs that would fail, or mean something else, after hours."""
    check_protocols([FLAGS.protocol])
    for name in ("dataset_dir", "output_dir", "test_subset"):
        if not FLAGS[name].value:
            raise UsageError(f"--{name} is missing. Give it on the command line or in the flagfile.")
    for name in ("run_dir", "seed"):
        if FLAGS[name].present:
            raise UserError(f"--{name}: expected --output_dir and --seeds, since each run has its own.")
    if FLAGS.seeds < 1:
        raise UserError(f"--seeds={FLAGS.seeds}; expected 1 or more.")


def check_flags() -> None:
    """The same, and what would make no ablation."""
    check_runs_flags()
    for name in ("alpha", "beta"):
        if FLAGS[name].value == 0:
            raise UserError(
                f"--{name}=0 would make 3C-Net itself a variant without that loss; expected its full value."
            )


def chosen_variants() -> dict[str, Variant]:
    """The rows of the table, in order.

    Raises:
        UserError: a variant that the data set's streams do not have.
    """
    there = variants_of(open_split(FLAGS.dataset_dir, FLAGS.train_subset).manifest.streams.names)
    unknown = [name for name in FLAGS.variants if name not in there]
    if unknown:
        raise UserError(f"--variants={','.join(FLAGS.variants)}: expected some of {', '.join(there)}.")
    return {name: there[name] for name in FLAGS.variants or there}


def deciding_settings() -> dict[str, str]:
    """What decides about the numbers: a folder's runs must not differ in any of it."""
    settings = {name: line for name, line in common_flags().items() if name not in _FREE}
    settings |= {name: str(FLAGS[name].value) for name in ("checkpoint", "weights")}
    settings["protocol"] = find_protocol(FLAGS.protocol).signature
    settings["protocols"] = f"--protocols={','.join(find_protocol(name).signature for name in FLAGS.protocols)}"
    settings["data"] = dataset_checksum(open_split(FLAGS.dataset_dir, FLAGS.train_subset).manifest)
    return settings


def main(argv: Sequence[str]) -> None:
    """Runs what is not there yet, one seed of every variant after the other, and writes the table after each."""
    del argv
    check_flags()
    variants = chosen_variants()
    ablation = ExperimentFolder(FLAGS.output_dir, deciding_settings())
    scoring = RunScoring(
        from_flags(CheckpointChoice), DatasetChoice(FLAGS.dataset_dir, FLAGS.test_subset), FLAGS.protocol
    )
    flagfile, tag = ablation.folder / "common_flags.cfg", selection_tag(FLAGS.protocol)
    write_text(flagfile, "".join(f"{line}\n" for line in common_flags().values()))
    facts = {"settings": ablation.settings, "checkpoint": FLAGS.checkpoint, "full": FULL}
    plan = [(seed, name) for seed in range(FLAGS.seeds) for name in variants]
    table = ""
    for number, (seed, name) in enumerate(plan, 1):
        key, started = f"{name}-seed{seed}", time.monotonic()
        run_dir = ablation.run_dir(key)
        if key not in ablation.runs:
            print(f"[{number}/{len(plan)}] {key} ...", flush=True)
            arguments = [f"--flagfile={flagfile}", f"--seed={seed}", *variants[name].flags]
            train_run(run_dir, arguments, ablation.folder / "logs" / f"{key}.log")
            ablation.add(key, scoring(run_dir))
            value, seconds = 100 * ablation.runs[key][tag], time.monotonic() - started
            print(f"[{number}/{len(plan)}] {key}: {tag} {value:.1f} %, {seconds:.0f} s", flush=True)
        elif number < len(plan):
            continue
        results = ablation.results(variants, FLAGS.seeds)
        caption = scoring.caption(run_dir, FLAGS.iterations)
        table = write_report(ablation.folder, results, FLAGS.protocol, caption, facts, variants)
    print(f"\n{table}\nWritten to {ablation.folder}: ablation.md, ablation.json, ablation.png")


if __name__ == "__main__":
    run_main(main, register_flags)
