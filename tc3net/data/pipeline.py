"""From shards to ragged batches: cropped and full-length in turn for training, in file order for evaluation.

Training reads videos by position, in the order and with the crops that `tc3net.data.sampling` gives. Whether a batch is
cropped or full-length is written into the batch, per video.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tc3net.data import schema
from tc3net.data.sampling import InputConfig, check_divisible, draw_crop, draw_videos, endless
from tc3net.data.split import Split
from tc3net.ops.tracing import as_written


def _read_record(split: Split, video: tf.Tensor) -> tf.Tensor:
    """Serialized Example of one video, by random access; graph code without Python callbacks.

    Among TensorFlow's ops only this one seeks in a file (it also verifies the record's checksums);
    FixedLengthRecordDataset, which takes an offset too, reads everything before it.
    """
    path = tf.gather(tf.constant(split.paths), tf.gather(split.shard, video))
    # No buffer: the record is read in one piece to where it is needed.
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path], compression_type="", buffer_size=0, byte_offsets=[tf.gather(split.offset, video)]
    )
    string = {"output_types": [tf.string], "output_shapes": [[]]}
    first = tf.raw_ops.TakeDataset(input_dataset=records, count=1, **string)
    return tf.raw_ops.DatasetToSingleElement(dataset=first, **string)[0]


def _targets(video: dict[str, tf.Tensor], manifest: schema.Manifest) -> dict[str, tf.Tensor]:
    """Label and count vectors [C] of one parsed video.

    A class that is absent from the video has the known count 0 if the data set annotates instances of that class at
    all; a present class has a known count where it was annotated.
    """
    num_classes = len(manifest.classes)
    counted = np.isin(np.asarray(manifest.classes), np.asarray(manifest.counted_classes))
    positions = video["labels"][:, tf.newaxis]
    shape = tf.constant([num_classes], tf.int64)

    def scatter(values: tf.Tensor) -> tf.Tensor:
        return tf.scatter_nd(positions, tf.cast(values, tf.float32), shape)

    labels = scatter(tf.ones_like(video["labels"]))
    known_if_present = scatter(video["counts_known"]) > 0
    return {
        "labels": labels,
        "counts": scatter(video["counts"] * video["counts_known"]),
        "counts_known": tf.where(labels > 0, known_if_present, tf.constant(counted)),
    }


def _features(
    video: dict[str, tf.Tensor], manifest: schema.Manifest, crop: tuple[tf.Tensor, tf.Tensor] | None = None
) -> tf.Tensor:
    """[s, ΣD] float32 features; of a crop, only its bytes are decoded.

    Args:
        video: parsed record.
        manifest: streams and dtype.
        crop: first segment and number of segments; None for the whole video.
    """
    dtype = manifest.feature_dtype
    stored_as_promised = tf.debugging.assert_equal(
        video["features/dtype"], dtype, f"a record holds features of another dtype than {schema.MANIFEST_NAME} says"
    )

    def part(raw: tf.Tensor, dim: int) -> tf.Tensor:
        if crop is None:
            return raw
        row_bytes = dim * np.dtype(dtype).itemsize
        start, count = (tf.cast(value * row_bytes, tf.int32) for value in crop)
        # Most videos are shorter than the limit: a crop that is the whole need not be copied.
        whole = crop[1] == video["num_segments"]
        return tf.cond(whole, lambda: raw, lambda: tf.strings.substr(raw, start, count))

    with tf.control_dependencies([stored_as_promised]):
        parts = [(part(tf.identity(video[f"features/{name}"]), dim), dim) for name, dim in manifest.streams.sizes]
    streams = [schema.decode_features(raw, dtype=dtype, feature_dim=dim) for raw, dim in parts]
    return tf.concat(streams, axis=1)  # [s, D] of each -> [s, ΣD]


def _training_video(split: Split, config: InputConfig, position: tf.Tensor, video: tf.Tensor) -> dict[str, tf.Tensor]:
    """One video of a training batch."""
    parsed = schema.parse(_read_record(split, video), split.manifest.streams.names)
    crop = draw_crop(config, position, parsed["num_segments"])
    return {
        "features": _features(parsed, split.manifest, (crop.start, crop.count)),
        **_targets(parsed, split.manifest),
        "full_length": crop.full_length,
        "first_segment": crop.start,
        "video": video,
    }


def training_batches(
    split: Split, config: InputConfig, *, start_step: int = 0, num_replicas: int = 1, worker: tuple[int, int] = (0, 1)
) -> tf.data.Dataset:
    """Endless ragged batches for training.

    Args:
        split: the training subset.
        config: batch size, crops, seed.
        start_step: training step of the first batch.
        num_replicas: under a strategy each element is one replica's share, batch_size / num_replicas videos, in turn.
        worker: this process, of how many; it gets the shares of its own replicas only.

    Returns:
        Dataset of dicts: `features` [N, (s), 2D] ragged float32; `labels`, `counts` [N, C] float32; `counts_known`
        [N, C] bool; `full_length` [N] bool; `video` [N] int64, position in the subset; `first_segment` [N] int64, which
        of the video's segments is the first here.

    Raises:
        UserError: the batch cannot be divided among the replicas.
    """
    check_divisible(config.batch_size, num_replicas)
    dataset = draw_videos(config, split.num_videos, start_step=start_step, worker=worker)
    dataset = dataset.map(
        as_written(lambda position, video: _training_video(split, config, position, video)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return endless(dataset.ragged_batch(config.batch_size // num_replicas)).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(split: Split, batch_size: int = 8, videos: range | None = None) -> tf.data.Dataset:
    """Every video once, whole, in file order.

    Args:
        split: the subset.
        batch_size: videos per batch; the last may be smaller.
        videos: only those at these positions in the subset.

    Returns:
        Dataset of dicts: `features` [N, (s), 2D] ragged; `labels`, `counts`, `counts_known` [N, C]; `id` [N] string;
        `instances_known` [N]; `instances/start|end|label`, `ambiguous/start|end` [N, (m)] ragged; `duration`, `fps`
        [N] float64; `frames_per_segment`, `stride_frames` [N] int64.
    """
    kept = (
        "id", "instances_known", "instances/start", "instances/end", "instances/label", "ambiguous/start",
        "ambiguous/end", "duration", "fps", "frames_per_segment", "stride_frames",
    )  # fmt: skip

    def whole(video: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = schema.parse(_read_record(split, video), split.manifest.streams.names)
        return {
            "features": _features(parsed, split.manifest),
            **_targets(parsed, split.manifest),
            **{key: parsed[key] for key in kept},
        }

    positions = videos if videos is not None else range(split.num_videos)
    dataset = tf.data.Dataset.range(positions.start, positions.stop, positions.step)
    dataset = dataset.map(as_written(whole), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.ragged_batch(batch_size).prefetch(tf.data.AUTOTUNE)


def annotation_batches(split: Split, batch_size: int = 64) -> tf.data.Dataset:
    """Every video once, in the split's order, without its features.

    Args:
        split: the subset.
        batch_size: videos per batch; the last may be smaller.

    Returns:
        Dataset of dicts: `id` [N] string, `num_segments` [N] int64; `labels`, `counts`, `counts_known` [N, C].
    """

    def known(video: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = schema.parse(_read_record(split, video))
        targets = _targets(parsed, split.manifest)
        return {"id": parsed["id"], "num_segments": parsed["num_segments"], **targets}

    return tf.data.Dataset.range(split.num_videos).map(as_written(known)).batch(batch_size)
