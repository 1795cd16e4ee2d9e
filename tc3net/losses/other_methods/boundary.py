"""Outer-inner contrast of regressed boundaries (Shou et al. 2018, AutoLoc): actions stand out from what is around them.

The heat map h of a class that is present in a video is its fused T-CAM, scaled to [0, 1] in the video and held fixed.
Of each segment with h > 0.1 the anchor with the lowest OIC (`tc3net.ops.outer_inner`) proposes its boundaries, if that
is below 0.7; non-maximum suppression by tIoU 0.4 thins the proposals of a class out, the lowest OIC first. Then

    L = mean over the videos with a proposal of the mean OIC of the proposals that are left

What chooses carries no gradient, so that L moves the boundaries, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import tensorflow as tf

from tc3net.common.config import option
from tc3net.losses.objective import add_term
from tc3net.losses.term import LossInputs, Term, WeightedTerm
from tc3net.ops import ragged
from tc3net.ops.outer_inner import MAX_OIC, MIN_HEAT, contrast_of, heat_of

NMS_TIOU = 0.4


class Chosen(NamedTuple):
    """n proposals.

    Attributes:
        track: [n] int64, which (video, class) pair's.
        row: [n] int64, the segment, in the concatenated rows of the batch.
        anchor: [n] int64.
    """

    track: tf.Tensor
    row: tf.Tensor
    anchor: tf.Tensor


def choose_boundaries(heat: tf.RaggedTensor, rows: tf.Tensor, boundaries: tf.Tensor) -> Chosen:
    """The proposals that are left of all segments and anchors; see above.

    Args:
        heat: [P, (s)] ragged, h of each (video, class) pair.
        rows: [L], where its segments lie in the R rows of the batch.
        boundaries: [R, M, 2], start and end.
    """
    warm = tf.where(heat.flat_values > MIN_HEAT)[:, 0]  # [Q]
    track, row = tf.gather(heat.value_rowids(), warm), tf.gather(rows, warm)
    bounds = tf.gather(tf.stop_gradient(boundaries), row)  # [Q, M, 2]
    oic = contrast_of(heat, track, bounds[..., 0], bounds[..., 1])  # [Q, M]
    anchor = tf.argmin(oic, axis=1)
    best = tf.reduce_min(oic, axis=1)
    low = best < MAX_OIC
    track, row, anchor, best = (tf.boolean_mask(column, low) for column in (track, row, anchor, best))
    span = tf.gather_nd(boundaries, tf.stack([row, anchor], axis=1))  # [n, 2]
    # Boxes that are intervals in one direction; in the other each pair has a place of its own, and none overlaps.
    place = tf.cast(track, tf.float32)
    boxes = tf.stop_gradient(
        tf.stack([place, tf.cast(span[:, 0], tf.float32), place + 1.0, tf.cast(span[:, 1], tf.float32)], axis=1)
    )
    kept = tf.image.non_max_suppression(boxes, tf.cast(-best, tf.float32), tf.size(best), iou_threshold=NMS_TIOU)
    return Chosen(*(tf.gather(column, kept) for column in (track, row, anchor)))


def boundary_loss(*, tcam: tf.RaggedTensor, boundaries: tf.RaggedTensor, labels: tf.Tensor) -> Term:
    """L.

    Args:
        tcam: [N, (s), C] ragged; no gradient reaches it.
        boundaries: [N, (s), M, 2] ragged, start and end in segments.
        labels: [N, C] multi-hot.

    Returns:
        Term over the videos that have a proposal.
    """
    pairs = tf.where(labels > 0)  # [P, 2]
    tracks, rows = ragged.class_tracks(tcam, pairs)
    heat, flat = heat_of(tracks), boundaries.flat_values
    chosen = choose_boundaries(heat, rows.flat_values, flat)
    span = tf.gather_nd(flat, tf.stack([chosen.row, chosen.anchor], axis=1))  # [n, 2]
    oic = tf.cast(contrast_of(heat, chosen.track, span[:, 0], span[:, 1]), flat.dtype)
    video, count = tf.gather(pairs[:, 0], chosen.track), tf.shape(labels, out_type=tf.int64)[0]
    total = tf.math.unsorted_segment_sum(oic, video, count)  # [N]
    number = tf.math.unsorted_segment_sum(tf.ones_like(oic), video, count)
    return Term(tf.reduce_sum(tf.math.divide_no_nan(total, number)), tf.reduce_sum(tf.cast(number > 0, total.dtype)))


@add_term
@dataclass(frozen=True)
class Boundary(WeightedTerm):
    """Outer-inner contrast of the boundaries that --boundary_head regresses, on the fused T-CAM."""

    boundary_weight: float = option(
        0.0, "Weight of the outer-inner contrast of regressed boundaries (AutoLoc: 1); 0: off."
    )
    name: ClassVar[str] = "boundary"
    seen_as: ClassVar[str] = "boundary_videos"
    needs: ClassVar[tuple[str, ...]] = ("boundaries",)

    def compute(self, inputs: LossInputs) -> Term:
        """`boundary_loss`."""
        outputs = inputs.outputs
        return boundary_loss(
            tcam=outputs["tcam_fused"], boundaries=outputs["boundaries"], labels=inputs.batch["labels"]
        )
