"""Command: detections and mAP of a trained model, or of raw scores saved before.

    python -m tc3net.evaluate --run_dir=RUN --dataset_dir=DATASET --protocols=thumos14,reference
    python -m tc3net.evaluate --scores=RUN/evaluation/raw_scores.npz --min_segments=2

Writes detections.json (ActivityNet format, seconds), metrics.json and raw_scores.npz to --output_dir.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tc3net import config as config_module
from tc3net.activitynet_json import save_detections
from tc3net.assess import assess, check_protocols
from tc3net.config import define_flags, from_flags
from tc3net.detection import DetectionConfig
from tc3net.errors import UserError, run_main
from tc3net.files import write_json
from tc3net.inference import RawScores, Scorer, load_scores, save_scores, score_videos
from tc3net.input_pipeline import open_split
from tc3net.runs import CHECKPOINTS, check_same_classes, load_model, load_run, versions

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("run_dir", None, "Run folder of the model; its detection settings are the defaults here.")
    flags.DEFINE_enum(
        "checkpoint", "last", sorted(CHECKPOINTS), "The last checkpoint, or the one with the best evaluation."
    )
    flags.DEFINE_string("dataset_dir", None, "Folder written by `python -m data_prep.convert`.")
    flags.DEFINE_string("subset", "test", "Subset to evaluate on (THUMOS14: test; ActivityNet: validation).")
    flags.DEFINE_string("scores", None, "Raw scores of an earlier evaluation, instead of --dataset_dir and the model.")
    flags.DEFINE_list("protocols", ["thumos14"], "Any of thumos14, reference, activitynet, comma separated.")
    flags.DEFINE_string("output_dir", None, "Where results go; default: RUN/evaluation, or the folder of --scores.")
    define_flags(DetectionConfig)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def _score_run() -> tuple[RawScores, str]:
    """Scores the subset with the run's model; also says which checkpoint that was."""
    if not FLAGS.run_dir or not FLAGS.dataset_dir:
        raise UserError("Expected --run_dir and --dataset_dir (or --scores=FILE of an earlier evaluation).")
    split = open_split(FLAGS.dataset_dir, FLAGS.subset)
    model, run, checkpoint = load_model(FLAGS.run_dir, FLAGS.checkpoint)
    check_same_classes(FLAGS.run_dir, run, FLAGS.dataset_dir, split.manifest)
    print(f"{split.num_videos} videos of subset {FLAGS.subset}, checkpoint {checkpoint}", flush=True)
    if FLAGS.checkpoint == "best":
        print("Note: the best checkpoint was selected on the subset evaluated during training.")
    scorer = Scorer(model, run.training["top_k_divisor"])
    return score_videos(scorer, split), checkpoint


def main(argv: Sequence[str]) -> None:
    """Scores, detects, evaluates, writes."""
    del argv
    check_protocols(FLAGS.protocols)
    base = load_run(FLAGS.run_dir).detection if FLAGS.run_dir else None
    detection = from_flags(DetectionConfig, base=base)
    if FLAGS.scores:
        scores, source = load_scores(FLAGS.scores), FLAGS.scores
        output_dir = Path(FLAGS.output_dir or Path(FLAGS.scores).parent)
    else:
        scores, source = _score_run()
        output_dir = Path(FLAGS.output_dir or Path(FLAGS.run_dir) / "evaluation")
        save_scores(output_dir / "raw_scores.npz", scores)
    assessment = assess(scores, detection, FLAGS.protocols)
    save_detections(output_dir / "detections.json", assessment.detections, scores.classes)
    metrics = {
        "dataset": scores.dataset,
        "source": source,
        "detection": vars(detection),
        **assessment.as_dict(scores.classes),
    }
    write_json(output_dir / "metrics.json", {**metrics, "versions": versions()})
    print(
        f"\n{scores.dataset}\n\n{assessment.table()}\n\nWritten to {output_dir}: detections.json, metrics.json"
        f"{'' if FLAGS.scores else ', raw_scores.npz'}"
    )


if __name__ == "__main__":
    register_flags()
    run_main(main)
