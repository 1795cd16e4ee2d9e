"""What is known of new videos besides their features: time base, duration, and instances where they are annotated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tc3net.common.errors import UserError
from tc3net.common.names import some_names
from tc3net.data.timebase import TimeBase, spanning
from tc3net.intervals.activitynet_json import Labelled, read_annotations_file

_NAMED = 3


@dataclass(frozen=True)
class Annotated:
    """What a file of annotations says of some videos, by their ids.

    Attributes:
        instances: of videos that are annotated in time.
        duration_s: of videos whose duration is stated.
    """

    instances: Mapping[str, Sequence[Labelled]] = field(default_factory=dict)
    duration_s: Mapping[str, float] = field(default_factory=dict)


def read_annotated(path: str | Path) -> Annotated:
    """Reads ActivityNet's JSON; a video may have instances, a duration, both or neither.

    Raises:
        UserError: no such file, or another format.
    """
    entries = read_annotations_file(path)[1]
    return Annotated(
        {entry.video_id: entry.instances() for entry in entries if entry.instances_known()},
        {entry.video_id: entry.duration_s() for entry in entries if "duration" in entry.raw},
    )


def stated_durations(values: Sequence[str], video_ids: Sequence[str]) -> dict[str, float]:
    """Durations from the command line, by video.

    Args:
        values: seconds as text, one for each video in their order; or none.
        video_ids: the videos.

    Raises:
        UserError: another number of values, or no numbers.
    """
    if values and len(values) != len(video_ids):
        raise UserError(
            f"--duration_s has {len(values)} values for {len(video_ids)} videos; expected one for each, in their order "
            f"({', '.join(video_ids[:_NAMED])}{', ...' if len(video_ids) > _NAMED else ''})."
        )
    try:
        return {video_id: float(value) for video_id, value in zip(video_ids, values)}
    except ValueError as error:
        raise UserError(f"--duration_s: {error}; expected seconds, such as 63.2,40.") from None


def rescaled_time_bases(num_segments: Mapping[str, int], duration_s: Mapping[str, float]) -> dict[str, TimeBase]:
    """Time bases of videos whose rows were rescaled to span them.

    Args:
        num_segments: rows by video.
        duration_s: seconds by video.

    Raises:
        UserError: the duration of a video is not known, or not positive.
    """
    unknown = [video_id for video_id in num_segments if video_id not in duration_s]
    if unknown:
        some = some_names(unknown)
        raise UserError(
            f"the durations of {len(unknown)} of {len(num_segments)} videos are not known ({some}); expected them, "
            "since rows that were rescaled span the whole video. Give --duration_s=63.2,40 in the videos' order, or "
            "--annotations with durations; or --fps and --stride_frames for rows that were not rescaled."
        )
    bases = {}
    for video_id, rows in num_segments.items():
        try:
            bases[video_id] = spanning(duration_s[video_id], rows)
        except UserError:
            raise UserError(
                f"video {video_id!r}: a duration of {duration_s[video_id]:g} s found; expected a positive number. "
                "Correct --duration_s or the annotations."
            ) from None
    return bases
