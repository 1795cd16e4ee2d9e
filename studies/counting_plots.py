"""The picture of docs/counting.md: `python -m studies.counting_plots --results=A.jsonl,B.jsonl --chosen=VARIANT`.

Differences to CLS+CL in mAP@0.5, seed by seed: of the losses, and of one of them (--chosen) when counts are noisy or
missing. One colour per simulator; bars and bands are standard deviations over the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from absl import flags

from studies.counting_tables import BASE, Runs, gains, grouped, read_results
from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path
from tc3net.terminal.command import run_main

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

FLAGS = flags.FLAGS
COLOURS = {
    "ours": "#0072B2",
    "thumos14": "#E69F00",
    "thumos14_ours": "#009E73",
    "ours_clear": "#CC79A7",
    "thumos14_bare": "#56B4E9",
}
TITLES = {
    "ours": "data_prep.simulation.simulator",
    "thumos14": "THUMOS14's annotations, prototype features",
    "thumos14_ours": "THUMOS14's annotations, features of data_prep.simulation.simulator",
    "ours_clear": "data_prep.simulation.simulator, stronger actions",
    "thumos14_bare": "THUMOS14's annotations, prototypes without class-specific background",
}


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_list("results", [], "Files written by studies.counting_study.")
    flags.DEFINE_string("scored", "test", "test or held_out.")
    flags.DEFINE_integer("iterations", 600, "Results after so many training steps.")
    flags.DEFINE_string("chosen", "", "The variant whose behaviour with damaged counts is drawn.")
    flags.DEFINE_list("variants", [], "The variants of the first panel, in order.")
    flags.DEFINE_string("output", "counting.png", "Picture to write.")


def spread(values: np.ndarray) -> float:
    """Sample standard deviation; 0 of one value."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def bars(axes: Axes, by_simulator: Mapping[str, Runs], variants: Sequence[str]) -> None:
    """One group of bars per variant."""
    width = 0.8 / len(by_simulator)
    for index, (simulator, runs) in enumerate(by_simulator.items()):
        for place, variant in enumerate(variants):
            values = 100 * gains(runs, variant)
            if not len(values):
                continue
            at, deviation = (
                place + (index - (len(by_simulator) - 1) / 2) * width,
                values.std(ddof=min(1, len(values) - 1)),
            )
            axes.barh(
                at, values.mean(), width * 0.9, xerr=deviation, capsize=2, color=COLOURS[simulator],
                label=TITLES[simulator] if place == 0 else None,
            )  # fmt: skip
            end = values.mean() + (deviation if values.mean() >= 0 else -deviation)
            axes.annotate(
                f"{values.mean():+.1f}", (end, at), (4 if end >= 0 else -4, 0), textcoords="offset points",
                ha="left" if end >= 0 else "right", va="center", fontsize=8,
            )  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(variants)), [variant.replace(":", "\n", 1) for variant in variants], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(f"mAP@0.5 − {BASE} [points]")
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(by_simulator), frameon=False)


def curve(axes: Axes, by_simulator: Mapping[str, Runs], chosen: str, setting: str, label: str) -> None:
    """The gain of the chosen variant over one setting of the damage."""
    for simulator, runs in by_simulator.items():
        suffix = f"{chosen}:{setting}="
        points = {0.0: 100 * gains(runs, chosen)}
        points |= {float(name[len(suffix) :]): 100 * gains(runs, name) for name in runs if name.startswith(suffix)}
        x = np.array(sorted(value for value, found in points.items() if len(found)))
        means = np.array([points[value].mean() for value in x])
        deviations = np.array([spread(points[value]) for value in x])
        axes.plot(x, means, "o-", color=COLOURS[simulator])
        axes.fill_between(x, means - deviations, means + deviations, color=COLOURS[simulator], alpha=0.2, linewidth=0)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel(label)
    axes.set_ylabel(f"mAP@0.5 − {BASE} [points]")


def main(argv: Sequence[str]) -> None:
    """Draws the picture."""
    del argv
    if not FLAGS.results or not FLAGS.chosen or not FLAGS.variants:
        raise UserError("--results, --chosen and --variants are needed.")
    entries = read_results(FLAGS.results, FLAGS.scored, FLAGS.iterations)
    by_simulator = {
        name: grouped([entry for entry in entries if entry["simulator"] == name])
        for name in dict.fromkeys(entry["simulator"] for entry in entries)
    }
    figure, panels = plt.subplot_mosaic(
        [["losses", "noise"], ["losses", "missing"]], figsize=(11, 6.5), width_ratios=[1.7, 1], layout="constrained"
    )
    bars(panels["losses"], by_simulator, FLAGS.variants)
    curve(panels["noise"], by_simulator, FLAGS.chosen, "noise", "noise of the counts (deviation of ln count)")
    curve(panels["missing"], by_simulator, FLAGS.chosen, "missing", "share of the videos without counts")
    for axes in panels.values():
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Simulated features. Right: {FLAGS.chosen}", fontsize=10)
    with atomic_path(FLAGS.output) as path:
        figure.savefig(path, dpi=110, format="png")
    plt.close(figure)
    print(f"Written: {FLAGS.output}")


if __name__ == "__main__":
    run_main(main, register_flags)
