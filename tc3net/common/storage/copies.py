"""Copies of remote files on this machine's disk, for readers that need a file there: HDF5, zip, CSV, pickles.

A copy is kept while it is used, and after that while the copies that nobody uses take up to `IDLE_BYTES`: a file that
holds many videos is fetched once. All go when the process ends. They lie where temporary files do (TMPDIR).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tc3net.common.errors import UsageError, UserError
from tc3net.common.storage.paths import RemotePath, fetch, path_of, walk

IDLE_BYTES = 4 << 30


@dataclass
class _Copy:
    local: Path
    size: int
    uses: int = 0


class _Copies:
    """The copies of this process."""

    def __init__(self) -> None:
        self._process, self._folder, self._number = 0, "", 0
        self._known: dict[tuple[str, int, int], _Copy] = {}  # the one that was given back last stands last

    def take(self, path: RemotePath) -> tuple[tuple[str, int, int], Path]:
        if self._process != os.getpid():  # a fork's copies are its parent's
            self._process, self._folder, self._known = os.getpid(), tempfile.mkdtemp(prefix="tc3net-copies-"), {}
            atexit.register(self._remove, os.getpid(), self._folder)
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        if key not in self._known:
            self._number += 1
            local = Path(self._folder, str(self._number), path.name)
            fetch(path, local)
            self._known[key] = _Copy(local, status.st_size)
        self._known[key].uses += 1
        return key, self._known[key].local

    def give_back(self, key: tuple[str, int, int]) -> None:
        copy = self._known.pop(key)
        copy.uses -= 1
        self._known[key] = copy
        idle = {name: each for name, each in self._known.items() if not each.uses}
        total = sum(each.size for each in idle.values())
        for name, each in idle.items():
            if total > IDLE_BYTES:
                total -= each.size
                shutil.rmtree(each.local.parent, ignore_errors=True)
                del self._known[name]

    @staticmethod
    def _remove(process: int, folder: str) -> None:
        if process == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)


_copies = _Copies()


@contextlib.contextmanager
def _naming(path: RemotePath, local: Path) -> Iterator[None]:
    """Errors inside name the remote path, not its copy."""
    here, there = str(local.parent), str(path.parent)
    try:
        yield
    except UserError as error:
        if here not in str(error):
            raise
        kind = UsageError if isinstance(error, UsageError) else UserError
        raise kind(str(error).replace(here, there)) from None
    except OSError as error:
        if error.filename is not None:
            error.filename = os.fsdecode(error.filename).replace(here, there)
        raise


@contextlib.contextmanager
def local_copy(path: str | os.PathLike[str], beside: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yields the path itself, or of a remote file or folder a copy, with the same name; errors name the remote one.

    Args:
        path: what is read.
        beside: names of files that are read with a file where they lie beside it.

    Raises:
        OSError: it cannot be copied. One that is not there is left to the reader to report.
    """
    found = path_of(path)
    if not isinstance(found, RemotePath):
        yield found
    elif found.is_file() and not beside:
        key, local = _copies.take(found)
        try:
            with _naming(found, local):
                yield local
        finally:
            _copies.give_back(key)
    else:
        with tempfile.TemporaryDirectory(prefix="tc3net-copies-") as folder:
            local = Path(folder, found.name)
            if found.is_dir():
                for where, _, names in walk(found):  # type: ignore[arg-type]
                    for name in names:
                        fetch(where / name, local / str(where.relative_to(found)) / name)
                local.mkdir(exist_ok=True)
            for file in (found, *map(found.with_name, beside)):
                if file.is_file():
                    fetch(file, local.with_name(file.name))
            with _naming(found, local):
                yield local


@contextlib.contextmanager
def written_remotely(path: str | os.PathLike[str], last: str = "") -> Iterator[Path]:
    """Yields the folder itself, or for a remote one a folder on this machine, whose files are put there on success.

    Args:
        path: the folder that is written.
        last: name of the file that says that the others are there; put after them.

    Raises:
        OSError: a file cannot be put there. Those before it are, `last` is not.
    """
    target = path_of(path)
    if not isinstance(target, RemotePath):
        yield target
        return
    with tempfile.TemporaryDirectory(prefix="tc3net-") as folder:
        local = Path(folder, target.name)
        local.mkdir()
        with _naming(target, local):
            yield local
        put_folder(local, target, last)


def put_folder(local: Path, target: RemotePath, last: str = "") -> None:
    """Puts all files of a folder below `target`, the one of the name `last` after the others."""
    files = sorted(file for file in local.rglob("*") if file.is_file())
    for file in sorted(files, key=lambda file: file == local / last):
        (target / file.relative_to(local).as_posix()).put(file)
