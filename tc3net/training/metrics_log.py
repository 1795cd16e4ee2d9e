"""`metrics.jsonl`: what a run measured, one JSON object per logging interval and per evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tc3net.common.files import atomic_path
from tc3net.common.storage import is_remote, path_of
from tc3net.training.observers import Evaluation, IntervalFacts, Observer


class MetricsLog(Observer):
    """`metrics.jsonl`: append-only, one JSON object per line.

    Args:
        run_dir: folder of the run.
        resume_step: entries after this step are dropped: the resumed run writes them again.
    """

    def __init__(self, run_dir: str | Path, resume_step: int) -> None:
        self._path = path_of(run_dir) / "metrics.jsonl"
        self.entries: list[dict[str, Any]] = []
        if self._path.exists():
            self.entries = [entry for entry in read_metrics(run_dir) if entry["step"] <= resume_step]
            self._write_all()

    def _write_all(self) -> None:
        with atomic_path(self._path) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries), encoding="utf-8")

    def append(self, entry: dict[str, Any]) -> None:
        """Adds one entry (with a "step")."""
        self.entries.append(entry)
        if is_remote(self._path):  # nothing can be added to an object
            self._write_all()
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def evaluations(self) -> dict[int, float]:
        """Step -> the value that selects the best checkpoint."""
        return {entry["step"]: entry["selection"] for entry in self.entries if "selection" in entry}

    def on_log(self, facts: IntervalFacts) -> None:
        """Step, speed, mean losses."""
        speed = {
            "steps_per_second": facts.steps_per_second,
            "segments_per_second": facts.segments_per_second,
            "input_wait_share": facts.input_wait_share,
        }
        self.append({"step": facts.step, **speed, **facts.means, **facts.others})

    def on_evaluation(self, step: int, evaluation: Evaluation, best: bool) -> None:
        """Step, the selecting value, every scalar."""
        entry = {"step": step, "selection": evaluation.selection, "selected_by": evaluation.selected_by}
        self.append({**entry, "evaluation": evaluation.scalars})


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """All entries of `metrics.jsonl`; a last line cut off by a crash is left out."""
    entries = []
    for line in (path_of(run_dir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries
