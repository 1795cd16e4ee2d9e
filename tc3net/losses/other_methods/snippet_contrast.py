"""Snippet contrast of CoLA (Zhang et al. 2021): segments near an action's border look like its inside, or its outside.

With the actionness A(t) = Σ_c max(0, C^F(t, c)) of a video of s segments:

    easy action, easy background   the ⌊s/5⌋ segments of highest and of lowest A
    B                              A above its median over the video
    hard action                    the ⌊s/20⌋ of highest A in erosion₃(B) without erosion₆(B): inside, near a border
    hard background                the ⌊s/20⌋ of highest A in dilation₆(B) without dilation₃(B): outside, near a border
    L = NCE(hard action; easy action; easy background) + NCE(hard background; easy background; easy action)
    NCE(q; k; n) = -ln [e^(q·k/τ) / (e^(q·k/τ) + Σ_i e^(q·n_i/τ))]        τ = 0.07

q and k are means over their segments, n_i single segments, all of length 1 (numbers of segments are at least 1). Where
a region has fewer segments than asked for, all of them are hard, and where it has none, that part of L is 0; the public
code takes arbitrary segments then. Beyond the ends of a video B is background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.data.streams import FUSED
from tc3net.losses.objective import add_term
from tc3net.losses.term import LossInputs, Term, WeightedTerm
from tc3net.ops import ragged
from tc3net.ops.filters import shifted

TEMPERATURE = 0.07
INNER, OUTER = 3, 6  # widths of the structuring elements, in segments


class Snippets(NamedTuple):
    """Which segments are what; [R] bool each."""

    easy_action: tf.Tensor
    easy_background: tf.Tensor
    hard_action: tf.Tensor
    hard_background: tf.Tensor


def eroded(mask: tf.Tensor, row_ids: tf.Tensor, width: int) -> tf.Tensor:
    """Binary erosion over time, each video by itself: the whole window has to be set.

    The window of `width` segments reaches ⌊width / 2⌋ back, and what is left ahead. Beyond a video nothing is set.

    Args:
        mask: [R] bool.
        row_ids: [R] the video of each segment, ascending.
        width: in segments.
    """
    values = tf.cast(mask, tf.float32)[:, tf.newaxis]
    back = width // 2
    window = [shifted(values, row_ids, step, fill=0.0) for step in range(back - width + 1, back + 1)]
    return tf.reduce_min(tf.concat(window, axis=1), axis=1) > 0


def dilated(mask: tf.Tensor, row_ids: tf.Tensor, width: int) -> tf.Tensor:
    """Binary dilation over time, each video by itself: the window of `eroded`, mirrored, has a set segment."""
    values = tf.cast(mask, tf.float32)[:, tf.newaxis]
    back = width // 2
    window = [shifted(values, row_ids, -step, fill=0.0) for step in range(back - width + 1, back + 1)]
    return tf.reduce_max(tf.concat(window, axis=1), axis=1) > 0


def snippets(actionness: tf.RaggedTensor, easy_divisor: int, hard_divisor: int) -> Snippets:
    """Easy and hard segments of each video; see above.

    Args:
        actionness: [N, (s)] ragged, every video with a segment at least.
        easy_divisor: 5.
        hard_divisor: 20.
    """
    flat, row_ids, lengths = actionness.flat_values, actionness.value_rowids(), actionness.row_lengths()
    length = tf.gather(tf.cast(lengths, tf.int64), row_ids)  # [R], of the segment's video

    def share(divisor: int) -> tf.Tensor:
        return tf.maximum(length // divisor, 1)

    rank = ragged.rank_over_time(actionness)
    median = ragged.median_over_time(actionness)
    active = flat > tf.gather(median, row_ids)
    inside = eroded(active, row_ids, INNER) & ~eroded(active, row_ids, OUTER)
    outside = dilated(active, row_ids, OUTER) & ~dilated(active, row_ids, INNER)

    def highest(region: tf.Tensor) -> tf.Tensor:
        # Those of the region come first, by actionness.
        inside_first = tf.where(region, -tf.cast(rank, flat.dtype), -tf.cast(length + rank, flat.dtype))
        return region & (ragged.rank_over_time(actionness.with_flat_values(inside_first)) < share(hard_divisor))

    easy = share(easy_divisor)
    return Snippets(rank < easy, rank >= length - easy, highest(inside), highest(outside))


def info_nce(x: tf.Tensor, query: tf.Tensor, key: tf.Tensor, negatives: tf.Tensor, like: tf.RaggedTensor) -> tf.Tensor:
    """NCE of each video; see above.

    Args:
        x: [R, D] rows of all videos.
        query, key, negatives: [R] bool, which of them are what.
        like: ragged tensor that says which rows belong to which of the N videos.

    Returns:
        [N]; 0 where a video has no query.
    """
    q, k = (tf.math.l2_normalize(ragged.mean_of_rows(x, rows, like), axis=1) for rows in (query, key))  # [N, D]
    positive = tf.reduce_sum(q * k, axis=1) / TEMPERATURE  # [N]
    chosen = tf.where(negatives)[:, 0]  # [K]
    video = tf.gather(like.value_rowids(), chosen)
    rows = tf.math.l2_normalize(tf.gather(x, chosen), axis=1)
    negative = tf.reduce_sum(tf.gather(q, video) * rows, axis=1) / TEMPERATURE  # [K]
    # -ln of the share: ln(1 + Σ e^(negative - positive)); at most 2 / τ = 28.6 in the exponent, which float32 holds.
    excess = tf.exp(negative - tf.gather(positive, video))
    loss = tf.math.log1p(tf.math.unsorted_segment_sum(excess, video, like.nrows()))
    asked = ragged.sum_over_time(tf.cast(query, x.dtype), like) > 0
    return tf.where(asked, loss, tf.zeros_like(loss))


def snippet_contrast_loss(
    features: tf.RaggedTensor,
    actionness: tf.RaggedTensor,
    labels: tf.Tensor,
    easy_divisor: int = 5,
    hard_divisor: int = 20,
) -> Term:
    """L, over the videos with a label.

    Args:
        features: [N, (s), D] ragged.
        actionness: [N, (s)] ragged; it chooses, and carries no gradient.
        labels: [N, C] multi-hot.
        easy_divisor, hard_divisor: of the numbers of segments.
    """
    frozen = actionness.with_flat_values(tf.stop_gradient(actionness.flat_values))
    found = snippets(frozen, easy_divisor, hard_divisor)
    x = features.flat_values
    loss = info_nce(x, found.hard_action, found.easy_action, found.easy_background, features)
    loss += info_nce(x, found.hard_background, found.easy_background, found.easy_action, features)
    labelled = tf.cast(tf.reduce_any(labels > 0, axis=1), loss.dtype)  # [N]
    return Term(tf.reduce_sum(labelled * loss), tf.reduce_sum(labelled))


@add_term
@dataclass(frozen=True)
class SnippetContrast(WeightedTerm):
    """Snippet contrast (CoLA) on the features of all streams side by side."""

    snippet_contrast_weight: float = option(0.0, "Weight of CoLA's snippet contrast (CoLA: 0.01); 0: off.")
    snippet_actionness: str = option(
        "tcam",
        "What says where actions are: tcam, the sum of the positive values of the fused T-CAM over the classes; or "
        "attention, the network's (--attention_head).",
        choices=("tcam", "attention"),
    )
    snippet_easy_divisor: int = option(5, "Easy segments of a video are its segments divided by this.")
    snippet_hard_divisor: int = option(20, "Hard segments of a video are at most its segments divided by this.")
    name: ClassVar[str] = "snippet_contrast"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.snippet_easy_divisor < 2:
            raise UserError(
                f"--snippet_easy_divisor={self.snippet_easy_divisor}; expected 2 or more: a segment cannot be both."
            )
        if self.snippet_hard_divisor < 1:
            raise UserError(f"--snippet_hard_divisor={self.snippet_hard_divisor}; expected 1 or more.")

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The attention head, where its attention is read."""
        return ("attention",) if self.snippet_actionness == "attention" else ()

    def compute(self, inputs: LossInputs) -> Term:
        """`snippet_contrast_loss`."""
        if self.snippet_actionness == "attention":
            track = inputs.outputs[f"attention_{FUSED}"]  # [N, (s), 1]
            actionness = track.with_flat_values(track.flat_values[:, 0])
        else:
            tcam = inputs.outputs["tcam_fused"]
            actionness = tcam.with_flat_values(tf.reduce_sum(tf.nn.relu(tcam.flat_values), axis=1))
        return snippet_contrast_loss(
            inputs.joint_features(),
            actionness,
            inputs.batch["labels"],
            self.snippet_easy_divisor,
            self.snippet_hard_divisor,
        )
