"""Filters over time, each video by itself: one shift, one Gaussian, one temporal convolution."""

from __future__ import annotations

import math

import tensorflow as tf

CONV_KERNEL, CONV_DILATION = 13, 2  # Sec. 4.1


def temporal_convolution(rows: tf.Tensor, kernel: tf.Tensor, row_ids: tf.Tensor) -> tf.Tensor:
    """Depthwise dilated convolution over time, "same" padding with zeros, each video by itself.

    The rows of all videos lie one after the other; a tap that would reach into a neighbouring video reads zero.

    Args:
        rows: [R, C].
        kernel: [taps, C], taps odd; cross-correlation as in Keras and the reference.
        row_ids: [R] int64, the video of each row, ascending.

    Returns:
        [R, C].
    """
    num_rows, taps = tf.shape(rows)[0], int(kernel.shape[0])
    reach = CONV_DILATION * (taps // 2)
    padded = tf.pad(rows, [[reach, reach], [0, 0]])  # [R, C] -> [R + 2 reach, C]
    padded_ids = tf.pad(row_ids, [[reach, reach]], constant_values=-1)
    shifted = []
    for tap in range(taps):
        offset = CONV_DILATION * tap
        same_video = padded_ids[offset : offset + num_rows] == row_ids
        window = padded[offset : offset + num_rows] * kernel[tap]
        shifted.append(tf.where(same_video[:, tf.newaxis], window, tf.zeros_like(window)))
    return tf.add_n(shifted)


def dense_convolution(rows: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, row_ids: tf.Tensor) -> tf.Tensor:
    """Convolution over time of all inputs with all outputs, "same" padding with zeros, each video by itself.

    Args:
        rows: [R, D].
        kernel: [taps, D, W], taps odd; cross-correlation as in Keras.
        bias: [W].
        row_ids: [R] int64, the video of each row, ascending.

    Returns:
        [R, W].
    """
    taps = int(kernel.shape[0])
    # Shifted after the product, where W is smaller than D.
    parts = [shifted(tf.matmul(rows, kernel[tap]), row_ids, taps // 2 - tap, fill=0.0) for tap in range(taps)]
    return tf.add_n(parts) + bias


def shifted(values: tf.Tensor, row_ids: tf.Tensor, steps: int, fill: float) -> tf.Tensor:
    """The value `steps` segments earlier in the same video (later, where negative).

    Args:
        values: [R, C] rows of all videos.
        row_ids: [R] the video of each row, ascending.
        steps: how far.
        fill: value where the video has no such segment.

    Returns:
        [R, C].
    """
    rows, ahead, behind = tf.shape(values)[0], max(steps, 0), max(-steps, 0)
    moved = tf.pad(values, [[ahead, behind], [0, 0]])[behind : behind + rows]
    moved_ids = tf.pad(row_ids, [[ahead, behind]], constant_values=-1)[behind : behind + rows]
    inside = tf.equal(moved_ids, row_ids)[:, tf.newaxis]
    return tf.where(inside, moved, tf.constant(fill, values.dtype))


def gaussian_over_time(values: tf.RaggedTensor, sigma: float) -> tf.RaggedTensor:
    """Weighted means over the neighbouring segments of the same video.

    The window reaches ⌈3 sigma⌉ segments to each side; where the video ends, the weights of the segments that are there
    are divided by their sum.

    Args:
        values: [N, (s), C] ragged.
        sigma: in segments, above 0.

    Returns:
        Same shape.
    """
    flat, row_ids = values.flat_values, values.value_rowids()
    reach = math.ceil(3 * sigma)
    total, weights = tf.zeros_like(flat), tf.zeros_like(flat[:, :1])
    for step in range(-reach, reach + 1):
        weight = math.exp(-0.5 * (step / sigma) ** 2)
        total += weight * shifted(flat, row_ids, step, fill=0.0)
        weights += weight * shifted(tf.ones_like(flat[:, :1]), row_ids, step, fill=0.0)
    return values.with_flat_values(total / weights)
