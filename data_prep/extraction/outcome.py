"""What became of the videos of an extraction, and what the time was spent on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What became of the videos, by id.

    Attributes:
        segments: of the videos that were extracted.
        skipped: videos that were finished before, or that another process works on.
        failed: error messages.
        incomplete: extracted videos of which not everything could be decoded, and what was.
        seconds: by what they were spent on.
    """

    segments: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def describe_seconds(seconds: Mapping[str, float]) -> str:
    """The share of each part of the work, for the screen; what ran on threads beside the network is told apart."""
    total = seconds["all"] or 1.0

    def shares(names: tuple[str, ...]) -> str:
        return ", ".join(f"{name} {100 * seconds.get(name, 0) / total:.0f} %" for name in names)

    beside = ("decoding", "preprocessing", *(["waiting for flow"] if "waiting for flow" in seconds else []))
    return f"{total:.1f} s: {shares(('network', 'waiting for clips', 'writing'))}; beside it: {shares(beside)}"
