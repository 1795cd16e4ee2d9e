"""The features of a training subset in memory, on the host or on every device, instead of reading them for each step.

The batches are the same ones, bit for bit, as without: the order and the crops come from `tc3net.data.sampling`. On a
device a step takes from the host only which rows to use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.data.pipeline import evaluation_batches, training_batches
from tc3net.data.sampling import InputConfig, check_divisible, draw_crop, draw_videos, endless
from tc3net.data.split import Split, readable
from tc3net.ops.tracing import as_written

CACHES = ("none", "host", "device")
_TARGETS = ("labels", "counts", "counts_known")


class TrainingSource:
    """Where training batches come from.

    Reading a subset into memory takes one pass over its shards, and for a moment twice the memory of its features.

    Args:
        split: training videos.
        config: how batches are drawn.
        cache: "none": batches are read from the shards; "host": from the host's memory; "device": from the memory of
            every device of the strategy, so that `fill` does the work there.
        strategy: whose devices.

    Raises:
        UserError: a record is damaged.
    """

    def __init__(self, split: Split, config: InputConfig, cache: str, strategy: tf.distribute.Strategy) -> None:
        self._split, self._config, self._cache = split, config, cache
        if cache == "none":
            return
        columns: dict[str, list[np.ndarray]] = {name: [] for name in ("rows", "lengths", *_TARGETS)}
        for batch in readable(evaluation_batches(split), split):
            columns["rows"].append(batch["features"].flat_values.numpy().astype(split.manifest.feature_dtype))
            columns["lengths"].append(batch["features"].row_lengths().numpy())
            for name in _TARGETS:
                columns[name].append(batch[name].numpy())
        rows = np.concatenate(columns.pop("rows"))  # [R, 2D]
        self._tables = {name: tf.constant(np.concatenate(values)) for name, values in columns.items()}
        self._first_row = tf.cumsum(self._tables["lengths"], exclusive=True)
        if cache == "host":
            with tf.device("CPU:0"):
                self._rows = tf.constant(rows)
        else:
            with strategy.scope():
                self._rows = tf.Variable(rows, trainable=False, name="features")

    @property
    def bytes(self) -> int:
        """Memory of the features, per copy; 0 without a cache."""
        if self._cache == "none":
            return 0
        return int(np.prod(self._rows.shape)) * int(self._rows.dtype.size)

    def batches(self, start_step: int, num_replicas: int, worker: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """As `tc3net.data.pipeline.training_batches`; on a device cache they need `fill`."""
        if self._cache == "none":
            return training_batches(
                self._split, self._config, start_step=start_step, num_replicas=num_replicas, worker=worker
            )
        check_divisible(self._config.batch_size, num_replicas)
        dataset = draw_videos(self._config, self._split.num_videos, start_step=start_step, worker=worker)
        dataset = dataset.map(as_written(self._draw)).batch(
            self._config.batch_size // num_replicas, drop_remainder=True
        )
        dataset = dataset.map(as_written(self._indices), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        if self._cache == "host":
            dataset = dataset.map(as_written(self._gather), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return endless(dataset).prefetch(tf.data.AUTOTUNE)

    @property
    def fill(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """What a replica does with its batch before the model sees it."""
        return self._gather if self._cache == "device" else lambda batch: batch

    def _draw(self, position: tf.Tensor, video: tf.Tensor) -> dict[str, tf.Tensor]:
        """One video of a batch: where its rows lie."""
        crop = draw_crop(self._config, position, tf.gather(self._tables["lengths"], video))
        first = tf.gather(self._first_row, video) + crop.start
        return {
            "first": first,
            "count": crop.count,
            "full_length": crop.full_length,
            "first_segment": crop.start,
            "video": video,
        }

    def _indices(self, videos: dict[str, tf.Tensor]) -> dict[str, Any]:
        """A batch without features: `rows` [N, (s)] int64 says which rows of the memory they are."""
        first, count, video = videos["first"], videos["count"], videos["video"]
        return {
            "rows": tf.ragged.range(first, first + count),
            **{name: tf.gather(self._tables[name], video) for name in _TARGETS},
            "full_length": videos["full_length"],
            "first_segment": videos["first_segment"],
            "video": video,
        }

    def _gather(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with `features` [N, (s), 2D] float32 in place of `rows`."""
        rows = batch["rows"]
        values = tf.cast(tf.gather(self._rows, rows.flat_values), tf.float32)
        return {
            **{name: value for name, value in batch.items() if name != "rows"},
            "features": rows.with_flat_values(values),
        }
