"""A subset of a data set on disk: its shards, checked against the manifest, and where every record lies in them."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError, plain_message
from tc3net.common.storage import is_remote, path_of
from tc3net.data import schema
from tc3net.data.record_index import records_of
from tc3net.data.subset_names import find_subset


@dataclass(frozen=True)
class Split:
    """One subset on disk, with the byte position of every record.

    Attributes:
        manifest: the data set's.
        subset: its name.
        paths: shard files.
        shard: [V] int64, shard of each video.
        offset: [V] int64, byte at which its record begins in that shard.
    """

    manifest: schema.Manifest
    subset: str
    paths: tuple[str, ...]
    shard: np.ndarray
    offset: np.ndarray

    @property
    def num_videos(self) -> int:
        """V."""
        return len(self.shard)


def open_split(dataset_dir: str | Path, subset: str) -> Split:
    """Opens a subset and checks its shards' sizes against the manifest; where their records lie says `dataset.index`.

    Args:
        dataset_dir: folder written by `python -m data_prep.convert`.
        subset: split name; a usual synonym, or another case, is understood, and the screen says so.

    Raises:
        UserError: unknown subset, no videos in it, or a shard that is absent, truncated or of another data set.
    """
    folder = path_of(dataset_dir)
    manifest = schema.load_manifest(folder)
    meant = find_subset(subset, manifest.splits)
    if meant is None or manifest.splits[meant].videos == 0:
        raise UserError(
            f"{folder}: no videos in a subset {subset!r}; it has {sorted(manifest.splits)}. "
            "Choose one of them with --train_subset or --subset."
        )
    if meant != subset:
        print(f"Note: the subset {subset!r} is {meant!r} in {folder}", file=sys.stderr)
        subset = meant
    info = manifest.splits[subset]
    top = str(folder)
    paths = tuple(os.path.join(top, shard.file) for shard in info.shards)  # thousands: Path takes ten times as long
    newest_ns = 0
    for path, shard in zip(paths, info.shards):
        found = _regular_file(path)
        if found is None or found.st_size != shard.bytes:
            state = "is absent" if found is None else f"has {found.st_size} bytes (truncated or overwritten?)"
            raise UserError(
                f"{path}: the shard {state}; {schema.MANIFEST_NAME} says {shard.bytes} bytes. Convert the data again."
            )
        newest_ns = max(newest_ns, found.st_mtime_ns)
    rows = records_of(folder, manifest, subset, newest_ns)
    return Split(manifest, subset, paths, rows["shard"].astype(np.int64), rows["offset"].astype(np.int64))


def _storage_errors() -> tuple[type[Exception], ...]:
    names = "NotFound PermissionDenied Unauthenticated Aborted Unavailable DeadlineExceeded"
    return tuple(getattr(tf.errors, f"{name}Error") for name in names.split())


def _regular_file(path: str) -> os.stat_result | None:
    """What is known about a file; None if there is none."""
    try:
        if is_remote(path):
            return path_of(path).stat()
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def readable(batches: Iterable[Any], split: Split) -> Iterator[Any]:
    """The batches; a damaged record becomes an error that names the shards.

    Args:
        batches: a pipeline of this module, distributed or not.
        split: where it reads.

    Raises:
        UserError: a record is damaged.
    """
    try:
        yield from batches
    except _storage_errors() as error:
        if not is_remote(split.paths[0]):
            raise
        raise UserError(
            f"{os.path.dirname(split.paths[0])}: the storage answers {plain_message(error)!r}; expected the shards of "
            f"subset {split.subset!r} to be there and in reach. Check the connection and the credentials, and run the "
            "same command again."
        ) from None
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise UserError(
            f"{', '.join(split.paths)}: a record of subset {split.subset!r} is damaged ({plain_message(error)}). "
            "Convert the data again (python -m data_prep.convert)."
        ) from None
