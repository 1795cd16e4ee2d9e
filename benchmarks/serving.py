"""What an exported model costs per request.

    python -m benchmarks.serving

Requests of 1, 8 and 32 videos of 300 segments, 1024 features per stream, 101 classes, to the `serving_default`
signature of an exported SavedModel in this process: no network. They take turns with the plain Keras model on the same
ragged batch, and with matrix products of its dense layers' size. The last line is one JSON object; by request size:

latency_p50_ms, latency_p99_ms: of one request at a time.
videos_per_s: the same, as throughput.
saved_over_keras: request over the Keras model's T-CAM and video scores: checks, padding, batching and detection.
saved_over_floor: request over the time in which the machine multiplies as many numbers.
detection_overhead: what detection adds to the graph that ends with T-CAM and video scores, as a share of it; the
    largest of the three, and by size.
concurrent_videos_per_s: 8 clients with one video each; joined (as exported) and with --max_batch_videos=0.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.timing import matmul_floor, median_ratio, seconds
from tc3net import __version__
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig, detect, mixed_tcam, video_scores
from tc3net.export import export
from tc3net.inference.scorer import pooled_top_k
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.runs.description import RunInfo
from tc3net.saved_model.request_checks import Videos
from tc3net.saved_model.signatures import Batching, Service, pack_detections
from tc3net.terminal.command import run_main
from tc3net.training.host_memory import keep_freed_memory

FLAGS = flags.FLAGS
CLIENTS = 8


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_integer("feature_dim", 1024, "D of one stream.")
    flags.DEFINE_integer("num_classes", 101, "C.")
    flags.DEFINE_integer("segments", 300, "Segments per video.")
    flags.DEFINE_list("videos", ["1", "8", "32"], "Videos per request.")
    flags.DEFINE_integer("repeats", 20, "Measurements of each time; those of large requests are fewer.")


def smooth_features(videos: int) -> np.ndarray:
    """[B, T, 2D]: features that change over some ten segments, as those of real videos do, so that T-CAMs have runs of
    ordinary length instead of single segments."""
    rng = np.random.default_rng(0)
    knots = rng.standard_normal((videos, FLAGS.segments // 10 + 2, 2 * FLAGS.feature_dim), np.float32)
    position = np.arange(FLAGS.segments) / 10
    before = position.astype(int)
    share = (position - before)[:, np.newaxis].astype(np.float32)
    return np.abs(knots[:, before] * (1 - share) + knots[:, before + 1] * share)


def load_exported(service: Service, run: RunInfo, folder: Path) -> Callable[..., Any]:
    """`serving_default` of the exported service."""
    loaded = tf.saved_model.load(str(export(service, run, folder)))
    signature = loaded.signatures["serving_default"]
    signature.keep_alive = loaded  # its variables go with it
    return signature


def graph(model: ThreeCNet, *, with_detection: bool) -> Callable[[tf.RaggedTensor], Any]:
    """Network and video scores as one graph, and detection if asked for."""
    config = DetectionConfig()

    @tf.function(autograph=False)
    def run(features: tf.RaggedTensor) -> dict[str, tf.Tensor]:
        outputs = model(features, training=False)
        found = {
            "tcam": outputs["tcam_fused"].to_tensor(),
            "video_scores": video_scores(pooled_top_k(outputs, 8), config),
        }
        if with_detection:
            ones = tf.ones([features.nrows()], tf.float64)
            columns = detect(mixed_tcam(outputs, config), config)
            found.update(pack_detections(columns, Videos(features, ones, ones, ones), 100, 1))
        return found

    return run


def concurrent_rate(serve: Callable[..., Any], inputs: dict[str, tf.Tensor], requests: int) -> float:
    """Videos per second of `CLIENTS` clients, each with `requests` requests of one video one after the other."""

    def client() -> None:
        for _ in range(requests):
            serve(**inputs)["num_detections"].numpy()

    client()
    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return CLIENTS * requests / (time.perf_counter() - start)


def measure(model: ThreeCNet, serve: Callable[..., Any], videos: int) -> dict[str, float]:
    """All numbers of one request size."""
    features = tf.constant(smooth_features(videos))
    lengths = tf.fill([videos], tf.constant(FLAGS.segments, tf.int64))
    ragged = tf.RaggedTensor.from_tensor(features, lengths=lengths)
    rows, dim = videos * FLAGS.segments, FLAGS.feature_dim
    repeats = max(5, FLAGS.repeats // max(1, videos // 4))
    plain, detecting = graph(model, with_detection=False), graph(model, with_detection=True)

    def request() -> float:
        return seconds(lambda: serve(features=features, lengths=lengths)["num_detections"][0])

    def timed(function: Callable[[tf.RaggedTensor], Any]) -> Callable[[], float]:
        return lambda: seconds(lambda: function(ragged)["video_scores"][0, 0])

    for warm in (request, timed(plain), timed(detecting)):
        warm()
        warm()
    detected = serve(features=features, lengths=lengths)["num_detections"].numpy().mean()
    latencies = sorted(request() for _ in range(4 * repeats))
    _, keras_s, over_keras = median_ratio(request, timed(plain), repeats)
    _, _, with_detection = median_ratio(timed(detecting), timed(plain), repeats)
    operations = 2 * rows * 2 * dim * (2 * dim + FLAGS.num_classes)
    _, _, ratio = median_ratio(request, matmul_floor(rows, dim), repeats)
    p50, p99 = statistics.median(latencies), latencies[int(0.99 * (len(latencies) - 1))]
    print(
        f"{videos} videos: p50 {1e3 * p50:.1f} ms, p99 {1e3 * p99:.1f} ms, {videos / p50:.1f} videos/s; Keras model "
        f"{1e3 * keras_s:.1f} ms; {detected:.0f} detections a video",
        flush=True,
    )
    return {
        "latency_p50_ms": round(1e3 * p50, 2),
        "latency_p99_ms": round(1e3 * p99, 2),
        "videos_per_s": round(videos / p50, 2),
        "saved_over_keras": round(over_keras, 3),
        "saved_over_floor": round(ratio / operations, 3),
        "detection_overhead": round(with_detection - 1, 3),
    }


def main(argv: Sequence[str]) -> None:
    """Measures everything and prints the result."""
    del argv
    keep_freed_memory()
    classes = tuple(f"Class{index:03d}" for index in range(FLAGS.num_classes))
    model, base = ThreeCNet(len(classes), FLAGS.feature_dim), TimeBase()
    run = RunInfo("random", classes, FLAGS.feature_dim, base, ModelConfig(), DetectionConfig())
    with tempfile.TemporaryDirectory() as folder:
        joined = Service(model, classes, base, run.detection)
        serve = load_exported(joined, run, Path(folder) / "joined")
        alone = load_exported(
            Service(model, classes, base, run.detection, batching=Batching(max_batch_videos=0)),
            run,
            Path(folder) / "alone",
        )
        by_size = {size: measure(model, serve, int(size)) for size in FLAGS.videos}
        one = {"features": tf.constant(smooth_features(1)), "lengths": tf.constant([FLAGS.segments], tf.int64)}
        rates = {
            name: round(concurrent_rate(function, one, FLAGS.repeats), 2)
            for name, function in (("joined", serve), ("alone", alone))
        }
    print(f"{CLIENTS} clients with one video each: {rates} videos/s")
    numbers = {name: {size: found[name] for size, found in by_size.items()} for name in next(iter(by_size.values()))}
    by_videos = numbers.pop("detection_overhead")
    print(
        json.dumps(
            {
                "version": __version__,
                "cpus": os.cpu_count(),
                "detection_overhead": max(by_videos.values()),
                "detection_overhead_by_videos": by_videos,
                **numbers,
                "concurrent_videos_per_s": rates,
            }
        )
    )


if __name__ == "__main__":
    run_main(main, register_flags)
