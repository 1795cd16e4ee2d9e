"""Streams of features: what a data set calls them, how wide each is, and where each lies in a row of all of them.

A network of one backbone has one stream; I3D has two, "rgb" and "flow". Every row that holds several streams holds them
side by side in the order of `Streams.names`; nothing else decides which columns belong to which stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tc3net.common.errors import UserError

RGB_FLOW = ("rgb", "flow")  # the two streams of I3D, which data sets had before streams had names
FUSED = "fused"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Streams:
    """Names and sizes, in the order in which rows hold them.

    Attributes:
        sizes: (name, number of features D) of each; names are lower-case words, and none is "fused".

    Raises:
        UserError: no stream, a name that cannot be one, two of one name, or a size below 1.
    """

    sizes: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        check_names(self.names)
        small = [f"{name}:{size}" for name, size in self.sizes if size < 1]
        if small:
            raise UserError(f"Streams {', '.join(small)}; expected at least 1 feature each. Correct the size.")

    @classmethod
    def pair(cls, feature_dim: int) -> Streams:
        """rgb and flow of the same size D."""
        return cls(tuple((name, feature_dim) for name in RGB_FLOW))

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Streams:
        """Of a mapping name -> size, in its order, such as `as_dict` gives."""
        return cls(tuple((name, int(size)) for name, size in sizes.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """In order."""
        return tuple(name for name, _ in self.sizes)

    @property
    def width(self) -> int:
        """ΣD, the length of a row of all streams."""
        return sum(size for _, size in self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, name: str) -> int:
        """Size of one stream."""
        return dict(self.sizes)[name]

    def as_dict(self) -> dict[str, int]:
        """Name -> size, for JSON."""
        return dict(self.sizes)

    def split(self, rows: Any) -> dict[str, Any]:
        """Rows [R, ΣD] -> [R, D] by stream name; tensors or arrays."""
        parts, start = {}, 0
        for name, size in self.sizes:
            parts[name] = rows[:, start : start + size]
            start += size
        return parts

    def words(self) -> str:
        """For messages: "rgb 1024, then flow 1024"."""
        return ", then ".join(f"{name} {size}" for name, size in self.sizes)


def check_names(names: Sequence[str]) -> None:
    """Raises UserError for no name, a word that cannot name a stream, or two of one name."""
    bad = [name for name in names if not _NAME.fullmatch(name) or name == FUSED]
    if bad or not names:
        raise UserError(
            f"Streams are named {list(names)}; expected at least one lower-case word of letters, digits and '_', none "
            f"of them {FUSED!r}, such as rgb,flow or videomae."
        )
    if len(set(names)) != len(names):
        raise UserError(f"Streams are named {list(names)}; expected each name once.")


def parse_streams(text: str) -> tuple[tuple[str, int | None], ...]:
    """What `--streams` says: "rgb,flow", "videomae" or "rgb:1024,audio:128".

    Returns:
        (name, size or None where it is not stated) of each stream.

    Raises:
        UserError: names that cannot be, or a size that is no number.
    """
    found: list[tuple[str, int | None]] = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        name, colon, size = part.partition(":")
        if colon and not (size.isdecimal() and int(size) > 0):
            raise UserError(f"--streams={text}: size {size!r} of {name}; expected a whole number, as in rgb:1024.")
        found.append((name.strip(), int(size) if colon else None))
    check_names([name for name, _ in found])
    return tuple(found)


def joined(features: Mapping[str, np.ndarray], names: Iterable[str]) -> np.ndarray:
    """Arrays [s, D] by stream -> [s, ΣD], in the order of the names."""
    return np.concatenate([features[name] for name in names], axis=1)
