"""Proposals whose boundaries the network regresses (`--proposals=boundaries`, AutoLoc), in place of runs of segments.

Each segment above the lowest threshold proposes the interval of its M that stands out most from what is around it, by
the outer-inner contrast (`tc3net.ops.outer_inner`) on the class's track, scaled to [0, 1] in the video.
"""

from __future__ import annotations

import tensorflow as tf

from tc3net.detection.config import DetectionConfig
from tc3net.detection.evidence import Evidence
from tc3net.detection.proposals import Proposals
from tc3net.detection.tracks import smooth, thresholds
from tc3net.ops import ragged
from tc3net.ops.outer_inner import MAX_OIC, contrast_of, heat_of


def propose_boundaries(evidence: Evidence, pairs: tf.Tensor, config: DetectionConfig) -> Proposals:
    """Of each segment strictly above its track's lowest threshold, the interval with the lowest OIC, if below 0.7.

    Intervals shorter than `min_segments` are left out before that; one that several segments propose is one proposal.

    Args:
        evidence: what is thresholded and scored, with boundaries. Its tracks are smoothed, and not upsampled.
        pairs: [P, 2] int64, (video, class).
        config: `smoothing`, `threshold`, `min_segments`.

    Returns:
        n proposals, whose `start` and `end` are float64 and whose `peak` is 1 - OIC of what is scored.
    """
    assert evidence.boundaries is not None  # `evidence_of` sees to it
    tracks, rows = ragged.class_tracks(evidence.tracks, pairs)
    tracks = smooth(tracks, config)
    eta = thresholds(tracks, config)[:, 0]
    warm = tf.where(tracks.flat_values > tf.gather(eta, tracks.value_rowids()))[:, 0]  # [Q]
    track = tf.gather(tracks.value_rowids(), warm)
    bounds = tf.cast(tf.gather(evidence.boundaries.flat_values, tf.gather(rows.flat_values, warm)), tf.float64)
    start, end = bounds[..., 0], bounds[..., 1]  # [Q, M]
    heat = heat_of(tracks)
    oic = contrast_of(heat, track, start, end)
    oic = tf.where(end - start >= config.min_segments, oic, tf.ones_like(oic))
    anchor = tf.argmin(oic, axis=1)
    start, end, oic = (tf.gather(column, anchor, batch_dims=1) for column in (start, end, oic))  # [Q]
    origin = tf.cast(tf.gather(tracks.row_starts(), track), tf.float64)
    # Start and end are float32 numbers, so that adding whole segments, below 2^28, does not round them in float64.
    columns = (track, origin + start, origin + end, oic)
    track, start, end, oic = (tf.boolean_mask(column, oic < MAX_OIC) for column in columns)
    order = tf.argsort(-end, stable=True)
    order = tf.gather(order, tf.argsort(tf.gather(start, order), stable=True))
    track, start, end, oic = (tf.gather(column, order) for column in (track, start, end, oic))
    again = (start[1:] == start[:-1]) & (end[1:] == end[:-1])
    new = tf.concat([tf.ones_like(track[:1], tf.bool), ~again], axis=0)
    track, start, end, oic = (tf.boolean_mask(column, new) for column in (track, start, end, oic))
    if evidence.scored is not evidence.tracks:
        heat = heat_of(smooth(ragged.class_tracks(evidence.scored, pairs)[0], config))
        origin = tf.cast(tf.gather(tracks.row_starts(), track), tf.float64)
        oic = contrast_of(heat, track, start - origin, end - origin)
    return Proposals(track, start, end, tf.cast(1.0 - oic, tracks.dtype))
