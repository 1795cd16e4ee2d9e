"""The parts of `staging` where the target lies on an object store: no folder can be renamed there, and nothing locked.

Finished files go straight into the target, under names that begin with a prefix which no data set there uses yet, made
of the plan: killed and started again with the same plan, a conversion finds what is finished. Readers take only what
the manifest names; it is replaced last, in one step, and with it one data set by the next. Then what the earlier one
named goes. The lock is a lease.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.files import read_json
from tc3net.common.storage import RemotePath, path_of
from tc3net.common.storage.leases import Held, TakenError, lease
from tc3net.data.record_index import row_dtype, scan_shard
from tc3net.data.schema import Manifest

_LEASE, _DONE, _PREFIX_DIGITS, _TURNS = "conversion", ".done", 10, "ab"
_LINES_EVERY_S = 30.0  # between two objects of lines: each costs a request, and a kill costs what is in none yet


class RemoteStaging:
    """As `Staging`, while the lease is held.

    Attributes:
        folder: the target; what is being made lies in it under `prefix`.
        data: the same, where finished files are.
        top: the same, where manifest and index belong.
        work: a folder on this machine, for files being written.
        prefix: of the names of finished files.
        keep: whether finished files stay after a failure, for the next attempt.
    """

    def __init__(self, target: Path, prefix: str, work: Path, held: Held) -> None:
        self.folder = self.data = self.top = target
        self.prefix, self.work, self._held = prefix, work, held
        self._lines: dict[str, list[str]] = {}
        self._written_at = time.monotonic()
        self._rows: dict[str, np.ndarray] = {}
        self.keep = any(target.glob(f"{prefix}*"))

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.prefix}{name}"

    def finish(self, name: str, record: Mapping[str, Any]) -> None:
        """See `Staging.finish`."""
        self._held.require()
        self._rows[self._path(name).name] = scan_shard(self.work / name)
        _put(self.work / name, self._path(name))
        self._path(name + _DONE).write_text(json.dumps(dict(record), allow_nan=False), encoding="utf-8")
        (self.work / name).unlink()
        self.keep = True

    def finished(self, name: str) -> dict[str, Any] | None:
        """See `Staging.finished`."""
        path = self._path(name + _DONE)
        if not (path.is_file() and self._path(name).is_file()):
            return None
        record = read_json(path, "record of a finished file")
        return record if isinstance(record, dict) else None

    def append_lines(self, name: str, entries: Sequence[Any]) -> None:
        """See `Staging.append_lines`; a kill costs those of the last `_LINES_EVERY_S`."""
        self._lines.setdefault(name, []).extend(json.dumps(entry, allow_nan=False) + "\n" for entry in entries)
        if time.monotonic() - self._written_at > _LINES_EVERY_S:
            self._write_lines()

    def _write_lines(self) -> None:
        self._held.require()
        for name, lines in self._lines.items():
            number = len(list(self.folder.glob(f"{self.prefix}{name}.*")))
            self._path(f"{name}.{number:05d}").write_text("".join(lines), encoding="utf-8")
            self.keep = True
        self._lines, self._written_at = {}, time.monotonic()

    def read_lines(self, name: str) -> list[Any]:
        """See `Staging.read_lines`; each object of lines is whole."""
        paths = sorted(self.folder.glob(f"{self.prefix}{name}.*"))
        return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]

    def keep_only(self, names: set[str]) -> None:
        """See `Staging.keep_only`."""
        for path in self.folder.glob(f"{self.prefix}*.tfrecord"):
            if path.name[len(self.prefix) :] not in names:
                path.unlink()

    def index_rows(self, manifest: Manifest) -> dict[str, np.ndarray]:
        """Rows of `dataset.index` by subset, of the files that were written here as they lay on this machine."""
        found = {}
        for subset, split in manifest.splits.items():
            parts = [np.empty(0, row_dtype())]
            for number, shard in enumerate(split.shards):
                rows = self._rows.get(shard.file)
                parts.append(scan_shard(self.folder / shard.file) if rows is None else rows)
                parts[-1]["shard"] = number
            found[subset] = np.concatenate(parts)
        return found

    def settle(self, name: str) -> None:
        """Nothing to wait for: an object is there once it is written."""

    def write_unwritten(self) -> None:
        """Writes the lines that are in no object yet."""
        if self._lines:
            self._write_lines()

    def publishing(self) -> None:
        """Raises UserError where the lease may be lost; called right before the manifest."""
        self._held.require()


def _put(local: Path, target: Any) -> None:
    target.put(local)


def prefix_of(plan: Mapping[str, Any], named: Sequence[str]) -> str:
    """What the names of a plan's files begin with: always the same, but not what the present data set's begin with.

    Args:
        plan: everything that determines the bytes.
        named: the files that the present manifest names.
    """
    digest = hashlib.sha256(json.dumps(plan, allow_nan=False, sort_keys=True).encode()).hexdigest()[:_PREFIX_DIGITS]
    free = (f"{digest}{turn}." for turn in _TURNS)
    return next(prefix for prefix in free if not any(name.startswith(prefix) for name in named))


@contextlib.contextmanager
def remote_folder(
    target: str | Path, plan: Mapping[str, Any], named: Callable[[], Sequence[str]], check: Callable[[], None]
) -> Iterator[RemoteStaging]:
    """As `resumable_folder`; inside, whoever uses it writes the manifest last, into `RemoteStaging.top`.

    Args:
        target: the output folder.
        plan: everything that determines the output's bytes, as JSON values.
        named: the files that the manifest names which lies there now; none where there is none.
        check: raises UserError when the data set there must not be replaced.

    Raises:
        UserError: another process is writing there, something cannot be written, or `check` raises.
    """
    folder = path_of(target)
    assert isinstance(folder, RemotePath)
    try:
        with contextlib.ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tc3net-")))
            held = stack.enter_context(lease(folder, _LEASE))
            before = named()
            staging = RemoteStaging(path_of(target), prefix_of(plan, before), work, held)
            _discard(folder, lambda name: not name.startswith((staging.prefix, *_prefixes(before))))
            try:
                yield staging
                now = named()
                _discard(folder, lambda name: name not in now)
                staging.keep = True  # it is the data set now
            except BaseException:
                if staging.keep:
                    with contextlib.suppress(OSError, UserError):
                        staging.write_unwritten()
                raise
            finally:
                if not staging.keep:
                    _discard(folder, lambda name: name.startswith(staging.prefix))
    except TakenError as error:
        raise UserError(
            f"{folder}: {error.holder} is converting into it; expected to be the only one. Wait for it to end, or give "
            f"another --output_dir. {error.cure}"
        ) from None
    except OSError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{folder}: writing failed ({error}); the data set that was there is unchanged. What is finished stays: "
            "the same command goes on from there."
        ) from None


def _prefixes(names: Sequence[str]) -> list[str]:
    return [name[: _PREFIX_DIGITS + 2] for name in names if is_prefixed(name)]


def is_prefixed(name: str) -> bool:
    """Whether a file's name is one of those that conversions give."""
    start, turn = name[:_PREFIX_DIGITS], name[_PREFIX_DIGITS : _PREFIX_DIGITS + 2]
    return len(start) == _PREFIX_DIGITS and set(start) <= set("0123456789abcdef") and turn in ("a.", "b.")


def _discard(folder: RemotePath, unwanted: Callable[[str], bool]) -> None:
    """Deletes files of conversions: those of earlier data sets and attempts, and of no one else."""
    for path in list(folder.iterdir()):
        if is_prefixed(path.name) and unwanted(path.name):
            path.unlink(missing_ok=True)
