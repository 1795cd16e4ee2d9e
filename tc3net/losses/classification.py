"""Classification by top-k multiple-instance learning (Sec. 3.2): Eq. 2 and Eq. 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tc3net.losses.config import LossConfig
from tc3net.losses.term import LossInputs, LossTerm, Term
from tc3net.ops import ragged


def log_class_probability(scores: tf.Tensor) -> tf.Tensor:
    """log p(j) of Eq. 2: the logarithm of the softmax over classes.

    Args:
        scores: [N, C], r of the paper: top-k means of a T-CAM.

    Returns:
        [N, C].
    """
    return tf.nn.log_softmax(scores, axis=1)


def classification_loss(*, tcam: tf.RaggedTensor, labels: tf.Tensor, top_k_divisor: int = 8) -> Term:
    """Cross-entropy between p of Eq. 2 and the l1-normalised labels q (Sec. 3.2), for one T-CAM.

    Args:
        tcam: [N, (s), C] ragged.
        labels: [N, C] multi-hot. Videos without any label take no part.
        top_k_divisor: k = ⌈s / divisor⌉.

    Returns:
        Term over the labelled videos.
    """
    return cross_entropy(ragged.top_k_mean(tcam, divisor=top_k_divisor), labels)  # of [N, C], r of the paper


def cross_entropy(scores: tf.Tensor, labels: tf.Tensor) -> Term:
    """Cross-entropy between p of Eq. 2 and the l1-normalised labels q (Sec. 3.2), of video-level scores.

    Args:
        scores: [N, C], r of the paper.
        labels: [N, C] multi-hot. Videos without any label take no part.

    Returns:
        Term over the labelled videos.
    """
    num_labels = tf.reduce_sum(labels, axis=1)  # [N]
    target = tf.math.divide_no_nan(labels, num_labels[:, tf.newaxis])  # q; all zero for an unlabelled video
    total = -tf.reduce_sum(target * log_class_probability(scores))
    return Term(total, tf.reduce_sum(tf.cast(num_labels > 0, total.dtype)))


@dataclass(frozen=True)
class ClassificationTerm(LossTerm):
    """The classification loss of one T-CAM."""

    tcam: str
    top_k_divisor: int
    weight: float = 1.0

    @property
    def name(self) -> str:  # type: ignore[override]
        """`classification_rgb`, ..."""
        return f"classification_{self.tcam}"

    @property
    def coefficient(self) -> float:
        """1 in Eq. 1."""
        return self.weight

    def compute(self, inputs: LossInputs) -> Term:
        """`classification_loss` of this T-CAM."""
        return classification_loss(
            tcam=inputs.outputs[f"tcam_{self.tcam}"],
            labels=inputs.batch["labels"],
            top_k_divisor=self.top_k_divisor,
        )


def classification_terms(config: LossConfig, streams: Sequence[str]) -> tuple[LossTerm, ...]:
    """The summands of Eq. 3: L_cls = L_cls^a + L_cls^f + L_cls^F, a term per T-CAM (ablation: the fused one alone);
    none where its weight is 0."""
    names = config.classified(streams) if config.classification_weight > 0 else ()
    return tuple(ClassificationTerm(name, config.top_k_divisor, config.classification_weight) for name in names)
