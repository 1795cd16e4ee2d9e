"""What a comparison of methods leaves: one table, the same as JSON, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tc3net.evaluation import find_protocol
from tc3net.evaluation.resampling import percentile_interval
from tc3net.experiments.ablation import percent
from tc3net.experiments.method_runs import COMMON, OWN, TUNED
from tc3net.experiments.methods import Method
from tc3net.results.assessment import map_tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULES = {OWN: "own rule", COMMON: "common rule", TUNED: "tuned rule"}
COLORS = {OWN: "#999999", COMMON: "#56B4E9", TUNED: "#E69F00"}
Runs = Mapping[int, Mapping[str, float]]  # seed -> `RULE:TAG` -> fraction


@dataclass(frozen=True)
class Standing:
    """What is known of one method.

    Attributes:
        method: which.
        runs: of its seeds.
        samples: of its seeds, rule -> [b, 2], see `MethodRuns.samples_path`.
    """

    method: Method
    runs: Runs
    samples: Mapping[int, Mapping[str, np.ndarray]]

    def values(self, rule: str, tag: str) -> list[float]:
        """A number of every seed, in order."""
        return [self.runs[seed][f"{rule}:{tag}"] for seed in sorted(self.runs)]


@dataclass(frozen=True)
class Gain:
    """How much better a method is than the first one.

    Attributes:
        by_seed: difference of each seed that both have, as a fraction.
        low, high: of the mean over these seeds, over resamples of the test videos: the middle 95 %.
    """

    by_seed: tuple[float, ...]
    low: float
    high: float

    def words(self) -> str:
        """In points."""
        return f"{percent(self.by_seed, '+')} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def numbers_of(protocol: str) -> dict[str, str]:
    """Heading -> tag of the mAP at the main tIoU and of the main average, as far as the protocol has one."""
    of = find_protocol(protocol)
    found = {f"@{of.main_tiou:g}": map_tag(of.name, of.main_tiou)}
    if of.main_average is not None:
        found[f"@{of.main_average}"] = map_tag(of.name, of.main_average)
    return found


def gain(standing: Standing, baseline: Standing, rule: str, column: int, tag: str) -> Gain | None:
    """Paired difference of two methods under one rule, seed by seed and video by video; None without a common seed.

    Args:
        standing, baseline: the methods.
        rule: detection settings, of `RULES`.
        column: 0, mAP at the main tIoU; 1, main average.
        tag: name of the same number among the scalars.
    """
    seeds = sorted(set(standing.runs) & set(baseline.runs))
    if not seeds or standing.method.name == baseline.method.name:
        return None
    key = f"{rule}:{tag}"
    differences = [standing.runs[seed][key] - baseline.runs[seed][key] for seed in seeds]
    # The same videos were drawn for both, so what is left is the difference of the methods on them.
    drawn = [standing.samples[seed][rule][:, column] - baseline.samples[seed][rule][:, column] for seed in seeds]
    low, high = percentile_interval(np.mean(drawn, axis=0), 0.95)
    return Gain(tuple(differences), float(low), float(high))


def markdown(standings: Sequence[Standing], protocol: str, caption: str) -> str:
    """The table; the first method is what the others are compared with.

    Args:
        standings: with at least one run each.
        protocol: evaluation protocol.
        caption: what was trained and how it was scored.
    """
    numbers = numbers_of(protocol)
    column, (main, tag) = list(enumerate(numbers.items()))[-1]
    first = standings[0]
    heads = ["method", "seeds", "classification"]
    heads += [f"{rule}: {heading}" for rule in RULES.values() for heading in numbers]
    heads += [f"{RULES[TUNED]}: {main} − {first.method.title}", "published (real THUMOS14)"]
    lines = [caption, "", f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for standing in standings:
        cells = [percent(standing.values(OWN, "classification/mAP"))]
        cells += [percent(standing.values(rule, tag)) for rule in RULES for tag in numbers.values()]
        found = gain(standing, first, TUNED, column, tag)
        cells.append(found.words() if found else "")
        cells.append(" / ".join("–" if value is None else f"{value:.1f}" for value in standing.method.published))
        lines.append(f"| {standing.method.title} | {len(standing.runs)} | {' | '.join(cells)} |")
    note = (
        "mAP in %, mean ± standard deviation over the seeds. Own rule: detection as in the method's flagfile; "
        "common rule: the same ones for all; tuned rule: found on held-out training videos, with the same number of "
        f"trials for each method. Differences are paired by seed; in brackets, what the mean difference of mAP{main} "
        "would be with other test videos (95 % of 1000 resamples). Published: mAP@0.5 / 0.1:0.7, other features and "
        "other data; not to be compared with the columns before."
    )
    return "\n".join([*lines, "", note, ""])


def as_dict(standings: Sequence[Standing], protocol: str, choices: Callable[[Method], Any]) -> dict[str, Any]:
    """The same for JSON; fractions.

    Args:
        standings: with at least one run each.
        protocol: evaluation protocol.
        choices: the settings of a method.
    """
    found = {}
    for standing in standings:
        gains = {}
        for rule in RULES:
            for column, (heading, tag) in enumerate(numbers_of(protocol).items()):
                difference = gain(standing, standings[0], rule, column, tag)
                if difference:
                    gains[f"{rule}:{heading}"] = vars(difference)
        found[standing.method.name] = {
            "title": standing.method.title,
            "flagfile": str(standing.method.flagfile),
            "chosen": choices(standing.method),
            "seeds": {str(seed): dict(scalars) for seed, scalars in standing.runs.items()},
            "gain": gains,
            "published": list(standing.method.published),
        }
    return found


def picture(standings: Sequence[Standing], protocol: str, caption: str) -> Figure:
    """A row per method, a dot per seed and rule, a bar at each mean."""
    from matplotlib.figure import Figure

    heading, tag = list(numbers_of(protocol).items())[-1]
    figure = Figure(figsize=(7.5, 1.6 + 0.42 * len(standings)), layout="constrained")
    axes = figure.subplots()
    for row, standing in enumerate(standings):
        for offset, rule in zip((-0.22, 0.0, 0.22), RULES):
            values = 100 * np.array(standing.values(rule, tag))
            place = np.full(len(values), row + offset)
            axes.plot(
                values, place, "o", color=COLORS[rule], markersize=4, alpha=0.8, label=RULES[rule] if not row else None
            )
            axes.plot([values.mean()] * 2, [row + offset - 0.1, row + offset + 0.1], color=COLORS[rule], linewidth=2.5)
    axes.set_yticks(range(len(standings)), [standing.method.title for standing in standings])
    axes.invert_yaxis()
    axes.set_xlabel(f"{protocol} mAP{heading} [%]")
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.set_title(caption, fontsize=8, wrap=True)
    figure.legend(loc="outside lower center", ncols=len(RULES), frameon=False, fontsize=8)
    return figure
