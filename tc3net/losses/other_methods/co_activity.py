"""Co-activity similarity of W-TALC (Paul, Roy, Roy-Chowdhury 2018): videos with a common class look alike where it is.

For two videos m, n with a common class j, with a the softmax over time of the T-CAM's column j:

    H = Σ_t a(t) x(t)        L = Σ_t (1 - a(t)) x(t) / (s - 1)        d = 1 - cosine similarity
    ℓ = ½ [d(H_m, H_n) - d(H_m, L_n) + δ]₊ + ½ [d(H_m, H_n) - d(L_m, H_n) + δ]₊        δ = ½

averaged over all such (pair, class). W-TALC draws batches that are sure to hold pairs; here every pair of the global
batch takes part. Its x is one embedding of both streams after dropout; ours are the streams' features before dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from tc3net.common.config import option
from tc3net.losses.objective import add_term
from tc3net.losses.term import LossInputs, Term, WeightedTerm
from tc3net.ops import ragged

MARGIN = 0.5  # δ


def activity_features(
    features: tf.RaggedTensor, tcam: tf.RaggedTensor, pairs: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """H and L of chosen (video, class) pairs.

    Args:
        features: [N, (s), D] ragged, x.
        tcam: [N, (s), C] ragged.
        pairs: [P, 2] int64, (video, class).

    Returns:
        [P, D] each. A video of one segment has no L: zero.
    """
    tracks, rows = ragged.class_tracks(tcam, pairs)
    high = ragged.softmax_over_time(tracks).flat_values  # [Σ s], a
    lengths = tf.cast(tracks.row_lengths(), high.dtype)  # [P]
    row_ids = tracks.value_rowids()
    low = (1.0 - high) / tf.gather(tf.maximum(lengths - 1.0, 1.0), row_ids)
    # As sparse matrices [P, R]: the features are never copied per pair.
    entries = tf.stack([row_ids, rows.flat_values], axis=1)
    x = features.flat_values
    shape = tf.stack([tf.shape(pairs, out_type=tf.int64)[0], tf.shape(x, out_type=tf.int64)[0]])
    found = [tf.sparse.sparse_dense_matmul(tf.SparseTensor(entries, weights, shape), x) for weights in (high, low)]
    return found[0], found[1]


def pair_losses(high: tf.Tensor, low: tf.Tensor, other_high: tf.Tensor, other_low: tf.Tensor) -> tf.Tensor:
    """ℓ of every combination of P (video, class) pairs with Q others.

    Args:
        high, low: [P, D], H and L.
        other_high, other_low: [Q, D].

    Returns:
        [P, Q]. A vector of length 0 has the distance 1 from any other.
    """
    high, low, other_high, other_low = (tf.math.l2_normalize(v, axis=1) for v in (high, low, other_high, other_low))
    together = 1.0 - tf.matmul(high, other_high, transpose_b=True)
    apart = [
        1.0 - tf.matmul(high, other_low, transpose_b=True),
        1.0 - tf.matmul(low, other_high, transpose_b=True),
    ]
    return tf.add_n([0.5 * tf.nn.relu(together - distance + MARGIN) for distance in apart])


def co_activity_loss(features: tf.RaggedTensor, tcam: tf.RaggedTensor, labels: tf.Tensor) -> Term:
    """Co-activity similarity over the (pair of videos, common class)es of the global batch; call in replica context.

    ℓ is symmetric. So the gradient with respect to a replica's own videos is that of Σ ℓ(m, n) over its own m and all n
    of the global batch, the n held fixed: nothing has to flow back through the exchange, and the sum over replicas is
    the gradient of the whole, whatever their number. As a value each pair is counted by both of its videos, by half.

    Args:
        features: [N, (s), D] ragged.
        tcam: [N, (s), C] ragged.
        labels: [N, C] multi-hot.

    Returns:
        Term; its weights, summed over replicas, count (pair, class)es.
    """
    replica = tf.distribute.get_replica_context()
    pairs = tf.where(labels > 0)  # [P, 2]
    high, low = activity_features(features, tcam, pairs)
    owner = tf.fill([tf.shape(pairs)[0], 1], tf.cast(replica.replica_id_in_sync_group, tf.int64))
    identity = tf.concat([owner, pairs], axis=1)  # [P, 3]: replica, video, class
    size = high.shape[1]
    everyone = replica.all_gather(tf.stop_gradient(tf.concat([high, low], axis=1)), axis=0)  # [Q, 2D]
    theirs = replica.all_gather(identity, axis=0)  # [Q, 3]
    same = tf.equal(identity[:, tf.newaxis], theirs[tf.newaxis])  # [P, Q, 3]
    counted = tf.cast(same[..., 2] & ~(same[..., 0] & same[..., 1]), high.dtype)  # the same class, another video
    both = tf.reduce_sum(counted * pair_losses(high, low, everyone[:, :size], everyone[:, size:]))
    return Term(both - tf.stop_gradient(both) / 2, tf.reduce_sum(counted) / 2)


@add_term
@dataclass(frozen=True)
class CoActivity(WeightedTerm):
    """Co-activity similarity (W-TALC)."""

    co_activity_weight: float = option(0.0, "Weight of W-TALC's co-activity similarity; 0: off.")
    co_activity_features: str = option(
        "fused",
        "What it compares: fused, the features of all streams side by side, attended by the fused T-CAM (as W-TALC, "
        "which has one embedding); streams, each stream's features attended by its own T-CAM, the mean over streams.",
        choices=("fused", "streams"),
    )
    name: ClassVar[str] = "co_activity"
    seen_as: ClassVar[str] = "co_activity_pairs"

    def compute(self, inputs: LossInputs) -> Term:
        """`co_activity_loss` of the fused features, or the mean of the streams'."""
        labels, outputs = inputs.batch["labels"], inputs.outputs
        if self.co_activity_features == "fused":
            return co_activity_loss(inputs.joint_features(), outputs["tcam_fused"], labels)
        terms = [
            co_activity_loss(outputs[f"features_{name}"], outputs[f"tcam_{name}"], labels) for name in inputs.streams
        ]
        return Term(tf.add_n([term.total for term in terms]) / len(terms), terms[0].weight)
