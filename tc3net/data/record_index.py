"""Where every record of a data set lies: `dataset.index` beside the shards, so that opening a subset reads no shard.

The file, all numbers little-endian:

    bytes 0-7    b"tc3index"
    8-11         uint32, version of this layout: 1
    12-15        uint32, H
    16 to 15+H   JSON, ended by spaces: {subset: {"records": V, "begin": byte where its rows begin, "sha256": of its
                 rows, "shards": SHA-256 of what the manifest says about its shards (`described`)}}
    32 bytes     SHA-256 of everything before
    rows         of each subset, in the manifest's order: V times 24 bytes, `row_dtype`

The conversion writes it last. Where it is absent, damaged, or of other shards, `records_of` makes it anew from the
records' frames, one read per record, which is what opening a data set cost before this file existed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import struct
import sys
from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path
from tc3net.common.names import counted
from tc3net.common.storage import is_remote, local_copy, path_of
from tc3net.data import schema

INDEX_NAME = "dataset.index"

_MAGIC, _VERSION = b"tc3index", 1
_START = struct.Struct("<8sII")
_HEADER_BYTES, _FOOTER_BYTES = 12, 4  # TFRecord framing: uint64 length and its checksum; checksum of the payload
# A record's keys are sorted, so that the number of segments lies near its end: it is found there without the features.
_TAIL_BYTES = 256
_SEGMENTS = re.compile(rb"\x0a\x12video/num_segments\x12.\x1a.\x0a.([\x80-\xff]{0,3}[\x00-\x7f])", re.DOTALL)


def row_dtype() -> np.dtype[np.void]:
    """Of one record: the byte at which its frame begins in its shard, bytes of the serialized Example, number of the
    shard among the subset's, number of segments (0 where the record does not say it)."""
    return np.dtype([("offset", "<i8"), ("length", "<i8"), ("shard", "<u4"), ("segments", "<u4")])


class _UnusableError(Exception):
    """Why the index that is there cannot be used."""


def described(info: schema.SplitInfo) -> str:
    """SHA-256 of names, videos, sizes and checksums of a subset's shards: an index is of these shards alone."""
    shards = [[shard.file, shard.videos, shard.bytes, shard.sha256] for shard in info.shards]
    return hashlib.sha256(json.dumps(shards).encode()).hexdigest()


def _num_segments(tail: bytes, path: Path, offset: int, length: int) -> int:
    """Number of segments of a record, of which the last bytes are given; 0 if it does not say that."""
    found = _SEGMENTS.search(tail)
    if found is not None:
        value = found[1]
        return value[0] if len(value) == 1 else sum((byte & 0x7F) << 7 * place for place, byte in enumerate(value))
    with path.open("rb") as file:  # not written by us: its keys have another order
        file.seek(offset + _HEADER_BYTES)
        try:
            values = tf.train.Example.FromString(file.read(length)).features.feature["video/num_segments"]
        except DecodeError:  # whoever reads the record says that it is damaged
            return 0
    stated = list(values.int64_list.value)
    return stated[0] if len(stated) == 1 and 0 <= stated[0] < 2**32 else 0


def scan_shard(path: Path, number: int = 0) -> np.ndarray:
    """Rows of a TFRecord file's records, from their frames: one read per record, whatever its size.

    Args:
        path: the file.
        number: the shard's, among the subset's.

    Returns:
        [V] of `row_dtype`.

    Raises:
        UserError: the file ends within a record.
        OSError: it cannot be read.
    """
    offsets, lengths, segments = array("q"), array("q"), array("Q")
    with local_copy(path) as local, local.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        position, header = 0, os.pread(descriptor, _HEADER_BYTES, 0)
        while position < size:
            length = int.from_bytes(header[:8], "little") if len(header) == _HEADER_BYTES else size
            payload_end = position + _HEADER_BYTES + length
            end = payload_end + _FOOTER_BYTES
            if end > size:
                raise UserError(
                    f"{path}: truncated: record {len(offsets)} needs {end} bytes, the file has {size}. "
                    "Convert the data again (python -m data_prep.convert)."
                )
            # The record's end and, behind it, the next one's header.
            begin = max(payload_end - _TAIL_BYTES, position + _HEADER_BYTES)
            around = os.pread(descriptor, end + _HEADER_BYTES - begin, begin)
            offsets.append(position)
            lengths.append(length)
            segments.append(_num_segments(around[: payload_end - begin], local, position, length))
            position, header = end, around[end - begin :]
    rows = np.empty(len(offsets), row_dtype())
    rows["offset"], rows["length"], rows["segments"], rows["shard"] = offsets, lengths, segments, number
    return rows


def scan_subset(folder: Path, info: schema.SplitInfo) -> np.ndarray:
    """Rows of all records of a subset, in the order of its shards.

    Raises:
        UserError: a shard is truncated, or holds another number of records than the manifest says.
        OSError: a shard cannot be read.
    """
    parts = [np.empty(0, row_dtype())]
    for number, shard in enumerate(info.shards):
        rows = scan_shard(folder / shard.file, number)
        if len(rows) != shard.videos:
            raise UserError(
                f"{folder / shard.file}: {len(rows)} records found, {schema.MANIFEST_NAME} says {shard.videos}. "
                "Convert again."
            )
        parts.append(rows)
    return np.concatenate(parts)


