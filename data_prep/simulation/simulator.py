"""A statistical model of untrimmed videos and their I3D features, to try everything without the real ones.

Its numbers follow THUMOS14's annotations, not any result: nothing is adjusted to make a method look good. In plain
words:

*Annotations.* Durations and instance lengths are log-normal. How often a video's action occurs per second is
log-normal too, so that a few videos hold very many instances. Instances come in bursts: a few shortly after each
other, then long background. Some videos show two classes, each burst one of them.

*Features.* Each stream of a video is a walk in a small latent space: noise correlated over time (AR(1)) around the
video's own appearance, plus, all along the video, the *scene* of each of its classes (a pool, a pitch: strong in rgb,
weak in flow), plus, during an instance and in proportion to the overlap with the segment, the *action* of its class
(stronger in flow), with a strength drawn per instance, plus motion events that belong to no class. The scene tells a
video's class without telling when, which is what makes weak supervision hard. A fixed random matrix spreads the
latent space over D dims, white noise is added, and a ReLU makes the values non-negative, like pooled I3D features.
Because the signal lives in the latent space, D hardly changes how hard the problem is.

A class labelled at video level but not annotated in time gets hidden instances by the same model: it does occur there.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from data_prep.annotations import Instance, VideoRecord
from tc3net.common.errors import UserError
from tc3net.data.streams import RGB_FLOW, Streams
from tc3net.data.timebase import TimeBase, boundaries_s

SIMULATED_MARKER = "simulated.json"  # file in the root of every simulated data set
_FEATURES, _ANNOTATION, _HIDDEN = range(3)  # what a video's generator draws


@dataclass(frozen=True)
class StreamGains:
    """Length of each signal's vector in the latent space, where the noise has standard deviation 1 along every axis."""

    action: float
    scene: float
    motion: float
    appearance: float


@dataclass(frozen=True)
class SimulatorConfig:
    """Parameters of the model; durations in seconds.

    Attributes:
        seed: same seed, same data, whatever the number or order of videos.
        feature_dim: D of a stream whose size is not stated.
        median_duration_s, mean_to_median: log-normal video durations, clipped to [shortest_s, longest_s].
        instances_per_s, rate_sigma: mean and log-deviation of the instance rate of a video (some do not fit in: about
            15 instances per video remain on average).
        instance_median_s, instance_sigma: log-normal instance lengths.
        burst_size: mean number of instances in a burst, `burst_gap_s` (from, to) seconds apart.
        most_filled: instances cover at most this share of a video.
        two_class_share: share of the videos that show two classes.
        noise_correlation: AR(1) coefficient from one segment to the next.
        latent_dim: dims of the latent space.
        strength_sigma: log-deviation of the strength of an instance, scene or motion event; the median is 1.
        motion_kinds, motion_per_s, motion_median_s: number, rate and length of the events that belong to no class.
        white_noise: standard deviation of the noise added to each of the D dims.
        sparsity: subtracted before the ReLU; more than half of the values are 0 then.
        rgb, flow, other: how strong each signal is in the stream of this name, and in one of any other.
        streams: (name, size or None) of each stream.
    """

    seed: int = 0
    feature_dim: int = 64
    median_duration_s: float = 142.0
    mean_to_median: float = 205.0 / 142.0
    shortest_s: float = 20.0
    longest_s: float = 1500.0
    instances_per_s: float = 0.1
    rate_sigma: float = 0.9
    instance_median_s: float = 3.1
    instance_sigma: float = 0.83
    burst_size: float = 3.0
    burst_gap_s: tuple[float, float] = (0.5, 3.0)
    most_filled: float = 0.8
    two_class_share: float = 0.15
    noise_correlation: float = 0.65
    latent_dim: int = 48
    strength_sigma: float = 0.4
    motion_kinds: int = 24
    motion_per_s: float = 0.04
    motion_median_s: float = 4.0
    white_noise: float = 0.3
    sparsity: float = 0.2
    rgb: StreamGains = StreamGains(action=2.0, scene=3.0, motion=1.0, appearance=3.0)
    flow: StreamGains = StreamGains(action=3.5, scene=0.8, motion=2.5, appearance=1.0)
    other: StreamGains = StreamGains(action=2.75, scene=1.9, motion=1.75, appearance=2.0)
    streams: tuple[tuple[str, int | None], ...] = tuple((name, None) for name in RGB_FLOW)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; expected 0 or more. Set --seed.")
        for name in ("feature_dim", "median_duration_s"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name)}; expected a positive number. Set --{name}.")

    @property
    def sizes(self) -> Streams:
        """Names and sizes of the streams."""
        return Streams(tuple((name, size or self.feature_dim) for name, size in self.streams))

    def gains(self, stream: str) -> StreamGains:
        """How strong each signal is in a stream."""
        return {"rgb": self.rgb, "flow": self.flow}.get(stream, self.other)

    @property
    def duration_sigma(self) -> float:
        """Log-deviation of the durations: a log-normal's mean is exp(sigma^2 / 2) times its median."""
        return math.sqrt(2 * math.log(self.mean_to_median))


