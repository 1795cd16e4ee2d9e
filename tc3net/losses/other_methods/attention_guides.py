"""What guides an attention that no class owns: few segments, the opposite of background, agreement of the streams.

Each is a mean over videos of means (or sums) over their segments, so that a long video weighs as much as a short one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.losses.objective import add_term
from tc3net.losses.other_methods.background import scores_with_background
from tc3net.losses.term import LossInputs, Term, WeightedTerm, sum_of
from tc3net.ops import ragged


def over_segments(values: tf.Tensor, like: tf.RaggedTensor, kind: str = "mean") -> Term:
    """Mean or sum over each video's segments, summed over the videos that have any.

    Args:
        values: [R, 1].
        like: [N, (s), ...] ragged: which rows are whose.
        kind: "mean" or "sum".
    """
    segments = tf.cast(like.row_lengths(), values.dtype)  # [N]
    per_video = ragged.sum_over_time(values, like)[:, 0]
    if kind == "mean":
        per_video = tf.math.divide_no_nan(per_video, segments)
    return Term(tf.reduce_sum(per_video), tf.reduce_sum(tf.cast(segments > 0, values.dtype)))


@add_term
@dataclass(frozen=True)
class Sparsity(WeightedTerm):
    """Mean (HAM-Net, CO2-Net) or sum (STPN, Nguyen et al. 2018: weight 1e-4) of A over a video's segments.

    Summed over the streams. Sources: HAM-Net's and CO2-Net's code; an unofficial reproduction of STPN.
    """

    sparsity_weight: float = option(0.0, "Weight of the loss that keeps attention low, whatever its class; 0: off.")
    sparsity_over: str = option(
        "mean",
        "Sparsity of a video: mean (HAM-Net) or sum (STPN) of the attention of its segments.",
        choices=("mean", "sum"),
    )
    name: ClassVar[str] = "sparsity"
    needs: ClassVar[tuple[str, ...]] = ("attention",)

    def compute(self, inputs: LossInputs) -> Term:
        """Summed over the streams."""
        attentions = [inputs.outputs[f"attention_{name}"] for name in inputs.streams]
        return sum_of([over_segments(tf.abs(one.flat_values), one, self.sparsity_over) for one in attentions])


@add_term
@dataclass(frozen=True)
class Mutual(WeightedTerm):
    """½ MSE(A_rgb, sg A_flow) + ½ MSE(A_flow, sg A_rgb): each stream's attention learns from the others'.

    sg: no gradient. Of M streams it is the mean over the M (M - 1) ordered pairs. Source: CO2-Net's code.
    """

    mutual_weight: float = option(0.0, "Weight of the streams' mutual learning of their attentions; 0: off.")
    name: ClassVar[str] = "mutual"
    needs: ClassVar[tuple[str, ...]] = ("attention",)

    def compute(self, inputs: LossInputs) -> Term:
        """Mean over the ordered pairs of streams.

        Raises:
            UserError: there is one stream.
        """
        if len(inputs.streams) < 2:
            raise UserError(
                f"--mutual_weight={self.mutual_weight} with the stream {inputs.streams[0]} alone; expected two or "
                "more, which learn from each other. Set --mutual_weight=0."
            )
        terms = []
        for student, teacher in permutations((inputs.outputs[f"attention_{name}"] for name in inputs.streams), 2):
            error = tf.square(student.flat_values - tf.stop_gradient(teacher.flat_values))
            terms.append(over_segments(error, student))
        total, weight, _ = sum_of(terms)
        return Term(total / len(terms), weight)


@add_term
@dataclass(frozen=True)
class Guide(WeightedTerm):
    """Mean over the segments of |1 - A - softmax(S)_background|: attention is the opposite of background.

    The softmax is over the C + 1 classes. Source: HAM-Net's code.
    """

    guide_weight: float = option(
        0.0, "Weight of the loss that makes attention the opposite of the background's probability; 0: off."
    )
    name: ClassVar[str] = "guide"
    needs: ClassVar[tuple[str, ...]] = ("background", "attention")

    def compute(self, inputs: LossInputs) -> Term:
        """Means over each video's segments, summed over the T-CAMs."""
        terms = []
        for name in inputs.tcams:
            scores, attention = scores_with_background(inputs, name), inputs.outputs[f"attention_{name}"]
            background = tf.nn.softmax(scores.flat_values, axis=1)[:, -1:]  # [R, 1]
            terms.append(over_segments(tf.abs(1.0 - attention.flat_values - background), attention))
        return sum_of(terms)
