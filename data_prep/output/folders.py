"""Writing a whole folder so that it appears complete or not at all, and replacing only what the caller recognises."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tc3net.common.errors import UserError
from tc3net.common.files import read_json
from tc3net.common.storage import is_remote, path_of
from tc3net.common.storage.leases import LEASE


def is_safe_name(name: str) -> bool:
    """Whether a name can be one component of a path without leaving its folder."""
    return bool(name) and name not in (".", "..") and name.isprintable() and not set(name) & {"/", "\\"}


def sync(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, have reached the disk.

    Raises:
        OSError: they cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def existing_marker(
    target: str | Path, marker: str, unfinished: Callable[[str], bool] = lambda name: False
) -> dict[str, Any] | None:
    """What an existing output folder says about itself.

    Args:
        target: the output folder.
        marker: name of the JSON file that every folder of this kind holds.
        unfinished: whether a name is one that an attempt leaves there which did not come to its end.

    Returns:
        Contents of the marker file; None when the folder is absent or empty.

    Raises:
        UserError: the target is a file or a mount point, or a folder with files but no (readable) marker.
    """
    target = path_of(target)
    if not target.exists():
        return None
    cure = "Give another --output_dir, or move that away yourself."
    if not target.is_dir():
        raise UserError(f"{target}: a file; expected a folder, or nothing yet. {cure}")
    if not is_remote(target) and os.path.ismount(target):
        raise UserError(
            f"{target}: a mount point, which cannot be replaced as a whole; expected a folder inside one. "
            f"Give --output_dir={target}/<name>."
        )
    if not any(not unfinished(path.name) and path.suffix != LEASE for path in target.iterdir()):
        return None
    if not (target / marker).is_file():
        raise UserError(f"{target}: holds files but no {marker}; expected nothing, or an earlier output. {cure}")
    content = read_json(target / marker, "description of an earlier output")
    if not isinstance(content, dict):
        raise UserError(f"{target / marker}: expected a JSON object that describes an earlier output. {cure}")
    return content


def require_only(target: str | Path, files: set[str]) -> None:
    """Raises when replacing the folder would delete something that an earlier run did not write.

    Args:
        target: the output folder.
        files: relative paths that belong to it.

    Raises:
        UserError: another file is in the folder.
    """
    target = path_of(target)
    foreign = sorted(
        str(path.relative_to(target))
        for path in target.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and path.relative_to(target).as_posix() not in files
    )
    if foreign:
        raise UserError(
            f"{target}: holds {foreign[0]!r}"
            + (f" and {len(foreign) - 1} more files" if len(foreign) > 1 else "")
            + " that an earlier run did not write; expected only its own files, since the folder is replaced. "
            "Give another --output_dir, or move them away."
        )


@contextlib.contextmanager
def staged_folder(target: str | Path, check: Callable[[], None]) -> Iterator[Path]:
    """Yields a new folder beside `target`; on success it takes `target`'s place, on failure it is removed.

    Args:
        target: the output folder.
        check: raises UserError when `target` must not be replaced; called again right before the replacement, because
            other programs may have written there since the caller asked first.

    Raises:
        UserError: the folder cannot be created or written, or `check` raises. `target` is unchanged then.
    """
    target = path_of(target).resolve()
    staging = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
    except FileExistsError:
        raise UserError(f"{staging}: left by an interrupted run; expected no such folder. Delete it.") from None
    except OSError as error:
        raise UserError(f"{staging}: cannot be created ({error.strerror}). Give another --output_dir.") from None
    try:
        yield staging
        check()
        take_place(staging, target, target.with_name(f"{target.name}.earlier-{os.getpid()}"))
    except OSError as error:
        raise UserError(
            f"{target}: writing failed ({error}); what was there is unchanged. Free some space or give another "
            "--output_dir."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def take_place(staging: Path, target: Path, earlier: Path) -> None:
    """Renames a complete folder to `target`; what was there is moved to `earlier` first, and deleted at the end.

    Args:
        staging: the complete folder, on the same file system.
        target: its final place.
        earlier: a path that does not exist, on the same file system. A process that is killed between the two renames
            leaves the earlier output there.

    Raises:
        OSError: `staging` cannot be renamed; `target` is unchanged then.
        UserError: the earlier output cannot be deleted; the new one is in place.
    """
    if target.exists():
        os.rename(target, earlier)
    try:
        os.rename(staging, target)
    finally:
        # Also after an interrupt between the two renames.
        if earlier.exists() and not target.exists():
            os.rename(earlier, target)
    try:
        if earlier.exists():
            shutil.rmtree(earlier)
    except OSError as error:
        raise UserError(
            f"{earlier}: the earlier output cannot be deleted ({error}); the new one is complete in {target}. "
            "Delete the earlier one."
        ) from None
