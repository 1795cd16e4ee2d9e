"""What a loss term is: its value before normalisation, and the object that computes it. No formula is here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple, TypeVar

import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.streams import FUSED
from tc3net.losses.config import LossConfig

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


def sum_of(terms: Sequence[Term]) -> Term:
    """The sum of terms over the same videos."""
    return Term(tf.add_n([term.total for term in terms]), terms[0].weight, terms[0].power)


class LossInputs:
    """What a term may read: one replica's share of a training step.

    Args:
        batch: `labels` [N, C], `counts` [N, C], `counts_known` [N, C] bool, `full_length` [N] bool; in training also
            `video` [N], position in the training subset, and `first_segment` [N], the video's segment in its first row.
        outputs: what the model returned: `tcam_<stream>`, `tcam_fused` [N, (s), C], `features_<stream>` [N, (s), H],
            all ragged, and what heads add.
        centers: stream -> [C, H], the class centers.
        step: scalar int64, training steps done before this one.
        config: choices of Eq. 1-10, for terms that share one of them (k of the top-k pooling).
    """

    def __init__(
        self,
        batch: Mapping[str, Any],
        outputs: Mapping[str, Any],
        centers: Mapping[str, tf.Tensor],
        step: tf.Tensor,
        config: LossConfig = LossConfig(),
    ) -> None:
        self.batch, self.outputs, self.centers, self.step, self.config = batch, outputs, centers, step, config
        self._made: dict[Any, Any] = {}

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the network's streams."""
        prefix = "features_"
        return tuple(name[len(prefix) :] for name in self.outputs if name.startswith(prefix))

    def joint_features(self) -> tf.RaggedTensor:
        """The features of all streams side by side: [N, (s), ΣH] ragged."""
        parts = [self.outputs[f"features_{name}"] for name in self.streams]
        if len(parts) == 1:
            return parts[0]
        return parts[0].with_flat_values(tf.concat([part.flat_values for part in parts], axis=1))

    @property
    def tcams(self) -> tuple[str, ...]:
        """Names of the T-CAMs that a loss of classes is summed over, as in Eq. 3: the streams' and the fused one; of a
        single stream the fused one alone, which is that stream's."""
        streams = self.streams
        return (*streams, FUSED) if len(streams) > 1 else (FUSED,)

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
        needs: names of the heads (`tc3net.model.heads`) whose outputs it reads.
    """

    name: ClassVar[str]
    seen_as: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()

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


class WeightedTerm(LossTerm):
    """A term with a flag `<name>_weight` that is its factor in the whole loss; 0 leaves it out."""

    def __post_init__(self) -> None:
        if not 0 <= self.coefficient < float("inf"):
            raise UserError(f"--{self.name}_weight={self.coefficient}; expected 0 (off) or a positive number.")

    @property
    def active(self) -> bool:
        """Where the weight is positive."""
        return self.coefficient > 0

    @property
    def coefficient(self) -> float:
        """The weight."""
        return float(getattr(self, f"{self.name}_weight"))
