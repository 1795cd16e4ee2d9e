"""Command: a SavedModel that runs without tc3net, as TF Serving wants it: dense tensors in, dense tensors out.

    python -m tc3net.export --run_dir=RUN --export_dir=EXPORT

Writes EXPORT/<model_name>/<version>/, the version being the next free integer. `serving_default` takes `features`
[B, T, 2D] float32 (rgb, then flow) and `lengths` [B] int64, how many of the T rows of each video are real.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf
from absl import flags

from tc3net import config as config_module
from tc3net.config import define_flags, from_flags
from tc3net.detection import DetectionConfig, detect, mixed_tcam, video_scores
from tc3net.errors import UserError, run_main
from tc3net.inference import pooled_top_k
from tc3net.model import ThreeCNet
from tc3net.provenance import versions
from tc3net.runs import CheckpointChoice, RunInfo, load_model
from tc3net.timebase import TimeBase

FLAGS = flags.FLAGS
ENDPOINT = "serving_default"


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("run_dir", None, "Run folder of the model; its detection settings are the defaults here.")
    flags.DEFINE_string("export_dir", None, "Folder of exported models.")
    flags.DEFINE_string("model_name", "tc3net", "Name of the model, a folder in --export_dir.")
    flags.DEFINE_integer("max_detections", 100, "Most detections per video in the output; the best scores are kept.")
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def serving_function(
    model: ThreeCNet, base: TimeBase, config: DetectionConfig, top_k_divisor: int, max_detections: int
) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    """The graph behind `serving_default`.

    Args:
        model: trained model.
        base: time base of the features.
        config: detection choices.
        top_k_divisor: of top-k.
        max_detections: K.

    Returns:
        A function of `features` [B, T, 2D] and `lengths` [B]; it returns `video_scores` [B, C], `tcam` [B, T, C]
        (0 beyond each length), `detection_segments` [B, K, 2] in seconds, `detection_classes` [B, K] int64,
        `detection_scores` [B, K] (best first, 0 beyond the number), `num_detections` [B] int64. Rows beyond
        `lengths` are never read. A length below 0 or above T is refused (InvalidArgumentError).
    """

    def serve(features: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        total = tf.shape(features, tf.int64)[1]
        checks = [
            tf.debugging.assert_non_negative(lengths, "lengths: a negative length"),
            tf.debugging.assert_less_equal(lengths, total, "lengths: a length beyond the number of feature rows"),
        ]
        with tf.control_dependencies([check for check in checks if check is not None]):
            ragged = tf.RaggedTensor.from_tensor(features, lengths=lengths)  # [B, (s), 2D]
        outputs = model(ragged, training=False)
        tcam = outputs["tcam_fused"]
        found = detect(mixed_tcam(outputs, config), config, top_k_divisor)
        return {
            "video_scores": video_scores(pooled_top_k(outputs, top_k_divisor), config),
            "tcam": tcam.to_tensor(shape=[None, None, model.num_classes])[:, :total],
            **pack_detections(found, lengths, base, max_detections, config.upsampling),
        }

    return serve


def pack_detections(
    columns: dict[str, tf.Tensor], lengths: tf.Tensor, base: TimeBase, max_detections: int, cells_per_segment: int
) -> dict[str, tf.Tensor]:
    """Detections of `tc3net.detection.detect` as dense tensors, best first.

    Args:
        columns: n detections.
        lengths: [B], only its length is used.
        base: time base.
        max_detections: K.
        cells_per_segment: of the columns' cells.

    Returns:
        The `detection_*` and `num_detections` tensors of `serving_function`.
    """
    by_score = tf.argsort(columns["score"], direction="DESCENDING", stable=True)
    order = tf.gather(by_score, tf.argsort(tf.gather(columns["video"], by_score), stable=True))
    video = tf.gather(columns["video"], order)
    videos = tf.size(lengths, tf.int64)

    def dense(values: tf.Tensor) -> tf.Tensor:  # [n, ...] -> [B, K, ...]
        rows = tf.RaggedTensor.from_value_rowids(tf.gather(values, order), video, nrows=videos)
        return rows.to_tensor(shape=[None, max_detections, *values.shape[1:]])

    start, end = (tf.cast(columns[name], tf.float64) for name in ("start_cell", "end_cell"))
    origin_s = base.boundary_s(0)
    segment_s = base.boundary_s(1) - origin_s
    segments = tf.cast(origin_s + segment_s * tf.stack([start, end], axis=1) / cells_per_segment, tf.float32)  # [n, 2]
    counts = tf.math.bincount(tf.cast(video, tf.int32), minlength=tf.cast(videos, tf.int32), dtype=tf.int64)
    return {
        "detection_segments": dense(segments),
        "detection_classes": dense(columns["label"]),
        "detection_scores": dense(columns["score"]),
        "num_detections": tf.minimum(counts, max_detections),
    }


def export(model: ThreeCNet, run: RunInfo, folder: Path, config: DetectionConfig, max_detections: int) -> Path:
    """Writes the next version of a SavedModel, atomically.

    Args:
        model: trained model.
        run: its description.
        folder: of the model's versions.
        config: detection choices.
        max_detections: K.

    Returns:
        The version's folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version = 1 + max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0)
    divisor = run.training["top_k_divisor"]
    staging = Path(tempfile.mkdtemp(prefix=".export.", dir=folder))
    try:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(
            name=ENDPOINT,
            fn=serving_function(model, run.time_base, config, divisor, max_detections),
            input_signature=[
                tf.TensorSpec([None, None, 2 * model.feature_dim], tf.float32, name="features"),
                tf.TensorSpec([None], tf.int64, name="lengths"),
            ],
        )
        with contextlib.redirect_stdout(io.StringIO()):  # Keras lists every captured tensor
            archive.write_out(str(staging / "model"))
        description = {
            "classes": run.classes,
            "feature_dim": run.feature_dim,
            "time_base": vars(run.time_base),
            "detection": vars(config),
            "versions": versions(),
        }
        assets = staging / "model" / "assets"
        assets.mkdir(exist_ok=True)
        (assets / "tc3net.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
        return (staging / "model").rename(folder / str(version))
    finally:
        shutil.rmtree(staging)


def main(argv: Sequence[str]) -> None:
    """Exports the run's model."""
    del argv
    for name in ("run_dir", "export_dir"):
        if not getattr(FLAGS, name):
            raise UserError(f"--{name} is missing.")
    if FLAGS.max_detections < 1:
        raise UserError(f"--max_detections={FLAGS.max_detections}; expected 1 or more.")
    if Path(FLAGS.model_name).name != FLAGS.model_name or FLAGS.model_name in (".", ".."):
        raise UserError(f"--model_name={FLAGS.model_name!r}; expected a plain folder name.")
    model, run, source = load_model(FLAGS.run_dir, FLAGS.checkpoint, FLAGS.weights)
    config = from_flags(DetectionConfig, base=run.detection)
    path = export(model, run, Path(FLAGS.export_dir) / FLAGS.model_name, config, FLAGS.max_detections)
    print(f"Weights of {source}.")
    print(f"SavedModel written to {path}; signature {ENDPOINT}: features [B, T, {2 * run.feature_dim}], lengths [B].")


if __name__ == "__main__":
    register_flags()
    run_main(main)
