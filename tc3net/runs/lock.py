"""One training per run folder: a lock that its process holds, and that the kernel releases however it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tc3net.common.errors import UserError
from tc3net.common.locks import try_lock
from tc3net.common.storage import RemotePath, path_of
from tc3net.common.storage.leases import LEASE, TakenError, lease

LOCK = "training.lock"  # stays in the folder: who removed it could remove one that another process has just locked
is_lock = re.compile(rf"{re.escape(LOCK)}(\..*{re.escape(LEASE)})?").fullmatch  # the name of a file
_UNKNOWN_TO_DISK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def training_lock(run_dir: str | Path) -> Iterator[Callable[[], None]]:
    """Inside, no other process trains in the run folder. On other storage than disks it is a lease.

    Args:
        run_dir: made if absent.

    Yields:
        What raises UserError where the lock may be another's by now, as a lease may that could not be renewed.

    Raises:
        UserError: another process holds the lock; says which one, on which machine and since when.
    """
    folder = path_of(run_dir)
    if isinstance(folder, RemotePath):
        try:
            with lease(folder, LOCK) as held:
                yield held.require
        except TakenError as error:
            raise _in_use(folder, error.holder, f" {error.cure}") from None
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = try_lock(folder / LOCK)
    except OSError as error:
        if error.errno not in _UNKNOWN_TO_DISK:
            raise
        print(
            f"warning: {folder}: this disk has no locks ({error.strerror}); see to it yourself that no other training "
            "uses the folder.",
            file=sys.stderr,
        )
        yield lambda: None
        return
    if descriptor is None:
        raise _in_use(folder, _holder(folder / LOCK))
    try:
        _describe(descriptor)
        yield lambda: None
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _in_use(folder: Path, holder: str, cure: str = "") -> UserError:
    return UserError(
        f"{folder} is being trained in by {holder}; expected no other training there. Wait for it to end or stop it, "
        f"then the same command goes on from its last checkpoint; or choose another --run_dir.{cure}"
    )


def _describe(descriptor: int) -> None:
    """Writes who holds the lock; a disk too full for that is reported by what needs the room."""
    now = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
    os.ftruncate(descriptor, 0)
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, json.dumps(now).encode(), 0)


def _holder(path: Path) -> str:
    """Who holds the lock, in words."""
    try:
        found = json.loads(path.read_bytes())
        return f"process {found['pid']} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
