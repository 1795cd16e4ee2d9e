"""What is implausible about a data set as a whole, one sentence each: mistakes that every single video passes.

Each rule looks at small facts of all videos, and speaks only where most of them say the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.annotations import AnnotationSet, Instance, VideoRecord
from data_prep.checks.feature_facts import FeatureFacts
from data_prep.checks.rules import DATA_SET, Problem
from data_prep.checks.spans import is_interval, length_differs, video_end_s
from tc3net.common.names import counted
from tc3net.data.subset_names import is_test_subset
from tc3net.data.timebase import TimeBase
from tc3net.intervals.similar_ids import common_difference

MOST = 0.8
_FEWEST = 3  # videos, for a rule about what they have in common
_FEWEST_LENGTHS = 5
COMMON_FACTOR = 0.05  # half the spread of factors that counts as one factor for all
_USUAL_DIMS = frozenset({400, 512, 768, 1024, 1408, 1536, 2048, 2304, 3072, 4096})
_UNITS = {"milliseconds": 1e3, "microseconds": 1e6}
_SAME_S = 1e-3
_DAY_S = 86400.0
_SLACK = 1.05  # times and lengths are rounded differently
_LEAST_REACHED = 0.3  # of its video: somewhere an instance ends later than that


@dataclass(frozen=True)
class _Length:
    """What is known about how long one video is."""

    record: VideoRecord
    time_base: TimeBase
    stated_s: float | None
    features_s: float | None
    of_features: bool

    @property
    def last(self) -> Instance | None:
        """The instance that ends last."""
        proper = (item for item in self.record.instances if is_interval(item.start_s, item.end_s))
        return max(proper, key=lambda item: item.end_s, default=None)


def implausible(
    annotations: AnnotationSet,
    feature_ids: Collection[str] | None,
    features: Mapping[str, FeatureFacts],
    time_bases: Mapping[str, TimeBase],
) -> Iterable[Problem]:
    """Findings about the data set as a whole.

    Args:
        annotations: the videos and classes.
        feature_ids: ids of all videos with features; None: the annotations are judged alone.
        features: video id -> facts, for videos with usable features.
        time_bases: video id -> how its rows relate to seconds.
    """
    lengths = [_length(record, annotations, features, time_bases[record.video_id]) for record in annotations.videos]
    rules = {
        "ids_differ": _ids_differ(annotations, feature_ids),
        "transposed": _transposed(list(features.values())),
        "wrong_rate": _wrong_rate(lengths),
        "other_order": _other_order(lengths),
        "fps_unchecked": _fps_unchecked(lengths),
        "time_unit": _time_unit(lengths),
        "duration_of_instance": _duration_of_instance(lengths),
        "one_class": _one_class(annotations),
        "no_training_labels": _no_training_labels(annotations),
    }
    return [Problem(DATA_SET, rule, message) for rule, message in rules.items() if message]


def _length(
    record: VideoRecord, annotations: AnnotationSet, features: Mapping[str, FeatureFacts], time_base: TimeBase
) -> _Length:
    known = math.isfinite(record.duration_s) and record.duration_s > 0
    of_features = record.video_id in annotations.durations_of_features
    facts = features.get(record.video_id)
    features_s = None if facts is None else time_base.duration_s(facts.num_segments)
    return _Length(record, time_base, record.duration_s if known and not of_features else None, features_s, of_features)


def _ids_differ(annotations: AnnotationSet, feature_ids: Collection[str] | None) -> str:
    annotated = dict.fromkeys(record.video_id for record in annotations.videos)
    there = frozenset(feature_ids or ())
    without = [video_id for video_id in annotated if video_id not in there]
    unused = [video_id for video_id in dict.fromkeys(feature_ids or ()) if video_id not in annotated]
    if len(without) < 2 or 2 * len(without) < len(annotated):
        return ""
    found = common_difference(without, unused)
    if found is None or 2 * found.number <= len(annotated):
        return ""
    return (
        f"{found.number} of {counted(len(annotated), 'annotated video')} would have features but for {found.words} "
        f"({found.example[0]!r} in the annotations, {found.example[1]!r} among the features): rename one side"
    )


def _transposed(facts: Sequence[FeatureFacts]) -> str:
    if len(facts) < _FEWEST:
        return ""
    rows, number = Counter(fact.num_segments for fact in facts).most_common(1)[0]
    widths = {max(fact.sizes.values()) for fact in facts if fact.num_segments == rows}
    varying = len(widths) > max(1, number // 4)
    as_wide = rows in _USUAL_DIMS and not widths & _USUAL_DIMS and rows > max(widths)
    if number < MOST * len(facts) or not (varying or as_wide):
        return ""
    shapes = f"{rows} rows and {f'{len(widths)} different widths' if varying else f'{min(widths)} dims per stream'}"
    return f"{number} of {counted(len(facts), 'video')} have {shapes}: they look like [D, segments]; transpose them"


def _fitting(lengths: Sequence[_Length]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of features and stated durations, of the videos with both."""
    pairs = [(one.features_s, one.stated_s) for one in lengths if one.features_s and one.stated_s]
    features_s, stated_s = np.array(pairs, np.float64).reshape(-1, 2).T
    return features_s, stated_s


def _common_factor(features_s: np.ndarray, stated_s: np.ndarray) -> float | None:
    """Features / duration, where it is the same for most videos."""
    low, median, high = np.quantile(features_s / stated_s, (0.25, 0.5, 0.75))
    return float(median) if high - low <= 2 * COMMON_FACTOR * median else None


