"""Command: trains and scores the variants of the paper's Table 4 and Figure 3, over several seeds.

    python -m tc3net.ablate --flagfile=configs/ablation.cfg --dataset_dir=DATASET --output_dir=OUT --seeds=5

All flags of tc3net.train are the variants' common settings. Each variant and seed is an ordinary run folder,
OUT/runs/VARIANT-seedN, trained by tc3net.train (its output: OUT/logs) and evaluated as by tc3net.evaluate. The same
command again resumes: what is finished is not repeated. OUT/ablation.md, .json and .png hold what there is so far.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from tc3net import train
from tc3net.common import config as config_module
from tc3net.common.command import run_main
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UserError
from tc3net.common.files import read_json, write_json
from tc3net.common.interruption import Interruptions
from tc3net.data.split import open_split
from tc3net.evaluation import average_recall
from tc3net.experiments.ablation import FULL, VARIANTS, Results, write_report
from tc3net.inference.raw_scores import save_scores
from tc3net.results.assessment import assess_scored, check_protocols, selection_tag
from tc3net.results.folder import RAW_SCORES, write_evaluation, write_text
from tc3net.results.sources import from_scores
from tc3net.runs.folder import CheckpointChoice, load_run
from tc3net.runs.provenance import dataset_checksum, versions
from tc3net.runs.scoring import open_run

FLAGS = flags.FLAGS
RESULTS = "results.json"
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
    flags.DEFINE_list("variants", list(VARIANTS), "Which variants, in the order of the table.")
    flags.DEFINE_string("protocol", "thumos14", "Evaluation protocol of the table.")
    define_flags(CheckpointChoice)
    flags.adopt_module_key_flags(config_module)


def common_flags() -> dict[str, str]:
    """Every training flag but those that differ between the runs, as it is written."""
    own = {"output_dir", "seeds", "variants", "protocol", "checkpoint", "weights", "run_dir", "seed"}
    return {flag.name: line for flag in train.own_flags() if flag.name not in own and (line := flag.serialize())}


def check_flags() -> None:
    """Raises UserError for what would fail, or mean something else, after hours."""
    check_protocols([FLAGS.protocol])
    for name in ("dataset_dir", "output_dir", "test_subset"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing. Give it on the command line or in the flagfile.")
    for name in ("run_dir", "seed"):
        if FLAGS[name].present:
            raise UserError(f"--{name}: expected --output_dir and --seeds, since each run has its own.")
    if FLAGS.seeds < 1:
        raise UserError(f"--seeds={FLAGS.seeds}; expected 1 or more.")
    unknown = [name for name in FLAGS.variants if name not in VARIANTS]
    if unknown or not FLAGS.variants:
        raise UserError(f"--variants={','.join(FLAGS.variants)}: expected some of {', '.join(VARIANTS)}.")
    for name in ("alpha", "beta"):
        if FLAGS[name].value == 0:
            raise UserError(
                f"--{name}=0 would make 3C-Net itself a variant without that loss; expected its full value."
            )


def claim_output(folder: Path) -> dict[str, Any]:
    """The results so far, after a comparison of their settings with these.

    Raises:
        UserError: they are of other settings or other data.
    """
    settings = {name: line for name, line in common_flags().items() if name not in _FREE}
    settings |= {name: str(FLAGS[name].value) for name in ("protocol", "checkpoint", "weights")}
    settings["data"] = dataset_checksum(open_split(FLAGS.dataset_dir, FLAGS.train_subset).manifest)
    path = folder / RESULTS
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} is not empty and holds no ablation. Choose another --output_dir.")
        return {"settings": settings, "runs": {}}
    found = read_json(path, "results of an ablation")
    changed = [name for name in {**found["settings"], **settings} if found["settings"].get(name) != settings.get(name)]
    if changed:
        there, here = (part.get(changed[0], "(not given)") for part in (found["settings"], settings))
        raise UserError(
            f"{folder} holds an ablation with other settings ({', '.join(changed)}): {there} there, {here} here. "
            "Choose another --output_dir, or give the earlier settings."
        )
    return found


def train_variant(run_dir: Path, arguments: Sequence[str], log: Path) -> None:
    """Trains one run, or what remains of it, in a process of its own.

    Raises:
        SystemExit: stopped by a signal, which the training got too.
        UserError: training failed.
    """
    command = [sys.executable, "-m", "tc3net.train", *arguments, f"--run_dir={run_dir}"]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    log.parent.mkdir(parents=True, exist_ok=True)
    with Interruptions() as interruptions, log.open("ab") as output:
        # In a session of its own, so that Ctrl-C reaches it once, from here.
        child = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        told = False
        while child.poll() is None:
            if interruptions.received and not told:
                child.send_signal(interruptions.received)
                told = True
            time.sleep(0.1)
    if interruptions.received or child.returncode in (128 + signal.SIGTERM, 128 + signal.SIGINT):
        print("Stopped. The same command resumes.", flush=True)
        raise SystemExit(128 + (interruptions.received or child.returncode - 128))
    if child.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace")[-1500:]
        raise UserError(f"{run_dir}: training failed with status {child.returncode}. The end of {log}:\n{tail}")


def evaluate(run_dir: Path) -> dict[str, float]:
    """Scores a finished run and leaves what `tc3net.evaluate` would; the assessment's scalars."""
    run = open_run(str(run_dir), from_flags(CheckpointChoice))
    detection, checkpoint = run.info.detection, run.source
    split = run.open_split(FLAGS.dataset_dir, FLAGS.test_subset)
    scores = run.score(split, keep_streams=detection.needs_streams)
    save_scores(run_dir / "evaluation" / RAW_SCORES, scores)
    scored = from_scores(checkpoint, scores, detection)
    assessment = assess_scored(scored, [FLAGS.protocol])
    write_evaluation(
        run_dir / "evaluation",
        scored,
        assessment,
        average_recall(scored.annotated.truth, scored.detections),
        subset=FLAGS.test_subset,
        facts={"source": checkpoint, "detection": vars(detection), "versions": versions()},
    )
    return assessment.scalars()


