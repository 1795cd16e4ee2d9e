"""CLS, CLS+CL and CLS+CL+CT (the paper's Table 4) on the demo's simulated data, over several seeds.

    python -m studies.demo_losses --dataset_dir=demo_output/dataset --work_dir=/tmp/demo_losses --seeds=5

Prints mean and standard deviation of the last step's mAP. Runs that are complete in --work_dir are not repeated.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from tc3net.common.errors import UserError
from tc3net.terminal.command import run_main
from tc3net.training.metrics_log import read_metrics

FLAGS = flags.FLAGS
VARIANTS = {"CLS": ("--alpha=0", "--beta=0"), "CLS+CL": ("--beta=0",), "CLS+CL+CT": ()}
COLUMNS = (
    "thumos14_kit/mAP@0.10", "thumos14_kit/mAP@0.30", "thumos14_kit/mAP@0.50", "thumos14_kit/mAP@0.70",
    "thumos14_kit/mAP@0.1:0.7", "reference/mAP@0.50", "classification/mAP",
)  # fmt: skip


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("dataset_dir", "demo_output/dataset", "Converted data set.")
    flags.DEFINE_string("work_dir", None, "Folder for the runs.")
    flags.DEFINE_string("config", "configs/demo.cfg", "Training flags that all variants share.")
    flags.DEFINE_list("extra_flags", [], "Further training flags for all variants, comma separated.")
    flags.DEFINE_integer("seeds", 5, "Seeds per variant, from 0.")


def final_scores(variant: str, seed: int) -> list[float]:
    """Trains one variant unless its run is complete; the last evaluation's values in the order of COLUMNS."""
    run_dir = Path(FLAGS.work_dir) / f"{variant}-seed{seed}"
    arguments = [f"--flagfile={FLAGS.config}", f"--dataset_dir={FLAGS.dataset_dir}", f"--run_dir={run_dir}"]
    arguments += [f"--seed={seed}", "--eval_every=0", "--protocols=thumos14_kit,reference"]
    arguments += [*FLAGS.extra_flags, *VARIANTS[variant]]
    result = subprocess.run([sys.executable, "-m", "tc3net.train", *arguments], capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"{variant} with seed {seed} failed:\n{result.stderr[-2000:]}")
    evaluation = [entry["evaluation"] for entry in read_metrics(run_dir) if "evaluation" in entry][-1]
    return [evaluation[column] for column in COLUMNS]


def main(argv: Sequence[str]) -> None:
    """Trains all variants and prints the table."""
    del argv
    if not FLAGS.work_dir:
        raise UserError("--work_dir is missing.")
    summary = {}
    print("  ".join(["variant".ljust(10), *(column.rjust(20) for column in COLUMNS)]))
    for variant in VARIANTS:
        scores = 100 * np.array([final_scores(variant, seed) for seed in range(FLAGS.seeds)])  # [seeds, columns]
        cells = [f"{m:.1f} ± {s:.1f}".rjust(20) for m, s in zip(scores.mean(axis=0), scores.std(axis=0, ddof=1))]
        print("  ".join([variant.ljust(10), *cells]), flush=True)
        summary[variant] = {c: [round(float(v), 2) for v in column] for c, column in zip(COLUMNS, scores.T)}
    print(json.dumps(summary))


if __name__ == "__main__":
    run_main(main, register_flags)
