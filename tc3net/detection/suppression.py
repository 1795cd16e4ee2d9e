"""Non-maximum suppression in time, per class and video.

The textbook goes through the detections one by one, best first. Here all that no remaining better one overlaps are
settled at once, which gives the same result: whoever comes later in that order cannot touch them. Of equal scores the
earlier proposal is better (the one that starts first, of these the longer one). Overlaps are never looked for among
all pairs: what begins inside a proposal stands directly behind it, because proposals are ordered by start, the longer
first, and those of other tracks lie before or after it.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tc3net.detection.proposals import Proposals


class Overlaps(NamedTuple):
    """p pairs of proposals of which one begins inside the other.

    Attributes:
        first, second: [p] int64, positions of the proposals; first < second.
        tiou: [p] float64.
    """

    first: tf.Tensor
    second: tf.Tensor
    tiou: tf.Tensor


def overlapping_pairs(found: Proposals) -> Overlaps:
    """All pairs of overlapping proposals."""
    begin = tf.range(1, tf.size(found.start, tf.int64) + 1)
    limit = tf.searchsorted(found.start, found.end, side="left", out_type=tf.int64)  # the first that starts after it
    inside = tf.ragged.range(begin, limit)
    first, second = inside.value_rowids(), inside.flat_values
    earlier, later = tf.gather(found.start, first), tf.gather(found.start, second)
    ends = tf.gather(found.end, first), tf.gather(found.end, second)
    common, union = tf.minimum(*ends) - later, tf.maximum(*ends) - earlier
    return Overlaps(first, second, tf.cast(common, tf.float64) / tf.cast(union, tf.float64))


def hard_nms(found: Proposals, score: tf.Tensor, tiou: float) -> tf.Tensor:
    """Which proposals stay: best first, each drops those that it overlaps by more than `tiou`.

    Args:
        found: n proposals.
        score: [n].
        tiou: 0 to 1.

    Returns:
        [n] bool.
    """
    pairs = overlapping_pairs(found)
    conflict = pairs.tiou > tiou
    first, second = tf.boolean_mask(pairs.first, conflict), tf.boolean_mask(pairs.second, conflict)
    first_wins = tf.gather(score, first) >= tf.gather(score, second)
    better, worse = tf.where(first_wins, first, second), tf.where(first_wins, second, first)
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
    first, second, tiou = overlapping_pairs(found)
    count = tf.size(score, tf.int64)
    penalty = tiou**2 / sigma

    def settle(open_: tf.Tensor, current: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        both_open = tf.gather(open_, first) & tf.gather(open_, second)
        first_wins = tf.gather(current, first) >= tf.gather(current, second)
        beaten = _any(both_open & first_wins, second, count) | _any(both_open & ~first_wins, first, count)
        settled = open_ & ~beaten
        total = tf.math.unsorted_segment_sum(tf.where(tf.gather(settled, first), penalty, 0.0), second, count)
        total += tf.math.unsorted_segment_sum(tf.where(tf.gather(settled, second), penalty, 0.0), first, count)
        decays = open_ & ~settled & (current > 0)
        return open_ & ~settled, tf.where(decays, current * tf.exp(-total), current)

    state = (tf.ones_like(score, tf.bool), tf.cast(score, tf.float64))
    _, current = tf.while_loop(lambda open_, current: tf.reduce_any(open_), settle, state)
    return tf.cast(current, score.dtype)


def _any(flags: tf.Tensor, owner: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """[count] bool, whether any of an owner's flags is set."""
    return tf.math.unsorted_segment_max(tf.cast(flags, tf.int32), owner, count) > 0
