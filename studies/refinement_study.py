"""What a second stage on pseudo segments is worth, by rule, weight and uncertainty; docs/refinement.md.

    python -m studies.refinement_study --dataset_dir=DATASET --work_dir=WORK --variants=CLS+CL,CLS+CL>counts

Trains small models and appends one JSON line per chain of stages to WORK/results.jsonl; what is there already is not
repeated. A variant is a first stage of `studies.counting_study` (CLS+CL, 3C-Net, peaks:beta=10:...), alone or followed
by `>` and a rule for the rounds after it: counts or relative, with settings, each after a colon: weight, batches,
tcams, share, tiou, unsure, uncertainty, and find, which of the detection settings (plus, soft, probabilities) find the
segments of the rounds after the second stage's first; or truth, the true segments (a bound). With --holdout a quarter
of the training videos is held out of all stages and scored in place of the test videos: choose there. The data sets are
those of `studies.counting_study`, or any other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from studies.counting_study import HOLDOUT, parse_variant
from studies.tcam_shape import action_segments
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UserError
from tc3net.data.cache import TrainingSource
from tc3net.data.holdout import divide
from tc3net.data.sampling import InputConfig
from tc3net.data.split import Split, open_split
from tc3net.detection import DetectionConfig
from tc3net.experiments.ablation import percent
from tc3net.inference.raw_scores import RawScores, load_scores, save_scores
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.losses import LossConfig, LossTerm
from tc3net.losses.pseudo_segments import PseudoSegmentTerm
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import make_optimizer
from tc3net.refinement.choice import ACTION, PseudoConfig, PseudoSegments, targets_of
from tc3net.refinement.finding import Annotated, find_segments, read_annotated
from tc3net.results.assessment import assess
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
WEIGHT = 3.0
PLUS = "configs/thumos14_plus.cfg"
TAGS = {"@0.5": "reference/mAP@0.50", "0.1:0.7": "reference/mAP@0.1:0.7"}
WORDS = ("batches", "tcams")
SETTINGS = {
    "weight": "pseudo_weight", "share": "pseudo_share", "tiou": "pseudo_max_tiou", "unsure": "pseudo_unsure",
    "uncertainty": "pseudo_uncertainty",
}  # fmt: skip
RULES = ("counts", "relative", "truth")


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("dataset_dir", None, "Converted data set.")
    flags.DEFINE_string("train_subset", "validation", "Subset to train on.")
    flags.DEFINE_string("test_subset", "test", "Subset to score.")
    flags.DEFINE_string("work_dir", None, "Folder for scores and results.")
    flags.DEFINE_list("variants", ["CLS+CL", "CLS+CL>counts"], "What to train.")
    flags.DEFINE_integer("seeds", 2, "Seeds per variant, from 0.")
    flags.DEFINE_integer("rounds", 2, "Stages after the first.")
    flags.DEFINE_bool("holdout", False, "Score held-out training videos, not the test videos.")
    flags.DEFINE_integer("iterations", 600, "Training steps of each stage.")
    flags.DEFINE_integer("batch_size", 16, "Videos per batch; half the paper's, for a short training.")
    flags.DEFINE_integer("hidden_dim", 0, "Units of the dense layers; 0: as many as a stream has features.")
    flags.DEFINE_float("learning_rate", 1e-3, "Adam's; ten times the paper's, for a short training.")


def detections() -> dict[str, DetectionConfig]:
    """The settings that each model is scored with."""
    values = flags.FlagValues()
    define_flags(DetectionConfig, values)
    values(["", f"--flagfile={PLUS}"])
    plus = from_flags(DetectionConfig, values)
    probabilities = replace(
        plus, segment_scores="sigmoid", score_track="thresholded", score_scale="none", threshold="range",
        threshold_levels="0.05,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9",
    )  # fmt: skip
    soft = replace(plus, nms="soft", nms_sigma=0.3)
    return {"paper": DetectionConfig(), "plus": plus, "soft": soft, "probabilities": probabilities}


@dataclass(frozen=True)
class Rule:
    """What the rounds after the first stage do.

    Attributes:
        pseudo: how segments are chosen and weighted.
        find: detection settings that find those of all rounds but the first, whose T-CAM is no probability.
    """

    pseudo: PseudoConfig
    find: str

    def detection(self, number: int) -> DetectionConfig:
        """Settings that find the segments of a round, counted from 1."""
        return detections()["plus" if number == 1 else self.find]


def parse_rule(text: str) -> Rule:
    """What the rounds do.

    Raises:
        UserError: an unknown rule or setting.
    """
    name, *parts = text.split(":")
    choices: dict[str, Any] = {
        "pseudo_selection": "counts" if name == "truth" else name, "pseudo_weight": WEIGHT, "pseudo_batches": "full",
        "pseudo_tcams": "fused",
    }  # fmt: skip
    find = "plus"
    if name not in RULES:
        raise UserError(f"--variants: rule {name!r}; expected one of {', '.join(RULES)}.")
    for part in parts:
        key, _, value = part.partition("=")
        if key == "find" and value in detections():
            find = value
        elif key in WORDS:
            choices[f"pseudo_{key}"] = value
        elif key in SETTINGS:
            choices[SETTINGS[key]] = float(value)
        else:
            names = ", ".join((*SETTINGS, *WORDS))
            raise UserError(f"--variants: setting {part!r}; expected {names}, or find={'|'.join(detections())}.")
    return Rule(PseudoConfig(**choices), find)


def train(split: Split, loss: LossConfig, terms: Sequence[LossTerm], seed: int) -> ThreeCNet:
    """Trains one stage.

    Raises:
        UserError: the loss is no longer finite.
    """
    config = ModelConfig(hidden_dim=FLAGS.hidden_dim)
    model = ThreeCNet(len(split.manifest.classes), split.manifest.streams, config, seed=seed)
    model.compile(make_optimizer(FLAGS.learning_rate), loss_config=loss, terms=terms, weight_decay=5e-4)
    inputs = InputConfig(seed=seed, batch_size=FLAGS.batch_size)
    source = TrainingSource(split, inputs, "host", tf.distribute.get_strategy())
    step = tf.function(model.update, autograph=False)
    batches = iter(source.batches(0, 1))
    for _ in range(FLAGS.iterations):
        values = step(next(batches))
    if not np.isfinite(float(values["loss"])):
        raise UserError(f"The loss is {float(values['loss'])} after {FLAGS.iterations} steps: training diverged.")
    return model


def measure(scores: RawScores) -> dict[str, dict[str, float]]:
    """mAP by detection settings."""
    found = {name: assess(scores, config, ("reference",)).scalars() for name, config in detections().items()}
    return {name: {key: scalars[tag] for key, tag in TAGS.items()} for name, scalars in found.items()}


def true_segments(scores: RawScores, annotated: Annotated) -> PseudoSegments:
    """The annotated instances in place of detections, cut at the segments."""
    rows = []
    for video, label in np.argwhere(annotated.labels):
        shown = action_segments(scores, video, label).astype(int)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], shown, [0]]))).reshape(-1, 2)
        rows += [(video, label, start, end) for start, end in edges]
    video, label, start, end = np.array(rows).T
    return PseudoSegments(
        annotated.video_ids, annotated.num_segments, annotated.labels.shape[1], video, label, start.astype(float),
        end.astype(float), np.ones(len(video)), np.full(len(video), ACTION),
    )  # fmt: skip


def quality(found: PseudoSegments, scores: RawScores) -> dict[str, float]:
    """Precision and recall of the segments that are taken for actions."""
    targets = targets_of(found, PseudoConfig())
    hits = taken = shown = 0.0
    for video, label in np.argwhere(targets.first >= 0):
        first = targets.first[video, label]
        y = targets.target[first : first + found.num_segments[video]]
        truth = action_segments(scores, video, label)
        hits, taken, shown = hits + y[truth].sum(), taken + y.sum(), shown + truth.sum()
    return {"precision": float(hits / taken), "recall": float(hits / shown)}


def first_stage(base: str, split: Split, scored: Split, seed: int, folder: Path) -> tuple[RawScores, RawScores]:
    """Scores of the training videos and of those that are scored, kept on disk."""
    paths = [folder / f"{base.replace(':', '_')}-seed{seed}-{part}.npz" for part in ("training", "scored")]
    if not all(path.is_file() for path in paths):
        loss, _ = parse_variant(base)
        scorer = Scorer(train(split, loss, (), seed))
        for path, part in zip(paths, (split, scored)):
            save_scores(path, score_videos(scorer, part, keep_streams=True))
    return load_scores(paths[0]), load_scores(paths[1])


def run(variant: str, seed: int) -> dict[str, Any]:
    """Trains and scores the stages of one variant with one seed."""
    started = time.monotonic()
    base, _, rule = variant.partition(">")
    split, scored = open_split(FLAGS.dataset_dir, FLAGS.train_subset), open_split(FLAGS.dataset_dir, FLAGS.test_subset)
    if FLAGS.holdout:
        split, scored = divide(split, HOLDOUT, seed)
    folder = Path(FLAGS.work_dir) / f"{settings()['dataset']}-{settings()['scored']}-{FLAGS.iterations}"
    folder.mkdir(parents=True, exist_ok=True)
    own, others = first_stage(base, split, scored, seed, folder)
    stages: list[dict[str, Any]] = [measure(others)]
    loss = replace(parse_variant(base)[0], beta=0.0)
    annotated = read_annotated(split)
    for number in range(1, FLAGS.rounds + 1 if rule else 1):
        chosen = parse_rule(rule)
        config, truth = chosen.pseudo, rule.startswith("truth")
        found = (
            true_segments(own, annotated) if truth
            else find_segments(own, annotated, chosen.detection(number), config)
        )  # fmt: skip
        term = PseudoSegmentTerm(
            targets_of(found, config), config.pseudo_weight, config.pseudo_batches, {}, config.pseudo_tcams
        )
        scorer = Scorer(train(split, loss, (term,), seed))
        own, others = (score_videos(scorer, part, keep_streams=True) for part in (split, scored))
        stages.append({**measure(others), "pseudo": quality(found, own)})
        if truth:
            break
    return {**settings(), "variant": variant, "seed": seed, "stages": stages, "s": round(time.monotonic() - started, 1)}


def settings() -> dict[str, Any]:
    """What runs must have in common to be compared."""
    return {
        "dataset": Path(FLAGS.dataset_dir).name,
        "scored": "held_out" if FLAGS.holdout else "test",
        "iterations": FLAGS.iterations,
        "batch_size": FLAGS.batch_size,
        "learning_rate": FLAGS.learning_rate,
        "rounds": FLAGS.rounds,
        "hidden_dim": FLAGS.hidden_dim,
    }


def table(entries: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row per variant and stage, mAP@0.5 / 0.1:0.7 in %, mean ± deviation over the seeds."""
    stages = [stage for entry in entries for stage in entry["stages"]]
    names = [name for name in detections() if all(name in stage for stage in stages)]  # earlier results have fewer
    lines = [f"| variant | stage | seeds | {' | '.join(names)} |", "|---" * (3 + len(names)) + "|"]
    for variant in dict.fromkeys(entry["variant"] for entry in entries):
        chains = [entry["stages"] for entry in entries if entry["variant"] == variant]
        for stage in range(min(map(len, chains))):
            if stage == 0 and ">" in variant:
                continue
            cells = [
                " / ".join(percent([chain[stage][name][key] for chain in chains]) for key in TAGS) for name in names
            ]
            lines.append(f"| {variant} | {stage + 1} | {len(chains)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Trains what is not there yet, one seed of every variant after the other; prints the table."""
    del argv
    for name in ("dataset_dir", "work_dir"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing.")
    for variant in FLAGS.variants:
        base, _, rule = variant.partition(">")
        parse_variant(base)
        if rule:
            parse_rule(rule)
    path = Path(FLAGS.work_dir) / "results.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    for seed in range(FLAGS.seeds):
        for variant in FLAGS.variants:
            key = {**settings(), "variant": variant, "seed": seed}
            if any(key.items() <= entry.items() for entry in done):
                continue
            entry = run(variant, seed)
            done.append(entry)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            shown = [
                {name: round(100 * part["0.1:0.7"], 1) for name, part in s.items() if name != "pseudo"}
                for s in entry["stages"]
            ]
            print(variant, "seed", seed, shown, [s.get("pseudo") for s in entry["stages"][1:]], entry["s"], flush=True)
    print(table([entry for entry in done if settings().items() <= entry.items()]))


if __name__ == "__main__":
    run_main(main, register_flags)
