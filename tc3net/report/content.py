"""What a report is made from, and where it is read: the folder of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tc3net.common.errors import UserError
from tc3net.common.extensions import check_extensions
from tc3net.detection import DetectionConfig
from tc3net.evaluation import PROTOCOLS, AverageRecall, average_recall, recorded_protocol
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.columns import AnnotatedVideos, Detections
from tc3net.results.assessment import Assessment, assess_scored
from tc3net.results.folder import METRICS, evaluation_folder, load_folder, read_metrics_file
from tc3net.results.sources import Scored


@dataclass(frozen=True)
class ReportInput:
    """Everything that the page shows, before it is laid out.

    Attributes:
        title: name of the data set; says so where features are simulated.
        classes: class names.
        detections: labels index `classes`.
        annotated: ground truth, or None where there is none (a prediction).
        assessment: scores under at least one protocol; None without ground truth to score against.
        recall: AR@AN, with `assessment`.
        scores: T-CAMs, or None (another tool's detections).
        config: how T-CAMs became detections; with `scores`.
        facts: more to print: where it came from, settings, versions.
        notes: what a reader must know about the input; one line each.
    """

    title: str
    classes: tuple[str, ...]
    detections: Detections
    annotated: AnnotatedVideos | None = None
    assessment: Assessment | None = None
    recall: AverageRecall | None = None
    scores: RawScores | None = None
    config: DetectionConfig | None = None
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Videos of the page: those that are scored, else all that were predicted."""
        return self.detections.video_ids


def load_input(path: str | Path) -> ReportInput:
    """Reads the folder of an evaluation and scores it again as it was scored: protocols, thresholds, resamples.

    Args:
        path: a folder written by `python -m tc3net.evaluate`, or a run folder that holds one as `evaluation`.

    Raises:
        UserError: no evaluation there, one of its files is damaged, or a protocol is not known without an extension.
    """
    folder = evaluation_folder(path)
    scored, metrics = load_folder(folder), read_metrics_file(folder)
    if not len(scored.annotated.truth):
        return _without_times(scored, metrics)
    assessment = assess_scored(scored, **_how_scored(folder, metrics))
    return ReportInput(
        title=scored.annotated.dataset,
        classes=scored.annotated.truth.classes,
        detections=scored.detections,
        annotated=scored.annotated,
        assessment=assessment,
        recall=average_recall(scored.annotated.truth, scored.detections),
        scores=scored.scores,
        config=scored.config,
        facts=facts_of(metrics),
        notes=(*scored.annotated.notes, *scored.notes),
    )


def _without_times(scored: Scored, metrics: dict[str, Any]) -> ReportInput:
    """Of an evaluation of classes alone: what was predicted, and the classification mAP as a note."""
    found = metrics.get("classification")
    share = f" Classification mAP {100 * found['map_fraction']:.1f} %." if isinstance(found, dict) else ""
    return ReportInput(
        title=scored.annotated.dataset,
        classes=scored.annotated.truth.classes,
        detections=scored.detections,
        scores=scored.scores,
        config=scored.config,
        facts=facts_of(metrics),
        notes=(f"No instances with times are annotated in these videos.{share}", *scored.annotated.notes),
    )


def _how_scored(folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """Protocols and bootstrap of an evaluation, as arguments of `assess_scored`."""
    try:
        results = metrics["localization"]
        intervals = [result["bootstrap"] for result in results.values() if "bootstrap" in result]
        asked = {name: intervals[0][name] for name in ("resamples", "seed", "confidence")} if intervals else {}
        written = {
            name: (int(r.get("version", 1)), [float(tiou) for tiou in r["tious"]]) for name, r in results.items()
        }
        if not results:
            raise KeyError("localization")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / METRICS}: no localization results found ({error}). Evaluate again.") from None
    if any(name not in PROTOCOLS for name in results):
        check_extensions(metrics.get("extensions", ()), str(folder))
    protocols = [recorded_protocol(name, version).at(tious) for name, (version, tious) in written.items()]
    return {"protocols": protocols, **asked}


def facts_of(facts: dict[str, Any]) -> dict[str, str]:
    """Source, detection settings and versions in words, those that are there."""
    found = {}
    if "source" in facts:
        found["source"] = str(facts["source"])
    for key, title in (("detection", "detection settings"), ("versions", "versions")):
        if isinstance(facts.get(key), dict):
            found[title] = ", ".join(f"{name} {value}" for name, value in facts[key].items())
    return found
