"""Losses of a T-CAM with a background class, bare and suppressed by an attention that no class owns.

S has the C classes' columns and the background's; A in [0, 1] is the attention of a segment. Suppressing leaves a
segment's scores where A = 1 and makes all of them equal where A = 0:

    S̃ = A · (S - min_c S) + min_c S

Source: HAM-Net (Islam, Long, Radke 2021) and CO2-Net (Hong et al. 2021), from their code; the pair with hard attention
(`HardSuppressed`) from memory, unverified. Each loss is summed over T-CAMs as Eq. 3 is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from tc3net.common.config import option
from tc3net.losses.classification import classification_loss
from tc3net.losses.objective import add_term
from tc3net.losses.term import LossInputs, Term, WeightedTerm, sum_of

HARD_SHARE = 0.2  # of the way from a video's smallest to its largest attention


def scores_with_background(inputs: LossInputs, tcam: str) -> tf.RaggedTensor:
    """S of one T-CAM: [N, (s), C + 1], the background's column last."""
    classes, background = inputs.outputs[f"tcam_{tcam}"], inputs.outputs[f"background_{tcam}"]
    return classes.with_flat_values(tf.concat([classes.flat_values, background.flat_values], axis=1))


def suppress(scores: tf.RaggedTensor, attention: tf.Tensor) -> tf.RaggedTensor:
    """S̃ = A · (S - min_c S) + min_c S.

    Args:
        scores: [N, (s), K] ragged.
        attention: [R, 1], A.

    Returns:
        As `scores`.
    """
    lowest = tf.reduce_min(scores.flat_values, axis=1, keepdims=True)  # [R, 1]
    return scores.with_flat_values(attention * (scores.flat_values - lowest) + lowest)


def low_attention(attention: tf.RaggedTensor) -> tf.Tensor:
    """1[A < min + 0.2 (max - min)], minimum and maximum over the video: [N, (s), 1] ragged -> [R, 1]; no gradient."""
    values, row_ids = tf.stop_gradient(attention.flat_values), attention.value_rowids()
    low, high = -tf.math.segment_max(-values, row_ids), tf.math.segment_max(values, row_ids)
    limit = tf.gather(low + HARD_SHARE * (high - low), row_ids)
    return tf.cast(values < limit, values.dtype)


def labels_with(labels: tf.Tensor, background: float) -> tf.Tensor:
    """[y, background], [N, C] -> [N, C + 1]; a video without labels, of which nothing is known, stays without."""
    labelled = tf.cast(tf.reduce_any(labels > 0, axis=1, keepdims=True), labels.dtype)
    return tf.concat([labels, background * labelled], axis=1)


def _cross_entropy(inputs: LossInputs, scores: tf.RaggedTensor, background: float) -> Term:
    """CE of the softmax of top-k means and [y, background], l1-normalised, as Eq. 2 and 3 have it."""
    labels = labels_with(inputs.batch["labels"], background)
    return classification_loss(tcam=scores, labels=labels, top_k_divisor=inputs.config.top_k_divisor)


@add_term
@dataclass(frozen=True)
class Background(WeightedTerm):
    """CE(softmax(top-k mean of S), [y, 1]): background occurs in every video."""

    background_weight: float = option(
        0.0, "Weight of the classification loss with a background class that every video has; 0: off."
    )
    name: ClassVar[str] = "background"
    needs: ClassVar[tuple[str, ...]] = ("background",)

    def compute(self, inputs: LossInputs) -> Term:
        """Summed over the T-CAMs."""
        return sum_of([_cross_entropy(inputs, scores_with_background(inputs, name), 1.0) for name in inputs.tcams])


@add_term
@dataclass(frozen=True)
class Suppressed(WeightedTerm):
    """CE(softmax(top-k mean of S̃), [y, 0]): where attention is, there is no background."""

    suppressed_weight: float = option(
        0.0, "Weight of the classification loss of scores suppressed by attention, without background; 0: off."
    )
    name: ClassVar[str] = "suppressed"
    needs: ClassVar[tuple[str, ...]] = ("background", "attention")

    def compute(self, inputs: LossInputs) -> Term:
        """Summed over the T-CAMs, each with the attention of its stream (the fused one with the mean of all)."""
        terms = []
        for name in inputs.tcams:
            scores = scores_with_background(inputs, name)
            attention = inputs.outputs[f"attention_{name}"].flat_values
            terms.append(_cross_entropy(inputs, suppress(scores, attention), 0.0))
        return sum_of(terms)


@add_term
@dataclass(frozen=True)
class HardSuppressed(WeightedTerm):
    """What is left when the most attended segments are taken away still shows the video's classes.

    With M = 1[A < min + 0.2 (max - min)], minimum and maximum over the video: CE(top-k of S suppressed by M, [y, 1]),
    hard attention, plus CE(top-k of S suppressed by A · M, [y, 0]), semi-soft attention. Unverified.
    """

    hard_suppressed_weight: float = option(
        0.0, "Weight of HAM-Net's two classification losses without the most attended segments; 0: off."
    )
    name: ClassVar[str] = "hard_suppressed"
    needs: ClassVar[tuple[str, ...]] = ("background", "attention")

    def compute(self, inputs: LossInputs) -> Term:
        """Summed over the T-CAMs."""
        terms = []
        for name in inputs.tcams:
            scores, attention = scores_with_background(inputs, name), inputs.outputs[f"attention_{name}"]
            mask = low_attention(attention)
            terms.append(_cross_entropy(inputs, suppress(scores, mask), 1.0))
            terms.append(_cross_entropy(inputs, suppress(scores, mask * attention.flat_values), 0.0))
        return sum_of(terms)
