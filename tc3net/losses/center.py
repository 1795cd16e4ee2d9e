"""Multi-label center loss and the centers' own update (Sec. 3.3): Eq. 6, Eq. 7 and Eq. 8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from tc3net.common.stack import tf_variable
from tc3net.losses.attention import aggregate_features
from tc3net.losses.config import LossConfig
from tc3net.losses.term import LossInputs, LossTerm, Term


class CenterLoss(NamedTuple):
    """The center loss of one stream and what the centers' update (Eq. 7) needs.

    Attributes:
        term: the loss.
        offset_sum: [C, D], Σ_i (c_j - f_i(j)) over the videos that contain class j; carries no gradient.
        pair_count: [C], how many videos contain class j.
    """

    term: Term
    offset_sum: tf.Tensor
    pair_count: tf.Tensor


def center_loss(
    *,
    features: tf.RaggedTensor,
    tcam: tf.RaggedTensor,
    labels: tf.Tensor,
    centers: tf.Tensor,
    use_multi_label: tf.Tensor | bool = True,
    config: LossConfig,
) -> CenterLoss:
    """Multi-label center loss of one stream, Eq. 6, with the sums of Eq. 7.

    Args:
        features: [N, (s), D] ragged.
        tcam: [N, (s), C] ragged.
        labels: [N, C] multi-hot.
        centers: [C, D]; no gradient flows into them, they have their own update (`update_centers`).
        use_multi_label: scalar bool; False leaves out videos with more than one label.
        config: attention and normalisation choices.

    Returns:
        CenterLoss over the (video, class) pairs present.
    """
    num_classes = tf.shape(labels)[1]
    single_label = tf.reduce_sum(labels, axis=1, keepdims=True) <= 1.0  # [N, 1]
    present = (labels > 0) & (single_label | use_multi_label)
    pairs = tf.where(present)  # [P, 2]
    aggregated = aggregate_features(
        features=features,
        tcam=tcam,
        pairs=pairs,
        attention_axis=config.attention_axis,
        attention_threshold=config.attention_threshold,
    )  # [P, D]
    offsets = tf.gather(tf.stop_gradient(centers), pairs[:, 1]) - aggregated  # c_j - f_i(j)
    total = tf.reduce_sum(tf.square(offsets))
    pair_count = tf.reduce_sum(tf.cast(present, total.dtype), axis=0)  # [C]
    if config.center_normalization == "videos":
        term = Term(total, tf.reduce_sum(tf.cast(tf.reduce_any(present, axis=1), total.dtype)))
    else:
        term = Term(total, tf.reduce_sum(pair_count), power=2)
    offset_sum = tf.math.unsorted_segment_sum(tf.stop_gradient(offsets), pairs[:, 1], num_classes)  # -> [C, D]
    return CenterLoss(term, offset_sum, pair_count)


def center_delta(offset_sum: tf.Tensor, pair_count: tf.Tensor) -> tf.Tensor:
    """Δc_j = Σ_i (c_j - f_i(j)) / (1 + n_j), Eq. 7.

    Args:
        offset_sum: [C, D], summed over all replicas.
        pair_count: [C], number of videos with class j, summed over all replicas.

    Returns:
        [C, D]; zero for classes absent from the batch.
    """
    return offset_sum / (1.0 + pair_count)[:, tf.newaxis]


def update_centers(centers: Any, offset_sum: tf.Tensor, pair_count: tf.Tensor, learning_rate: float) -> None:
    """c_j <- c_j - learning_rate * Δc_j, the same on every replica.

    Must be called in replica context (inside `strategy.run`, or outside any strategy).

    Args:
        centers: [C, D] non-trainable variable.
        offset_sum: [C, D] of this replica's videos.
        pair_count: [C] of this replica's videos.
        learning_rate: the centers' own.
    """
    replica = tf.distribute.get_replica_context()
    offset_sum, pair_count = replica.all_reduce(tf.distribute.ReduceOp.SUM, [offset_sum, pair_count])
    step = -learning_rate * center_delta(offset_sum, pair_count)

    def assign(strategy: tf.distribute.Strategy, step: tf.Tensor) -> None:
        # Every replica holds the same step already, so each copy of the variable takes its own.
        strategy.extended.update(tf_variable(centers), lambda copy, value: copy.assign_add(value), args=(step,))

    replica.merge_call(assign, args=(step,))


@dataclass(frozen=True)
class CenterTerm(LossTerm):
    """The center loss of one stream, which moves that stream's centers after each step."""

    stream: str
    config: LossConfig

    @property
    def name(self) -> str:  # type: ignore[override]
        """`center_rgb`, ..."""
        return f"center_{self.stream}"

    @property
    def coefficient(self) -> float:
        """α of Eq. 1."""
        return self.config.alpha

    def _found(self, inputs: LossInputs) -> CenterLoss:
        return inputs.once(
            self,
            lambda: center_loss(
                features=inputs.outputs[f"features_{self.stream}"],
                tcam=inputs.outputs[f"tcam_{self.stream}"],
                labels=inputs.batch["labels"],
                centers=inputs.centers[self.stream],
                use_multi_label=tf.cast(inputs.step, tf.int64) >= self.config.center_multi_label_from_step,
                config=self.config,
            ),
        )

    def compute(self, inputs: LossInputs) -> Term:
        """`center_loss` of this stream."""
        return self._found(inputs).term

    def after_step(self, inputs: LossInputs, centers: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """Eq. 7; reports the centers' mean length."""
        found, moved = self._found(inputs), centers[self.stream]
        update_centers(moved, found.offset_sum, found.pair_count, self.config.center_learning_rate)
        return {f"center_norm_{self.stream}": tf.reduce_mean(tf.norm(tf.convert_to_tensor(moved), axis=1))}


def center_terms(config: LossConfig, streams: Sequence[str]) -> tuple[LossTerm, ...]:
    """The summands of Eq. 8: L_center = L_center^a + L_center^f, a term per stream (ablation: one stream alone)."""
    return tuple(CenterTerm(name, config) for name in config.centered(streams))
