"""What a million hours of video cost, on paper: `python -m studies.scale_model` prints the tables of docs/scale.md.

Rates are those of docs/measurements.md and docs/own-videos.md, or assumptions that are called so; the second part is a
simulation of tasks on machines (`studies.scale_simulation`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from absl import flags

from studies.scale_simulation import Cluster, Work, median_excess
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS

# Time base and features of the published data sets, as stored with --feature_dtype=float16.
FPS, FRAMES_PER_SEGMENT, STREAMS, FEATURE_DIM = 25, 16, 2, 1024
EXTRACTED_BYTES, STORED_BYTES = 4, 2  # of a value: float32 in feature files, float16 in shards

# Measured on 2 CPU cores.
MEASURED_CORES = 2
DECODED_FPS = 316.0  # decoding, resizing, cropping
FLOW_FPS = 1.05  # TV-L1, OpenCV's defaults
NETWORK_FPS = 8.7  # I3D, one stream
CONVERTED_BYTES_PER_S = 163e6  # of feature files; the slowest of six runs
PIPELINE_BYTES_PER_S = 1559e6  # training input of float32 features, from the page cache
SCORED_SEGMENTS_PER_S = 43.1 * 300  # requests of 8 videos of 300 segments, with detection
MATMUL_FLOP_PER_S = 206e9 / (1.80 / 1.29)  # dense layers alone, from the step of cropped batches
# Measured on one H100.
STEP_S, STEP_SEGMENTS = (0.016 + 0.020) / 2, (9285 + 11028) / 2  # cropped and full-length batches in turn
GPU_MATMUL_FLOP_PER_S = 86e12
# Assumed: the network is as far below the rate of matrix products on the GPU as it is on the cores.
GPU_NETWORK_FPS = NETWORK_FPS * GPU_MATMUL_FLOP_PER_S / MATMUL_FLOP_PER_S

# Two dense layers and the class scores of 101 classes, in each stream, as float32.
GRADIENT_BYTES = 4 * STREAMS * (2 * (FEATURE_DIM * FEATURE_DIM + FEATURE_DIM) + 101 * (FEATURE_DIM + 1))
MACHINES = (10, 100, 1000)
TASKS_PER_MACHINE = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Site:
    """What the machines and what they share can do; all of it is assumed.

    Attributes:
        cores: of one machine, each as fast as those that were measured; it has one GPU.
        network_bytes_per_s: of one machine.
        storage_bytes_per_s: of the shared file system, all machines together.
        video_bytes_per_hour: of the files.
    """

    cores: int = 16
    network_bytes_per_s: float = 25e9 / 8
    storage_bytes_per_s: float = 10e9
    video_bytes_per_hour: float = 0.45e9


@dataclass(frozen=True)
class Stage:
    """What a stage takes from each resource.

    Attributes:
        name: of the stage.
        core_s, gpu_s: seconds of one core, of one GPU.
        stored_bytes: read from or written to the shared file system; they pass the machines' networks too.
        exchanged_bytes: between machines alone.
    """

    name: str
    core_s: float = 0.0
    gpu_s: float = 0.0
    stored_bytes: float = 0.0
    exchanged_bytes: float = 0.0

    def resources(self, site: Site, machines: int) -> dict[str, float]:
        """Seconds that each resource needs where the work is shared equally; together they take the largest."""
        return {
            "CPU": self.core_s / (machines * site.cores),
            "GPU": self.gpu_s / machines,
            "network": (self.stored_bytes + self.exchanged_bytes) / (machines * site.network_bytes_per_s),
            "storage": self.stored_bytes / site.storage_bytes_per_s,
        }

    def limit(self, site: Site, machines: int) -> tuple[str, float]:
        """The resource that takes longest, and its seconds."""
        return max(self.resources(site, machines).items(), key=lambda item: item[1])


def stages(hours: float, site: Site) -> list[Stage]:
    """All stages of so many hours of video, in their order."""
    frames = hours * 3600 * FPS
    segments = frames / FRAMES_PER_SEGMENT
    extracted, stored = (segments * STREAMS * FEATURE_DIM * size for size in (EXTRACTED_BYTES, STORED_BYTES))
    pipeline_segments_per_s = PIPELINE_BYTES_PER_S / (STREAMS * FEATURE_DIM * EXTRACTED_BYTES)
    steps = segments / STEP_SEGMENTS
    return [
        Stage(
            "decode, resize, crop", MEASURED_CORES * frames / DECODED_FPS,
            stored_bytes=hours * site.video_bytes_per_hour,
        ),
        Stage("flow (TV-L1)", MEASURED_CORES * frames / FLOW_FPS),
        Stage("network, rgb and flow", gpu_s=STREAMS * frames / GPU_NETWORK_FPS, stored_bytes=extracted),
        # Features are read twice, and a shard once more for its checksum.
        Stage("convert", MEASURED_CORES * extracted / CONVERTED_BYTES_PER_S, stored_bytes=2 * extracted + 2 * stored),
        Stage(
            "train, one epoch", MEASURED_CORES * segments / pipeline_segments_per_s, steps * STEP_S, stored,
            exchanged_bytes=2 * steps * GRADIENT_BYTES,
        ),
        Stage("score", MEASURED_CORES * segments / SCORED_SEGMENTS_PER_S, stored_bytes=stored),
    ]  # fmt: skip


def number(value: float) -> str:
    """Three digits, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.{digits}f}".replace(",", " ")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cost_table(hours: float, site: Site) -> str:
    """What each stage takes: core hours, GPU hours, terabytes; days on one machine."""
    rows = []
    for stage in stages(hours, site):
        resource, seconds = stage.limit(site, 1)
        rows.append(
            [
                stage.name, number(stage.core_s / 3600), number(stage.gpu_s / 3600), number(stage.stored_bytes / 1e12),
                f"{number(seconds / 86400)} ({resource})",
            ]
        )  # fmt: skip
    return table(["stage", "core hours", "GPU hours", "TB read and written", "days on one machine"], rows)


