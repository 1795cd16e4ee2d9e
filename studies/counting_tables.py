"""Tables of the counting study: `python -m studies.counting_tables --results=A.jsonl,B.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from tc3net.common.errors import UserError
from tc3net.experiments.ablation import percent
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
COLUMNS = {
    "@0.1": "thumos14_kit/mAP@0.10", "@0.3": "thumos14_kit/mAP@0.30", "@0.5": "thumos14_kit/mAP@0.50",
    "@0.7": "thumos14_kit/mAP@0.70", "0.1:0.7": "thumos14_kit/mAP@0.1:0.7", "`reference` @0.5": "reference/mAP@0.50",
    "classification": "classification/mAP",
}  # fmt: skip
BASE = "CLS+CL"
Runs = Mapping[str, Mapping[int, dict[str, Any]]]  # variant -> seed -> entry


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_list("results", [], "Files written by studies.counting_study.")
    flags.DEFINE_string("scored", "test", "test or held_out.")
    flags.DEFINE_integer("iterations", 600, "Results after so many training steps.")
    flags.DEFINE_list("variants", [], "Which variants, in order; default: all.")


def grouped(entries: Sequence[dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Entries by variant, then seed, in the order of their first appearance."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for entry in entries:
        found.setdefault(entry["variant"], {})[entry["seed"]] = entry
    return found


def gains(runs: Runs, variant: str) -> np.ndarray:
    """mAP@0.5 minus that of CLS+CL, as fractions, for every seed that both have."""
    column, base = COLUMNS["@0.5"], runs.get(BASE, {})
    both = sorted(set(runs.get(variant, {})) & set(base))
    return np.array([runs[variant][seed]["scalars"][column] - base[seed]["scalars"][column] for seed in both])


def summary(entries: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row per variant; the difference to CLS+CL is over the seeds that both have."""
    lines = []
    for scored in dict.fromkeys(entry["scored"] for entry in entries):
        runs = grouped([entry for entry in entries if entry["scored"] == scored])
        titles = ["variant", "seeds", *COLUMNS, f"@0.5 − {BASE}", "detections' count error"]
        lines += [
            "",
            f"{entries[0]['simulator']}, {scored}",
            "",
            f"| {' | '.join(titles)} |",
            "|---" * len(titles) + "|",
        ]
        for variant, by_seed in runs.items():
            cells = [percent([entry["scalars"][column] for entry in by_seed.values()]) for column in COLUMNS.values()]
            errors = [entry["shape"]["error_of_number_of_detections"] for entry in by_seed.values()]
            gain = percent(gains(runs, variant).tolist())
            lines.append(f"| {variant} | {len(by_seed)} | {' | '.join(cells)} | {gain} | {np.mean(errors):.2f} |")
    return "\n".join(lines)


def entries_of(path: str | Path) -> list[dict[str, Any]]:
    """All entries of a file of results; in files of before it had that name, the THUMOS14 kit is "thumos14"."""
    entries = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    for entry in entries:
        scalars = entry["scalars"].items()
        entry["scalars"] = {name.replace("thumos14/", "thumos14_kit/"): value for name, value in scalars}
    return entries


def read_results(paths: Sequence[str], scored: str, iterations: int) -> list[dict[str, Any]]:
    """The entries of result files that may be compared.

    Args:
        paths: files written by studies.counting_study.
        scored: "test" or "held_out".
        iterations: training steps.
    """
    entries = [entry for path in paths for entry in entries_of(path)]
    return [entry for entry in entries if (entry["scored"], entry["iterations"]) == (scored, iterations)]


def main(argv: Sequence[str]) -> None:
    """Prints one table per simulator."""
    del argv
    if not FLAGS.results:
        raise UserError("--results is missing.")
    entries = read_results(FLAGS.results, FLAGS.scored, FLAGS.iterations)
    if FLAGS.variants:
        rank = {name: index for index, name in enumerate(FLAGS.variants)}
        entries = sorted((e for e in entries if e["variant"] in rank), key=lambda e: rank[e["variant"]])
    for simulator in dict.fromkeys(entry["simulator"] for entry in entries):
        print(summary([entry for entry in entries if entry["simulator"] == simulator]))


if __name__ == "__main__":
    run_main(main, register_flags)
