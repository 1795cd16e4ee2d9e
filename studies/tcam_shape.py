"""What a loss does to the T-CAM: how much of the action and of the background lies above the threshold, and the counts.

    python -m studies.tcam_shape --dataset_dir=demo_output/dataset --run_dirs=RUN_A,RUN_B

For each run, over the (video, class) pairs present in the test subset: the share of action segments and of background
segments above η, the T-CAM's range, predicted and true counts, the mean relative error of the predicted count and of
the number of detections, and detections per video of present and absent classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import flags

from tc3net.common.errors import UserError
from tc3net.data.split import open_split
from tc3net.data.timebase import boundaries_s
from tc3net.detection import DetectionConfig, detect_videos, thresholds, tracks_of
from tc3net.inference.raw_scores import RawScores
from tc3net.losses import LossConfig, estimated_counts
from tc3net.runs.scoring import open_run
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("dataset_dir", "demo_output/dataset", "Converted data set.")
    flags.DEFINE_string("subset", "test", "Subset to score.")
    flags.DEFINE_list("run_dirs", [], "Run folders, comma separated.")


def action_segments(scores: RawScores, video: int, label: int) -> np.ndarray:
    """Which segments [s] of a video have their middle in an instance of a class; the videos are all annotated."""
    truth = scores.ground_truth
    mine = (truth.video == video) & (truth.label == label)
    middles_s = boundaries_s(
        np.arange(len(scores.tcam_of(video))) + 0.5,
        fps=scores.fps[video],
        frames_per_segment=scores.frames_per_segment[video],
        stride_frames=scores.stride_frames[video],
    )
    inside = (middles_s[:, None] >= truth.start_s[mine]) & (middles_s[:, None] < truth.end_s[mine])  # [s, m]
    return inside.any(axis=1)


def shape(scores: RawScores, detection: DetectionConfig, loss: LossConfig) -> dict[str, float]:
    """The numbers of one model.

    Args:
        scores: raw scores of annotated videos.
        detection: its detection settings.
        loss: its estimate of the counts.
    """
    tcam = scores.ragged_tcam(0, len(scores.video_ids))
    every = tf.where(tf.ones_like(scores.labels, tf.bool))  # [V * C, 2]
    eta = thresholds(tracks_of(tcam, every, detection), detection).numpy()[:, 0].reshape(scores.labels.shape)
    predicted = estimated_counts(tcam, loss).numpy()  # [V, C]
    true = np.zeros_like(predicted)
    np.add.at(true, (scores.ground_truth.video, scores.ground_truth.label), 1)
    rows = []
    for video, label in np.argwhere(true > 0):
        track, action = scores.tcam_of(video)[:, label], action_segments(scores, video, label)
        above = track > eta[video, label]
        if action.any() and not action.all():
            rows.append((above[action].mean(), above[~action].mean(), np.ptp(track)))
    action_above, background_above, span = np.mean(rows, axis=0)
    found = detect_videos(scores, detection)
    right = scores.labels[found.video, found.label] > 0
    detected = np.zeros_like(predicted)
    np.add.at(detected, (found.video, found.label), 1)
    present, instances = true > 0, true[true > 0]
    return {
        "action_above_threshold": float(action_above),
        "background_above_threshold": float(background_above),
        "tcam_range": float(span),
        "predicted_count": float(predicted[true > 0].mean()),
        "true_count": float(instances.mean()),
        "error_of_predicted_count": float((np.abs(predicted[present] - instances) / instances).mean()),
        "error_of_number_of_detections": float((np.abs(detected[present] - instances) / instances).mean()),
        "detections_of_present_classes": float(right.sum() / len(scores.video_ids)),
        "detections_of_absent_classes": float((~right).sum() / len(scores.video_ids)),
    }


def main(argv: Sequence[str]) -> None:
    """Prints one line per run, and all as JSON."""
    del argv
    if not FLAGS.run_dirs:
        raise UserError("--run_dirs is missing.")
    split = open_split(FLAGS.dataset_dir, FLAGS.subset)
    found = {}
    for run_dir in FLAGS.run_dirs:
        run = open_run(run_dir)
        found[run_dir] = shape(run.score(split), run.info.detection, run.info.training.loss)
    for run_dir, numbers in found.items():
        print(run_dir, "  ".join(f"{name} {value:.2f}" for name, value in numbers.items()), flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    run_main(main, register_flags)
