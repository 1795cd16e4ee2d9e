"""What detection reads of the network's outputs: values that are thresholded, values that are scored, classes.

By the paper's rule all three are the fused T-CAM. Other methods threshold an attention that no class owns, score its
product with the T-CAM, or pool video-level scores by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.streams import FUSED
from tc3net.detection.config import DetectionConfig
from tc3net.ops import ragged

ATTENTION, POOLED, BOUNDARIES = f"attention_{FUSED}", "pooled", "boundaries"


class Evidence(NamedTuple):
    """Of N videos.

    Attributes:
        tracks: [N, (s), C] ragged, thresholded.
        scored: [N, (s), C] ragged, what local scores are taken of; the same object where it is the same.
        classes: [N, C], what classes are filtered by and scored with.
        boundaries: [N, (s), M, 2] ragged, start and end of the intervals of each segment, where they are read.
    """

    tracks: tf.RaggedTensor
    scored: tf.RaggedTensor
    classes: tf.Tensor
    boundaries: tf.RaggedTensor | None = None


def mixed_tcam(
    tcams: Mapping[str, Any], config: DetectionConfig, convert: Callable[[Any], Any] = lambda tcam: tcam
) -> Any:
    """The T-CAM that detection reads: fused_weight · C^F + Σ weight of stream m · C^m.

    Args:
        tcams: `tcam_fused`, and `tcam_<stream>` where its weight is not 0; ragged tensors of one shape (what the model
            returns), or arrays.
        config: the weights.
        convert: made of each before they are added up.

    Returns:
        As `tcams`. With the default weights it is `tcam_fused` itself.

    Raises:
        UserError: a weight for a stream that is not there.
    """
    missing = [name for name, _ in config.weights if f"tcam_{name}" not in tcams]
    if missing:
        there = [name[len("tcam_") :] for name in tcams if name.startswith("tcam_") and name != "tcam_fused"]
        cure = ", ".join(f"--{name}_weight=0" for name in missing if name in ("rgb", "flow")) or "--stream_weights="
        raise UserError(
            f"Detection weighs the stream {', '.join(missing)}, which is not there; expected some of "
            f"{', '.join(there) or 'no stream (their T-CAMs were not kept)'}. Give {cure} after the flagfile, or the "
            "streams that are there in --stream_weights."
        )
    mixed = convert(tcams["tcam_fused"])
    if config.fused_weight != 1:
        mixed = mixed * config.fused_weight
    for name, weight in config.weights:
        mixed = mixed + convert(tcams[f"tcam_{name}"]) * weight
    return mixed


def check_attention(there: bool, config: DetectionConfig) -> None:
    """Raises UserError if the network's attention is read, and there is none."""
    if config.needs_attention and not there:
        raise UserError(
            f"--track={config.track}, --class_scores={config.class_scores}, --score_track={config.score_track}: one of "
            "them reads the network's attention, and there is none. Train with --attention_head, or detect by the "
            "tcam alone; raw scores written before the attention was kept have to be written again "
            "(python -m tc3net.evaluate --run_dir=... --dataset_dir=...)."
        )


def check_boundaries(there: bool, config: DetectionConfig) -> None:
    """Raises UserError if boundaries that the network regresses are read, and there are none."""
    if config.needs_boundaries and not there:
        raise UserError(
            "--proposals=boundaries reads boundaries that the network regresses, and there are none. Train with "
            "--boundary_head and --boundary_weight, or detect with --proposals=runs; raw scores written before they "
            "were kept have to be written again (python -m tc3net.evaluate --run_dir=... --dataset_dir=...)."
        )


class Part(Protocol):
    """What is asked of a head (`tc3net.model.heads.Head`)."""

    @property
    def active(self) -> bool:
        """Whether the network has it."""

    @property
    def attends(self) -> bool:
        """Whether it gives an attention."""

    @property
    def bounds(self) -> bool:
        """Whether it gives boundaries."""


def check_network(heads: Iterable[Part], config: DetectionConfig) -> None:
    """Raises UserError if detection reads what no head of the network computes.

    Args:
        heads: of the network, active or not.
        config: every choice.
    """
    there = [head for head in heads if head.active]
    check_attention(any(head.attends for head in there), config)
    check_boundaries(any(head.bounds for head in there), config)


def evidence_of(
    outputs: Mapping[str, Any], streams: tuple[str, ...], config: DetectionConfig, top_k_divisor: int
) -> Evidence:
    """What detection reads, as configured.

    Args:
        outputs: T-CAMs as for `mixed_tcam`; `attention_fused` [N, (s), 1] ragged, `pooled` [N, M + 1, C] and
            `boundaries` where they are read.
        streams: names of the M streams of `pooled`.
        config: `segment_scores`, `track`, `score_track`, `class_scores`, `proposals`.
        top_k_divisor: k = s / divisor.

    Raises:
        UserError: a stream, the attention or boundaries are read, and not there.
    """
    check_attention(ATTENTION in outputs, config)
    check_boundaries(BOUNDARIES in outputs, config)
    boundaries = outputs[BOUNDARIES] if config.needs_boundaries else None
    tcam = mixed_tcam(outputs, config)

    def attended(values: tf.RaggedTensor) -> tf.RaggedTensor:
        return values.with_flat_values(outputs[ATTENTION].flat_values * values.flat_values)

    tracks = tcam
    if config.track == "attention":
        tracks = tcam.with_flat_values(tf.broadcast_to(outputs[ATTENTION].flat_values, tf.shape(tcam.flat_values)))
    else:
        if config.segment_scores != "none":
            tracks = mixed_tcam(outputs, config, _CONVERSIONS[config.segment_scores])
        if config.track == "product":
            tracks = attended(tracks)
    scored = tracks if config.score_track == "thresholded" else tcam
    if config.score_track == "product":
        same = config.track == "product" and config.segment_scores == "none"
        scored = tracks if same else attended(tcam)
    if config.class_scores == "pooled":
        place = {name: row for row, name in enumerate((*streams, FUSED))}
        pooled = {f"tcam_{name}": outputs[POOLED][:, row] for name, row in place.items()}
        return Evidence(tracks, scored, mixed_tcam(pooled, config), boundaries)
    ranked = attended(tcam) if config.class_scores == "product" else tcam
    return Evidence(tracks, scored, top_k_means(ranked, config, top_k_divisor), boundaries)


def evidence_of_tcam(tcam: tf.RaggedTensor, config: DetectionConfig, top_k_divisor: int) -> Evidence:
    """The paper's: one T-CAM [N, (s), C] is thresholded and scored, and its top-k means stand for the classes.

    Raises:
        UserError: boundaries are read.
    """
    check_boundaries(False, config)
    return Evidence(tcam, tcam, top_k_means(tcam, config, top_k_divisor))


def top_k_means(tcam: tf.RaggedTensor, config: DetectionConfig, top_k_divisor: int) -> tf.Tensor:
    """r of Sec. 3.2, with k rounded as configured: [N, (s), C] -> [N, C]."""
    return ragged.top_k_mean(tcam, divisor=top_k_divisor, rounding=config.detection_top_k)


_CONVERSIONS: dict[str, Callable[[tf.RaggedTensor], tf.RaggedTensor]] = {
    "sigmoid": lambda tcam: tcam.with_flat_values(_by_row(tf.sigmoid, tcam.flat_values)),
    "softmax": lambda tcam: tcam.with_flat_values(_by_row(tf.nn.softmax, tcam.flat_values)),
}


def _by_row(function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
    """In float64, because the last bit of a vectorized exp depends on where in the batch a number stands."""
    return tf.cast(function(tf.cast(rows, tf.float64)), rows.dtype)
