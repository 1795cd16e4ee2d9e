"""What a counting loss is worth, by estimator, weight, schedule, smoothing, quality of the counts; docs/counting.md.

    python -m studies.counting_study --simulator=ours --work_dir=DIR --variants=CLS+CL,edges:beta=0.3 --seeds=5

Trains small models (2 x 64 dims, 600 steps of 16 videos) and appends one JSON line per run to DIR/results.jsonl; runs
that are there already are not repeated. A variant is CLS, CLS+CL, 3C-Net (Eq. 1), or an estimator with settings, each
after a colon: beta, lambda, temperature, smoothing, length, start, ramp, error, tolerance, and for the counts noise
(log-deviation) and missing (share of the videos); or frames, which sees the true segments: a bound. With --holdout a
quarter of the training videos is held out and scored in place of the test videos: choose there. --simulator=ours:
`data_prep.simulation.simulator`, annotations included. --simulator=thumos14: THUMOS14's real annotations with the
features of `studies.prototype_features`. The others: see `studies.counting_data`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from studies.counting_data import SIMULATORS, dataset_of
from studies.counting_tables import entries_of, summary
from studies.frame_supervision import FrameTerm, shown_segments
from studies.tcam_shape import shape
from tc3net.common.errors import UserError
from tc3net.data.cache import TrainingSource
from tc3net.data.holdout import divide
from tc3net.data.sampling import InputConfig
from tc3net.data.split import Split, open_split
from tc3net.detection import DetectionConfig
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.losses import LossConfig
from tc3net.model import ThreeCNet
from tc3net.optimization.optimizers import make_optimizer
from tc3net.results.assessment import assess
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
HOLDOUT = 0.25
BASES: dict[str, dict[str, Any]] = {"CLS": {"alpha": 0.0, "beta": 0.0}, "CLS+CL": {"beta": 0.0}, "3C-Net": {}}
FRAMES = "frames"
# Absent classes are left alone unless lambda says otherwise: a number of runs that has no scale is never 0.
ESTIMATED = {"count_negative_weight": 0.0, "beta": 0.3}
SETTINGS = {
    "beta": "beta", "lambda": "count_negative_weight", "temperature": "count_temperature",
    "smoothing": "count_smoothing", "length": "count_length", "start": "count_start_step", "ramp": "count_ramp_steps",
    "error": "count_error", "tolerance": "count_tolerance",
}  # fmt: skip


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_enum("simulator", "ours", SIMULATORS, "Which simulated data.")
    flags.DEFINE_string(
        "annotations",
        "../shared/data/thumos14-reduced",
        "THUMOS14's annotations in the W-TALC layout (thumos14, thumos14_ours).",
    )
    flags.DEFINE_string("work_dir", None, "Folder for data and results.")
    flags.DEFINE_list("variants", ["CLS", "CLS+CL", "3C-Net", "edges"], "What to train.")
    flags.DEFINE_integer("seeds", 5, "Seeds per variant, from 0.")
    flags.DEFINE_bool("holdout", False, "Score held-out training videos, not the test videos.")
    flags.DEFINE_integer("iterations", 600, "Training steps.")
    flags.DEFINE_integer("batch_size", 16, "Videos per batch; half the paper's, for a short training.")
    flags.DEFINE_float("learning_rate", 1e-3, "Adam's; ten times the paper's, for a short training.")


def parse_variant(text: str) -> tuple[LossConfig, dict[str, float]]:
    """The loss, and what is done to the counts.

    Raises:
        UserError: an unknown name or setting.
    """
    name, *parts = text.split(":")
    estimated = {"count_estimator": "mass" if name == FRAMES else name, **ESTIMATED}
    base = BASES.get(name, estimated)
    choices, damage = dict(base), {"noise": 0.0, "missing": 0.0}
    for part in parts:
        key, _, value = part.partition("=")
        if key in damage:
            damage[key] = float(value)
        elif key in SETTINGS:
            kind = type(getattr(LossConfig(), SETTINGS[key]))
            choices[SETTINGS[key]] = kind(value)
        else:
            raise UserError(f"--variants={text}: setting {key!r}; expected one of {', '.join((*SETTINGS, *damage))}.")
    return LossConfig(**choices), damage


def damaged_counts(batch: dict[str, Any], factor: tf.Tensor, lost: tf.Tensor) -> dict[str, Any]:
    """The batch with counts as careless annotators give them: multiplied by `factor` [V, C] and rounded, at least 1;
    unknown in the videos `lost` [V]."""
    noisy = tf.maximum(tf.round(batch["counts"] * tf.gather(factor, batch["video"])), 1.0)
    counts = tf.where(batch["counts"] > 0, noisy, batch["counts"])
    known = batch["counts_known"] & ~tf.gather(lost, batch["video"])[:, tf.newaxis]
    return {**batch, "counts": counts, "counts_known": known}


def make_model(split: Split, loss: LossConfig, seed: int, learning_rate: float, bound: bool) -> ThreeCNet:
    """A model before training."""
    model = ThreeCNet(len(split.manifest.classes), split.manifest.streams, seed=seed)
    terms = [FrameTerm(loss.beta, shown_segments(model, split))] if bound else []
    config = replace(loss, beta=0.0) if bound else loss
    model.compile(make_optimizer(learning_rate), loss_config=config, terms=terms, weight_decay=5e-4)
    return model


def train(model: ThreeCNet, split: Split, damage: dict[str, float], seed: int) -> None:
    """Trains one model.

    Raises:
        UserError: the loss is no longer finite.
    """
    source = TrainingSource(
        split, InputConfig(seed=seed, batch_size=FLAGS.batch_size), "host", tf.distribute.get_strategy()
    )
    rng = np.random.default_rng((seed, 1))
    noise = rng.standard_normal((split.num_videos, len(split.manifest.classes)))
    factor = tf.constant(np.exp(damage["noise"] * noise), tf.float32)
    lost = tf.constant(rng.random(split.num_videos) < damage["missing"])

    @tf.function(autograph=False)
    def step(batch: dict[str, Any]) -> dict[str, tf.Tensor]:
        return model.update(damaged_counts(batch, factor, lost))

    batches = iter(source.batches(0, 1))
    for _ in range(FLAGS.iterations):
        values = step(next(batches))
    if not np.isfinite(float(values["loss"])):
        raise UserError(f"The loss is {float(values['loss'])} after {FLAGS.iterations} steps: training diverged.")


def measure(model: ThreeCNet, split: Split) -> dict[str, Any]:
    """mAP by protocol and tIoU, and what the T-CAM looks like."""
    detection, scores = DetectionConfig(), score_videos(Scorer(model), split)
    scalars = assess(scores, detection, ("thumos14_kit", "reference")).scalars()
    return {"scalars": scalars, "shape": shape(scores, detection, model.loss_config)}


def run(dataset_dir: Path, variant: str, seed: int) -> dict[str, Any]:
    """Trains and scores one variant with one seed."""
    started = time.monotonic()
    loss, damage = parse_variant(variant)
    split, scored = open_split(dataset_dir, "validation"), open_split(dataset_dir, "test")
    if FLAGS.holdout:
        split, scored = divide(split, HOLDOUT, seed)
    model = make_model(split, loss, seed, FLAGS.learning_rate, bound=variant.startswith(FRAMES))
    train(model, split, damage, seed)
    trained_s = time.monotonic() - started
    return {**settings(), "variant": variant, "seed": seed, **measure(model, scored), "training_s": round(trained_s, 1)}


def settings() -> dict[str, Any]:
    """What runs must have in common to be compared; with the variant and the seed, what identifies a run."""
    return {
        "simulator": FLAGS.simulator,
        "scored": "held_out" if FLAGS.holdout else "test",
        "iterations": FLAGS.iterations,
        "batch_size": FLAGS.batch_size,
        "learning_rate": FLAGS.learning_rate,
    }


def main(argv: Sequence[str]) -> None:
    """Trains what is not there yet, one seed of every variant after the other; prints the table."""
    del argv
    if not FLAGS.work_dir:
        raise UserError("--work_dir is missing.")
    for variant in FLAGS.variants:
        parse_variant(variant)
    if FLAGS.simulator.startswith("thumos14") and not Path(FLAGS.annotations).is_dir():
        print(f"skipped: THUMOS14's annotations are not in --annotations={FLAGS.annotations}")
        return
    work = Path(FLAGS.work_dir)
    dataset_dir = dataset_of(FLAGS.simulator, work, FLAGS.annotations)
    path = work / "results.jsonl"
    done = entries_of(path) if path.is_file() else []
    for seed in range(FLAGS.seeds):
        for variant in FLAGS.variants:
            key = {**settings(), "variant": variant, "seed": seed}
            if any(key.items() <= entry.items() for entry in done):
                continue
            entry = run(dataset_dir, variant, seed)
            done.append(entry)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            value = 100 * entry["scalars"]["thumos14_kit/mAP@0.50"]
            print(f"{variant}  seed {seed}  mAP@0.5 {value:.1f}  {entry['training_s']} s", flush=True)
    print(summary([entry for entry in done if settings().items() <= entry.items()]))


if __name__ == "__main__":
    run_main(main, register_flags)