def _wrong_rate(lengths: Sequence[_Length]) -> str:
    features_s, stated_s = _fitting(lengths)
    differ = [length_differs(*pair) for pair in zip(features_s, stated_s)]
    if not differ or 2 * sum(differ) <= len(differ):
        return ""
    factor = _common_factor(features_s, stated_s)
    if factor is None or abs(factor - 1) <= COMMON_FACTOR:
        return ""
    told = f"the features of most videos cover {factor:.3g} times their duration"
    fps = float(np.median([one.time_base.fps for one in lengths]))
    for unit, per_s in {**_UNITS, "frames": fps}.items():
        if abs(factor * per_s - 1) <= 2 * COMMON_FACTOR:
            return f"{told}: durations look like {unit}, not seconds, or else fps or stride is off by this factor"
    return f"{told}: fps or stride is off by this factor for the whole data set"


def _other_order(lengths: Sequence[_Length]) -> str:
    features_s, stated_s = _fitting(lengths)
    differ = sum(length_differs(*pair) for pair in zip(features_s, stated_s))
    if len(features_s) < _FEWEST_LENGTHS or differ < MOST * len(features_s):
        return ""
    if _common_factor(features_s, stated_s) is not None:
        return ""  # see `_wrong_rate`
    told = f"the features of {differ} of {counted(len(features_s), 'video')} do not fit their durations"
    apart = sum(length_differs(*pair) for pair in zip(np.sort(features_s), np.sort(stated_s)))
    if apart <= (1 - MOST) * len(features_s):
        return f"{told}, but would in another order: rows or files belong to other videos than the annotations say"
    return f"{told}, by no common factor: features and annotations seem to belong to different videos"


def _fps_unchecked(lengths: Sequence[_Length]) -> str:
    with_features = [one for one in lengths if one.features_s is not None]
    if not with_features or not all(one.of_features for one in with_features):
        return ""
    return (
        "no video's duration is known but from its own features: whether fps and stride are right was not checked. A "
        "column duration_s, --time_base_file or --videos would tell"
    )


def _time_unit(lengths: Sequence[_Length]) -> str:
    reached = [(one, last.end_s) for one in lengths for last in [one.last] if last is not None]
    if len(reached) < _FEWEST:
        return ""
    known = [(one, last_s, video_end_s(one.record, one.features_s)) for one, last_s in reached]
    known = [(one, last_s, end_s) for one, last_s, end_s in known if math.isfinite(end_s)]
    if not known:
        median_s = float(np.median([last_s for _, last_s in reached]))
        return (
            f"instances end at {median_s:g} s in the median video, more than a day: times look like milliseconds, "
            "microseconds or frames, not seconds"
            if median_s > _DAY_S
            else ""
        )
    ratio = np.array([last_s / end_s for _, last_s, end_s in known])
    fps = np.array([one.time_base.fps for one, _, _ in known])
    if len(known) < _FEWEST or np.median(ratio) <= 2:
        return ""
    units = {**{unit: np.full(len(known), per_s) for unit, per_s in _UNITS.items()}, "frames": fps}
    fits = {
        unit: float(np.max((ratio / per_s)[ratio / per_s <= _SLACK]))
        for unit, per_s in units.items()
        if np.mean(ratio / per_s <= _SLACK) >= MOST
    }
    unit = max(fits, key=lambda name: fits[name], default="")
    if not unit or fits[unit] < _LEAST_REACHED:
        return ""
    return f"instances end {np.median(ratio):.3g} times later than their videos: times look like {unit}, not seconds"


def _duration_of_instance(lengths: Sequence[_Length]) -> str:
    with_both = [(one.stated_s, last) for one in lengths for last in [one.last] if one.stated_s and last is not None]
    # Where the only instance begins with its video, the video may have been cut to it.
    untrimmed = [(stated_s, last) for stated_s, last in with_both if last.start_s > 0]
    if len(untrimmed) < _FEWEST:
        return ""
    for what, of_instance in (
        ("the end", lambda last: last.end_s),
        ("the length", lambda last: last.end_s - last.start_s),
    ):
        if all(abs(stated_s - of_instance(last)) <= _SAME_S for stated_s, last in with_both):
            return f"the duration of every video is {what} of its last instance: durations are not those of the videos"
    return ""


def _training_subsets(annotations: AnnotationSet) -> dict[str, list[VideoRecord]]:
    """The videos of the subsets that can be trained on."""
    members: dict[str, list[VideoRecord]] = {}
    for record in annotations.videos:
        if not is_test_subset(record.subset):
            members.setdefault(record.subset, []).append(record)
    return members


def _one_class(annotations: AnnotationSet) -> str:
    subsets = _training_subsets(annotations)
    if subsets and len(annotations.classes) == 1:
        return (
            f"{annotations.classes[0]!r} is the only class: the classification loss is 0 throughout, whatever the "
            "model says, and nothing is learnt from it"
        )
    for subset, records in subsets.items():
        labelled = [record.present for record in records if record.present]
        if len(labelled) >= _FEWEST and len(labelled[0]) == 1 and all(names == labelled[0] for names in labelled):
            (name,) = labelled[0]
            return (
                f"all {len(labelled)} labelled videos of {subset!r} have the one class {name!r}: nothing to tell apart"
            )
    return ""


def _no_training_labels(annotations: AnnotationSet) -> str:
    empty = [name for name, records in _training_subsets(annotations).items() if not any(r.present for r in records)]
    if not empty:
        return ""
    return f"no video of {' and of '.join(map(repr, empty))} has a class: the losses are 0 throughout if trained on it"
