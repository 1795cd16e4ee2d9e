"""What the paper's Table 4 and Figure 3 compare: the variants, and their results as a table, JSON and a picture.

A variant is a set of training flags over common ones. How runs are made and scored is `tc3net.ablate`'s business.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tc3net.common.files import atomic_path, write_json
from tc3net.data.streams import RGB_FLOW
from tc3net.evaluation import find_protocol
from tc3net.results.assessment import map_tag, selection_tag
from tc3net.results.folder import write_text
from tc3net.visualization.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scalars = Mapping[str, float]
Results = Mapping[str, Mapping[int, Scalars]]  # variant -> seed -> name -> fraction


@dataclass(frozen=True)
class Variant:
    """One row of the ablation.

    Attributes:
        title: in words.
        flags: training flags that make it, over those of 3C-Net.
        paper: mAP@0.5 minus 3C-Net's in the paper, THUMOS14, real features, in points; None where it has none.
    """

    title: str
    flags: tuple[str, ...]
    paper: float | None


FULL = "3c-net"


def variants_of(streams: Sequence[str]) -> dict[str, Variant]:
    """The rows of the ablation by name, for a network of these streams.

    Of a single stream there is one T-CAM to classify and one center loss, so that nothing is left to leave out there.

    Args:
        streams: their names; of rgb and flow the paper has numbers.
    """
    found = {
        FULL: Variant("3C-Net (CLS+CL+CT)", (), 0.0),
        "cls": Variant("CLS", ("--alpha=0", "--beta=0"), -7.5),
        "cls-cl": Variant("CLS+CL", ("--beta=0",), -2.0),
    }
    if len(streams) > 1:
        title = "classification loss on fused T-CAM only"
        found["fused-classification"] = Variant(title, ("--classification_tcams=fused",), -2.5)
        for name in sorted(streams) if tuple(streams) == RGB_FLOW else streams:
            title = f"center loss in {name} only"
            found[f"{name}-center"] = Variant(title, (f"--center_streams={name}",), _PAPER_CENTER.get(name))
    return {
        **found,
        "no-negative-count": Variant("no negative count term", ("--count_negative_weight=0",), -1.5),
        "absolute-count-error": Variant("absolute count error", ("--count_error=absolute",), -1.2),
    }


_PAPER_CENTER = {"flow": -2.1, "rgb": -1.9}
VARIANTS = variants_of(RGB_FLOW)


def columns(protocol: str) -> dict[str, str]:
    """The numbers of the table: heading -> name among an assessment's scalars."""
    of = find_protocol(protocol)
    found = {f"@{tiou:g}": map_tag(of.name, tiou) for tiou in of.brief_tious or of.tious}
    if of.main_average is not None:
        found[f"@{of.main_average}"] = map_tag(of.name, of.main_average)
    return {**found, "classification": "classification/mAP"}


def percent(values: Sequence[float], sign: str = "") -> str:
    """Mean ± sample standard deviation of fractions, in percent; the latter from two values on."""
    if not values:
        return "-"
    deviation = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):{sign}.1f}{deviation}"


def differences(results: Results, variant: str, protocol: str) -> list[float]:
    """The variant's main number minus 3C-Net's, for each seed that both have."""
    tag, full = selection_tag(protocol), results.get(FULL, {})
    return [results[variant][seed][tag] - full[seed][tag] for seed in sorted(set(results[variant]) & set(full))]


def markdown(results: Results, protocol: str, caption: str, variants: Mapping[str, Variant] = VARIANTS) -> str:
    """The table.

    Args:
        results: of the variants that have any.
        protocol: evaluation protocol.
        caption: what was trained and how it was scored.
        variants: the rows by name.
    """
    shown, main = columns(protocol), selection_tag(protocol).rpartition("mAP")[2]
    heads = ["variant", "seeds", *shown, f"mAP{main} − 3C-Net", "in the paper"]
    lines = [caption, "", f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for name, by_seed in results.items():
        cells = [percent([by_seed[seed][tag] for seed in sorted(by_seed)]) for tag in shown.values()]
        gain = "" if name == FULL else percent(differences(results, name, protocol), "+")
        points = variants[name].paper
        paper = "" if name == FULL or points is None else f"{points:+.1f}"
        lines.append(f"| {variants[name].title} | {len(by_seed)} | {' | '.join(cells)} | {gain} | {paper} |")
    note = (
        "mAP in %, mean ± standard deviation over the seeds; differences seed by seed. In the paper: mAP@0.5 on "
        "THUMOS14 with real I3D features, one run."
    )
    return "\n".join([*lines, "", note, ""])


def bars(results: Results, protocol: str, caption: str, variants: Mapping[str, Variant] = VARIANTS) -> Figure:
    """The paper's Figure 3: a bar per variant, with its difference to 3C-Net."""
    tag = selection_tag(protocol)
    figure = new_figure(1.2 + 1.1 * len(results), 4.0)
    axes = figure.subplots()
    for place, (name, by_seed) in enumerate(results.items()):
        values = 100 * np.array([scalars[tag] for scalars in by_seed.values()])
        deviation = values.std(ddof=1) if len(values) > 1 else 0.0
        axes.bar(
            place, values.mean(), 0.7, yerr=deviation or None, capsize=3, color="#E69F00" if name == FULL else "#56B4E9"
        )
        text = f"{values.mean():.1f}"
        if name != FULL and (gains := differences(results, name, protocol)):
            text += f"\n({100 * np.mean(gains):+.1f})"
        axes.annotate(
            text,
            (place, values.mean() + deviation),
            (0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
        )
    titles = [textwrap.fill(variants[name].title, 14) for name in results]
    axes.set_xticks(range(len(results)), titles, fontsize=8)
    axes.set_ylabel(f"{tag.replace('/', ' ')} [%]")
    axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
    axes.set_title(caption, fontsize=8, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def write_report(
    folder: Path,
    results: Results,
    protocol: str,
    caption: str,
    facts: Mapping[str, Any],
    variants: Mapping[str, Variant] = VARIANTS,
) -> str:
    """Writes ablation.md, ablation.json and ablation.png.

    Args:
        folder: where to.
        results: in the order of the rows; variants without results are left out.
        protocol: evaluation protocol.
        caption: see `markdown`.
        facts: more entries of the JSON file.
        variants: the rows by name.

    Returns:
        The table.
    """
    there = {name: by_seed for name, by_seed in results.items() if by_seed}
    table = markdown(there, protocol, caption, variants)
    write_text(folder / "ablation.md", table)
    rows = {
        name: {
            "title": variants[name].title,
            "flags": list(variants[name].flags),
            "seeds": {str(seed): dict(scalars) for seed, scalars in by_seed.items()},
            "difference": differences(there, name, protocol),
            "paper_points": variants[name].paper,
        }
        for name, by_seed in there.items()
    }
    scored = {"protocol": protocol, "protocol_version": find_protocol(protocol).version}
    write_json(folder / "ablation.json", {"caption": caption, **scored, **facts, "variants": rows})
    figure = bars(there, protocol, caption, variants)
    with atomic_path(folder / "ablation.png") as path:
        figure.savefig(path, dpi=110)
    return table
