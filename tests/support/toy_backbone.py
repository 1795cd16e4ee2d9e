"""A network for tests of extraction: rows that show which frames they were computed from."""

from __future__ import annotations

import time

import numpy as np

from data_prep.extraction.backbones import Backbone, backbone
from data_prep.extraction.sampling import Sampling

SAMPLING = Sampling(short_side=32, size=24)


@backbone(SAMPLING, "means and spread, version 1")
def means(clips: np.ndarray) -> np.ndarray:
    """[N, frames, H, W, C] -> [N, 3 C]: mean of all frames, of the first, and the spread over time."""
    over_space = clips.astype(np.float64).mean((2, 3))
    return np.concatenate([over_space.mean(1), over_space[:, 0], over_space.std(1)], axis=1)


MEANS = Backbone("means", means, SAMPLING, "version 1")


@backbone(SAMPLING, "means and spread, slowly")
def slow_means(clips: np.ndarray) -> np.ndarray:
    """`means` that leave time to be killed."""
    time.sleep(0.15)
    return means(clips)


@backbone(SAMPLING, "a bug")
def breaks(clips: np.ndarray) -> np.ndarray:
    """No user's mistake."""
    return means(clips) * (1 // (len(clips) // (len(clips) + 1)))
