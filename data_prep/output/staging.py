"""A folder that is written over several attempts: killed at any moment and started again, it goes on where it was.

All work happens in `<target>.partial` beside the target, under a lock that the kernel releases when its holder dies.
The plan in it says what is being made, from what; a staging folder with another plan is discarded. Finished files lie
in `data`, each with a record in `done` that is written after the file has reached the disk; what is being written lies
in `work`, which every attempt empties. At the end `data` takes the target's place.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.output.folders import sync, take_place
from tc3net.common.errors import UserError
from tc3net.common.files import read_json
from tc3net.common.locks import try_lock

_LOCK, _PLAN, _EARLIER = "lock", "plan.json", "earlier"
_FOLDERS = ("data", "work", "done")
_INCOMPLETE = object()
_NEW = ".new"  # suffix while a file is being written; one writer at a time, so that the name can be fixed


def write_durably(path: Path, value: Any) -> None:
    """Writes JSON so that after a crash the file is complete or absent (or as it was before).

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(path.name + _NEW)
    new.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    sync(new)
    os.replace(new, path)
    sync(path.parent)


class Staging:
    """The folder's parts, while the lock is held.

    Attributes:
        folder: `<target>.partial`; the caller's own lists lie directly in it.
        data: what will take the target's place; finished files only.
        top: the same, where the files belong that say what the others are.
        prefix: of the names of finished files: none.
        work: for files being written; emptied when an attempt starts.
        keep: whether the folder stays after a failure, for the next attempt.
    """

    def __init__(self, folder: Path, keep: bool) -> None:
        self.folder = folder
        self.keep = keep
        self.data, self.work, self._done = (folder / name for name in _FOLDERS)
        self.top, self.prefix = self.data, ""

    def finish(self, name: str, record: Mapping[str, Any]) -> None:
        """Moves a file from `work` to `data`, for good.

        Args:
            name: of the file; its bytes must have been synced.
            record: what is to be remembered about it.

        Raises:
            OSError: the move cannot be made.
        """
        os.replace(self.work / name, self.data / name)
        sync(self.data)  # before the record: a record on the disk means that the file is there
        write_durably(self._done / f"{name}.json", dict(record))
        self.keep = True

    def finished(self, name: str) -> dict[str, Any] | None:
        """The record of a file that an earlier attempt finished; None when there is none."""
        path = self._done / f"{name}.json"
        if not (path.is_file() and (self.data / name).is_file()):
            return None
        record = read_json(path, "record of a finished file")
        return record if isinstance(record, dict) else None

    def append_lines(self, name: str, entries: Sequence[Any]) -> None:
        """Adds JSON lines to one of the caller's lists. A kill costs at most the last ones.

        Raises:
            OSError: they cannot be written.
        """
        with open(self.folder / name, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(entry, allow_nan=False) + "\n" for entry in entries)
        self.keep = True

    def read_lines(self, name: str) -> list[Any]:
        """The lines of a list that are complete; an incomplete end is cut off, so that lines can be added again."""
        path = self.folder / name
        entries, complete = [], 0
        if path.is_file():
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    entries.append(json.loads(line) if line.endswith(b"\n") else _INCOMPLETE)
                except ValueError:
                    entries.append(_INCOMPLETE)
                if entries[-1] is _INCOMPLETE:
                    os.truncate(path, complete)
                    return entries[:-1]
                complete += len(line)
        return entries

    def index_rows(self, manifest: object) -> None:
        """Not kept: reading them from the disk costs less."""

    def settle(self, name: str) -> None:
        """Waits until a file beside the finished ones has reached the disk.

        Raises:
            OSError: it cannot be written.
        """
        sync(self.top / name)

    def publishing(self) -> None:
        """Called right before the manifest is written; nobody sees it before the folder takes the target's place."""

    def keep_only(self, names: set[str]) -> None:
        """Removes from `data` what does not belong there, such as the remains of an interrupted last step."""
        for path in self.data.iterdir():
            if path.name not in names:
                path.unlink()


