"""Which training videos are held out, to stop training and to choose a checkpoint without a test set.

A video is held out if the SHA-256 hash of its id and the seed, read as a number in [0, 1), is below the fraction:
videos that join or leave the data set do not move the others. Then, class by class: a class none of whose videos is
left for training takes back the one of the largest hash; a class none of whose videos is held out gives its video of
the smallest hash, provided that every class of that video keeps one for training. So a class with one video is
trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data import schema
from tc3net.data.split import Split, readable
from tc3net.ops.tracing import as_written


def position_of(video_id: str, seed: int) -> float:
    """A number in [0, 1) that depends on the video's id and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{video_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def choose_held_out(video_ids: Sequence[str], labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The rule of this module.

    Args:
        video_ids: V unique names.
        labels: [V, C] bool.
        fraction: in (0, 1).
        seed: another seed gives another choice.

    Returns:
        [V] bool, True where a video is held out.
    """
    position = np.array([position_of(video_id, seed) for video_id in video_ids])  # [V]
    order = np.argsort(position, kind="stable")
    held = position < fraction
    for of_class in labels.T:
        if of_class.any() and not (of_class & ~held).any():
            held[order[of_class[order]][-1]] = False
    for of_class in labels.T:
        if (of_class & held).any():
            continue
        kept = (labels & ~held[:, np.newaxis]).sum(axis=0)  # [C], training videos of each class
        for video in order[of_class[order]]:
            if (kept[labels[video]] > 1).all():
                held[video] = True
                break
    return held


def _ids_and_labels(split: Split) -> tuple[list[str], np.ndarray]:
    """Id and labels [V, C] of every video, in the split's order. Reads all records, but decodes no features."""
    ids: list[str] = []
    rows = []
    records = tf.data.TFRecordDataset(list(split.paths)).map(as_written(schema.parse_id_and_labels))
    for video_id, labels in readable(records, split):
        ids.append(video_id.numpy().decode())
        rows.append(np.isin(np.arange(len(split.manifest.classes)), labels.numpy()))
    return ids, np.stack(rows)


def divide(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Training videos and held-out videos of one subset.

    Args:
        split: the whole training subset.
        fraction: about how much of it to hold out, in (0, 1).
        seed: of the choice.

    Raises:
        UserError: one of the two parts would have no labelled video.
    """
    ids, labels = _ids_and_labels(split)
    held = choose_held_out(ids, labels, fraction, seed)
    labelled = labels.any(axis=1)
    if not (labelled & held).any() or not (labelled & ~held).any():
        raise UserError(
            f"--holdout_fraction={fraction} of the {len(ids)} videos ({labelled.sum()} labelled) of subset "
            f"{split.subset!r} leaves no labelled video {'to hold out' if labelled.any() else 'at all'}. Choose "
            "another fraction, another --seed, or 0."
        )
    parts = [replace(split, shard=split.shard[part], offset=split.offset[part]) for part in (~held, held)]
    return parts[0], parts[1]
