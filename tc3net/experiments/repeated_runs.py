"""How the runs of an experiment come about: the folder's claim, training in a process of its own, scoring, resuming."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tc3net.common.errors import UserError
from tc3net.common.files import read_json, write_json
from tc3net.evaluation import average_recall, recorded_signature
from tc3net.experiments.ablation import Results
from tc3net.inference.raw_scores import save_scores
from tc3net.results.assessment import assess_scored
from tc3net.results.folder import RAW_SCORES, write_evaluation
from tc3net.results.replacement import replacing
from tc3net.results.sources import from_scores
from tc3net.runs.folder import CheckpointChoice, load_run
from tc3net.runs.provenance import versions
from tc3net.runs.scoring import DatasetChoice, open_run
from tc3net.terminal.interruption import Interruptions

RESULTS = "results.json"


class ExperimentFolder:
    """OUT: its runs, their results so far, and the settings that all of them share.

    Args:
        folder: created if absent.
        settings: flags as they are written, and whatever else decides about the numbers.
        kind: what the experiment is called, with its article.

    Raises:
        UserError: the folder holds an experiment with other settings, or something else.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, str], kind: str = "an ablation") -> None:
        self.folder, self.settings, self.kind = Path(folder), dict(settings), kind
        self.runs: dict[str, dict[str, float]] = self._earlier()
        self._write()

    def _earlier(self) -> dict[str, dict[str, float]]:
        """The scalars of the finished runs, by `VARIANT-seedN`."""
        path = self.folder / RESULTS
        if not path.is_file():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise UserError(
                    f"{self.folder} is not empty and holds no {self.kind.split()[1]}. Choose another --output_dir."
                )
            return {}
        found = read_json(path, f"results of {self.kind}")
        old, runs, named_anew = _as_called_now(found["settings"], found["runs"])
        new = self.settings
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if changed:
            there, here = (part.get(changed[0], "(not given)") for part in (old, new))
            earlier = "".join(f", {flag}" for name, flag in named_anew.items() if name in changed)
            raise UserError(
                f"{self.folder} holds {self.kind} with other settings ({', '.join(changed)}): {there} there, {here} "
                f"here. Choose another --output_dir, or give the earlier settings{earlier}."
            )
        self.settings = old
        return runs

    def _write(self) -> None:
        write_json(self.folder / RESULTS, {"settings": self.settings, "runs": self.runs})

    def run_dir(self, key: str) -> Path:
        """Run folder of `VARIANT-seedN`."""
        return self.folder / "runs" / key

    def add(self, key: str, scalars: dict[str, float]) -> None:
        """Keeps a finished run's scalars."""
        self.runs[key] = scalars
        self._write()

    def results(self, variants: Iterable[str], seeds: int) -> Results:
        """What there is of these variants and seeds."""
        return {
            name: {seed: self.runs[key] for seed in range(seeds) if (key := f"{name}-seed{seed}") in self.runs}
            for name in variants
        }


def _as_called_now(
    settings: Mapping[str, str], runs: Mapping[str, Mapping[str, float]]
) -> tuple[dict[str, str], dict[str, dict[str, float]], dict[str, str]]:
    """Settings and scalars of an experiment, with the names that their protocols have now.

    Returns:
        Both, and what has another name: the flag, as it has to be given now, by its name.
    """
    found = dict(settings)
    flags: dict[str, str] = {}
    if "protocol" in settings:
        found["protocol"] = recorded_signature(settings["protocol"])
        flags["protocol"] = f"--protocol={found['protocol']}"
    if "protocols" in settings:
        names = settings["protocols"].removeprefix("--protocols=").split(",")
        found["protocols"] = flags["protocols"] = f"--protocols={','.join(map(recorded_signature, names))}"
    named_anew = {name: flag for name, flag in flags.items() if found[name] != settings[name]}
    before, now = (f"{part.get('protocol')}/" for part in (settings, found))
    scalars = {
        key: {now + name.removeprefix(before) if name.startswith(before) else name: value for name, value in of.items()}
        for key, of in runs.items()
    }
    return found, scalars, named_anew


def train_run(run_dir: Path, arguments: Sequence[str], log: Path, command: str = "tc3net.train") -> None:
    """Trains one run, or what remains of it, in a process of its own.

    Args:
        run_dir: its folder.
        arguments: of the command, without --run_dir.
        log: where its output is appended.
        command: the module that trains.

    Raises:
        SystemExit: stopped by a signal, which the training got too.
        UserError: training failed.
    """
    line = [sys.executable, "-m", command, *arguments, f"--run_dir={run_dir}"]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    log.parent.mkdir(parents=True, exist_ok=True)
    with Interruptions() as interruptions, log.open("ab") as output:
        # In a session of its own, so that Ctrl-C reaches it once, from here.
        child = subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
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
        *_, said = ["", *(line for line in tail.splitlines() if line.startswith("error: "))]
        if said and tail.rstrip().endswith(said):
            raise UserError(f"{run_dir}: training failed: {said.removeprefix('error: ')} Its output: {log}.")
        raise UserError(f"{run_dir}: training failed with status {child.returncode}. The end of {log}:\n{tail}")


@dataclass(frozen=True)
class RunScoring:
    """How finished runs are scored.

    Attributes:
        choice: which of a run's weights.
        videos: data set and subset.
        protocol: evaluation protocol.
    """

    choice: CheckpointChoice
    videos: DatasetChoice
    protocol: str

    def __call__(self, run_dir: Path) -> dict[str, float]:
        """Scores a finished run and leaves what `tc3net.evaluate` would; the assessment's scalars."""
        run = open_run(str(run_dir), self.choice)
        detection, source = run.info.detection, run.source
        split = run.open_split(self.videos.dataset_dir, self.videos.subset)
        scores = run.score(split, keep_streams=detection.needs_streams)
        scored = from_scores(source, scores, detection)
        assessment = assess_scored(scored, [self.protocol])
        recall = average_recall(scored.annotated.truth, scored.detections)
        facts: dict[str, Any] = {"source": source, "detection": vars(detection), "versions": versions()}
        with replacing(run_dir / "evaluation") as folder:
            save_scores(folder / RAW_SCORES, scores)
            write_evaluation(folder, scored, assessment, recall, self.videos.subset, facts)
        return assessment.scalars()

    def caption(self, run_dir: Path, iterations: int) -> str:
        """What the numbers are of, in one line.

        Args:
            run_dir: any of the runs.
            iterations: steps of each run.
        """
        run = load_run(run_dir)
        which = "last checkpoint (nothing was selected)"
        if self.choice.checkpoint == "best":
            which = f"checkpoint selected by {run.training.selected_by}"
        return (
            f"{run.dataset}, subset {self.videos.subset}, protocol {self.protocol}; {iterations} steps, {which}; "
            f"streams {run.streams.words()}"
        )