def write_index(folder: Path, manifest: schema.Manifest, rows: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes `dataset.index`, atomically; the same shards give the same bytes.

    Args:
        folder: where the shards are.
        manifest: of these shards.
        rows: by subset, where they are known; None: of all subsets, read from the shards.

    Raises:
        UserError: see `scan_subset`.
        OSError: the file cannot be written.
    """
    if rows is None:
        rows = {subset: scan_subset(folder, info) for subset, info in manifest.splits.items()}
    subsets = [subset for subset in manifest.splits if subset in rows]
    entries = {
        subset: {
            "records": len(rows[subset]),
            "begin": 0,
            "sha256": hashlib.sha256(rows[subset].tobytes()).hexdigest(),
            "shards": described(manifest.splits[subset]),
        }
        for subset in subsets
    }
    # Room for the numbers that are not known before the header's length is, to whole rows of 8 bytes.
    room = -(-(len(json.dumps(entries)) + 20 * len(entries)) // 8) * 8
    begin = _START.size + room + hashlib.sha256().digest_size
    for subset in subsets:
        entries[subset]["begin"] = begin
        begin += rows[subset].nbytes
    head = _START.pack(_MAGIC, _VERSION, room) + json.dumps(entries).encode().ljust(room)
    with atomic_path(folder / INDEX_NAME) as temporary, temporary.open("wb") as file:
        file.write(head + hashlib.sha256(head).digest())
        for subset in subsets:
            file.write(rows[subset].tobytes())


def unfinished_indices(folder: str | Path) -> set[str]:
    """Names of the temporary files that processes left that were killed while they wrote an index."""
    return {path.name for path in path_of(folder).glob(f".{INDEX_NAME}.*")}


def read_index(folder: Path, manifest: schema.Manifest, subset: str) -> np.ndarray:
    """Rows of a subset, in one read behind the file's header.

    Raises:
        FileNotFoundError: there is no index.
        _UnusableError: it is damaged or stale.
    """
    with (folder / INDEX_NAME).open("rb") as file:
        start = file.read(_START.size)
        if len(start) != _START.size or not start.startswith(_MAGIC):
            raise _UnusableError("damaged: it begins as no index does")
        _, version, room = _START.unpack(start)
        if version != _VERSION:
            raise _UnusableError(f"of another version: {version} found, {_VERSION} expected")
        head = start + file.read(min(room, (folder / INDEX_NAME).stat().st_size))
        if file.read(hashlib.sha256().digest_size) != hashlib.sha256(head).digest():
            raise _UnusableError("damaged: its header has another checksum")
        entry = json.loads(head[_START.size :]).get(subset)
        if entry is None:
            raise _UnusableError(f"stale: it lacks the subset {subset!r}")
        if entry["shards"] != described(manifest.splits[subset]):
            raise _UnusableError(f"stale: {schema.MANIFEST_NAME} tells of other shards")
        file.seek(entry["begin"])
        read = file.read(entry["records"] * row_dtype().itemsize)
    rows = np.frombuffer(read[: len(read) // row_dtype().itemsize * row_dtype().itemsize], row_dtype())
    if len(rows) != entry["records"]:
        raise _UnusableError(f"truncated: {len(rows)} of {counted(entry['records'], 'record')} found")
    if hashlib.sha256(rows.data).hexdigest() != entry["sha256"]:
        raise _UnusableError("damaged: its rows have another checksum")
    return rows


def records_of(folder: Path, manifest: schema.Manifest, subset: str, newest_shard_ns: int) -> np.ndarray:
    """Rows of a subset's records: from the index, or from the shards, where it cannot be used; then it is made anew.

    Made in memory alone where the folder cannot be written. The screen says in one line what was done, and why.

    Args:
        folder: the data set's; the subset's shards are there and have the manifest's sizes.
        manifest: the data set's.
        subset: one of the manifest's.
        newest_shard_ns: latest time of change of the subset's shards. If the index is older, the shards are looked at:
            they may have been written anew, or just been copied.

    Returns:
        [V] of `row_dtype`.

    Raises:
        UserError: see `scan_subset`.
        OSError: a shard cannot be read.
    """
    path, rows = folder / INDEX_NAME, None
    try:
        rows = read_index(folder, manifest, subset)
        # Objects are replaced whole, and whoever copies them sets their times in any order.
        if is_remote(path) or path.stat().st_mtime_ns >= newest_shard_ns:
            return rows
        why = "stale: its shards have changed"
    except FileNotFoundError:
        why = "absent"
    except _UnusableError as error:
        why = str(error)
    except OSError as error:
        why = f"unreadable ({error.strerror})"
    scanned = scan_subset(folder, manifest.splits[subset])
    if rows is not None and np.array_equal(rows, scanned):
        with contextlib.suppress(OSError):
            os.utime(path, ns=(newest_shard_ns, newest_shard_ns))
        return rows
    done = _save(folder, manifest, {subset: scanned})
    print(f"Note: {path}: {why}; the frames of {counted(len(scanned), 'record')} were read, {done}", file=sys.stderr)
    return scanned


def _save(folder: Path, manifest: schema.Manifest, known: Mapping[str, np.ndarray]) -> str:
    """Writes the index of all subsets that can be read; what became of it, in words."""
    try:
        if not is_remote(folder) and not os.access(folder, os.W_OK):
            raise PermissionError(0, "the folder cannot be written")
        rows = dict(known)
        for subset, info in manifest.splits.items():
            if subset not in rows:
                with contextlib.suppress(UserError, FileNotFoundError):  # said when this subset is opened
                    rows[subset] = scan_subset(folder, info)
        write_index(folder, manifest, rows)
    except OSError as error:
        return f"and the index is kept in memory ({error.strerror})"
    return "and the index is written anew"
