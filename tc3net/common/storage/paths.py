"""Paths: of a disk, or `gs://bucket/x`, `s3://bucket/x`, `ram://x`, whatever `tf.io.gfile` reaches.

`path_of` makes of what a user gave a `pathlib.Path` or, where it begins with a scheme, a `RemotePath`, which has the
part of pathlib that is used here. TensorFlow is imported with the first remote path that is touched, never for a disk.

What holds where (docs/remote-storage.md): an object appears whole, under its final name, or not at all (`put`). On an
object store renaming is copying: nothing there is written under a temporary name. What consists of several files has
one that is written last and names the others.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import glob
import io
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, cast

from tc3net.common.storage.reaching import RemoteError, reaching

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
# Where a file can be renamed in one step. Everywhere else writing an object under its name is that step.
_RENAMES = ("ram", "hdfs", "viewfs")
_SLASHES = ("gs",)  # names of folders are listed with a slash at the end


def is_remote(path: object) -> bool:
    """Whether a path begins with a scheme, as in gs://bucket/folder; one of file:// does not count."""
    if isinstance(path, RemotePath):
        return True
    found = _SCHEME.match(path) if isinstance(path, str) else None
    return found is not None and found[1].lower() != "file"


def path_of(path: str | os.PathLike[str]) -> Path:
    """What a user gave as a path: of a disk, or a `RemotePath`, which is none for the type checker alone."""
    if isinstance(path, RemotePath):
        return cast(Path, path)
    if isinstance(path, str) and is_remote(path):
        return cast(Path, RemotePath(path))
    return Path(path[len("file://") :]) if isinstance(path, str) and path.startswith("file://") else Path(path)


