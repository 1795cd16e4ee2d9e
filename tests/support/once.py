"""What several test files need and takes long to make: made once for all processes of a run, and only read.

Processes of pytest-xdist share the folder above their temporary ones; the first that needs something makes it, under a
lock, and the others wait. Tests that write copy first: at the end each process checks that nothing has changed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FINISHED = "finished"


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            facts = path.stat()
            found[path.relative_to(folder).as_posix()] = (facts.st_size, facts.st_mtime_ns)
    return found


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Iterator[Path]:
    """The body of a fixture of session scope: the folder that `make` filled, in this process or another.

    Args:
        factory: of temporary folders.
        name: of the folder; the same in all processes.
        make: fills a folder that does not exist yet.
    """
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made_once"
    root.mkdir(exist_ok=True)
    folder, finished = root / name, root / f"{name}.{FINISHED}"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            assert not folder.exists(), f"making {name} failed before"
            make(folder)
            finished.touch()
    before = state(folder)
    yield folder
    assert state(folder) == before, f"a test changed {name}, which all of them share; let it work on a copy"
