"""What each method goes through: settings chosen on held-out training videos, then a training per seed, scored once.

Every method gets the same: each alternative of training flags is trained once without the held-out videos, detection
settings are searched on these with the same number of trials, and the alternative with the best result is trained anew
on all training videos, once per seed. The test subset is scored after that, under three kinds of detection settings
("rules"): the method's own, common ones, and those that were found. A second stage starts from the first one's runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.files import atomic_path, read_json, write_json
from tc3net.detection import DetectionConfig
from tc3net.evaluation import bootstrap, find_protocol
from tc3net.experiments.methods import Method
from tc3net.experiments.repeated_runs import train_run
from tc3net.experiments.tuning import Objective, Trial, open_axes, search
from tc3net.experiments.tuning_results import FLAGFILE, SearchFacts, write_tuning
from tc3net.experiments.tuning_videos import held_out_videos
from tc3net.inference.raw_scores import RawScores
from tc3net.refinement.rounds import last_round
from tc3net.results.assessment import Assessment, assess_scored
from tc3net.results.sources import from_scores
from tc3net.runs.folder import CheckpointChoice
from tc3net.runs.scoring import open_run

OWN, COMMON, TUNED = "own", "common", "tuned"
RESAMPLES = 1000


@dataclass(frozen=True)
class Contest:
    """What is the same for all methods.

    Attributes:
        folder: of the comparison.
        dataset_dir, train_subset, test_subset: the data.
        protocol: of all numbers, those that settings are chosen by included.
        common_flags: training flags that override the methods'.
        alternatives: more training flags, of which each method's best are found; at least one entry, which may be "".
        holdout_fraction: share of the training videos that settings are chosen on.
        trials: detection settings that are tried for each alternative.
        common_rule: detection settings that every method is scored under too.
        choice: which of a run's weights.
    """

    folder: Path
    dataset_dir: str
    train_subset: str
    test_subset: str
    protocol: str
    common_flags: tuple[str, ...]
    alternatives: tuple[str, ...]
    holdout_fraction: float
    trials: int
    common_rule: DetectionConfig
    choice: CheckpointChoice = CheckpointChoice()


@dataclass(frozen=True)
class Chosen:
    """The settings of one method.

    Attributes:
        alternative: training flags, of `Contest.alternatives`.
        detection: detection settings.
        held_out: objective of every alternative, as a fraction.
    """

    alternative: str
    detection: DetectionConfig
    held_out: Mapping[str, float]


class MethodRuns:
    """Makes the runs of a comparison, or what is missing of them.

    Args:
        contest: what is the same for all.
        say: told what happens, a line at a time.
    """

    def __init__(self, contest: Contest, say: Callable[[str], None]) -> None:
        self.contest, self._say = contest, say

    def _train(self, run_dir: Path, method: Method, flags: Sequence[str], first_run: Path | None) -> Path:
        """Trains what is not finished yet; returns the run's folder, of a second stage that of its last round."""
        contest = self.contest
        data = [f"--dataset_dir={contest.dataset_dir}", f"--train_subset={contest.train_subset}"]
        log = contest.folder / "logs" / f"{run_dir.parent.name}-{run_dir.name}.log"
        arguments = [f"--flagfile={method.flagfile}", *data, "--test_subset=", *contest.common_flags, *flags]
        if method.first is None:
            train_run(run_dir, arguments, log)
            return run_dir
        self.choose(method.first)
        rule = contest.folder / "settings" / method.first.name / FLAGFILE  # what suits the first stage's T-CAM
        before = [f"--flagfile={method.first.flagfile}", *arguments]
        train_run(run_dir, [*before, f"--first_run={first_run}", f"--first_detection={rule}"], log, "tc3net.refine")
        return last_round(run_dir)

    def _held_out_run(self, method: Method, number: int) -> Path:
        return self.contest.folder / "held_out" / f"{method.name}-{number}"

    def choose(self, method: Method) -> Chosen:
        """Training and detection settings of a method, from held-out training videos; kept in OUT/settings."""
        contest = self.contest
        path = contest.folder / "settings" / f"{method.name}.json"
        if path.is_file():
            found = read_json(path, "settings of a method")
            return Chosen(found["alternative"], DetectionConfig(**found["detection"]), found["held_out"])
        best: tuple[float, str, Trial] | None = None
        held_out = {}
        for number, alternative in self._alternatives(method):
            run_dir = self._held_out_run(method, number)
            first = self._held_out_run(method.first, number) if method.first else None
            flags = [*alternative.split(), f"--holdout_fraction={contest.holdout_fraction}", "--seed=0"]
            trial, trials, scores = self._search(self._train(run_dir, method, flags, first))
            held_out[alternative] = trial.value
            said = f"{method.name}, held out, {alternative or 'its own settings'}: {100 * trial.value:.1f} %"
            self._say(f"{said} after {len(trials)} detection settings")
            if best is None or trial.value > best[0]:
                best = (trial.value, alternative, trial)
                source = f"{len(scores.ground_truth.video_ids)} held-out videos of {scores.dataset}"
                facts = SearchFacts(source, contest.protocol, "both", 0, ())
                write_tuning(contest.folder / "settings" / method.name, facts, trial, trials)
        assert best is not None  # there is at least one alternative
        chosen = Chosen(best[1], best[2].config, held_out)
        write_json(
            path,
            {
                "method": method.name,
                "alternative": chosen.alternative,
                "detection": asdict(chosen.detection),
                "held_out": held_out,
                "flagfile": f"settings/{method.name}/{FLAGFILE}",
            },
        )
        return chosen

    def _alternatives(self, method: Method) -> list[tuple[int, str]]:
        """A second stage refines the first one's choice, and has none of its own."""
        numbered = list(enumerate(self.contest.alternatives))
        if method.first is None:
            return numbered
        first = self.choose(method.first).alternative
        return [(number, text) for number, text in numbered if text == first]

    def _search(self, run_dir: Path) -> tuple[Trial, list[Trial], RawScores]:
        """Detection settings for a run, from the videos that it held out."""
        contest = self.contest
        run = open_run(str(run_dir), contest.choice)
        scores = run.score(held_out_videos(contest.dataset_dir, run), keep_streams=True)
        attended, bounded = scores.attention is not None, scores.boundaries is not None
        axes = open_axes((), scores.streams, attended=attended, bounded=bounded)
        objective = Objective([scores], contest.protocol, "both")
        starts = [objective(run.info.detection), objective(self._common_rule(scores))]
        start = max(starts, key=lambda trial: trial.value)
        best, trials = search(objective, start.config, axes, contest.trials, seed=0)
        return best, [*starts, *trials], scores

    def _common_rule(self, scores: RawScores) -> DetectionConfig:
        """The common rule as far as the streams are there: a stream that is not has no weight."""
        rule = self.contest.common_rule
        absent = {f"{name}_weight": 0.0 for name in ("rgb", "flow") if name not in scores.streams}
        return replace(rule, **absent)  # type: ignore[arg-type]

    def run_dir(self, method: Method, seed: int) -> Path:
        """Where the run of a seed lies."""
        return self.contest.folder / "runs" / f"{method.name}-seed{seed}"

    def run(self, method: Method, seed: int) -> dict[str, float]:
        """Trains one seed of a method on all training videos and scores it on the test subset.

        Returns:
            `RULE:TAG` -> fraction, for every rule and every scalar of an assessment.
        """
        contest, chosen = self.contest, self.choose(method)
        first = self.run_dir(method.first, seed) if method.first else None
        if method.first:
            flags = [*self.choose(method.first).alternative.split(), f"--seed={seed}"]
            self._train(self.run_dir(method.first, seed), method.first, flags, None)
        flags = [*chosen.alternative.split(), f"--seed={seed}"]
        run = open_run(str(self._train(self.run_dir(method, seed), method, flags, first)), contest.choice)
        split = run.open_split(contest.dataset_dir, contest.test_subset)
        scores = run.score(split, keep_streams=True)
        rules = {OWN: run.info.detection, COMMON: self._common_rule(scores), TUNED: chosen.detection}
        scalars, samples = {}, {}
        for name, rule in rules.items():
            assessment = assess_scored(from_scores(method.name, scores, rule), [contest.protocol])
            scalars.update({f"{name}:{tag}": value for tag, value in assessment.scalars().items()})
            samples[name] = _resampled(assessment)
        with atomic_path(self.samples_path(method, seed)) as path, path.open("wb") as file:
            np.savez_compressed(file, **samples)  # type: ignore[arg-type]
        return scalars

    def samples_path(self, method: Method, seed: int) -> Path:
        """Where the resampled numbers of a run lie: rule -> [b, 2], mAP at the main tIoU and the main average."""
        folder = self.contest.folder / "resamples"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{method.name}-seed{seed}.npz"

    def samples(self, method: Method, seed: int) -> dict[str, np.ndarray]:
        """What `samples_path` holds."""
        with np.load(self.samples_path(method, seed), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def _resampled(assessment: Assessment) -> np.ndarray:
    """[b, 2]: mAP at the main tIoU and main average, for the same resamples of the videos whatever was detected."""
    (matches,) = assessment.matches
    protocol = find_protocol(matches.protocol)
    found = bootstrap(matches, resamples=RESAMPLES, seed=0, confidence=0.95)
    average = found.averages.get(protocol.main_average or "", found.map.mean(axis=1))
    return np.stack([found.map[:, protocol.main_row(matches.tious)], average], axis=1)


def facts_of(contest: Contest) -> dict[str, Any]:
    """What is the same for all, for JSON."""
    found = {name: value for name, value in vars(contest).items() if name not in ("folder", "choice")}
    return {**found, "common_rule": asdict(contest.common_rule), **asdict(contest.choice)}
