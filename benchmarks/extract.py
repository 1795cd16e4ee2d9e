"""How close the extraction of features comes to the network's own speed.

    python -m benchmarks.extract --work_dir=/tmp/benchmark_extract [--frames=160] [--streams=rgb,flow]

A video of --frames frames of 480 x 360 at 25 fps is written, and extracted with the I3D network (weights that are made
up cost the same). Each part is measured alone, in turn with the whole, after one warm-up. The last line is one JSON
object:

extract_over_network: time of the whole extraction over that of the network alone on the same clips, held in memory;
    the median of the ratios between neighbours in time, for rgb (goal: at most 1.15).
decode_fps, prepare_fps, flow_fps, network_fps, extract_fps: frames per second of decoding alone; of decoding, resizing,
    cropping and scaling; of optical flow, in --flow_workers processes; of the network; and of everything together.
extract_both_fps: the same for both streams; with --streams=rgb neither this nor flow_fps is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks.work_folder import work_folder
from data_prep.extraction.backbones import Backbone
from data_prep.extraction.clips import Stopwatch, segment_clips
from data_prep.extraction.decoding import Resizer, VideoFile, import_av
from data_prep.extraction.extracting import Extraction, Extractor
from data_prep.extraction.flow import FlowParameters, FlowPool
from data_prep.extraction.sampling import Sampling, resample
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
SAMPLING = Sampling()
HEIGHT, WIDTH = 360, 480


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("work_dir", None, "Folder for the video and its features; emptied at the end.")
    flags.DEFINE_integer("frames", 160, "Length of the video.")
    flags.DEFINE_integer("flow_frames", 17, "Frames for measuring flow.")
    flags.DEFINE_integer("repeats", 3, "Measurements; the median is reported.")
    flags.DEFINE_integer("batch_size", 1, "Segments that the network sees at a time.")
    flags.DEFINE_integer("flow_workers", os.cpu_count(), "Processes that compute optical flow.")
    flags.DEFINE_integer("flow_warps", 5, "Warps of TV-L1.")
    flags.DEFINE_list("streams", ["rgb"], "rgb, or rgb,flow.")


def write_video(path: Path, frames: int) -> None:
    """A picture that moves, with noise on it: as hard to decode as a film."""
    av = import_av()
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (HEIGHT // 8 + 1, WIDTH // 8 + frames, 3), np.uint8)
    picture = coarse.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.bit_rate = HEIGHT, WIDTH, 2_000_000
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            noise = rng.integers(0, 8, (HEIGHT, WIDTH, 3), np.uint8)
            image = picture[:HEIGHT, 3 * number : 3 * number + WIDTH] // 2 + noise
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def seconds(function: Callable[[], Any]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def decode(path: Path) -> None:
    """Decodes all frames."""
    with VideoFile(path) as video:
        for _ in video.frames():
            pass


def clips_of(path: Path) -> list[np.ndarray]:
    """The rgb clips of all segments, ready for the network."""
    with VideoFile(path) as video:
        return [clips["rgb"] for clips in segment_clips(video, SAMPLING, ["rgb"], None, 0, Stopwatch())]


def run_network(network: Backbone, clips: Sequence[np.ndarray]) -> None:
    """The network alone."""
    for first in range(0, len(clips), FLAGS.batch_size):
        network.features(np.stack(clips[first : first + FLAGS.batch_size]))


def run_extraction(backbones: dict[str, Backbone], path: Path, output_dir: Path) -> None:
    """Everything, as the command does it."""
    shutil.rmtree(output_dir, ignore_errors=True)
    extraction = Extraction(
        backbones, FlowParameters(warps=FLAGS.flow_warps), FLAGS.batch_size, flow_workers=FLAGS.flow_workers
    )
    Extractor(extraction, output_dir).run({"video": path})


def flow_fps(path: Path) -> float:
    """Frames per second of optical flow, after its processes have started."""
    resize = Resizer(SAMPLING.short_side)
    with VideoFile(path) as video:
        images = [resize(frame) for frame in resample(video.frames(), SAMPLING.fps)][: FLAGS.flow_frames]
    with FlowPool(FlowParameters(warps=FLAGS.flow_warps), FLAGS.flow_workers) as pool:
        still = [np.zeros((32, 32, 3), np.uint8)] * (16 * FLAGS.flow_workers)  # costs nothing but the start
        list(pool.with_flows(still, contextlib.nullcontext))
        return len(images) / seconds(lambda: list(pool.with_flows(images, contextlib.nullcontext)))


def measure(work: Path) -> dict[str, Any]:
    """All measurements."""
    from data_prep.extraction.i3d import open_i3d
    from tc3net import __version__

    path, output_dir = work / "video.avi", work / "features"
    write_video(path, FLAGS.frames)
    backbones = open_i3d(work / "cache", FLAGS.streams, use_random_weights=True)
    rgb = {"rgb": backbones["rgb"]}
    clips = clips_of(path)
    run_network(rgb["rgb"], clips[: FLAGS.batch_size])
    parts: dict[str, list[float]] = {name: [] for name in ("decode", "prepare", "network", "extract")}
    for _ in range(FLAGS.repeats):
        parts["decode"].append(seconds(lambda: decode(path)))
        parts["prepare"].append(seconds(lambda: clips_of(path)))
        parts["network"].append(seconds(lambda: run_network(rgb["rgb"], clips)))
        parts["extract"].append(seconds(lambda: run_extraction(rgb, path, output_dir)))
    ratios = [whole / alone for whole, alone in zip(parts["extract"], parts["network"])]
    found = {f"{name}_fps": round(FLAGS.frames / statistics.median(times), 1) for name, times in parts.items()}
    if "flow" in backbones:
        found["flow_fps"] = round(flow_fps(path), 2)
        found["extract_both_fps"] = round(
            FLAGS.frames / seconds(lambda: run_extraction(backbones, path, output_dir)), 2
        )
    return {
        "version": __version__,
        "cpus": os.cpu_count(),
        "frames": FLAGS.frames,
        "batch_size": FLAGS.batch_size,
        "flow_workers": FLAGS.flow_workers,
        "flow_warps": FLAGS.flow_warps,
        "extract_over_network": round(statistics.median(ratios), 3),
        **found,
    }


def main(argv: Sequence[str]) -> None:
    """Measures everything and prints the result."""
    del argv
    with work_folder(FLAGS.work_dir) as work:
        result = measure(work)
    print(json.dumps(result))


if __name__ == "__main__":
    run_main(main, register_flags)
