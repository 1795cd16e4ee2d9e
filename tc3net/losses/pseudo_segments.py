"""Cross-entropy of T-CAMs with pseudo segments, as a second stage trains it (docs/refinement.md).

L_seg = 1/N Σ_i Σ_j 1/s_i Σ_t w_i(t, j) H(y_i(t, j), σ(C_i(t, j))),  H(y, p) = -y ln p - (1 - y) ln(1 - p)

of the fused T-CAM C^F alone, or summed over the streams' T-CAMs and C^F as Eq. 3 is;
over the N videos of a batch that have targets, the classes j for which they have them (present ones), and the segments
t; y and w come from what an earlier model detected in the same videos (`tc3net.refinement`). With w = 1 it is the term
of self-training on pseudo labels (Zou et al. 2018, for videos e.g. Luo et al. 2020); w = exp(-u) is the weight that
ASM-Loc (He et al. 2022) gives to segments of uncertainty u.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tc3net.data.streams import FUSED
from tc3net.losses.term import LossInputs, LossTerm, Term, sum_of
from tc3net.ops import ragged


@dataclass(frozen=True, eq=False)
class PseudoTargets:
    """Targets of V training videos: tracks of some of the (video, class) pairs, one after the other.

    Attributes:
        first: [V, C] int64, where the pair's track begins in `target` and `weight`; -1 where it has none.
        target: [L] float32 in [0, 1], y of each segment.
        weight: [L] float32, w of each segment, at least 0; 0: it says nothing.
    """

    first: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def pseudo_segment_loss(
    *,
    tcam: tf.RaggedTensor,
    video: tf.Tensor,
    first_segment: tf.Tensor,
    usable: tf.Tensor,
    targets: PseudoTargets,
) -> Term:
    """L_seg of the module's formula for one replica's videos.

    Args:
        tcam: [N, (s), C] ragged.
        video: [N] int64, position of each video among those of the targets.
        first_segment: [N] int64, which of the video's segments is its first row here; the others follow it.
        usable: [N] bool, which videos take part.
        targets: of all training videos.

    Returns:
        Term over the usable videos that have targets for any class.
    """
    first = tf.gather(tf.constant(targets.first), video)  # [N, C]
    there = (first >= 0) & usable[:, tf.newaxis]
    pairs = tf.where(there)  # [P, 2]
    tracks, rows = ragged.class_tracks(tcam, pairs)  # [P, (s)]
    pair = rows.value_rowids()
    begins = tf.gather_nd(first, pairs) + tf.gather(first_segment, pairs[:, 0])  # [P]
    place = tf.range(tf.size(pair, tf.int64)) - tf.gather(rows.row_starts(), pair) + tf.gather(begins, pair)
    error = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(tf.gather(tf.constant(targets.target), place), tracks.dtype), logits=tracks.flat_values
    )
    error *= tf.cast(tf.gather(tf.constant(targets.weight), place), tracks.dtype)
    segments = tf.cast(tf.gather(rows.row_lengths(), pair), tracks.dtype)
    total = tf.reduce_sum(error / segments)
    return Term(total, tf.reduce_sum(tf.cast(tf.reduce_any(there, axis=1), total.dtype)))


@dataclass(frozen=True, eq=False)
class PseudoSegmentTerm(LossTerm):
    """L_seg in a training.

    Attributes:
        targets: of the training videos, by their position in the subset.
        weight: its factor in the whole loss.
        batches: "full": only videos of full length, as the counting loss; "all": crops too, with their own part of the
            targets.
        facts: what the targets come from, kept in `run.json`: a run is resumed with the same alone.
        tcams: "fused", or "all": the streams' too. Of a single stream both are the fused one.
    """

    targets: PseudoTargets
    weight: float
    batches: str
    facts: Mapping[str, Any]
    tcams: str = "fused"
    name: ClassVar[str] = "pseudo_segments"
    seen_as: ClassVar[str] = "pseudo_videos"

    def as_dict(self) -> dict[str, Any]:
        """Weight, batches, T-CAMs and facts; not the targets themselves."""
        return {"weight": self.weight, "batches": self.batches, "tcams": self.tcams, **self.facts}

    @property
    def coefficient(self) -> float:
        """The weight given."""
        return self.weight

    def compute(self, inputs: LossInputs) -> Term:
        """`pseudo_segment_loss` over the T-CAMs; nothing for videos that training does not know (held-out ones)."""
        batch, tcam = inputs.batch, inputs.outputs["tcam_fused"]
        if "video" not in batch:
            return Term(tf.zeros([], tcam.dtype), tf.zeros([], tcam.dtype))
        full = batch["full_length"]
        names = inputs.tcams if self.tcams == "all" else (FUSED,)
        return sum_of(
            [
                pseudo_segment_loss(
                    tcam=inputs.outputs[f"tcam_{name}"],
                    video=batch["video"],
                    first_segment=batch["first_segment"],
                    usable=full if self.batches == "full" else tf.ones_like(full),
                    targets=self.targets,
                )
                for name in names
            ]
        )
