"""What an evaluation leaves on disk: JSON for programs, tables for papers, pictures of the errors.

detections.json      ActivityNet format, seconds        ground_truth.json   what they were scored against, same format
metrics.json         every number, as fractions         tables/             CSV, Markdown, LaTeX
analysis/            error analysis (on request)

Of a run: RUN/evaluation, its test subset; RUN/evaluation-SUBSET, another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.extensions import loaded_extensions
from tc3net.common.files import atomic_path, read_json, write_json
from tc3net.common.storage import path_of
from tc3net.detection import DetectionConfig
from tc3net.evaluation import (
    TYPES,
    Analysis,
    AverageRecall,
    Table,
    class_table,
    error_table,
    find_protocol,
    long_table,
    profile_table,
    sensitivity_table,
    summary_tables,
)
from tc3net.evaluation.analysis_tables import PROPOSAL_NUMBERS
from tc3net.inference.raw_scores import load_scores
from tc3net.intervals.annotations_json import load_annotations, save_annotations
from tc3net.intervals.detections_json import save_detections
from tc3net.results.assessment import Assessment
from tc3net.results.sources import Scored, from_detections, from_scores, with_scores
from tc3net.visualization import error_figures, style

# What `python -m tc3net.evaluate` writes, and `load_folder` reads.
DETECTIONS, TRUTH, RAW_SCORES, METRICS = "detections.json", "ground_truth.json", "raw_scores.npz", "metrics.json"


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
    recall: AverageRecall | None,
    subset: str,
    facts: dict[str, Any],
) -> None:
    """Writes everything but the error analysis; raw scores are the caller's.

    Args:
        folder: created if absent.
        scored: detections and ground truth.
        assessment: their scores.
        recall: AR@AN; None where no instances are annotated.
        subset: name of the subset, for metrics.json and ground_truth.json.
        facts: more entries of metrics.json: source, detection settings, versions.
    """
    folder, classes = path_of(folder), scored.annotated.truth.classes
    save_detections(folder / DETECTIONS, scored.detections, classes)
    save_annotations(folder / TRUTH, scored.annotated, subset)
    metrics = {"dataset": scored.annotated.dataset, "subset": subset, **assessment.as_dict(classes)}
    if recall is not None:
        metrics["proposals"] = {
            "available_per_video": recall.available,
            "ar_fraction": {str(number): recall.at(number) for number in PROPOSAL_NUMBERS},
            "area_fraction": recall.area,
        }
    if scored.out_of_scope is not None:
        metrics["out_of_scope"] = scored.out_of_scope
    if scored.chosen is not None:
        metrics["videos"] = scored.chosen
    if scored.videos is not None and scored.videos.background is not None:
        metrics["background_videos"] = list(scored.videos.background)
    if loaded_extensions():
        facts = {**facts, "extensions": list(loaded_extensions())}  # a protocol may be of one of these
    write_json(folder / METRICS, {**metrics, **facts})
    results, intervals = assessment.localization, assessment.intervals
    if results:
        write_tables(folder / "tables", "summary", summary_tables(results, intervals), long_table(results, intervals))
    for result in results:
        write_tables(folder / "tables", f"per_class_{result.protocol}", [class_table(result)])


def write_analysis(folder: str | Path, analyses: Sequence[Analysis], dataset: str) -> None:
    """Writes tables and pictures of error analyses, one per protocol, and analysis.json with all of them.

    Args:
        folder: created if absent.
        analyses: at any thresholds; pictures are of the one nearest to the protocol's main tIoU.
        dataset: title for the pictures.
    """
    folder = path_of(folder)
    for analysis in analyses:
        errors, sensitivity, protocol = analysis.errors, analysis.sensitivity, analysis.errors.protocol
        tiou = errors.tious[find_protocol(protocol).main_row(errors.tious)]
        write_tables(folder, f"errors_{protocol}", [error_table(errors)])
        write_tables(folder, f"profile_{protocol}", [profile_table(errors, tiou)])
        write_tables(folder, f"sensitivity_{protocol}", [sensitivity_table(sensitivity)])
        for name, draw, part in (
            ("errors", error_figures.false_positive_figure, errors),
            ("sensitivity", error_figures.sensitivity_figure, sensitivity),
            ("missed", error_figures.miss_figure, sensitivity),
        ):
            style.save(folder, f"{name}_{protocol}", draw, part, tiou, dataset)
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
                    "map_n_fraction": plain(c.map_n),
                    "missed_fraction": plain(c.miss_rate),
                }
                for c in sensitivity.characteristics
            },
        },
    }


def plain(values: np.ndarray) -> Any:
    """Nested lists with None for NaN, which JSON does not have."""
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    return plain.tolist()


def default_folder(run_dir: str | Path, subset: str, test_subset: str | None) -> Path:
    """Where a run's evaluation on a subset lies: `evaluation` for its test subset, else `evaluation-SUBSET`.

    Args:
        run_dir: run folder.
        subset: what is evaluated.
        test_subset: the run's; "test" where it has none.
    """
    return path_of(run_dir) / ("evaluation" if subset == (test_subset or "test") else f"evaluation-{subset}")


def evaluation_folder(path: str | Path) -> Path:
    """The folder of an evaluation: the one given, or in a run folder `evaluation`, or its only `evaluation-SUBSET`.

    Raises:
        UserError: no evaluation there, or several of other subsets than the test subset.
    """
    path = path_of(path)
    for folder in (path, path / "evaluation"):
        if (folder / DETECTIONS).is_file():
            return folder
    others = sorted(folder for folder in path.glob("evaluation-*") if (folder / DETECTIONS).is_file())
    if len(others) > 1:
        raise UserError(
            f"{path}: found {len(others)} evaluations ({', '.join(folder.name for folder in others)}) and none of the "
            f"test subset; expected one. Name it, as in {others[0]}."
        )
    if not others:
        raise UserError(
            f"{path}: no {DETECTIONS} found there or in its folder evaluation. Run `python -m tc3net.evaluate` for it "
            "first, or give the file of detections itself with --dataset_dir or --annotations."
        )
    return others[0]


def read_metrics_file(folder: Path) -> dict[str, Any]:
    """metrics.json of an evaluation.

    Raises:
        UserError: absent, or something else.
    """
    metrics = read_json(folder / METRICS, "metrics written by tc3net.evaluate")
    if not isinstance(metrics, dict):
        raise UserError(f"{folder / METRICS}: expected metrics written by tc3net.evaluate. Evaluate again.")
    return metrics


def settings_beside(raw_scores: str | Path) -> DetectionConfig | None:
    """How the detections beside raw scores were made, by the metrics.json there; None where none says so.

    Raises:
        UserError: that file is damaged.
    """
    folder = path_of(raw_scores).parent
    if not (folder / METRICS).is_file() or "detection" not in read_metrics_file(folder):
        return None
    return detection_settings(folder)


def detection_settings(folder: Path) -> DetectionConfig:
    """How the detections of an evaluation of raw scores were made.

    Raises:
        UserError: metrics.json does not say.
    """
    try:
        return DetectionConfig(**read_metrics_file(folder)["detection"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / METRICS}: no detection settings found ({error}). Evaluate again.") from None


def _classes_alone(folder: Path, name: str) -> Scored:
    """An evaluation without times: its ground truth is in the raw scores, since no video has annotated instances.

    Raises:
        UserError: they are not there.
    """
    if not (folder / RAW_SCORES).is_file():
        raise UserError(
            f"{folder}: no {RAW_SCORES} found; expected it where classes alone were evaluated. Evaluate without "
            "--output_dir, or into the folder of the raw scores."
        )
    return from_scores(name, load_scores(folder / RAW_SCORES), detection_settings(folder))


def load_folder(path: str | Path) -> Scored:
    """What an evaluation left behind: its detections as they are, ground truth, and raw scores if it has them.

    Args:
        path: a folder written by `python -m tc3net.evaluate`, or a run folder that holds one as `evaluation`.

    Raises:
        UserError: no evaluation there, or one of its files is damaged.
    """
    folder = evaluation_folder(path)
    if (folder / METRICS).is_file() and read_metrics_file(folder).get("localization") == {}:
        return _classes_alone(folder, str(path))
    scored = replace(from_detections(folder / DETECTIONS, load_annotations(folder / TRUTH, None)), name=str(path))
    if not (folder / RAW_SCORES).is_file():
        return scored
    scores, metrics = load_scores(folder / RAW_SCORES), read_metrics_file(folder)
    left_out = set(metrics.get("videos", {}).get("left_out", ()))
    if left_out:
        scores = scores.of_videos(set(scores.video_ids) - left_out)
    scored = with_scores(scored, scores, detection_settings(folder))
    background = metrics.get("background_videos")
    if background is None or scored.videos is None:
        return scored
    return replace(scored, videos=scored.videos.without_labels_of(background))
