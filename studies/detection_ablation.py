"""What each detection setting is worth: added alone to the paper's rule, and taken alone from a tuned set of settings.

    python -m studies.detection_ablation --flagfile=configs/thumos14_plus.cfg --scores=A.npz,B.npz

The rows are the axes of `tc3net.experiments.tuning.SPACE`; the numbers are means over the raw scores (one file per
trained model).
Also printed: how long the detection of the first file takes, and how many present classes pass each class filter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import tensorflow as tf
from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UserError
from tc3net.detection import DetectionConfig, class_gate, detect_videos, evidence_of
from tc3net.evaluation import DEFAULT_PROTOCOL, evaluate_localization
from tc3net.experiments.tuning import SPACE
from tc3net.inference.raw_scores import RawScores, load_scores
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_list("scores", [], "Raw scores of the test videos, one file per trained model.")
    flags.DEFINE_string("protocol", DEFAULT_PROTOCOL, "Evaluation protocol.")
    define_flags(DetectionConfig)
    flags.adopt_module_key_flags(config_module)


def row(name: str, config: DetectionConfig, files: Sequence[RawScores]) -> None:
    """Prints mAP@0.5, average mAP and detections per video, each per file and as a mean."""
    values = []
    for scores in files:
        found = detect_videos(scores, config)
        result = evaluate_localization(FLAGS.protocol, scores.ground_truth, found)
        average = list(result.averages.values())[-1]
        values.append((100 * result.map[result.tious.index(0.5)], 100 * average, len(found) / len(scores.video_ids)))
    cells = [
        f"{np.mean(column):6.1f} ({', '.join(f'{value:.1f}' for value in column)})".ljust(28) for column in zip(*values)
    ]
    print(name.ljust(34), *cells, flush=True)


def share_of_present_classes(scores: RawScores, config: DetectionConfig) -> float:
    """Which share of the (video, class) pairs with a label pass the class filter."""
    outputs = scores.outputs(0, len(scores.video_ids))
    classes = evidence_of(outputs, scores.streams, config, scores.top_k_divisor).classes
    return float(class_gate(classes, config).numpy()[scores.labels > 0].mean())


def seconds(scores: RawScores, config: DetectionConfig) -> float:
    """Fastest of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        detect_videos(scores, config)
        times.append(time.perf_counter() - start)
    return min(times)


def main(argv: Sequence[str]) -> None:
    """Prints the tables."""
    del argv
    if not FLAGS.scores:
        raise UserError("--scores is missing.")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    paper, plus = DetectionConfig(), from_flags(DetectionConfig)
    files = [load_scores(path) for path in FLAGS.scores]
    print("".ljust(34), *(title.ljust(28) for title in ("mAP@0.5", "average mAP", "detections per video")))
    row("paper", paper, files)
    row("tuned", plus, files)
    for name, alternatives in SPACE.items():
        names = {item.name for item in fields(DetectionConfig)} & set().union(*alternatives)
        given, back = ({key: getattr(source, key) for key in names} for source in (plus, paper))
        if given != back:
            row(f"paper + {name}", replace(paper, **given), files)
            row(f"tuned - {name}", replace(plus, **back), files)
    for name, config in (("paper", paper), ("tuned", plus)):
        shares = ", ".join(f"{share_of_present_classes(scores, config):.3f}" for scores in files)
        print(f"{name}: {seconds(files[0], config):.2f} s on one core; present classes that pass the filter: {shares}")


if __name__ == "__main__":
    run_main(main, register_flags)
