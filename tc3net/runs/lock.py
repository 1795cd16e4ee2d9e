"""One training per run folder: a lock that its process holds, and that the kernel releases however it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tc3net.common.errors import UserError
from tc3net.common.locks import try_lock

LOCK = "training.lock"  # stays in the folder: who removed it could remove one that another process has just locked
_UNKNOWN_TO_DISK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def training_lock(run_dir: str | Path) -> Iterator[None]:
    """Inside, no other process trains in the run folder.

    Args:
        run_dir: made if absent.

    Raises:
        UserError: another process holds the lock; says which one, on which machine and since when.
    """
    folder = Path(run_dir)
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
        yield
        return
    if descriptor is None:
        raise UserError(
            f"{folder} is being trained in by {_holder(folder / LOCK)}; expected no other training there. Wait for it "
            "to end or stop it, then the same command goes on from its last checkpoint; or choose another --run_dir."
        )
    try:
        _describe(descriptor)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


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
