"""How fast evaluation is, on one core, with data of the real sizes and simulated scores.

    python -m benchmarks.evaluation

THUMOS14: 212 test videos, 20 classes, durations and instances drawn by `data_prep.simulation`, T-CAMs that are
higher during instances; timed from T-CAMs (detection included) to the printed table. ActivityNet 1.2: 2383 validation
videos, 100 classes, 100 detections per video; timed from detections to the table. The last line is one JSON object:

thumos14_s, activitynet_s: seconds for detection (THUMOS14), the data set's usual protocols, and the table; the median
    of --repeats. The usual protocols are thumos14 and reference, or activitynet.
*_detection_s, *_<protocol>_s: the parts, and the other protocols.
*_bootstrap_s, *_analysis_s, *_proposals_s: confidence intervals (1000 resamples), error analysis, AR@AN.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from data_prep.simulation.simulator import Simulator, SimulatorConfig
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig, detect_videos
from tc3net.evaluation import (
    analyse,
    average_recall,
    bootstrap,
    evaluate_localization,
    format_table,
    match_localization,
)
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.columns import Detections, GroundTruth
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
THUMOS_VIDEOS, THUMOS_CLASSES = 212, 20
ACTIVITYNET_VIDEOS, ACTIVITYNET_CLASSES, DETECTIONS_PER_VIDEO = 2383, 100, 100


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_integer("repeats", 3, "How often each part is timed.")


def ground_truth(
    classes: tuple[str, ...], rows: Sequence[tuple[int, int, float, float]], num_videos: int
) -> GroundTruth:
    """Columns of (video, label, start s, end s)."""
    video, label, start_s, end_s = (np.array(column) for column in zip(*rows))
    none, times = np.zeros(0, np.int64), np.zeros(0)
    names = tuple(f"video_{i:05d}" for i in range(num_videos))
    return GroundTruth(classes, names, video, label, start_s, end_s, none, times, times)


def thumos14_scores(rng: np.random.Generator) -> RawScores:
    """Raw scores with the statistics of THUMOS14's test set; T-CAMs of a fair detector."""
    base, classes = TimeBase(), tuple(f"class_{i:02d}" for i in range(THUMOS_CLASSES))
    simulator = Simulator(SimulatorConfig(), base)
    rows, tcams, labels, durations = [], [], np.zeros((THUMOS_VIDEOS, THUMOS_CLASSES), np.float32), []
    for video in range(THUMOS_VIDEOS):
        record = simulator.annotate(f"video_{video:05d}", "test", classes[video % THUMOS_CLASSES], classes)
        segments = base.num_segments(record.duration_s)
        smooth = np.cumsum(rng.standard_normal((segments + 8, THUMOS_CLASSES)), axis=0)
        tcam = 0.6 * (smooth[8:] - smooth[:-8]) - 2.0  # [s, C]
        tcam[:, video % THUMOS_CLASSES] += 3
        for item in record.instances:
            label = classes.index(item.label)
            rows.append((video, label, item.start_s, item.end_s))
            labels[video, label] = 1
            first, last = base.grid_index(np.array([item.start_s, item.end_s]))
            tcam[first : max(last, first + 1), label] += 3
        tcams.append(tcam.astype(np.float32))
        durations.append(record.duration_s)
    lengths = [len(tcam) for tcam in tcams]
    means = np.stack([np.sort(tcam, axis=0)[-max(len(tcam) // 8, 1) :].mean(axis=0) for tcam in tcams])
    return RawScores(
        dataset="benchmark (simulated)",
        classes=classes,
        video_ids=tuple(f"video_{i:05d}" for i in range(THUMOS_VIDEOS)),
        row_splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        tcam=np.concatenate(tcams),
        pooled=np.repeat(means[:, np.newaxis], 3, axis=1),
        top_k_divisor=8,
        fps=np.full(THUMOS_VIDEOS, base.fps),
        frames_per_segment=np.full(THUMOS_VIDEOS, base.frames_per_segment),
        stride_frames=np.full(THUMOS_VIDEOS, base.stride_frames),
        duration_s=np.array(durations),
        labels=labels,
        ground_truth=ground_truth(classes, rows, THUMOS_VIDEOS),
    )


def activitynet_data(rng: np.random.Generator) -> tuple[GroundTruth, np.ndarray, Detections]:
    """Annotations with the statistics of ActivityNet 1.2 (117 s a video, 1.5 instances of 58 s), and detections.

    Returns:
        Ground truth; durations [V] in seconds; detections, of which a third are jittered instances.
    """
    classes = tuple(f"class_{i:03d}" for i in range(ACTIVITYNET_CLASSES))
    durations = rng.uniform(10, 225, ACTIVITYNET_VIDEOS)
    rows, found = [], []
    for video, duration in enumerate(durations):
        label = video % ACTIVITYNET_CLASSES
        cuts = np.sort(rng.uniform(0, duration, 2 * min(1 + rng.poisson(0.5), 20))).reshape(-1, 2)
        rows += [(video, label, start, end) for start, end in cuts]
        for rank in range(DETECTIONS_PER_VIDEO):
            start, end = cuts[rank % len(cuts)] if rank % 3 == 0 else np.sort(rng.uniform(0, duration, 2))
            shift = 0.1 * (end - start) * rng.standard_normal(2) if rank % 3 == 0 else np.zeros(2)
            start, end = np.sort(np.clip([start + shift[0], end + shift[1]], 0, duration))
            guess = label if rank % 2 == 0 else int(rng.integers(ACTIVITYNET_CLASSES))
            found.append((video, guess, start, end, rng.random() + (rank % 3 == 0) * rng.random()))
    truth = ground_truth(classes, rows, ACTIVITYNET_VIDEOS)
    columns = [np.array(column) for column in zip(*found)]
    return truth, durations, Detections(truth.video_ids, *columns)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Median seconds of --repeats calls, and what the last one returned."""
    seconds = []
    for _ in range(FLAGS.repeats):
        start = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), value


def measure(
    name: str, truth: GroundTruth, durations: np.ndarray, found: Detections, usual: Sequence[str]
) -> dict[str, float]:
    """Seconds of every part that begins with detections; `<name>_s` is the sum of the usual protocols and the table."""
    seconds, results = {}, []
    for protocol in ("thumos14", "reference", "activitynet"):
        key = f"{name}_{protocol}_s"
        seconds[key], result = timed(partial(evaluate_localization, protocol, truth, found))
        results += [(seconds[key], result)] if protocol in usual else []
    seconds[f"{name}_table_s"], table = timed(lambda: format_table([result for _, result in results]))
    print(table)
    seconds[f"{name}_s"] = sum(spent for spent, _ in results) + seconds[f"{name}_table_s"]
    matches = match_localization(usual[0], truth, found)
    seconds[f"{name}_bootstrap_s"], _ = timed(lambda: bootstrap(matches, resamples=1000, seed=0))
    seconds[f"{name}_analysis_s"], _ = timed(lambda: analyse(matches, truth, durations))
    seconds[f"{name}_proposals_s"], _ = timed(lambda: average_recall(truth, found))
    return seconds


def main(argv: Sequence[str]) -> None:
    """Prints both tables, the parts, and the JSON line."""
    del argv
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rng = np.random.default_rng(0)

    scores = thumos14_scores(rng)
    detect_videos(scores, DetectionConfig())  # TensorFlow's first call is not the code measured here
    detection_s, found = timed(lambda: detect_videos(scores, DetectionConfig()))
    print(
        f"THUMOS14 size: {len(scores.video_ids)} videos, {len(scores.ground_truth)} instances, {len(found)} detections"
    )
    seconds = {"thumos14_detection_s": detection_s}
    seconds.update(measure("thumos14", scores.ground_truth, scores.duration_s, found, ("thumos14", "reference")))
    seconds["thumos14_s"] += detection_s

    truth, durations, found = activitynet_data(rng)
    print(f"\nActivityNet 1.2 size: {len(truth.video_ids)} videos, {len(truth)} instances, {len(found)} detections")
    seconds.update(measure("activitynet", truth, durations, found, ("activitynet",)))
    print(json.dumps({name: round(value, 3) for name, value in seconds.items()}))


if __name__ == "__main__":
    run_main(main, register_flags)