def machine_table(hours: float, site: Site) -> str:
    """Hours of each stage on several machines, and what limits it there."""
    rows = []
    for stage in stages(hours, site):
        limits = [stage.limit(site, machines) for machines in MACHINES]
        rows.append([stage.name, *(f"{number(seconds / 3600)} ({resource})" for resource, seconds in limits)])
    return table(["hours (limit)", *(f"{machines} machines" for machines in MACHINES)], rows)


def first_bottlenecks(hours: float, site: Site) -> str:
    """The longest stage at each number of machines, with and without flow."""
    rows = []
    for title, left_out in (("with flow", ""), ("rgb alone", "flow (TV-L1)")):
        cells = []
        for machines in MACHINES:
            times = {s.name: s.limit(site, machines) for s in stages(hours, site) if s.name != left_out}
            name = max(times, key=lambda stage: times[stage][1])
            cells.append(f"{name}: {times[name][0]}, {number(times[name][1] / 86400)} days")
        rows.append([title, *cells])
    return table(["longest stage", *(f"{machines} machines" for machines in MACHINES)], rows)


# Ten hours of work for each machine.
CLUSTERS = {
    "100 machines, spread 0.5": (Cluster(100), Work(10.0, 0.5)),
    "spread 1": (Cluster(100), Work(10.0, 1.0)),
    "spread 1, failures": (Cluster(100, failure_every=100.0, away=0.25), Work(10.0, 1.0)),
    "spread 1, failures, one minute per task": (
        Cluster(100, failure_every=100.0, away=0.25), Work(10.0, 1.0, start=1 / 60),
    ),
    "the same on 1000 machines": (Cluster(1000, failure_every=100.0, away=0.25), Work(10.0, 1.0, start=1 / 60)),
}  # fmt: skip


def straggler_table(seed: int, repeats: int, tasks_per_machine: Sequence[int] = TASKS_PER_MACHINE) -> str:
    """Makespan over the ideal by tasks per machine; a row does not depend on the others."""
    rows = []
    for each in tasks_per_machine:
        excess = [median_excess(cluster, work, each, seed, repeats) for cluster, work in CLUSTERS.values()]
        rows.append([str(each), *(f"{value:.2f}" for value in excess)])
    return table(["tasks per machine", *CLUSTERS], rows)


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_float("hours", 1e6, "Hours of video.", lower_bound=0)
    flags.DEFINE_integer("cores", Site.cores, "Cores of a machine, which has one H100.", lower_bound=1)
    flags.DEFINE_float("network_gbit_per_s", 25, "Network of a machine.", lower_bound=0.001)
    flags.DEFINE_float("storage_gb_per_s", 10, "Shared file system, for all machines together.", lower_bound=0.001)
    flags.DEFINE_float("video_gb_per_hour", 0.45, "Size of the video files.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Seed of the simulation.")
    flags.DEFINE_integer("repeats", 3, "Simulations of which the median is shown.", lower_bound=1)


def main(argv: Sequence[str]) -> None:
    """Prints the tables."""
    del argv
    site = Site(
        FLAGS.cores, FLAGS.network_gbit_per_s * 1e9 / 8, FLAGS.storage_gb_per_s * 1e9, FLAGS.video_gb_per_hour * 1e9
    )
    for text in (
        cost_table(FLAGS.hours, site), machine_table(FLAGS.hours, site), first_bottlenecks(FLAGS.hours, site),
        straggler_table(FLAGS.seed, FLAGS.repeats),
    ):  # fmt: skip
        print(f"{text}\n")


if __name__ == "__main__":
    run_main(main, register_flags)
