"""Proposals: the maximal runs of cells above a threshold, and how much each stands out.

Cells are counted through all tracks, as they lie in the concatenated values; `detector` turns them into cells of the
video. All thresholds of a track cut the same values, so two of its runs are nested or apart, never partly overlapping.
Boundaries that the network regresses (`boundaries`) lie between cells, and overlap as they like.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tc3net.detection.config import DetectionConfig
from tc3net.detection.tracks import track_range
from tc3net.ops.outer_inner import CONSTANT


class Proposals(NamedTuple):
    """n runs, or intervals with regressed boundaries, ordered by track, start, and the longer first.

    Attributes:
        track: [n] int64, row of the tracks.
        start, end: [n] int64, first cell and the one after the last, counted through all tracks; float64 of intervals.
        peak: [n], highest value of the run; of an interval its contrast.
    """

    track: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor
    peak: tf.Tensor


def runs(tracks: tf.RaggedTensor, eta: tf.Tensor) -> Proposals:
    """Maximal runs of cells strictly above one threshold per track (Sec. 3.5).

    Args:
        tracks: [P, (s)] ragged.
        eta: [P].
    """
    values, row_ids = tracks.flat_values, tracks.value_rowids()  # [L]
    above = values > tf.gather(eta, row_ids)
    continues = above[1:] & above[:-1] & (row_ids[1:] == row_ids[:-1])  # [L - 1]
    cells = tf.shape(above)[0]
    begins = above & ~tf.pad(continues, [[1, 0]])[:cells]
    ends = above & ~tf.pad(continues, [[0, 1]])[:cells]
    first, last = tf.where(begins)[:, 0], tf.where(ends)[:, 0]  # the i-th beginning and the i-th end are one run's
    inside = tf.where(above)[:, 0]
    run_of = tf.cumsum(tf.cast(tf.gather(begins, inside), tf.int32)) - 1
    peak = tf.math.unsorted_segment_max(tf.gather(values, inside), run_of, tf.size(first))
    return Proposals(tf.gather(row_ids, first), first, last + 1, peak)


def propose(tracks: tf.RaggedTensor, etas: tf.Tensor, min_cells: int) -> Proposals:
    """The runs of several thresholds; a run that several of them give is one proposal.

    Args:
        tracks: [P, (s)] ragged.
        etas: [P, H].
        min_cells: shorter runs are left out.
    """
    levels = [runs(tracks, eta) for eta in tf.unstack(etas, axis=1)]
    found = levels[0]
    if len(levels) > 1:
        found = Proposals(*(tf.concat(columns, axis=0) for columns in zip(*levels)))
        cells = tf.size(tracks.flat_values, tf.int64) + 1
        key = found.start * cells + (cells - found.end)  # by start (hence by track), then the longer first
        order = tf.argsort(key, stable=True)
        key = tf.gather(key, order)
        new = tf.concat([tf.ones_like(key[:1], tf.bool), key[1:] != key[:-1]], axis=0)
        order = tf.boolean_mask(order, new)
        found = Proposals(*(tf.gather(column, order) for column in found))
    long_enough = found.end - found.start >= min_cells
    return Proposals(*(tf.boolean_mask(column, long_enough) for column in found))


def with_peaks_of(found: Proposals, tracks: tf.RaggedTensor) -> Proposals:
    """The same runs with the highest values of other tracks [P, (s)] of the same lengths."""
    inside = tf.ragged.range(found.start, found.end)
    values = tf.gather(tracks.flat_values, inside.flat_values)
    return found._replace(
        peak=tf.math.unsorted_segment_max(values, inside.value_rowids(), tf.size(found.start, tf.int64))
    )


_GRID = 2.0**20  # values are summed in multiples of 1 / _GRID


def _sums(tracks: tf.RaggedTensor) -> tf.Tensor:
    """[L + 1] float64, sums of the first cells.

    Multiples of 2^-20 add without rounding (below 2^33), so that the sum over a run, a difference of two of these,
    does not depend on the tracks before it: a video's scores must not depend on its batch. For the same reason a value
    that is not finite adds nothing.
    """
    values = tf.cast(tracks.flat_values, tf.float64)
    grid = tf.where(tf.math.is_finite(values), tf.round(values * _GRID) / _GRID, 0.0)
    return tf.pad(tf.cumsum(grid), [[1, 0]])


def local_score(tracks: tf.RaggedTensor, found: Proposals, config: DetectionConfig) -> tf.Tensor:
    """How much each proposal stands out, by its own values.

    peak: the highest value (Sec. 3.5). mean: of its values. contrast: mean inside minus mean in the border, which is
    ⌈contrast_border · length⌉ cells before the start and after the end, as far as the video reaches; where there is no
    border, minus 0 (the outer-inner contrast of AutoLoc, Shou et al. 2018).
    With `score_scale=range` the values are (value - min) / (max - min) of the track, and 0 in a constant one: one whose
    range is below `CONSTANT` of its largest magnitude, as smoothing leaves a constant track constant but for rounding.

    Args:
        tracks: [P, (s)] ragged.
        found: n proposals in them.
        config: `score`, `contrast_border`, `score_scale`.

    Returns:
        [n].
    """
    if config.score == "peak":
        score, outside = found.peak, tf.zeros_like(found.peak)
    else:
        sums = _sums(tracks)
        length = tf.cast(found.end - found.start, tf.float64)
        score = (tf.gather(sums, found.end) - tf.gather(sums, found.start)) / length
        outside = tf.zeros_like(score)
    if config.score == "contrast":
        width = tf.cast(tf.math.ceil(config.contrast_border * length), tf.int64)
        left = tf.maximum(found.start - width, tf.gather(tracks.row_starts(), found.track))
        right = tf.minimum(found.end + width, tf.gather(tracks.row_limits(), found.track))
        border = tf.gather(sums, found.start) - tf.gather(sums, left)
        border += tf.gather(sums, right) - tf.gather(sums, found.end)
        cells = found.start - left + right - found.end
        outside = tf.math.divide_no_nan(border, tf.cast(cells, tf.float64))
    if config.score_scale == "range":
        low, high = (tf.cast(tf.gather(bound, found.track), score.dtype) for bound in track_range(tracks))
        if config.score == "contrast":  # of scaled values, the minimum of which is 0
            outside = tf.where(cells > 0, outside - low, tf.zeros_like(outside))
        constant = high - low <= CONSTANT * tf.maximum(tf.abs(low), tf.abs(high))
        span = tf.where(constant, tf.zeros_like(low), high - low)
        score = tf.math.divide_no_nan(score - low - outside, span)
    elif config.score == "contrast":
        score = score - outside
    return tf.cast(score, tracks.dtype)
