"""The whole loss, Eq. 1, as a table of terms: built-in ones, and those that a user's module adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.streams import RGB_FLOW
from tc3net.losses.center import center_terms
from tc3net.losses.classification import classification_terms
from tc3net.losses.config import LossConfig
from tc3net.losses.counting import count_terms
from tc3net.losses.term import LossTerm

# The rows of Eq. 1, in the order in which they are summed and reported. Each makes the terms that a configuration has.
Row = Callable[[LossConfig, Sequence[str]], tuple[LossTerm, ...]]  # (choices, names of the streams) -> terms
ROWS: tuple[Row, ...] = (classification_terms, center_terms, count_terms)
# Further terms by name, off by default: those of other methods, and the user's; see `add_term`.
ADDED: dict[str, type[LossTerm]] = {}

LOSS = "loss"  # under which the whole loss is reported
Added = TypeVar("Added", bound=type[LossTerm])


def add_term(term_class: Added) -> Added:
    """Adds a term to every training of this process; a decorator, also for modules named by `--extensions`.

    Args:
        term_class: a frozen dataclass with a `name`, all of whose fields are `option`s: they become flags, are kept
            with the run, and distinguish it from others.

    Raises:
        UserError: the name is taken.
    """
    name = term_class.name
    taken = {LOSS, *ADDED, *(term.name for row in ROWS for term in row(LossConfig(), RGB_FLOW))}
    if name in taken and ADDED.get(name) is not term_class:
        raise UserError(f"Two loss terms are named {name!r}; expected another name. Taken: {', '.join(sorted(taken))}.")
    ADDED[name] = term_class
    return term_class


@dataclass(frozen=True)
class Objective:
    """L of Eq. 1, for one configuration.

    Attributes:
        terms: what it is summed from, in order.
    """

    terms: tuple[LossTerm, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Under which the terms are reported."""
        return tuple(term.name for term in self.terms)

    @property
    def seen_as(self) -> dict[str, str]:
        """Term -> name of the number of videos that took part in it, for terms that not every batch has."""
        return {term.name: term.seen_as for term in self.terms if term.seen_as}

    def loss(self, values: Sequence[tf.Tensor], step: Any) -> tf.Tensor:
        """L = L_cls + α L_center + β L_count at a training step, Eq. 1.

        Args:
            values: of `terms`, in order; normalised.
            step: training step, from 0.
        """
        return tf.add_n([_weight(term, step) * value for term, value in zip(self.terms, values)])


def _weight(term: LossTerm, step: Any) -> Any:
    share = term.share(step)
    return term.coefficient if isinstance(share, float) and share == 1.0 else term.coefficient * share


def make_objective(config: LossConfig, added: Sequence[LossTerm] = (), streams: Sequence[str] = RGB_FLOW) -> Objective:
    """Eq. 1 with a configuration's terms: sums over streams, as many as there are.

    Args:
        config: choices of the built-in terms.
        added: further terms; those that are not active are left out.
        streams: names of the network's streams.

    Raises:
        UserError: a choice names another stream, two terms have one name, or there is none.
    """
    built_in = [term for row in ROWS for term in row(config, streams)]
    objective = Objective((*built_in, *(term for term in added if term.active)))
    twice = {name for name in objective.names if objective.names.count(name) > 1}
    if twice:
        raise UserError(
            f"Two loss terms are named {', '.join(sorted(twice))}: a term of an extension and that of the stream. "
            "Rename the stream or the term."
        )
    if not objective.terms:
        raise UserError(
            "--classification_weight=0 leaves a loss without any term; expected another term in its place "
            "(docs/methods.md), or a positive weight."
        )
    return objective
