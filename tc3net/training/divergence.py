"""NaN and Inf: finding them in the weights, and saying where in the data they come from."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.storage import path_of
from tc3net.data.pipeline import InputConfig, training_batches
from tc3net.data.split import Split
from tc3net.runs.checkpoints import saved_variables

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet


def variables_not_finite(model: ThreeCNet) -> list[str]:
    """Names of the variables, optimizer's included, that hold a NaN or Inf."""
    names, finite = [], []
    for group, variables in saved_variables(model).items():
        for name, variable in variables.items():
            if variable.dtype.is_floating:
                names.append(f"{group}/{name}")
                finite.append(tf.reduce_all(tf.math.is_finite(variable)))
    return [name for name, ok in zip(names, tf.stack(finite).numpy()) if not ok]


def video_id(split: Split, video: int) -> str:
    """Name of a video by its position in the subset, from its record alone."""
    with path_of(split.paths[split.shard[video]]).open("rb") as file:
        file.seek(int(split.offset[video]))
        (length,) = struct.unpack("<Q", file.read(12)[:8])  # TFRecord framing: length, checksum of the length
        example = tf.train.Example.FromString(file.read(length))
    return str(example.features.feature["video/id"].bytes_list.value[0].decode())


def explain(split: Split, config: InputConfig, step: int, found: Sequence[str], checkpoint: str | None) -> UserError:
    """The error that ends a diverged run: what, when, on which videos, and what can be done.

    The batch is drawn again: it depends on the seed and the step alone.

    Args:
        split, config: what the run trains on.
        step: number of the step, counted from 1.
        found: names of the terms or weights.
        checkpoint: the newest one, which was saved before; None where there is none.
    """
    batch = next(iter(training_batches(split, config, start_step=step - 1).take(1)))
    videos = [video_id(split, int(video)) for video in batch["video"]]
    bad = []
    for name, features in zip(videos, batch["features"]):
        rows = np.flatnonzero(~np.isfinite(features.numpy()).all(axis=1))
        if len(rows):
            bad.append(f"{name} in {len(rows)} of the {len(features)} segments read")
    where = f"Step {step} gave NaN or Inf in {', '.join(found)}."
    kept = f"Nothing was saved after that; the newest checkpoint is {checkpoint or 'none'}."
    if bad:
        return UserError(
            f"{where} The features of its batch hold NaN or Inf: {'; '.join(bad)}. {kept} Extract these features again "
            "or leave the videos out, and convert the data again (python -m data_prep.convert)."
        )
    return UserError(
        f"{where} The features of its batch are finite, so training diverged. Videos of the batch: "
        f"{', '.join(videos)}. {kept} Train again with a lower --learning_rate, in another --run_dir."
    )
