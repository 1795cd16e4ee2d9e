"""The graphs behind an exported model's signatures: checked dense tensors in, dense tensors out.

Every request is checked before it meets others, and only then do the videos of concurrent requests share one pass
through the network (`Batching`). So a bad request fails alone, with a message that says what is wrong with it.
Videos are ragged all the way: rows beyond a video's length are dropped first, and nobody's padding is computed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase, boundary_seconds
from tc3net.detection import DetectionConfig, detect_in, evidence_of, video_scores
from tc3net.inference.scorer import pooled_top_k
from tc3net.saved_model.request_checks import (
    Videos,
    check_per_video,
    check_positive,
    checked_rows,
    parsed_examples,
    require,
)

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet

Tensors = dict[str, Any]  # of tf.Tensor


@dataclass(frozen=True)
class Batching:
    """How concurrent requests to an exported model share passes through the network."""

    max_batch_videos: int = option(
        32,
        "Most videos of concurrent requests in one pass through the network; a request of more than half of it "
        "runs by itself, and with 0 every request.",
    )
    batch_threads: int = option(2, "Passes through the network at the same time.")
    batch_timeout_ms: float = option(
        0.0, "How long a request may wait for others; 0: it waits only while all --batch_threads are busy."
    )
    max_waiting_batches: int = option(64, "Full batches that may wait; further requests are refused as UNAVAILABLE.")

    def __post_init__(self) -> None:
        for name, least in (
            ("max_batch_videos", 0), ("batch_threads", 1), ("batch_timeout_ms", 0), ("max_waiting_batches", 1)
        ):  # fmt: skip
            if not getattr(self, name) >= least:
                raise UserError(f"--{name}={getattr(self, name)}; expected {least} or more.")


@dataclass(frozen=True)
class Service:
    """A trained model and every choice that its answers depend on.

    Attributes:
        model: trained model.
        classes: their names.
        base: time base of features that bring none of their own.
        detection: detection choices.
        top_k_divisor: k = ⌈s / divisor⌉.
        max_detections: K, most detections per video; the best scores are kept.
        batching: of concurrent requests.
    """

    model: ThreeCNet
    classes: tuple[str, ...]
    base: TimeBase
    detection: DetectionConfig
    top_k_divisor: int = 8
    max_detections: int = 100
    batching: Batching = Batching()

    def signatures(self) -> dict[str, tuple[Callable[..., Tensors], list[tf.TensorSpec]]]:
        """Function and input specs by signature name, the default one first; `docs/export.md` describes them."""
        streams, width = self.model.stream_sizes, self.model.stream_sizes.width
        dense = [
            tf.TensorSpec([None, None, width], tf.float32, name="features"),
            tf.TensorSpec([None], tf.int64, name="lengths"),
        ]

        def untimed(features: tf.Tensor, lengths: tf.Tensor) -> Videos:
            base, count = self.base, tf.shape(features)[:1]
            return Videos(
                checked_rows(features, lengths, streams),
                tf.fill(count, tf.constant(base.fps, tf.float64)),
                tf.fill(count, tf.constant(base.frames_per_segment, tf.int64)),
                tf.fill(count, tf.constant(base.stride_frames, tf.int64)),
            )

        def serve(features: tf.Tensor, lengths: tf.Tensor) -> Tensors:
            return self._localize(untimed(features, lengths), tf.shape(features, tf.int64)[1])

        def serve_timed(features: tf.Tensor, lengths: tf.Tensor, fps: tf.Tensor, stride: tf.Tensor) -> Tensors:
            count = tf.shape(features, tf.int64)[0]
            sizes = [check_per_video("fps", fps, count), check_per_video("stride", stride, count)]
            with tf.control_dependencies(sizes):
                fps, stride = tf.cast(fps, tf.float64), tf.identity(stride)
            with tf.control_dependencies([check_positive("fps", fps), check_positive("stride", stride)]):
                fps, stride = tf.identity(fps), tf.identity(stride)
            videos = untimed(features, lengths)
            timed = Videos(videos.features, fps, videos.frames_per_segment, stride)
            return self._localize(timed, tf.shape(features, tf.int64)[1])

        def serve_examples(examples: tf.Tensor) -> Tensors:
            videos = parsed_examples(examples, streams, self.base)
            return self._localize(videos, videos.features.bounding_shape(axis=1))

        def serve_embeddings(features: tf.Tensor, lengths: tf.Tensor) -> Tensors:
            rows, total = untimed(features, lengths).features, tf.shape(features, tf.int64)[1]
            outputs = self.model(rows, training=False)
            return {
                f"embedding_{name}": _with_rows(outputs[f"features_{name}"].to_tensor(), total)
                for name in streams.names
            }

        def serve_streams(stream_ids: tf.Tensor) -> Tensors:
            everything = tf.reduce_all(stream_ids < 0)
            wrong = ~everything & tf.reduce_any((stream_ids < 0) | (stream_ids >= len(streams)))
            template = f"stream_ids: {{}} found; expected ids from 0 to {len(streams) - 1}, or -1 for all."
            names, sizes = zip(*streams.sizes)
            with tf.control_dependencies([require(~wrong, template, stream_ids)]):
                every = tf.range(len(streams), dtype=tf.int64)
                ids = tf.clip_by_value(tf.cond(everything, lambda: every, lambda: stream_ids), 0, len(streams) - 1)
                return {
                    "stream_names": tf.gather(tf.constant(names), tf.identity(ids)),
                    "stream_sizes": tf.gather(tf.constant(sizes, tf.int64), tf.identity(ids)),
                }

        def serve_names(class_ids: tf.Tensor) -> Tensors:
            names = tf.constant(self.classes)
            wrong = (class_ids < 0) | (class_ids >= len(self.classes))
            template = f"class_ids: {{}} found; expected ids from 0 to {len(self.classes) - 1}."
            with tf.control_dependencies([require(~tf.reduce_any(wrong), template, class_ids)]):
                return {"class_names": tf.gather(names, tf.identity(class_ids))}

        timed_specs = [
            tf.TensorSpec([None], tf.float32, name="fps"),
            tf.TensorSpec([None], tf.int64, name="stride"),
        ]
        return {
            "serving_default": (serve, dense),
            "with_time_base": (serve_timed, [*dense, *timed_specs]),
            "examples": (serve_examples, [tf.TensorSpec([None], tf.string, name="examples")]),
            "embed": (serve_embeddings, dense),
            "class_names": (serve_names, [tf.TensorSpec([None], tf.int64, name="class_ids")]),
            "streams": (serve_streams, [tf.TensorSpec([None], tf.int64, name="stream_ids")]),
        }

    def _localize(self, videos: Videos, total: tf.Tensor) -> Tensors:
        """What `serving_default` returns; `total` is T."""
        answers = dict(self._shared(videos))
        answers["tcam"] = _with_rows(answers["tcam"], total)
        most, classes = self.max_detections, self.model.num_classes
        shapes = {
            "video_scores": [None, classes],
            "tcam": [None, None, classes],
            "detection_segments": [None, most, 2],
            "detection_classes": [None, most],
            "detection_scores": [None, most],
            "num_detections": [None],
        }
        return {name: tf.ensure_shape(answers[name], shape) for name, shape in shapes.items()}

    def _shared(self, videos: Videos) -> Tensors:
        """`_localized`, in one pass with the videos of concurrent requests; T is then the longest video of the pass.

        A ragged tensor travels as a vector of variants, one per video, which can be joined as any vector.
        """
        config, columns = self.batching, (videos.fps, videos.frames_per_segment, videos.stride_frames)
        if not config.max_batch_videos:
            return self._localized(videos.features, *columns)

        @tf.nondifferentiable_batch_function(
            num_batch_threads=config.batch_threads,
            max_batch_size=config.max_batch_videos,
            batch_timeout_micros=round(1000 * config.batch_timeout_ms),
            max_enqueued_batches=config.max_waiting_batches,
            autograph=False,
            enable_large_batch_splitting=False,  # variants cannot be split
        )
        def one_pass(rows: tf.Tensor, fps: tf.Tensor, frames: tf.Tensor, stride: tf.Tensor) -> Tensors:
            return self._localized(_from_variant(rows, self.model.stream_sizes.width), fps, frames, stride)

        return tf.cond(
            2 * videos.features.nrows() <= config.max_batch_videos,
            lambda: one_pass(_to_variant(videos.features), *columns),
            lambda: self._localized(videos.features, *columns),
        )

    @functools.cached_property
    def _localized(self) -> Callable[..., Tensors]:
        """The network and detection: `video_scores` [B, C], `tcam` [B, T, C], T being the longest video's, and the
        detections, best first. One graph, which all signatures call: it takes seconds to trace."""

        def localized(features: tf.RaggedTensor, fps: tf.Tensor, frames: tf.Tensor, stride: tf.Tensor) -> Tensors:
            outputs = self.model(features, training=False)
            videos, names = Videos(features, fps, frames, stride), self.model.stream_sizes.names
            pooled = pooled_top_k(outputs, names, self.top_k_divisor)
            evidence = evidence_of({**outputs, "pooled": pooled}, names, self.detection, self.top_k_divisor)
            columns = detect_in(evidence, self.detection)
            return {
                "video_scores": video_scores(pooled, self.detection),
                "tcam": outputs["tcam_fused"].to_tensor(),
                **pack_detections(columns, videos, self.max_detections, self.detection.upsampling),
            }

        rows = tf.RaggedTensorSpec([None, None, self.model.stream_sizes.width], tf.float32, ragged_rank=1)
        columns = [tf.TensorSpec([None], dtype) for dtype in (tf.float64, tf.int64, tf.int64)]
        return tf.function(localized, input_signature=[rows, *columns], autograph=False)


def _with_rows(padded: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """[B, T', W] -> [B, total, W], cut or filled with 0."""
    padded = padded[:, :total]
    return tf.pad(padded, [[0, 0], [0, total - tf.shape(padded, tf.int64)[1]], [0, 0]])


def _to_variant(ragged: tf.RaggedTensor) -> tf.Tensor:
    """[B, (s), W] float32 ragged -> [B] variant."""
    return tf.raw_ops.RaggedTensorToVariant(
        rt_nested_splits=[ragged.row_splits], rt_dense_values=ragged.flat_values, batched_input=True
    )


def _from_variant(variants: tf.Tensor, width: int) -> tf.RaggedTensor:
    """[B] variant -> [B, (s), W] float32 ragged."""
    splits, values = tf.raw_ops.RaggedTensorFromVariant(
        encoded_ragged=variants, input_ragged_rank=0, output_ragged_rank=1, Tvalues=tf.float32, Tsplits=tf.int64
    )
    return tf.RaggedTensor.from_row_splits(tf.ensure_shape(values, [None, width]), splits[0], validate=False)


def pack_detections(columns: Tensors, videos: Videos, max_detections: int, cells_per_segment: int) -> Tensors:
    """Detections of `tc3net.detection.detect` as dense tensors, best first.

    Args:
        columns: n detections.
        videos: B videos, their time base.
        max_detections: K.
        cells_per_segment: of the columns' cells.

    Returns:
        `detection_segments` [B, K, 2] in seconds, `detection_classes`, `detection_scores` [B, K], `num_detections`
        [B], all float32, as TensorFlow's object detection models name and type them; 0 beyond the number.
    """
    by_score = tf.argsort(columns["score"], direction="DESCENDING", stable=True)
    order = tf.gather(by_score, tf.argsort(tf.gather(columns["video"], by_score), stable=True))
    video = tf.gather(columns["video"], order)
    count = videos.features.nrows()

    def dense(values: tf.Tensor) -> tf.Tensor:  # [n, ...] -> [B, K, ...]
        rows = tf.RaggedTensor.from_value_rowids(tf.cast(values, tf.float32), video, nrows=count)
        return rows.to_tensor(shape=[None, max_detections, *values.shape[1:]])

    time_base = {
        name: tf.cast(tf.gather(getattr(videos, name), video), tf.float64)
        for name in ("fps", "frames_per_segment", "stride_frames")
    }
    times_s = [
        boundary_seconds(
            tf.cast(tf.gather(columns[name], order), tf.float64), **time_base, cells_per_segment=cells_per_segment
        )
        for name in ("start_cell", "end_cell")
    ]
    found = tf.math.bincount(tf.cast(video, tf.int32), minlength=tf.cast(count, tf.int32), dtype=tf.int64)
    return {
        "detection_segments": dense(tf.stack(times_s, axis=1)),
        "detection_classes": dense(tf.gather(columns["label"], order)),
        "detection_scores": dense(tf.gather(columns["score"], order)),
        "num_detections": tf.cast(tf.minimum(found, max_detections), tf.float32),
    }