@contextlib.contextmanager
def resumable_folder(
    target: str | Path, plan: Mapping[str, Any], lists: set[str], check: Callable[[], None]
) -> Iterator[Staging]:
    """Yields the staging folder of `target`; on success its `data` takes `target`'s place, which is untouched before.

    After a failure the staging folder stays for the next attempt if `Staging.keep`; otherwise nothing stays.

    Args:
        target: the output folder.
        plan: everything that determines the output's bytes, as JSON values.
        lists: names of the caller's own lists (`Staging.append_lines`).
        check: raises UserError when `target` must not be replaced; called right before the replacement.

    Raises:
        UserError: another process is writing the same target, something else lies at the staging folder's place, the
            folder cannot be written, or `check` raises. `target` is unchanged then.
    """
    target = Path(target).resolve()
    folder = target.with_name(f"{target.name}.partial")
    try:
        lock = _lock(folder, target, lists)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be created and locked ({error.strerror}); expected a writable folder on a file system "
            "with locks. Give another --output_dir."
        ) from None
    staging = None
    try:
        _recover(folder, target)
        staging = _prepare(folder, dict(plan))
        yield staging
        check()
        sync(staging.data)
        take_place(staging.data, target, folder / _EARLIER)
        sync(target.parent)
        staging.keep = False
    except OSError as error:
        cure = "Free some space or give another --output_dir."
        if staging is not None and staging.keep:
            cure += f" What is finished waits in {folder}: the same command goes on from there; delete it to give up."
        raise UserError(f"{target}: writing failed ({error}); what was there is unchanged. {cure}") from None
    finally:
        try:
            if staging is None or not staging.keep:
                _remove(folder)
        finally:
            os.close(lock)


def _lock(folder: Path, target: Path, lists: set[str]) -> int:
    """Descriptor of the lock file, locked; the kernel releases it when the process ends, however it ends."""
    known = {_LOCK, _PLAN, _EARLIER, *_FOLDERS, *lists}
    known |= {name + _NEW for name in known}
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        foreign = (
            [folder.name] if folder.is_symlink() or not folder.is_dir() else sorted(set(os.listdir(folder)) - known)
        )
        if foreign:
            raise UserError(
                f"{folder}: {foreign[0]!r} found; expected nothing, or what an interrupted conversion into {target} "
                "left. Move it away, or give another --output_dir."
            )
        try:
            descriptor = try_lock(folder / _LOCK)
        except FileNotFoundError:
            continue  # another process has just finished and removed the folder
        if descriptor is None:
            raise UserError(
                f"{folder}: locked, another process is converting into {target}; expected to be the only one. "
                "Wait for it to end, or give another --output_dir."
            )
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(folder / _LOCK)):
                return descriptor
        os.close(descriptor)  # the file was removed in between: what is locked is no longer the lock


def _recover(folder: Path, target: Path) -> None:
    """After a kill in the middle of the replacement: the earlier output goes back, or away if the new one is there."""
    earlier = folder / _EARLIER
    if earlier.exists():
        if target.exists():
            shutil.rmtree(earlier)
        else:
            os.rename(earlier, target)


def _prepare(folder: Path, plan: dict[str, Any]) -> Staging:
    """The folder with this plan, holding what an earlier attempt with the same plan finished."""
    plan = json.loads(json.dumps(plan, allow_nan=False))  # as it will be read
    try:
        found = read_json(folder / _PLAN, "plan") if (folder / _PLAN).exists() else None
    except UserError:
        found = {}
    resumed = found == plan
    if not resumed:
        if found is not None:
            before = found if isinstance(found, dict) else {}
            changed = sorted(key for key in {*before, *plan} if before.get(key) != plan.get(key))
            print(f"{folder}: an unfinished conversion with another plan (changed: {', '.join(changed)}); discarded")
        for path in folder.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        write_durably(folder / _PLAN, plan)
    shutil.rmtree(folder / "work", ignore_errors=True)
    for name in _FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    return Staging(folder, keep=resumed)


def _remove(folder: Path) -> None:
    """Deletes the folder, the lock last: who comes meanwhile must find it locked or find nothing."""
    for path in folder.iterdir():
        if path.name != _LOCK:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    with contextlib.suppress(OSError):
        (folder / _LOCK).unlink()
        folder.rmdir()
