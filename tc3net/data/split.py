"""A subset of a data set on disk: its shards, checked against the manifest, and where every record lies in them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError, plain_message
from tc3net.data import schema
from tc3net.data.subset_names import find_subset

_HEADER_BYTES = 12  # TFRecord framing: uint64 length, uint32 checksum of it


_FOOTER_BYTES = 4  # uint32 checksum of the payload


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


def _record_offsets(path: Path) -> list[int]:
    """Bytes at which the records of a TFRecord file begin, read from its framing alone."""
    offsets: list[int] = []
    size = path.stat().st_size
    with path.open("rb") as file:
        position = 0
        while position < size:
            header = file.read(_HEADER_BYTES)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == _HEADER_BYTES else size
            end = position + _HEADER_BYTES + length + _FOOTER_BYTES
            if end > size:
                raise UserError(
                    f"{path}: truncated: record {len(offsets)} needs {end} bytes, the file has {size}. "
                    "Convert the data again (python -m data_prep.convert)."
                )
            offsets.append(position)
            file.seek(end)
            position = end
    return offsets


def open_split(dataset_dir: str | Path, subset: str) -> Split:
    """Opens a subset and checks its shards against the manifest.

    Args:
        dataset_dir: folder written by `python -m data_prep.convert`.
        subset: split name; a usual synonym, or another case, is understood, and the screen says so.

    Raises:
        UserError: unknown subset, no videos in it, or a shard that is absent, truncated or of another data set.
    """
    folder = Path(dataset_dir)
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
    paths, shard, offset = [], [], []
    for index, info in enumerate(manifest.splits[subset].shards):
        path = folder / info.file
        found = path.stat().st_size if path.is_file() else None
        if found != info.bytes:
            state = "is absent" if found is None else f"has {found} bytes (truncated or overwritten?)"
            raise UserError(
                f"{path}: the shard {state}; {schema.MANIFEST_NAME} says {info.bytes} bytes. Convert the data again."
            )
        offsets = _record_offsets(path)
        if len(offsets) != info.videos:
            raise UserError(
                f"{path}: {len(offsets)} records found, {schema.MANIFEST_NAME} says {info.videos}. Convert again."
            )
        paths.append(str(path))
        shard += [index] * len(offsets)
        offset += offsets
    return Split(manifest, subset, tuple(paths), np.asarray(shard, np.int64), np.asarray(offset, np.int64))


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
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise UserError(
            f"{', '.join(split.paths)}: a record of subset {split.subset!r} is damaged ({plain_message(error)}). "
            "Convert the data again (python -m data_prep.convert)."
        ) from None
