"""A tiny SavedModel with the signatures of an exported model, whose answers can be worked out by hand.

The score of class c in a segment is column c of the segment's rgb features, and each class is detected once, at its
best segment, if its score there is positive. Exporting it takes a second where a real model takes many.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tc3net.data.timebase import TimeBase
from tests.support.serving_cases import MODEL

CLASSES, DIM = ("Jump", "Run", "Throw"), 4
BASE = TimeBase(fps=25.0, frames_per_segment=16, stride_frames=16)


class _Model(tf.Module):
    def __init__(self, classes: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.classes, self.dim = classes, dim
        self.chooses = tf.constant(np.eye(2 * dim, len(classes), dtype=np.float32))  # fails on another width
        features = tf.TensorSpec([None, None, 2 * dim], tf.float32, "features")
        lengths = tf.TensorSpec([None], tf.int64, "lengths")
        fps, stride = tf.TensorSpec([None], tf.float32, "fps"), tf.TensorSpec([None], tf.int64, "stride")
        self.endpoints = {
            "serving_default": tf.function(self.serve, [features, lengths]),
            "with_time_base": tf.function(self.with_time_base, [features, lengths, fps, stride]),
            "examples": tf.function(self.examples, [tf.TensorSpec([None], tf.string, "examples")]),
            "embed": tf.function(self.embed, [features, lengths]),
            "class_names": tf.function(self.class_names, [tf.TensorSpec([None], tf.int64, "class_ids")]),
        }

    def serve(self, features: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        same = tf.ones_like(lengths)
        return self.with_time_base(features, lengths, BASE.fps * tf.cast(same, tf.float32), BASE.stride_frames * same)

    def with_time_base(
        self, features: tf.Tensor, lengths: tf.Tensor, fps: tf.Tensor, stride: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        checks = [tf.debugging.assert_less_equal(lengths, tf.shape(features, tf.int64)[1], "lengths: beyond T")]
        with tf.control_dependencies([check for check in checks if check is not None]):
            real = tf.sequence_mask(lengths, tf.shape(features)[1])[:, :, None]
        features = tf.where(real, features, 0.0)
        checks = [tf.debugging.assert_all_finite(features, "features: NaN or Inf")]
        with tf.control_dependencies(checks):
            tcam = tf.matmul(features, self.chooses)  # [B, T, C]
        scored = tf.where(real, tcam, -np.inf)
        best, segment = tf.reduce_max(scored, 1), tf.argmax(scored, 1)  # [B, C]
        order = tf.argsort(best, direction="DESCENDING", stable=True)
        score, segment = (tf.gather(values, order, batch_dims=1) for values in (best, segment))
        frames = tf.cast(segment * stride[:, None], tf.float32)
        step = tf.cast(stride, tf.float32)[:, None]
        start_s = (frames + (BASE.frames_per_segment - step) / 2) / fps[:, None]
        found = score > 0
        return {
            "video_scores": tf.nn.softmax(best),
            "tcam": tcam,
            "detection_segments": tf.where(
                found[:, :, None], tf.stack([start_s, start_s + step / fps[:, None]], axis=2), 0.0
            ),
            "detection_classes": tf.cast(tf.where(found, order, 0), tf.float32),
            "detection_scores": tf.where(found, score, 0.0),
            "num_detections": tf.reduce_sum(tf.cast(found, tf.float32), 1),
        }

    def examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        text, number = tf.io.FixedLenFeature([], tf.string), tf.io.FixedLenFeature([], tf.int64)
        parsed = tf.io.parse_example(
            examples,
            {
                "video/features/rgb": text,
                "video/features/flow": text,
                "video/features/dtype": text,
                "video/num_segments": number,
                "video/fps": tf.io.FixedLenFeature([], tf.string, np.float64(BASE.fps).tobytes()),
                "video/stride_frames": tf.io.FixedLenFeature([], tf.int64, BASE.stride_frames),
            },
        )

        def rows(raw: tf.Tensor, dtype: tf.Tensor) -> tf.Tensor:
            half = tf.equal(dtype, "float16")
            full = tf.cond(
                half,
                lambda: tf.cast(tf.io.decode_raw(raw, tf.float16), tf.float32),
                lambda: tf.io.decode_raw(raw, tf.float32),
            )
            return tf.reshape(full, [-1, self.dim])

        def video(record: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.RaggedTensor:
            rgb, flow, dtype = record
            joint = tf.concat([rows(rgb, dtype), rows(flow, dtype)], axis=1)
            return tf.RaggedTensor.from_tensor(joint, ragged_rank=1)

        records = (parsed["video/features/rgb"], parsed["video/features/flow"], parsed["video/features/dtype"])
        spec = tf.RaggedTensorSpec([None, None], tf.float32, ragged_rank=1)
        ragged = tf.map_fn(video, records, fn_output_signature=spec)
        fps = tf.cast(tf.io.decode_raw(parsed["video/fps"], tf.float64)[:, 0], tf.float32)
        dense = ragged.to_tensor(shape=[None, None, 2 * self.dim])
        return self.with_time_base(dense, parsed["video/num_segments"], fps, parsed["video/stride_frames"])

    def embed(self, features: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        rgb, flow = tf.split(features, 2, axis=2)
        real = tf.cast(tf.sequence_mask(lengths, tf.shape(features)[1]), tf.float32)[:, :, None]
        return {"embedding_rgb": 2 * rgb * real, "embedding_flow": 3 * flow * real}

    def class_names(self, class_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"class_names": tf.gather(tf.constant(self.classes), class_ids)}


def export_model(export_dir: Path, classes: tuple[str, ...] = CLASSES, dim: int = DIM) -> Path:
    """Writes the next version of the model; returns its folder, `export_dir/tc3net/<version>`."""
    folder = export_dir / MODEL
    version = 1 + max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0)
    module = _Model(classes, dim)
    staging = folder / f".{version}"
    tf.saved_model.save(module, str(staging), module.endpoints)
    return staging.rename(folder / str(version))


def expected(features: np.ndarray, base: TimeBase = BASE) -> list[tuple[str, float, float, float]]:
    """(class, start s, end s, score) of the model's detections, best first, by NumPy alone."""
    features = features.astype(np.float32)
    found = []
    for label, name in enumerate(CLASSES):
        segment = int(features[:, label].argmax())
        if features[segment, label] > 0:
            found.append((name, base.boundary_s(segment), base.boundary_s(segment + 1), features[segment, label]))
    return sorted(found, key=lambda one: -one[3])
