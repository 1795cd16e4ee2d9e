"""Losses of video-level class scores that the network pools by itself, in place of the top-k means of Eq. 2.

A pooling head (`tc3net.model.pooling`) gives z = `pooled_<T-CAM>` [N, C]; each loss is summed over T-CAMs as Eq. 3 is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from tc3net.common.config import option
from tc3net.losses.classification import cross_entropy
from tc3net.losses.objective import add_term
from tc3net.losses.term import LossInputs, Term, WeightedTerm, sum_of


def sigmoid_loss(scores: tf.Tensor, labels: tf.Tensor) -> Term:
    """Mean over classes of the binary cross-entropy of σ(z) and y, over labelled videos.

    Args:
        scores: [N, C], z.
        labels: [N, C] multi-hot, y.
    """
    labelled = tf.cast(tf.reduce_any(labels > 0, axis=1), scores.dtype)  # [N]
    per_video = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, scores), axis=1)
    return Term(tf.reduce_sum(labelled * per_video), tf.reduce_sum(labelled))


@add_term
@dataclass(frozen=True)
class Pooled(WeightedTerm):
    """The loss of the network's own video-level scores.

    sigmoid: BCE(σ(z), y), STPN's (Nguyen et al. 2018), read in an unofficial reproduction. softmax: with z the
    logarithm of UntrimmedNets' soft selection (Wang et al. 2017), -log Σ_t α_t s_t(y), since its softmax is itself;
    of several labels the mean (from memory, unverified).
    """

    pooled_weight: float = option(
        0.0, "Weight of the loss of the video-level scores that --pooling_head makes; 0: off."
    )
    pooled_loss: str = option(
        "softmax",
        "Kind of that loss: softmax, cross-entropy over the classes (UntrimmedNets); sigmoid, binary cross-entropy "
        "of each class (STPN).",
        choices=("softmax", "sigmoid"),
    )
    name: ClassVar[str] = "pooled"
    needs: ClassVar[tuple[str, ...]] = ("pooling",)

    def compute(self, inputs: LossInputs) -> Term:
        """Summed over the T-CAMs."""
        loss = sigmoid_loss if self.pooled_loss == "sigmoid" else cross_entropy
        return sum_of([loss(inputs.outputs[f"pooled_{name}"], inputs.batch["labels"]) for name in inputs.tcams])
