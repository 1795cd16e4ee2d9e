"""Uncertainty modeling (Lee et al. 2021): features of actions are long, those of background are short and of no class.

Of a video, the ⌊s/9⌋ segments with the longest features are taken for actions, the ⌊s/4⌋ with the shortest for
background (both at least 1). With f̄ the mean of their features and S̄ the mean of their T-CAM:

    L_um = mean over videos of (max(0, m - |f̄_action|) + |f̄_background|)²
    L_be = mean over videos of BCE(p, 1/C) = -1/C Σ_c [1/C ln p_c + (1 - 1/C) ln(1 - p_c)],  p = softmax(S̄_background)

The authors' m is 100 for 2048 features; a length grows with the root of their number, and so does m here. At test time
they multiply probabilities by min(1, |f| / m); that is left to detection here, which reads the T-CAM as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.losses.objective import add_term
from tc3net.losses.term import LossInputs, Term, WeightedTerm
from tc3net.ops import ragged

ACTION_DIVISOR, BACKGROUND_DIVISOR = 9, 4
PUBLISHED_MARGIN, PUBLISHED_SIZE = 100.0, 2048
SMALLEST_SQUARE = 1e-12  # below it a length has no gradient
SMALLEST_PROBABILITY = 1e-7


class ByMagnitude(NamedTuple):
    """Segments taken for actions and for background, and the videos that have both; bool.

    Attributes:
        action, background: [R].
        videos: [N]: those with a label and two segments at least, without which one segment would be both.
    """

    action: tf.Tensor
    background: tf.Tensor
    videos: tf.Tensor


def by_magnitude(features: tf.RaggedTensor, labels: tf.Tensor) -> ByMagnitude:
    """Divides segments by the length of their features.

    Args:
        features: [N, (s), D] ragged; lengths carry no gradient here.
        labels: [N, C] multi-hot.
    """
    squares = tf.reduce_sum(tf.square(tf.stop_gradient(features.flat_values)), axis=1)  # [R]
    lengths = tf.cast(features.row_lengths(), tf.int64)
    length = tf.gather(lengths, features.value_rowids())
    rank = ragged.rank_over_time(features.with_flat_values(squares))
    action = rank < tf.maximum(length // ACTION_DIVISOR, 1)
    background = rank >= length - tf.maximum(length // BACKGROUND_DIVISOR, 1)
    return ByMagnitude(action, background, tf.reduce_any(labels > 0, axis=1) & (lengths > 1))


def feature_magnitude_loss(features: tf.RaggedTensor, labels: tf.Tensor, margin: float) -> Term:
    """L_um.

    Args:
        features: [N, (s), D] ragged.
        labels: [N, C] multi-hot.
        margin: m.
    """
    found = by_magnitude(features, labels)

    def length(chosen: tf.Tensor) -> tf.Tensor:
        mean = ragged.mean_of_rows(features.flat_values, chosen, features)  # [N, D]
        return tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(mean), axis=1), SMALLEST_SQUARE))

    per_video = tf.square(tf.nn.relu(margin - length(found.action)) + length(found.background))
    videos = tf.cast(found.videos, per_video.dtype)
    return Term(tf.reduce_sum(videos * per_video), tf.reduce_sum(videos))


def uniform_background_loss(features: tf.RaggedTensor, tcam: tf.RaggedTensor, labels: tf.Tensor) -> Term:
    """L_be.

    Args:
        features: [N, (s), D] ragged, whose lengths choose the background.
        tcam: [N, (s), C] ragged.
        labels: [N, C] multi-hot.
    """
    found = by_magnitude(features, labels)
    log_p = tf.nn.log_softmax(ragged.mean_of_rows(tcam.flat_values, found.background, tcam), axis=1)  # [N, C]
    share = 1.0 / tcam.shape[-1]
    log_rest = tf.math.log(tf.maximum(1.0 - tf.exp(log_p), SMALLEST_PROBABILITY))
    per_video = -tf.reduce_mean(share * log_p + (1.0 - share) * log_rest, axis=1)
    videos = tf.cast(found.videos, per_video.dtype)
    return Term(tf.reduce_sum(videos * per_video), tf.reduce_sum(videos))


@add_term
@dataclass(frozen=True)
class FeatureMagnitude(WeightedTerm):
    """L_um (UM) of the features of all streams side by side."""

    feature_magnitude_weight: float = option(0.0, "Weight of UM's feature magnitudes (UM: 5e-4); 0: off.")
    feature_magnitude_margin: float = option(
        0.0, "Length m that features of actions should have; 0: 100 (UM) times the root of their number over 2048."
    )
    name: ClassVar[str] = "feature_magnitude"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.feature_magnitude_margin < float("inf"):
            raise UserError(
                f"--feature_magnitude_margin={self.feature_magnitude_margin}; expected 0 (UM's) or a positive length."
            )

    def compute(self, inputs: LossInputs) -> Term:
        """`feature_magnitude_loss`."""
        features = inputs.joint_features()
        margin = self.feature_magnitude_margin or PUBLISHED_MARGIN * (features.shape[-1] / PUBLISHED_SIZE) ** 0.5
        return feature_magnitude_loss(features, inputs.batch["labels"], margin)


@add_term
@dataclass(frozen=True)
class UniformBackground(WeightedTerm):
    """L_be (UM) of the fused T-CAM, where the features of all streams together are shortest."""

    uniform_background_weight: float = option(
        0.0, "Weight of UM's wish that segments with the shortest features are of no class (UM: 1); 0: off."
    )
    name: ClassVar[str] = "uniform_background"

    def compute(self, inputs: LossInputs) -> Term:
        """`uniform_background_loss`."""
        return uniform_background_loss(inputs.joint_features(), inputs.outputs["tcam_fused"], inputs.batch["labels"])
