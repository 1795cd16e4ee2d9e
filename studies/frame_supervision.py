"""3C-Net told which segments show each action: what a perfect counting loss could reach at most, for the study."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from studies.tcam_shape import action_segments
from tc3net.data.split import Split
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.losses import LossInputs, LossTerm, Term
from tc3net.model import ThreeCNet
from tc3net.ops import ragged


class FrameTerm(LossTerm):
    """In place of the counting loss: cross-entropy of σ(C^F) with the true segments, for present classes.

    The mean over a video's segments and the videos. It keeps to what the counting loss may use: batches of whole
    videos, and classes whose count is known.

    Args:
        weight: its coefficient in the whole loss.
        shown: [V, (s), C] ragged, 1.0 where a segment shows the class; by position in the training subset.
    """

    name = "frames"
    seen_as = "frame_videos"

    def __init__(self, weight: float, shown: tf.RaggedTensor) -> None:
        self._weight, self._shown = weight, shown

    @property
    def coefficient(self) -> float:
        """The weight given."""
        return self._weight

    def compute(self, inputs: LossInputs) -> Term:
        """Over the videos with any usable count."""
        batch, tcam = inputs.batch, inputs.outputs["tcam_fused"]
        known = batch["counts_known"] & batch["full_length"][:, tf.newaxis]  # [N, C]
        truth = tf.cond(  # the rows of a cropped batch are others, and count for nothing
            tf.reduce_all(batch["full_length"]),
            lambda: tf.gather(self._shown, batch["video"]).flat_values,
            lambda: tf.zeros_like(tcam.flat_values),
        )
        error = tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=tcam.flat_values)
        segments = tf.cast(tf.maximum(tcam.row_lengths(), 1), tf.float32)[:, tf.newaxis]
        mean = ragged.sum_over_time(error, tcam) / segments  # [N, C]
        total = tf.reduce_sum(tf.where(known & (batch["counts"] > 0), mean, tf.zeros_like(mean)))
        return Term(total, tf.reduce_sum(tf.cast(tf.reduce_any(known, axis=1), total.dtype)))


def shown_segments(model: ThreeCNet, split: Split) -> tf.RaggedTensor:
    """Where the actions of a subset are: [V, (s), C] ragged, 1.0 in segments that show the class.

    Args:
        model: of the data set's classes; only the time base of its scores is used.
        split: the videos.
    """
    scores = score_videos(Scorer(model), split)
    rows = [
        np.stack([action_segments(scores, video, label) for label in range(model.num_classes)], axis=1)
        for video in range(len(scores.video_ids))
    ]
    lengths = [len(row) for row in rows]
    return tf.RaggedTensor.from_row_lengths(tf.constant(np.concatenate(rows), tf.float32), lengths)
