"""What the features of one video show when they are looked at once: size, range, empty rows, streams that never change.

The facts are small and can be collected for any number of videos; `data_prep.checks.judge` judges them.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FeatureFacts:
    """Facts about the features of one video.

    Attributes:
        num_segments: rows.
        sizes: D of each stream.
        largest: largest magnitude of any value.
        zero_rows: rows that are all zero, per stream.
        first_zero_row: the first row that is all zero in any stream; -1 when there is none.
        constant_streams: streams of two or more rows, all of which are equal.
        checksums: CRC-32 of the values of each stream; two videos with the same shapes and checksums have the same
            features (the chance that different ones agree is 2^-32 per pair and stream).
    """

    num_segments: int
    sizes: Mapping[str, int]
    largest: float
    zero_rows: Mapping[str, int]
    first_zero_row: int
    constant_streams: tuple[str, ...]
    checksums: tuple[int, ...]


def examine(streams: Mapping[str, np.ndarray]) -> FeatureFacts:
    """Looks at usable features (see `data_prep.features.rows.check_features`).

    Args:
        streams: [s, D] by name, floating point, finite, s >= 1.
    """
    highest = {name: values.max(axis=1) for name, values in streams.items()}  # [s, D] -> [s]
    lowest = {name: values.min(axis=1) for name, values in streams.items()}
    is_zero = {name: (highest[name] == 0) & (lowest[name] == 0) for name in streams}
    zero_in_any = np.logical_or.reduce(list(is_zero.values()))
    return FeatureFacts(
        num_segments=len(zero_in_any),
        sizes={name: values.shape[1] for name, values in streams.items()},
        largest=max(float(max(highest[name].max(), -lowest[name].min())) for name in streams),
        zero_rows={name: int(np.count_nonzero(rows)) for name, rows in is_zero.items()},
        first_zero_row=int(np.argmax(zero_in_any)) if zero_in_any.any() else -1,
        constant_streams=tuple(name for name, values in streams.items() if _is_constant(values)),
        checksums=tuple(map(_checksum, streams.values())),
    )


def _is_constant(values: np.ndarray) -> bool:
    # The second row settles it for nearly every video, without a pass over all of them.
    return len(values) > 1 and bool((values[1] == values[0]).all()) and bool((values == values[0]).all())


def _checksum(values: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(values).data)


def same_features(facts: Mapping[str, FeatureFacts]) -> list[list[str]]:
    """Groups of two or more videos whose features are identical.

    Args:
        facts: per video id.

    Returns:
        Video ids per group, in the order of `facts`.
    """
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for video_id, fact in facts.items():
        key = (fact.num_segments, *fact.sizes.values(), *fact.checksums)
        groups[key].append(video_id)
    return [group for group in groups.values() if len(group) > 1]
