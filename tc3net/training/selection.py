"""Which evaluation was the best so far, and whether to go on: the state behind `best/` and early stopping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tc3net.common.config import option
from tc3net.common.errors import UserError


@dataclass(frozen=True)
class SelectionConfig:
    """By what the best checkpoint is chosen: held-out training videos where there are some, else the test subset."""

    holdout_fraction: float = option(
        0.0, "Part of the training videos held out from training, to select the best checkpoint on; 0: none."
    )
    selection: str = option(
        "auto",
        "What selects the best checkpoint: localization mAP of the first protocol, classification mAP, or the loss of "
        "the held-out videos. auto: that loss; without held-out videos the mAP on the test subset, of localization "
        "where its data set has annotated instances.",
        choices=("auto", "localization", "classification", "loss"),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.holdout_fraction < 1:
            raise UserError(f"--holdout_fraction={self.holdout_fraction}; expected 0 (none) or a part below 1.")
        if self.selection == "loss" and self.holdout_fraction == 0:
            raise UserError(
                "--selection=loss needs held-out videos: give --holdout_fraction=0.1, or another --selection."
            )

    def resolved(self, has_instances: bool) -> str:
        """`selection` with "auto" decided.

        Args:
            has_instances: whether the data set has annotated instances.
        """
        if self.selection != "auto":
            return self.selection
        if self.holdout_fraction:
            return "loss"
        return "localization" if has_instances else "classification"


class Progress:
    """The best value so far, and how many evaluations ago that was.

    Args:
        patience: evaluations without improvement after which `exhausted` is True; 0: never.
        past: values of earlier evaluations of this run, oldest first.
    """

    def __init__(self, patience: int, past: Iterable[float] = ()) -> None:
        self._patience = patience
        self.best, self.since_best = -math.inf, 0
        for value in past:
            self.add(value)

    def add(self, value: float) -> bool:
        """Counts one evaluation (higher is better); returns whether it is the best so far. NaN never is."""
        if value > self.best:
            self.best, self.since_best = value, 0
            return True
        self.since_best += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether to stop."""
        return 0 < self._patience <= self.since_best