class Simulator:
    """Draws annotations and features; every video from its own generator, seeded by the seed and its name.

    Args:
        config: the model's parameters.
        time_base: how feature rows relate to seconds.
    """

    def __init__(self, config: SimulatorConfig, time_base: TimeBase) -> None:
        self._config = config
        self._time_base = time_base
        self._mixing = {}
        self._motions = {}
        for stream, size in config.sizes.sizes:
            rng = self._generator(f"stream {stream}")
            self._mixing[stream] = rng.standard_normal((config.latent_dim, size)) / math.sqrt(config.latent_dim)
            self._motions[stream] = _unit_rows(rng, config.motion_kinds, config.latent_dim)
        self._signatures: dict[str, np.ndarray] = {}

    def _generator(self, name: str, purpose: int = _FEATURES) -> np.random.Generator:
        return np.random.default_rng((self._config.seed, zlib.crc32(name.encode()), purpose))

    def _signature(self, label: str, stream: str, what: str) -> np.ndarray:
        """[K] unit vector that belongs to a class name, so that it is the same in every set of classes."""
        key = f"{what} of {label} in {stream}"
        if key not in self._signatures:
            self._signatures[key] = _unit_rows(self._generator(key), 1, self._config.latent_dim)[0]
        return self._signatures[key]

    def annotate(self, video_id: str, subset: str, label: str, classes: Sequence[str]) -> VideoRecord:
        """Draws the duration and the instances of a video.

        Args:
            video_id: the video's name.
            subset: its split.
            label: the class that it shows.
            classes: all classes; the second class of a two-class video is drawn from them.

        Returns:
            Its annotation: at least one instance of each class, none overlapping, times rounded to 0.1 s as in
            THUMOS14.
        """
        config = self._config
        rng = self._generator(video_id, _ANNOTATION)
        drawn_s = rng.lognormal(math.log(config.median_duration_s), config.duration_sigma)
        duration_s = round(float(np.clip(drawn_s, config.shortest_s, config.longest_s)), 2)
        labels = [label]
        others = [name for name in classes if name != label]
        if others and rng.random() < config.two_class_share:
            labels.append(others[int(rng.integers(len(others)))])
        instances = self._draw_instances(rng, duration_s, labels)
        present = tuple(dict.fromkeys(instance.label for instance in instances))
        return VideoRecord(video_id, subset, duration_s, present, instances, instances_known=True)

    def _draw_instances(
        self, rng: np.random.Generator, duration_s: float, labels: Sequence[str]
    ) -> tuple[Instance, ...]:
        """Bursts of instances with gaps; burst b shows class b modulo the number of classes."""
        config = self._config
        median_rate = config.instances_per_s * math.exp(-(config.rate_sigma**2) / 2)
        rate = rng.lognormal(math.log(median_rate), config.rate_sigma)
        wanted = max(len(labels), int(rng.poisson(rate * duration_s)))
        lengths_s = rng.lognormal(math.log(config.instance_median_s), config.instance_sigma, wanted)
        gaps_s = rng.uniform(*config.burst_gap_s, wanted)
        # Shorter ones where even the first ones would not fit, and as many as fit.
        lengths_s = np.clip(lengths_s, 0.3, config.most_filled * duration_s / (2 * len(labels)))
        filled_s = np.cumsum(lengths_s + gaps_s)
        number = max(len(labels), int(np.searchsorted(filled_s, config.most_filled * duration_s)))
        new_burst = rng.random(number) < 1 / config.burst_size
        new_burst[: len(labels)] = True
        burst = np.cumsum(new_burst) - 1  # [number], 0-based
        free_s = duration_s - float(np.sum((lengths_s + gaps_s)[:number]))
        background_s = max(free_s, 0.0) * rng.dirichlet(np.ones(burst[-1] + 2))
        starts_s = np.cumsum(background_s)[burst] + np.concatenate([[0.0], filled_s[: number - 1]])
        instances = []
        for start_s, length_s, index in zip(starts_s, lengths_s, burst):
            start, end = round(float(start_s), 1), round(float(start_s + length_s), 1)
            instances.append(Instance(start, min(end, duration_s), labels[index % len(labels)]))
        return tuple(instances)

    def features(self, record: VideoRecord) -> tuple[np.ndarray, ...]:
        """Draws the features of a video.

        Args:
            record: its annotation.

        Returns:
            [s, D] float32 of each stream, in order, s = the whole segments of its duration, at least 1.
        """
        num_segments = max(1, self._time_base.num_segments(record.duration_s))
        visible = {instance.label for instance in record.instances}
        hidden = sorted(record.present - visible)
        instances = record.instances
        if hidden:
            instances += self._draw_instances(self._generator(record.video_id, _HIDDEN), record.duration_s, hidden)
        rng = self._generator(record.video_id)
        names = self._config.sizes.names
        return tuple(self._stream(rng, stream, record, instances, num_segments) for stream in names)

    def _stream(
        self,
        rng: np.random.Generator,
        stream: str,
        record: VideoRecord,
        instances: Sequence[Instance],
        num_segments: int,
    ) -> np.ndarray:
        config = self._config
        gains = config.gains(stream)
        latent = _correlated_noise(rng, num_segments, config.latent_dim, config.noise_correlation)  # [s, K]
        latent += gains.appearance * _unit_rows(rng, 1, config.latent_dim)
        for label in sorted(record.present):
            latent += gains.scene * self._strength(rng) * self._signature(label, stream, "scene")
        for instance in instances:
            overlap = self._overlap(instance.start_s, instance.end_s, num_segments)  # [s]
            action = self._signature(instance.label, stream, "action")
            latent += gains.action * self._strength(rng) * overlap[:, None] * action
        for _ in range(rng.poisson(config.motion_per_s * record.duration_s)):
            start_s = rng.uniform(0, record.duration_s)
            length_s = rng.lognormal(math.log(config.motion_median_s), config.instance_sigma)
            overlap = self._overlap(start_s, start_s + length_s, num_segments)
            motion = self._motions[stream][rng.integers(config.motion_kinds)]
            latent += gains.motion * self._strength(rng) * overlap[:, None] * motion
        values = latent @ self._mixing[stream]  # [s, K] -> [s, D]
        values += config.white_noise * rng.standard_normal(values.shape)
        return np.maximum(values - config.sparsity, 0).astype(np.float32)

    def _strength(self, rng: np.random.Generator) -> float:
        return float(rng.lognormal(0.0, self._config.strength_sigma))

    def _overlap(self, start_s: float, end_s: float, num_segments: int) -> np.ndarray:
        """[s] share of each segment's cell that lies in the interval."""
        bounds = boundaries_s(np.arange(num_segments + 1), **asdict(self._time_base))
        covered_s = np.minimum(bounds[1:], end_s) - np.maximum(bounds[:-1], start_s)
        return np.maximum(covered_s, 0) / np.diff(bounds)


def _unit_rows(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    values = rng.standard_normal((rows, columns))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _correlated_noise(rng: np.random.Generator, steps: int, dims: int, correlation: float) -> np.ndarray:
    """[steps, dims] AR(1) noise of unit variance."""
    noise = rng.standard_normal((steps, dims))
    innovation = math.sqrt(1 - correlation**2)
    for step in range(1, steps):
        noise[step] = correlation * noise[step - 1] + innovation * noise[step]
    return noise
