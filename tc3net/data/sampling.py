"""Which videos a training batch holds, and which crop of each: functions of the seed and the step alone.

Position p of an endless sequence belongs to step p // batch_size; the video there is given by a permutation of epoch
p // videos, the crop by (seed, p). Nothing depends on what was read before, so the batch of step t is a function of
(seed, t), and a resumed run starts at any step without replaying data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.ops.tracing import as_written

_UNLIMITED = 2**31


@dataclass(frozen=True)
class InputConfig:
    """How training batches are drawn. Segment limits are not stated in the paper; the reference code's are given."""

    batch_size: int = option(32, "Videos per global batch (Sec. 4.1: 32).")
    crop_segments: int = option(
        750, "Longest crop in cropped batches, in segments (reference code: THUMOS14 750, ActivityNet 1.2 200)."
    )
    max_segments: int = option(
        0,
        "Videos longer than this many segments are cropped to it in full-length batches too, and then take no part in "
        "the counting loss; 0: no limit (reference code: THUMOS14 2800, ActivityNet 1.2 400).",
    )
    batches: str = option(
        "alternate",
        "Batches in turn cropped and full-length (Sec. 4.1), or always one kind.",
        choices=("alternate", "cropped", "full"),
    )
    seed: int = option(0, "Seed of initial weights, dropout, order of videos, and crops.")

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"--batch_size={self.batch_size}; expected 1 or more (the paper uses 32).")
        if self.crop_segments < 1:
            raise UserError(f"--crop_segments={self.crop_segments}; expected 1 or more segments.")
        if self.max_segments < 0:
            raise UserError(f"--max_segments={self.max_segments}; expected 0 (no limit) or more.")
        if 0 < self.max_segments < self.crop_segments:
            raise UserError(
                f"--max_segments={self.max_segments} is below --crop_segments={self.crop_segments}: full-length "
                "batches would be cropped shorter than cropped ones. Raise --max_segments, or set 0 for no limit."
            )
        if not 0 <= self.seed < 2**31:
            raise UserError(f"--seed={self.seed}; expected a value from 0 to 2^31 - 1.")


class Crop(NamedTuple):
    """Part of a video that a batch holds.

    Attributes:
        start, count: first segment and number of segments, int64 scalars.
        full_length: bool scalar, whether the counting loss may use the video: all of it is here, in a batch meant to be
            of full length (Sec. 4.1).
    """

    start: tf.Tensor
    count: tf.Tensor
    full_length: tf.Tensor


def draw_crop(config: InputConfig, position: tf.Tensor, length: tf.Tensor) -> Crop:
    """The crop of the video at a position of the sequence.

    Args:
        config: limits, seed, kinds of batches.
        position: int64 scalar.
        length: int64 scalar, segments of the video there.
    """
    step = position // config.batch_size
    cropped = step % 2 == 0 if config.batches == "alternate" else tf.constant(config.batches == "cropped")
    full_limit = config.max_segments or _UNLIMITED
    limit = tf.where(cropped, tf.constant(config.crop_segments, tf.int64), tf.constant(full_limit, tf.int64))
    count = tf.minimum(length, limit)
    start = tf.random.stateless_uniform(
        [], seed=[config.seed, position], minval=0, maxval=length - count + 1, dtype=tf.int64
    )
    # A batch meant to be cropped trains no counts even where its videos happen to be short.
    return Crop(start, count, ~cropped & (count == length))


def draw_videos(
    config: InputConfig, num_videos: int, *, start_step: int = 0, worker: tuple[int, int] = (0, 1)
) -> tf.data.Dataset:
    """The endless sequence of (position, video), both int64, from a step on.

    Args:
        config: batch size and seed.
        num_videos: of the subset.
        start_step: step of the first position.
        worker: this process, of how many; it gets the positions of its own replicas only.
    """
    first = start_step * config.batch_size

    def permutation(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.argsort(tf.random.stateless_uniform([num_videos], seed=[config.seed, -1 - epoch]), stable=True)
        return tf.data.Dataset.from_tensor_slices(tf.cast(order, tf.int64))

    epochs = tf.data.Dataset.range(first // num_videos, tf.int64.max)
    order = epochs.flat_map(as_written(permutation)).skip(first % num_videos)
    dataset = tf.data.Dataset.zip((tf.data.Dataset.range(first, tf.int64.max), order))
    here, workers = worker
    if workers > 1:
        dataset = dataset.filter(as_written(lambda p, _: p % config.batch_size * workers // config.batch_size == here))
    return dataset


def endless(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Says that a dataset never ends, so that a strategy need not ask all replicas before each step."""
    return dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def check_divisible(batch_size: int, num_replicas: int) -> None:
    """Raises UserError unless the global batch can be shared equally among the replicas."""
    if batch_size % num_replicas:
        raise UserError(
            f"--batch_size={batch_size} cannot be divided among {num_replicas} devices. "
            f"Choose a multiple of {num_replicas}, or --strategy=one_device."
        )
