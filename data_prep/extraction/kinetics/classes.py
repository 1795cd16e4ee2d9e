"""Kinetics' classes of segments, from their features: a check for the eye that decoding and weights are right.

`kinetics_400.txt` names the 400 classes in the order of the network's outputs, as DeepMind's kinetics-i3d lists them
(`data/label_map.txt`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path

import numpy as np

from data_prep.extraction.inception import CLASSIFIER
from data_prep.extraction.weights import Arrays
from tc3net.data.timebase import TimeBase


def class_names() -> tuple[str, ...]:
    """The 400 names, in the order of the classifier's outputs."""
    text = resources.files(__package__).joinpath("kinetics_400.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def chances(features: np.ndarray, arrays: Arrays) -> np.ndarray:
    """Probability of each class in each segment, by the network's classifier.

    Of segments of 16 frames these are the network's own predictions, since its window is one segment long; of others,
    those of the average over the segment.

    Args:
        features: [s, D], averages of the last block, of rgb.
        arrays: the network's weights.

    Returns:
        [s, classes] float64; rows sum to 1.
    """
    kernel, bias = (arrays[f"{CLASSIFIER}/{part}"].astype(np.float64) for part in ("kernel", "bias"))
    logits = features.astype(np.float64) @ kernel[0, 0, 0] + bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Stretch:
    """Neighbouring segments with the same most probable class.

    Attributes:
        start_s, end_s: seconds.
        best: (class, mean probability), the most probable first.
    """

    start_s: float
    end_s: float
    best: tuple[tuple[str, float], ...]


def stretches(found: np.ndarray, names: Sequence[str], base: TimeBase, most: int) -> list[Stretch]:
    """Segments in words, neighbours with the same most probable class together.

    Args:
        found: [s, classes], of `chances`.
        names: of the classes.
        base: time base of the segments.
        most: how many classes of each stretch.
    """
    result, first = [], 0
    for _, group in groupby(found.argmax(axis=1).tolist()):
        after = first + len(list(group))
        mean = found[first:after].mean(axis=0)
        best = tuple((names[c], float(mean[c])) for c in np.argsort(-mean, kind="stable")[:most])
        result.append(Stretch(base.boundary_s(first), base.boundary_s(after), best))
        first = after
    return result


def describe(path: Path, arrays: Arrays, base: TimeBase, most: int) -> list[str]:
    """Lines for the screen about the features in a file.

    Args:
        path: .npy, [s, 1024], of rgb.
        arrays: the network's weights.
        base: of the features.
        most: classes of each stretch.
    """
    found = chances(np.load(path, allow_pickle=False), arrays)
    return [
        f"  {one.start_s:7.2f} s to {one.end_s:7.2f} s   "
        + ", ".join(f"{name} {100 * share:.0f} %" for name, share in one.best)
        for one in stretches(found, class_names(), base, most)
    ]
