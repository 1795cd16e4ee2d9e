"""Evidential classification (DELU, Chen et al. 2022): scores are evidence, and little of it is uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from tc3net.common.config import option
from tc3net.losses.objective import add_term
from tc3net.losses.other_methods.background import scores_with_background, suppress
from tc3net.losses.term import LossInputs, Term, WeightedTerm, sum_of
from tc3net.ops import ragged

LARGEST = 10.0  # of the scores that are exponentiated
TOP_DIVISOR = 9  # of the segments, by attention, whose evidence is collected


def evidential_loss(evidence: tf.Tensor, labels: tf.Tensor) -> Term:
    """Σ_j y(j) (log Σ_c α(c) - log α(j)) with α = evidence + 1, over labelled videos.

    Args:
        evidence: [N, C], not negative.
        labels: [N, C] multi-hot, y.
    """
    alpha = evidence + 1.0
    total = tf.math.log(tf.reduce_sum(alpha, axis=1, keepdims=True)) - tf.math.log(alpha)
    labelled = tf.reduce_any(labels > 0, axis=1)
    return Term(tf.reduce_sum(labels * total), tf.reduce_sum(tf.cast(labelled, evidence.dtype)))


@add_term
@dataclass(frozen=True)
class Evidential(WeightedTerm):
    """The evidential logarithmic loss of each T-CAM's most attended segments (DELU, Chen et al. 2022; weight 1.3).

    Evidence of a segment is exp(clip(S̃, ±10)) of the C classes, S̃ of `background`; of a video the mean over its top
    ⌊s/9⌋ segments by A, at least one. Read in the authors' code, but for the mean, which is unverified.
    """

    evidential_weight: float = option(0.0, "Weight of the evidential loss of the most attended segments; 0: off.")
    name: ClassVar[str] = "evidential"
    needs: ClassVar[tuple[str, ...]] = ("background", "attention")

    def compute(self, inputs: LossInputs) -> Term:
        """Summed over the T-CAMs."""
        terms = []
        for name in inputs.tcams:
            attention = inputs.outputs[f"attention_{name}"]
            scores = suppress(scores_with_background(inputs, name), attention.flat_values).flat_values[:, :-1]
            evidence = tf.exp(tf.clip_by_value(scores, -LARGEST, LARGEST))  # [R, C]
            share = ragged.top_k_share(attention, divisor=TOP_DIVISOR, rounding="floor")  # [R, 1]
            number = ragged.sum_over_time(share, attention)
            collected = tf.math.divide_no_nan(ragged.sum_over_time(share * evidence, attention), number)  # [N, C]
            terms.append(evidential_loss(collected, inputs.batch["labels"]))
        return sum_of(terms)
