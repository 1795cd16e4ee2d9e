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
    r = ragged.top_k_mean(tcam, divisor=top_k_divisor, portable=False)  # [N, C]
    return cross_entropy(r, labels)


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
    """The classification loss of one T-CAM.

    Attributes:
        tcam: which.
        among: all T-CAMs that have such a loss, in order: what is selected in them is selected at once.
    """

    tcam: str
    among: tuple[str, ...]
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
        means = inputs.once((ClassificationTerm, self.among, self.top_k_divisor), lambda: self._means(inputs))
        return cross_entropy(means[self.among.index(self.tcam)], inputs.batch["labels"])

    def _means(self, inputs: LossInputs) -> list[tf.Tensor]:
        """r of Sec. 3.2 for every T-CAM of `among`, each [N, C]: side by side they take the operations of one."""
        tcams = [inputs.outputs[f"tcam_{name}"] for name in self.among]
        beside = tcams[0].with_flat_values(tf.concat([tcam.flat_values for tcam in tcams], axis=1))  # [N, (s), M C]
        means = ragged.top_k_mean(beside, divisor=self.top_k_divisor, portable=False)
        return tf.split(means, len(tcams), axis=1)


def classification_terms(config: LossConfig, streams: Sequence[str]) -> tuple[LossTerm, ...]:
    """The summands of Eq. 3: L_cls = L_cls^a + L_cls^f + L_cls^F, a term per T-CAM (ablation: the fused one alone);
    none where its weight is 0."""
    names = config.classified(streams) if config.classification_weight > 0 else ()
    made = (ClassificationTerm(name, names, config.top_k_divisor, config.classification_weight) for name in names)
    return tuple(made)
