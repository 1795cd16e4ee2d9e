"""A second simulator of I3D-like features, of another design than `data_prep.simulation`, to check results against.

There, features are sums of Gaussian signals in a latent space. Here nothing is Gaussian and nothing is added: a segment
*is* one of many non-negative prototypes, or a blend of two where one state follows another, times noise.

*Background*: a semi-Markov chain of states, each held for some segments (geometric). A state is one of the two settings
of one of the video's classes (strong in rgb, weak in flow) or one of 40 that belong to no class. *Action*: an instance
runs through the three phases of its class (begin, middle, end), at a strength drawn per instance. *Attempts*: now and
then the first phase of a class of the video appears without the rest, and is not annotated. *Noise*: every value is
multiplied by its own gamma-distributed factor, and every segment by one more (brightness, speed). Last, a segment is
blended with its neighbours, as overlapping receptive fields do.

The numbers were set once, by looking at classification and localization of models trained without any counting loss.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from data_prep.annotations import VideoRecord
from tc3net.data.streams import RGB_FLOW
from tc3net.data.timebase import TimeBase, boundaries_s


@dataclass(frozen=True)
class PrototypeConfig:
    """Parameters.

    Attributes:
        seed: same seed, same features, whatever the number or order of videos.
        feature_dim: D of one stream.
        filled: share of a prototype's values that are not 0.
        state_segments: mean number of segments for which a background state is held.
        setting_share: share of the background states that are a setting of the video's class, by stream.
        action_share: how much of a segment an instance of median strength replaces, by stream.
        strength_sigma: log-deviation of that strength.
        phase_common: share of a phase's prototype that all phases of its class have in common.
        attempts_per_s, attempt_segments: rate and length of first phases without an action.
        value_shape, segment_shape: of the gamma factors of mean 1; larger is less noise.
        blur: share of each neighbour in a segment.
    """

    seed: int = 0
    feature_dim: int = 64
    filled: float = 0.25
    state_segments: float = 6.0
    setting_share: tuple[float, float] = (0.3, 0.15)
    action_share: tuple[float, float] = (0.6, 0.85)
    strength_sigma: float = 0.2
    phase_common: float = 0.6
    attempts_per_s: float = 0.005
    attempt_segments: int = 3
    value_shape: float = 6.0
    segment_shape: float = 20.0
    blur: float = 0.15


class PrototypeSimulator:
    """Draws the features of annotated videos; every video from its own generator.

    Args:
        config: parameters.
        time_base: how feature rows relate to seconds.
    """

    def __init__(self, config: PrototypeConfig, time_base: TimeBase) -> None:
        self._config, self._time_base = config, time_base

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng((self._config.seed, zlib.crc32(name.encode()), 7))

    def _prototypes(self, name: str, number: int) -> np.ndarray:
        """[number, D] non-negative rows of mean 1 that belong to a name."""
        rng, config = self._generator(name), self._config
        size = (number, config.feature_dim)
        rows = rng.gamma(1.0, size=size) * (rng.random(size) < config.filled)
        return rows * config.feature_dim / np.maximum(rows.sum(axis=1, keepdims=True), 1e-9)

    def _phases(self, label: str, stream: str) -> np.ndarray:
        """[3, D]: begin, middle and end of an action, which have a part in common."""
        common = self._prototypes(f"action {label} in {stream}", 1)
        own = self._prototypes(f"phases of {label} in {stream}", 3)
        return self._config.phase_common * common + (1 - self._config.phase_common) * own

    def features(self, record: VideoRecord) -> tuple[np.ndarray, np.ndarray]:
        """rgb and flow of a video, each [s, D] float32, s = the whole segments of its duration, at least 1."""
        count = max(1, self._time_base.num_segments(record.duration_s))
        rng = self._generator(f"video {record.video_id}")
        rgb, flow = (self._stream(rng, index, record, count) for index in range(len(RGB_FLOW)))
        return rgb, flow

    def _stream(self, rng: np.random.Generator, index: int, record: VideoRecord, count: int) -> np.ndarray:
        config, stream, labels = self._config, RGB_FLOW[index], sorted(record.present)
        rows = self._background(rng, index, labels, count)  # [s, D]
        phases = {label: self._phases(label, stream) for label in labels}
        shown = np.zeros(count)  # how much of each segment is taken already
        for instance in record.instances:
            overlap = self._overlap(instance.start_s, instance.end_s, count)
            strength = config.action_share[index] * rng.lognormal(0.0, config.strength_sigma)
            share = np.minimum(strength, 0.95) * overlap
            inside = np.flatnonzero(overlap)
            if len(inside):
                phase = np.minimum(np.arange(len(inside)) * 3 // len(inside), 2)
                target = phases[instance.label][phase]
                rows[inside] += share[inside, None] * (target - rows[inside])
                shown[inside] = 1
        for _ in range(rng.poisson(config.attempts_per_s * record.duration_s)):
            first = int(rng.integers(count))
            inside = np.arange(first, min(first + config.attempt_segments, count))
            label = labels[int(rng.integers(len(labels)))] if labels else None
            if label is not None and not shown[inside].any():
                rows[inside] += config.action_share[index] * (phases[label][0] - rows[inside])
        rows = rows * rng.gamma(config.value_shape, 1 / config.value_shape, rows.shape)
        rows *= rng.gamma(config.segment_shape, 1 / config.segment_shape, (count, 1))
        padded = np.pad(rows, [[1, 1], [0, 0]], mode="edge")
        mixed = (1 - 2 * config.blur) * rows + config.blur * (padded[:-2] + padded[2:])
        return mixed.astype(np.float32)

    def _background(self, rng: np.random.Generator, index: int, labels: Sequence[str], count: int) -> np.ndarray:
        """[s, D]: a chain of states."""
        config, stream = self._config, RGB_FLOW[index]
        neutral = self._prototypes(f"neutral in {stream}", 40)
        settings = [self._prototypes(f"settings of {label} in {stream}", 2) for label in labels]
        of_class = np.concatenate(settings) if settings else neutral
        rows = np.empty((count, config.feature_dim))
        first = 0
        while first < count:
            held = int(rng.geometric(1 / config.state_segments))
            states = of_class if rng.random() < config.setting_share[index] else neutral
            rows[first : first + held] = states[rng.integers(len(states))]
            first += held
        return rows

    def _overlap(self, start_s: float, end_s: float, count: int) -> np.ndarray:
        """[s] share of each segment's cell that lies in the interval."""
        bounds = boundaries_s(np.arange(count + 1), **asdict(self._time_base))
        covered_s = np.minimum(bounds[1:], end_s) - np.maximum(bounds[:-1], start_s)
        return np.maximum(covered_s, 0) / np.diff(bounds)