def caption_of(run_dir: Path) -> str:
    """What the numbers are of, in one line."""
    run = load_run(run_dir)
    which = "last checkpoint (nothing was selected)"
    if FLAGS.checkpoint == "best":
        which = f"checkpoint selected by {run.training.selected_by}"
    return (
        f"{run.dataset}, subset {FLAGS.test_subset}, protocol {FLAGS.protocol}; {FLAGS.iterations} steps, {which}; "
        f"{run.feature_dim} features per stream"
    )


def main(argv: Sequence[str]) -> None:
    """Runs what is not there yet, one seed of every variant after the other, and writes the table after each."""
    del argv
    check_flags()
    folder = Path(FLAGS.output_dir)
    found = claim_output(folder)
    write_json(folder / RESULTS, found)
    flagfile = folder / "common_flags.cfg"
    write_text(flagfile, "".join(f"{line}\n" for line in common_flags().values()))
    runs: dict[str, dict[str, float]] = found["runs"]
    plan = [(seed, name) for seed in range(FLAGS.seeds) for name in FLAGS.variants]
    table = ""
    for number, (seed, name) in enumerate(plan, 1):
        key, started = f"{name}-seed{seed}", time.monotonic()
        run_dir = folder / "runs" / key
        if key not in runs:
            print(f"[{number}/{len(plan)}] {key} ...", flush=True)
            arguments = [f"--flagfile={flagfile}", f"--seed={seed}", *VARIANTS[name].flags]
            train_variant(run_dir, arguments, folder / "logs" / f"{key}.log")
            runs[key] = evaluate(run_dir)
            write_json(folder / RESULTS, found)
            value, seconds = 100 * runs[key][selection_tag(FLAGS.protocol)], time.monotonic() - started
            print(
                f"[{number}/{len(plan)}] {key}: {selection_tag(FLAGS.protocol)} {value:.1f} %, {seconds:.0f} s",
                flush=True,
            )
        elif number < len(plan):
            continue
        results: Results = {
            variant: {s: runs[f"{variant}-seed{s}"] for s in range(FLAGS.seeds) if f"{variant}-seed{s}" in runs}
            for variant in FLAGS.variants
        }
        facts = {"settings": found["settings"], "checkpoint": FLAGS.checkpoint, "full": FULL}
        table = write_report(folder, results, FLAGS.protocol, caption_of(run_dir), facts)
    print(f"\n{table}\nWritten to {folder}: ablation.md, ablation.json, ablation.png")


if __name__ == "__main__":
    run_main(main, register_flags)
