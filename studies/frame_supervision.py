"""3C-Net told which segments show each action: what a perfect counting loss could reach at most, for the study."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from studies.tcam_shape import action_segments
from tc3net import losses
from tc3net.data.split import Split
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.model import ThreeCNet
from tc3net.ops import ragged


class FrameSupervised(ThreeCNet):
    """In place of the counting loss: cross-entropy of σ(C^F) with the true segments, for present classes.

    The mean over a video's segments and the videos, weighted by `beta`. It keeps to what the counting loss may use:
    batches of whole videos, and classes whose count is known.
    """

    def show(self, split: Split) -> None:
        """Reads where the actions are; before training on the split."""
        scores = score_videos(Scorer(self), split)
        rows = [
            np.stack([action_segments(scores, video, label) for label in range(self.num_classes)], axis=1)
            for video in range(len(scores.video_ids))
        ]
        lengths = [len(row) for row in rows]
        self.shown = tf.RaggedTensor.from_row_lengths(tf.constant(np.concatenate(rows), tf.float32), lengths)

    def loss_terms(self, batch: Any, outputs: Any, step: Any) -> Any:
        """See the base class."""
        terms, centers = super().loss_terms(batch, outputs, step)
        tcam, weight = outputs["tcam_fused"], terms["count_positive"].weight
        usable = batch["counts_known"] & (batch["counts"] > 0) & batch["full_length"][:, tf.newaxis]  # [N, C]
        truth = tf.cond(  # the rows of a cropped batch are others, and count for nothing
            tf.reduce_all(batch["full_length"]),
            lambda: tf.gather(self.shown, batch["video"]).flat_values,
            lambda: tf.zeros_like(tcam.flat_values),
        )
        error = tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=tcam.flat_values)
        segments = tf.cast(tf.maximum(tcam.row_lengths(), 1), tf.float32)[:, tf.newaxis]
        mean = ragged.sum_over_time(error, tcam) / segments  # [N, C]
        total = tf.reduce_sum(tf.where(usable, mean, tf.zeros_like(mean)))
        terms["count_positive"] = losses.Term(total, weight)
        terms["count_negative"] = losses.Term(tf.zeros([]), weight)
        return terms, centers
