"""How many instances of a class a video holds."""

from __future__ import annotations

from collections import Counter

from data_prep.annotations import VideoRecord


def count_instances(record: VideoRecord, counted_classes: frozenset[str], end_s: float) -> dict[str, int]:
    """The instance counts that are known, per class that occurs.

    Explicit counts are taken as they are. Otherwise the instances are counted: exact duplicates once, and not at all
    instances of zero length or that start after the last feature row. These are slips of an annotator, or features
    that do not cover the video, and an inflated count would teach the model a number that cannot be seen.

    Args:
        record: the annotation of one video.
        counted_classes: classes whose instances the data set annotates.
        end_s: second at which ends what can be seen (`data_prep.checks.spans.visible_end_s`).

    Returns:
        Class name -> count >= 1. A class of `record.present` that is missing here has an unknown count: it occurs,
        but no (valid) instance says how often.
    """
    if record.counts is not None:
        counts = dict(record.counts)
    elif record.instances_known:
        visible = (item for item in set(record.instances) if item.start_s < min(item.end_s, end_s))
        counts = dict(Counter(item.label for item in visible))
    else:
        counts = {}
    return {label: count for label, count in counts.items() if count > 0 and label in counted_classes}
