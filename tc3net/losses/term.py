"""What a loss term is: its value before normalisation, and the object that computes it. No formula is here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple, TypeVar

import tensorflow as tf

T = TypeVar("T")


class Term(NamedTuple):
    """A loss term before normalisation: its value is total / weight ** power, both summed over replicas.

    Attributes:
        total: scalar, sum over videos (and classes).
        weight: scalar, how many videos (or pairs) took part; carries no gradient.
        power: 1, or 2 for the public reference code's center loss.
    """

    total: tf.Tensor
    weight: tf.Tensor
    power: int = 1


class LossInputs:
    """What a term may read: one replica's share of a training step.

    Args:
        batch: `labels` [N, C], `counts` [N, C], `counts_known` [N, C] bool, `full_length` [N] bool; in training also
            `video` [N], position in the training subset, and `first_segment` [N], the video's segment in its first row.
        outputs: what the model returned: `tcam_<stream>`, `tcam_fused` [N, (s), C], `features_<stream>` [N, (s), H],
            all ragged, and what heads add.
        centers: stream -> [C, H], the class centers.
        step: scalar int64, training steps done before this one.
    """

    def __init__(
        self,
        batch: Mapping[str, Any],
        outputs: Mapping[str, Any],
        centers: Mapping[str, tf.Tensor],
        step: tf.Tensor,
    ) -> None:
        self.batch, self.outputs, self.centers, self.step = batch, outputs, centers, step
        self._made: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """`make()`, computed once a step for all terms that ask with the same key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]  # type: ignore[no-any-return]


class LossTerm(ABC):
    """One summand of the whole loss (Eq. 1); subclasses are frozen dataclasses, whose fields are its choices.

    A term of the user's has `tc3net.common.config.option` fields, which become flags; docs/extending.md shows one.

    Attributes:
        name: under which it is reported, unique in a run.
        seen_as: for a term that not every batch has something for: the name under which the step reports how many
            videos took part, over whose batches alone the term's mean is taken. Terms may share it. Empty: every batch.
    """

    name: ClassVar[str]
    seen_as: ClassVar[str] = ""

    @property
    def active(self) -> bool:
        """Whether it takes part in training at all; False leaves it out of everything."""
        return True

    def as_dict(self) -> dict[str, Any]:
        """What makes it this term, as `run.json` keeps it: a run is resumed with the same alone."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    @property
    def coefficient(self) -> float:
        """Its factor in the whole loss, at full weight."""
        return 1.0

    def share(self, step: Any) -> Any:
        """How much of its full weight acts at a training step (from 0): 1.0, or a scalar tensor."""
        del step
        return 1.0

    @abstractmethod
    def compute(self, inputs: LossInputs) -> Term:
        """Its value for this replica's videos: sums, never means, so that the replica count changes nothing."""

    def after_step(self, inputs: LossInputs, centers: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """Moves variables that have an update of their own, after the optimizer's step; call in replica context.

        Args:
            inputs: those that `compute` had.
            centers: stream -> [C, D] variable.

        Returns:
            Scalars to report, the same on every replica.
        """
        del inputs, centers
        return {}
