"""Non-maximum suppression in time, per class and video, of nested or disjoint proposals.

The textbook goes through the detections one by one, best first. Here all that no remaining better one overlaps are
settled at once, which gives the same result: whoever comes later in that order cannot touch them. Of equal scores the
earlier proposal is better (the one that starts first, of these the longer one). Overlaps are never looked for among
all pairs: what a proposal contains stands directly behind it, because proposals are ordered by start, the longer first.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tc3net.detection.proposals import Proposals


class Nested(NamedTuple):
    """p pairs of a proposal and one inside it.

    Attributes:
        outer, inner: [p] int64, positions of the proposals; outer < inner.
        tiou: [p] float64, their lengths' ratio.
    """

    outer: tf.Tensor
    inner: tf.Tensor
    tiou: tf.Tensor


def nested_pairs(found: Proposals) -> Nested:
    """All pairs of overlapping proposals; there are no others, since proposals are nested or apart."""
    begin = tf.range(1, tf.size(found.start, tf.int64) + 1)
    limit = tf.searchsorted(found.start, found.end, side="left", out_type=tf.int64)  # the first that starts after it
    inside = tf.ragged.range(begin, limit)
    outer, inner = inside.value_rowids(), inside.flat_values
    length = tf.cast(found.end - found.start, tf.float64)
    return Nested(outer, inner, tf.gather(length, inner) / tf.gather(length, outer))


def hard_nms(found: Proposals, score: tf.Tensor, tiou: float) -> tf.Tensor:
    """Which proposals stay: best first, each drops those that it overlaps by more than `tiou`.

    Args:
        found: n proposals.
        score: [n].
        tiou: 0 to 1.

    Returns:
        [n] bool.
    """
    pairs = nested_pairs(found)
    conflict = pairs.tiou > tiou
    outer, inner = tf.boolean_mask(pairs.outer, conflict), tf.boolean_mask(pairs.inner, conflict)
    outer_wins = tf.gather(score, outer) >= tf.gather(score, inner)
    better, worse = tf.where(outer_wins, outer, inner), tf.where(outer_wins, inner, outer)
    count = tf.size(score, tf.int64)

    def settle(open_: tf.Tensor, kept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        lost = _any(tf.gather(kept, better), worse, count)
        waits = _any(tf.gather(open_, better), worse, count)
        kept_now = open_ & ~lost & ~waits
        return open_ & ~lost & ~kept_now, kept | kept_now

    everything = tf.ones_like(score, tf.bool)
    _, kept = tf.while_loop(lambda open_, kept: tf.reduce_any(open_), settle, (everything, ~everything))
    return kept


def soft_nms(found: Proposals, score: tf.Tensor, sigma: float) -> tf.Tensor:
    """Gaussian soft-NMS (Bodla et al. 2017), in time.

    Best first by the scores as they are by then, each multiplies the positive scores of those after it by
    exp(-tIoU² / sigma). Scores that are not positive stay: a factor would raise them.

    Args:
        found: n proposals.
        score: [n].
        sigma: positive.

    Returns:
        [n] scores; nothing is dropped.
    """
    outer, inner, tiou = nested_pairs(found)
    count = tf.size(score, tf.int64)
    penalty = tiou**2 / sigma

    def settle(open_: tf.Tensor, current: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        both_open = tf.gather(open_, outer) & tf.gather(open_, inner)
        outer_wins = tf.gather(current, outer) >= tf.gather(current, inner)
        beaten = _any(both_open & outer_wins, inner, count) | _any(both_open & ~outer_wins, outer, count)
        settled = open_ & ~beaten
        total = tf.math.unsorted_segment_sum(tf.where(tf.gather(settled, outer), penalty, 0.0), inner, count)
        total += tf.math.unsorted_segment_sum(tf.where(tf.gather(settled, inner), penalty, 0.0), outer, count)
        decays = open_ & ~settled & (current > 0)
        return open_ & ~settled, tf.where(decays, current * tf.exp(-total), current)

    state = (tf.ones_like(score, tf.bool), tf.cast(score, tf.float64))
    _, current = tf.while_loop(lambda open_, current: tf.reduce_any(open_), settle, state)
    return tf.cast(current, score.dtype)


def _any(flags: tf.Tensor, owner: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """[count] bool, whether any of an owner's flags is set."""
    return tf.math.unsorted_segment_max(tf.cast(flags, tf.int32), owner, count) > 0
