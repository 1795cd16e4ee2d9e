"""The counting loss of the fused T-CAM (Sec. 3.4): Eq. 9 and Eq. 10. Other estimates of counts: `count_estimators`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from tc3net.losses.attention import attended_sum
from tc3net.losses.config import LossConfig
from tc3net.losses.count_estimators import count_instances
from tc3net.losses.term import LossInputs, LossTerm, Term


class CountLoss(NamedTuple):
    """The two parts of the counting loss (Eq. 10), L_count+ and L_count- (without lambda).

    Attributes:
        positive: error of the classes that are present.
        negative: error of the classes that are absent.
    """

    positive: Term
    negative: Term


def predicted_counts(tcam: tf.RaggedTensor, attention_axis: str = "time") -> tf.Tensor:
    """Predicted counts m(j): attention-weighted sum of the fused T-CAM over time (Eq. 9).

    Args:
        tcam: [N, (s), C] ragged, fused T-CAM.
        attention_axis: see `temporal_attention`.

    Returns:
        [N, C].
    """
    return attended_sum(tcam, tcam.flat_values, attention_axis)


def estimated_counts(tcam: tf.RaggedTensor, config: LossConfig, counts: tf.Tensor | None = None) -> tf.Tensor:
    """What the counting loss compares with the annotated counts.

    Args:
        tcam: [N, (s), C] ragged, fused T-CAM.
        config: which estimator.
        counts: [N, C], annotated instances; read where `count_length` is 0.

    Returns:
        [N, C]; Eq. 9, or an estimated number of instances (`count_estimators`).
    """
    if config.count_estimator == "attention":
        return predicted_counts(tcam, config.attention_axis)
    return count_instances(
        tcam,
        config.count_estimator,
        temperature=config.count_temperature,
        smoothing=config.count_smoothing,
        length=config.count_length,
        counts=counts,
    )


def _count_error(predicted: tf.Tensor, counts: tf.Tensor, config: LossConfig) -> tf.Tensor:
    """Error of predicted counts [N, C], of which only those of present classes have a meaning."""
    kind = config.count_error
    if kind == "log":
        error = tf.abs(tf.math.log1p(predicted) - tf.math.log1p(counts))
        return tf.nn.relu(error - config.count_tolerance) if config.count_tolerance else error
    error = tf.abs(predicted - counts)
    return error / tf.maximum(counts, 1.0) if kind == "relative" else error


def count_loss(
    *,
    tcam: tf.RaggedTensor,
    counts: tf.Tensor,
    counts_known: tf.Tensor,
    full_length: tf.Tensor,
    config: LossConfig,
) -> CountLoss:
    """The parts of the counting loss, Eq. 10, of the fused T-CAM.

    Args:
        tcam: [N, (s), C] ragged.
        counts: [N, C], instances of each class; read only where known.
        counts_known: [N, C] bool. An absent class of a data set whose instances are annotated has the known count 0.
        full_length: [N] bool, whether all segments of the video are in the batch; cropped videos take no part.
        config: error and positive-count choices.

    Returns:
        Both parts, over the videos with any usable count.
    """
    predicted = estimated_counts(tcam, config, counts)  # [N, C]
    usable = counts_known & full_length[:, tf.newaxis]
    positive = usable & (counts > 0)
    if config.count_positives == "below_length":
        positive &= counts < tf.cast(tcam.row_lengths(), counts.dtype)[:, tf.newaxis]
    negative = usable & ~positive
    zeros = tf.zeros_like(predicted)
    positive_total = tf.reduce_sum(tf.where(positive, _count_error(predicted, counts, config), zeros))
    negative_total = tf.reduce_sum(tf.where(negative, tf.abs(predicted), zeros))
    weight = tf.reduce_sum(tf.cast(tf.reduce_any(usable, axis=1), predicted.dtype))
    return CountLoss(Term(positive_total, weight), Term(negative_total, weight))


@dataclass(frozen=True)
class _CountTerm(LossTerm):
    config: LossConfig
    seen_as: ClassVar[str] = "count_videos"

    def share(self, step: Any) -> Any:
        """0 before `count_start_step`, then rising over `count_ramp_steps`, see `count_share`."""
        return count_share(self.config, step)

    def _found(self, inputs: LossInputs) -> CountLoss:
        return inputs.once(
            count_loss,
            lambda: count_loss(
                tcam=inputs.outputs["tcam_fused"],
                counts=inputs.batch["counts"],
                counts_known=inputs.batch["counts_known"],
                full_length=inputs.batch["full_length"],
                config=self.config,
            ),
        )


@dataclass(frozen=True)
class CountPositiveTerm(_CountTerm):
    """L_count+, the error of present classes."""

    name: ClassVar[str] = "count_positive"

    @property
    def coefficient(self) -> float:
        """β of Eq. 1."""
        return self.config.beta

    def compute(self, inputs: LossInputs) -> Term:
        """The positive part of `count_loss`."""
        return self._found(inputs).positive


@dataclass(frozen=True)
class CountNegativeTerm(_CountTerm):
    """L_count-, the counts predicted for absent classes."""

    name: ClassVar[str] = "count_negative"

    @property
    def coefficient(self) -> float:
        """βλ of Eq. 1 and Eq. 10."""
        return self.config.beta * self.config.count_negative_weight

    def compute(self, inputs: LossInputs) -> Term:
        """The negative part of `count_loss`."""
        return self._found(inputs).negative


def count_share(config: LossConfig, step: Any) -> Any:
    """How much of its full weight the counting loss has at a step (from 0): 1.0, or a scalar tensor.

    0 before `count_start_step` S, then min(1, (t - S + 1) / (count_ramp_steps + 1)).
    """
    if config.count_start_step == 0 and config.count_ramp_steps == 0:
        return 1.0
    done = tf.cast(step, tf.float32) - config.count_start_step + 1.0
    return tf.clip_by_value(done / (config.count_ramp_steps + 1.0), 0.0, 1.0)


def count_terms(config: LossConfig, streams: Sequence[str]) -> tuple[LossTerm, ...]:
    """The summands of Eq. 10: L_count = L_count+ + λ L_count-; none where β is 0. They read the fused T-CAM alone."""
    del streams
    return (CountPositiveTerm(config), CountNegativeTerm(config)) if config.beta > 0 else ()
