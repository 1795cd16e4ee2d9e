"""A file lock that its process holds, and that the kernel releases however the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """Locks a file, which is made if absent; close the descriptor to give the lock back.

    Returns:
        An open descriptor; None where another process holds the lock.

    Raises:
        OSError: the file cannot be opened, or its disk has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
