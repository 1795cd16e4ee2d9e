"""Rows that were rescaled: of every video as many rows as wanted, which span its whole duration."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from data_prep.annotations import AnnotationSet
from data_prep.features import FeatureReader
from data_prep.inputs.time_sources import TimeInfo
from tc3net.common.errors import UserError
from tc3net.common.names import some_names
from tc3net.data.timebase import spanning


def known_durations(annotations: AnnotationSet, times: Mapping[str, TimeInfo]) -> dict[str, float]:
    """Seconds by video: what the annotations say, or else the source of the time base; videos without are left out."""
    found = {
        record.video_id: record.duration_s
        for record in annotations.videos
        if math.isfinite(record.duration_s) and record.duration_s > 0
    }
    stated = {video_id: info.duration_s for video_id, info in times.items() if info.duration_s is not None}
    return {**stated, **found}


def rescaled_times(
    durations_s: Mapping[str, float], times: Mapping[str, TimeInfo], reader: FeatureReader, where: str | Path
) -> tuple[dict[str, TimeInfo], str]:
    """The time base of videos whose rows span their duration, and in words.

    Args:
        durations_s: see `known_durations`.
        times: of all annotated videos; stays for those without usable features, which the validation reports.
        reader: says how many rows a video has.
        where: names the annotations.

    Raises:
        UserError: the duration of a video with features is not known.
    """
    with_features = frozenset(reader.video_ids())
    unknown = [video_id for video_id in times if video_id in with_features and video_id not in durations_s]
    if unknown:
        raise UserError(
            f"{where}: the durations of {len(unknown)} of {len(times)} videos are not known ({some_names(unknown)}); "
            "expected them for --rescaled_rows. Add them to the annotations, or give --time_base_file with the column "
            "duration_s, or --videos."
        )
    found = dict(times)
    rates = []
    for video_id in times:
        if video_id in with_features:
            with contextlib.suppress(UserError):  # unusable features
                base = spanning(durations_s[video_id], reader.num_segments(video_id))
                found[video_id] = replace(times[video_id], time_base=base)
                rates.append(base.fps)
    span = f"{min(rates):.3g} to {max(rates):.3g}" if rates else "no"
    return found, f"rows span the duration of their video (--rescaled_rows), {span} rows per second"
