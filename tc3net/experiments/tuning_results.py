"""What a search for detection settings leaves: a flagfile with the best ones, and everything that was tried."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tc3net.common.files import write_json
from tc3net.evaluation import find_protocol
from tc3net.experiments.tuning import Trial, changed_settings, gain
from tc3net.results.folder import write_text

FLAGFILE, TRIALS = "detection.cfg", "tuning.json"


@dataclass(frozen=True)
class SearchFacts:
    """One search, for its description.

    Attributes:
        source: the videos, in words.
        protocol, objective, seed: as they were given.
        fixed: names of settings that were not searched.
    """

    source: str
    protocol: str
    objective: str
    seed: int
    fixed: Collection[str]

    def words(self, trial: Trial) -> str:
        """A trial's numbers for the screen."""
        main, average = trial.numbers.values()
        tiou = find_protocol(self.protocol).main_tiou
        return f"mAP@{tiou:g} {100 * main:.1f} %, average mAP {100 * average:.1f} %"

    def report(self, number: int, trial: Trial, best: Trial) -> None:
        """Prints one line per improvement."""
        if trial.accepted:
            print(f"  {number:4d}  {self.words(best)}", flush=True)


def write_tuning(folder: str | Path, search: SearchFacts, best: Trial, trials: Sequence[Trial]) -> None:
    """Writes every detection setting of the best trial as a flag, and all trials as JSON.

    Args:
        folder: created if absent.
        search: what was searched.
        best: the trial that is recommended.
        trials: all of them, the one before tuning first.
    """
    folder = Path(folder)
    lines = [
        "# Detection settings chosen by `python -m tc3net.tune`.",
        "# Use:       --flagfile=THIS_FILE with tc3net.evaluate, tc3net.predict or tc3net.export.",
        f"# Tuned on:  {search.source}; protocol {search.protocol}, objective {search.objective}, seed {search.seed}.",
        f"# There:     {search.words(best)}; before: {search.words(trials[0])}.",
    ]
    lines += [f"--{item.name}={getattr(best.config, item.name)}" for item in fields(best.config)]
    write_text(folder / FLAGFILE, "\n".join(lines) + "\n")
    table = [
        {"settings": asdict(trial.config), "objective": trial.value, **trial.numbers, "accepted": trial.accepted}
        for trial in trials
    ]
    version = find_protocol(search.protocol).version
    choices = {
        "protocol": search.protocol,
        "protocol_version": version,
        "objective": search.objective,
        "seed": search.seed,
    }
    tuned_on = {"tuned_on": search.source, **choices, "fixed": list(search.fixed)}
    write_json(folder / TRIALS, {**tuned_on, "trials": table})


def closing_words(search: SearchFacts, best: Trial, trials: Sequence[Trial]) -> str:
    """What came out, for the screen."""
    improvement, error = gain(best, trials[0])
    return (
        f"{len(trials)} settings tried\n  before  {search.words(trials[0])}\n  best    {search.words(best)}\n"
        f"  gain of the objective: {100 * improvement:.1f} points, standard error {100 * error:.1f}\n"
        f"  changed: {changed_settings(best.config)}\n\n"
        "The best of many is flattered by the choice; evaluate it once on the test videos."
    )
