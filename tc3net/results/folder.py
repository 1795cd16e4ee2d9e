"""What an evaluation leaves on disk: JSON for programs, tables for papers, pictures of the errors.

detections.json      ActivityNet format, seconds        ground_truth.json   what they were scored against, same format
metrics.json         every number, as fractions         tables/             CSV, Markdown, LaTeX
analysis/            error analysis (on request)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.files import atomic_path, write_json
from tc3net.evaluation import (
    TYPES,
    Analysis,
    AverageRecall,
    ClassificationComparison,
    Comparison,
    Difference,
    Table,
    class_comparison_table,
    class_table,
    comparison_table,
    error_table,
    long_table,
    profile_table,
    sensitivity_table,
    summary_tables,
)
from tc3net.evaluation.analysis_tables import PROPOSAL_NUMBERS
from tc3net.intervals.activitynet_json import save_detections
from tc3net.intervals.annotations_json import save_annotations
from tc3net.results.assessment import Assessment
from tc3net.results.sources import DETECTIONS, METRICS, TRUTH, Scored
from tc3net.visualization import error_figures

FIGURE_TIOU = 0.5  # in the thresholds of every protocol


def write_text(path: Path, text: str) -> None:
    """Writes a text file, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tables(folder: Path, name: str, tables: Sequence[Table], for_programs: Table | None = None) -> None:
    """Writes name.csv, name.md and name.tex.

    Args:
        folder: created if absent.
        name: file name without ending.
        tables: one below the other in name.md and name.tex.
        for_programs: name.csv; the first of `tables` if not given.
    """
    write_text(folder / f"{name}.csv", (for_programs or tables[0]).csv())
    write_text(folder / f"{name}.md", "\n".join(table.markdown() for table in tables))
    write_text(folder / f"{name}.tex", "\n".join(table.latex() for table in tables))


def write_evaluation(
    folder: str | Path,
    scored: Scored,
    assessment: Assessment,
    recall: AverageRecall,
    subset: str,
    facts: dict[str, Any],
) -> None:
    """Writes everything but the error analysis; raw scores are the caller's.

    Args:
        folder: created if absent.
        scored: detections and ground truth.
        assessment: their scores.
        recall: AR@AN.
        subset: name of the subset, for ground_truth.json.
        facts: more entries of metrics.json: source, detection settings, versions.
    """
    folder, classes = Path(folder), scored.annotated.truth.classes
    save_detections(folder / DETECTIONS, scored.detections, classes)
    save_annotations(folder / TRUTH, scored.annotated, subset)
    proposals = {
        "available_per_video": recall.available,
        "ar_fraction": {str(number): recall.at(number) for number in PROPOSAL_NUMBERS},
        "area_fraction": recall.area,
    }
    metrics = {"dataset": scored.annotated.dataset, **assessment.as_dict(classes), "proposals": proposals}
    if scored.out_of_scope is not None:
        metrics["out_of_scope"] = scored.out_of_scope
    write_json(folder / METRICS, {**metrics, **facts})
    results, intervals = assessment.localization, assessment.intervals
    write_tables(folder / "tables", "summary", summary_tables(results, intervals), long_table(results, intervals))
    for result in results:
        write_tables(folder / "tables", f"per_class_{result.protocol}", [class_table(result)])


def write_analysis(folder: str | Path, analyses: Sequence[Analysis], dataset: str) -> None:
    """Writes tables and pictures of error analyses, one per protocol, and analysis.json with all of them.

    Args:
        folder: created if absent.
        analyses: with `FIGURE_TIOU` among their thresholds.
        dataset: title for the pictures.
    """
    folder = Path(folder)
    for analysis in analyses:
        errors, sensitivity, protocol = analysis.errors, analysis.sensitivity, analysis.errors.protocol
        write_tables(folder, f"errors_{protocol}", [error_table(errors)])
        write_tables(folder, f"profile_{protocol}", [profile_table(errors, FIGURE_TIOU)])
        write_tables(folder, f"sensitivity_{protocol}", [sensitivity_table(sensitivity)])
        for name, draw, part in (
            ("errors", error_figures.false_positive_figure, errors),
            ("sensitivity", error_figures.sensitivity_figure, sensitivity),
            ("missed", error_figures.miss_figure, sensitivity),
        ):
            error_figures.save(folder, f"{name}_{protocol}", draw, part, FIGURE_TIOU, dataset)
    write_json(folder / "analysis.json", {a.errors.protocol: _analysis_dict(a) for a in analyses})


def _analysis_dict(analysis: Analysis) -> dict[str, Any]:
    errors, sensitivity = analysis.errors, analysis.sensitivity
    return {
        "tious": list(errors.tious),
        "map_fraction": errors.map.tolist(),
        "types": list(TYPES),
        "counts": errors.counts.tolist(),
        "profile": errors.profile.tolist(),
        "gain_fraction": dict(zip(TYPES[1:], errors.gain.T.tolist())),
        "gain_missed_fraction": errors.gain_missed.tolist(),
        "sensitivity": {
            "all": {"map_n_fraction": sensitivity.map_n.tolist(), "missed_fraction": sensitivity.miss_rate.tolist()},
            **{
                c.name: {
                    "buckets": list(c.buckets),
                    "ranges": list(c.ranges),
                    "num_instances": c.num_instances.tolist(),
                    "num_unknown": int((c.bucket < 0).sum()),
                    "map_n_fraction": _plain(c.map_n),
                    "missed_fraction": _plain(c.miss_rate),
                }
                for c in sensitivity.characteristics
            },
        },
    }


def _plain(values: np.ndarray) -> Any:
    """Nested lists with None for NaN, which JSON does not have."""
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    return plain.tolist()


def write_comparison(
    folder: str | Path,
    comparisons: Sequence[Comparison],
    names: tuple[str, str],
    classification: ClassificationComparison | None,
) -> None:
    """Writes comparison.json and tables.

    Args:
        folder: created if absent.
        comparisons: one per protocol.
        names: what first and second are called.
        classification: classification mAP of both.
    """
    folder = Path(folder)
    found: dict[str, Any] = {"first": names[0], "second": names[1]}
    for comparison in comparisons:
        protocol = comparison.first.protocol
        found[protocol] = {
            "confidence": comparison.confidence,
            "resamples": comparison.resamples,
            "seed": comparison.seed,
            "tious": list(comparison.first.tious),
            "classes": list(comparison.first.classes),
            "first_ap_fraction": comparison.first.ap.tolist(),
            "second_ap_fraction": comparison.second.ap.tolist(),
            "ap_difference": _difference_dict(comparison.ap),
            "map_difference": _difference_dict(comparison.map),
            "average_map_difference": {name: _difference_dict(d) for name, d in comparison.averages.items()},
        }
        write_tables(folder, f"comparison_{protocol}", [comparison_table(comparison, names, classification)])
        write_tables(folder, f"comparison_per_class_{protocol}", [class_comparison_table(comparison, FIGURE_TIOU)])
    if classification is not None:
        found["classification"] = {
            "first_map_fraction": classification.first,
            "second_map_fraction": classification.second,
            "difference": _difference_dict(classification.difference),
        }
    write_json(folder / "comparison.json", found)


def _difference_dict(difference: Difference) -> dict[str, Any]:
    return {name: _plain(np.asarray(value)) for name, value in vars(difference).items()}