class RemotePath(os.PathLike):  # type: ignore[type-arg]
    """A path on a file system of TensorFlow, with the part of `pathlib.Path` that is used here.

    It is read with `open` of its own, and written with `put`, `write_text` or `tc3net.common.files.atomic_path`. Where
    it is taken for a path of a disk, it raises: nothing creates a folder "gs:" on the disk.

    Args:
        url: scheme://name/...
    """

    __slots__ = ("_pure", "scheme")

    def __init__(self, url: str | RemotePath) -> None:
        found = _SCHEME.match(str(url))
        if found is None:
            raise ValueError(f"{url}: expected scheme://")
        self.scheme = found[1].lower()
        self._pure = PurePosixPath(str(url)[found.end() :])

    def _with(self, pure: PurePosixPath) -> Any:
        return type(self)(f"{self.scheme}://{'' if str(pure) == '.' else pure}")

    def __str__(self) -> str:
        return f"{self.scheme}://{'' if str(self._pure) == '.' else self._pure}"

    as_posix = __str__

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __fspath__(self) -> str:
        raise RemoteError(f"{self}: a remote path found; expected one on a disk of this machine. Copy the files first.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __lt__(self, other: RemotePath) -> bool:
        return (self.scheme, self._pure) < (other.scheme, other._pure)

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: str | os.PathLike[str]) -> Any:
        if is_remote(name):
            return path_of(name)
        return self._with(self._pure / PurePosixPath(name))

    name = property(lambda self: self._pure.name)
    stem = property(lambda self: self._pure.stem)
    suffix = property(lambda self: self._pure.suffix)
    parts = property(lambda self: (f"{self.scheme}://", *self._pure.parts))
    parent = property(lambda self: self._with(self._pure.parent))
    parents = property(lambda self: tuple(map(self._with, self._pure.parents)))

    def with_name(self, name: str) -> Any:
        return self._with(self._pure.with_name(name))

    def with_suffix(self, suffix: str) -> Any:
        return self._with(self._pure.with_suffix(suffix))

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        """Raises ValueError where it does not lie below."""
        if not isinstance(other, RemotePath) or other.scheme != self.scheme:
            raise ValueError(f"{self} does not lie below {other}")
        return self._pure.relative_to(other._pure)

    def resolve(self) -> Any:
        return self

    def is_symlink(self) -> bool:
        return False

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_dir(self) -> bool:
        with reaching(self) as files:
            return bool(files.isdir(str(self)))

    def is_file(self) -> bool:
        with contextlib.suppress(FileNotFoundError), reaching(self) as files:
            return not files.stat(str(self)).is_directory
        return False

    def stat(self) -> Any:
        """`st_size`, `st_mtime_ns` and `st_mtime` alone; the time is 0 where the file system tells none."""
        with reaching(self) as files:
            found = files.stat(str(self))
            return SimpleNamespace(st_size=found.length, st_mtime_ns=found.mtime_nsec, st_mtime=found.mtime_nsec / 1e9)

    def _listed(self) -> list[str]:
        with reaching(self) as files:
            return sorted(files.listdir(str(self)))

    def iterdir(self) -> Iterator[Any]:
        return iter([self / name.rstrip("/") for name in self._listed() if name.rstrip("/")])

    def walk(self) -> Iterator[tuple[Any, list[str], list[str]]]:
        """As `os.walk`, from the top; names in order, and what is taken out of the folders is not walked."""
        listed = [name for name in self._listed() if name.rstrip("/")]
        ends = self.scheme in _SLASHES  # one request for the folder instead of one for each entry
        folders = [name.rstrip("/") for name in listed if name.endswith("/") or (not ends and (self / name).is_dir())]
        yield self, folders, [name for name in listed if name.rstrip("/") not in folders]
        for name in folders:
            yield from (self / name).walk()

    def glob(self, pattern: str) -> Iterator[Any]:
        """Entries of this folder whose names fit; a pattern has no folders in it."""
        found = sorted(self.iterdir()) if self.is_dir() else []
        return iter([path for path in found if fnmatch.fnmatchcase(path.name, pattern)])

    def rglob(self, pattern: str) -> Iterator[Any]:
        """Files and folders below whose names fit."""
        for folder, folders, names in self.walk() if self.is_dir() else ():
            yield from (folder / name for name in (*folders, *names) if fnmatch.fnmatchcase(name, pattern))

    def open(self, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None) -> Any:
        """For reading alone, as a file that seeks. Raises FileNotFoundError at once."""
        if mode not in ("r", "rb"):
            raise io.UnsupportedOperation(f"{self}: mode {mode!r}; objects are written as a whole, by put")
        file = io.BufferedReader(_Reader(self), 1 << 20 if buffering < 2 else buffering)
        return file if mode == "rb" else io.TextIOWrapper(file, encoding or "utf-8", errors)

    def read_bytes(self) -> bytes:
        with reaching(self) as files, files.GFile(str(self), "rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8", errors: str | None = None) -> str:
        with io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding, errors) as text:
            return text.read()

    def write_bytes(self, data: bytes) -> int:
        with tempfile.TemporaryDirectory(prefix="tc3net-") as folder:
            local = Path(folder, "object")
            local.write_bytes(data)
            self.put(local)
        return len(data)

    def write_text(self, text: str, encoding: str = "utf-8") -> int:
        return self.write_bytes(text.encode(encoding))

    def put(self, local: Path) -> None:
        """Makes a file of this machine's disk the object of this name; the one before stays whole until then.

        Raises:
            OSError: it cannot be read or written; the object is as it was.
        """
        new = self.with_name(f".{self.name}.{uuid.uuid4().hex}") if self.scheme in _RENAMES else self
        with reaching(self) as files:
            self.parent.mkdir(parents=True, exist_ok=True)
            try:
                files.copy(str(local), str(new), overwrite=True)
                if files.stat(str(new)).length != local.stat().st_size:
                    raise RemoteError(f"{self}: another size found after writing than was written. Run it again.")
                if new != self:
                    files.rename(str(new), str(self), overwrite=True)
            except BaseException:
                if new != self:
                    with contextlib.suppress(Exception):
                        files.remove(str(new))
                raise

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Object stores need no folders, and may keep a mark for one."""
        if not exist_ok and self.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self))
        if self._pure.name:  # of a bucket itself nothing is made
            with reaching(self) as files:
                files.makedirs(str(self))

    def rename(self, target: str | os.PathLike[str]) -> Any:
        """A file alone; a copy on object stores."""
        with reaching(self) as files:
            files.rename(str(self), str(path_of(target)), overwrite=True)
        return path_of(target)

    replace = rename

    def unlink(self, missing_ok: bool = False) -> None:
        with contextlib.suppress(*((FileNotFoundError,) if missing_ok else ())), reaching(self) as files:
            files.remove(str(self))

    def rmdir(self) -> None:
        """Raises OSError where something lies in it."""
        if next(self.iterdir(), None) is not None:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(self))
        remove_tree(cast(Path, self))


def walk(path: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Folder, its folders, its files, from the top, as `os.walk` does; behind links too."""
    if isinstance(path, RemotePath):
        yield from path.walk()
        return
    for folder, folders, names in os.walk(path, followlinks=True):
        yield Path(folder), folders, names


def matching(pattern: str) -> list[Path]:
    """What a pattern such as rgb/*.npy stands for, in order; `**` is for disks alone."""
    if not is_remote(pattern):
        return [Path(found) for found in sorted(glob.glob(pattern, recursive=True))]
    with reaching(RemotePath(pattern)) as files:
        return [path_of(found) for found in sorted(files.glob(pattern))]


def fetch(path: Any, local: Path) -> None:
    """Copies a remote file to a path of this machine's disk, whose folder is made."""
    local.parent.mkdir(parents=True, exist_ok=True)
    with reaching(path) as files:
        files.copy(str(path), str(local), overwrite=True)


def remove_tree(path: Path, ignore_errors: bool = False) -> None:
    """A folder with all that it holds; of a remote one, file by file where its file system does so."""
    if not isinstance(path, RemotePath):
        shutil.rmtree(path, ignore_errors=ignore_errors)
        return
    with contextlib.suppress(*((OSError,) if ignore_errors else ())), reaching(path) as files:
        files.rmtree(str(path))


class _Reader(io.RawIOBase):
    """A remote file's bytes, from any place."""

    def __init__(self, path: RemotePath) -> None:
        self._path, self._at, self._size = path, 0, path.stat().st_size
        with reaching(path) as files:
            self._file = files.GFile(str(path), "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        with reaching(self._path):
            self._file.seek(self._at)
            data = self._file.read(min(len(buffer), self._size - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()
