"""An evaluation takes the place of the one before it: whole, or not at all, and never beside parts of that one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tc3net.common.errors import UserError
from tc3net.common.storage import RemotePath, path_of
from tc3net.common.storage.copies import put_folder
from tc3net.results.folder import DETECTIONS, METRICS, RAW_SCORES, TRUTH

_TABLE, _PICTURE = r"\.(csv|md|tex)", r"\.(png|svg)"
# What an evaluation and its report write, by folder; other files there are someone else's, and stay.
_OWN = {
    ".": rf"{re.escape(DETECTIONS)}|{re.escape(TRUTH)}|{re.escape(METRICS)}|report\.html",
    "tables": rf"(summary|per_class_.+){_TABLE}",
    "analysis": rf"analysis\.json|(errors|profile|sensitivity)_.+{_TABLE}|(errors|sensitivity|missed)_.+{_PICTURE}",
}


def check_raw_scores(folder: str | Path, source: str | Path | None) -> None:
    """Refuses a folder with raw scores that are not those evaluated: they would stand beside other results.

    Args:
        folder: where results go.
        source: the raw scores that are evaluated, if they come from a file.

    Raises:
        UserError: the folder holds others. They may have taken hours, and are nobody's to delete.
    """
    there = path_of(folder) / RAW_SCORES
    if there.is_file() and (source is None or there.resolve() != path_of(source).resolve()):
        raise UserError(
            f"{there} found, raw scores of another evaluation; expected none beside these results. Choose another "
            "--output_dir, or move that file away."
        )


@contextlib.contextmanager
def replacing(folder: str | Path) -> Iterator[Path]:
    """Yields a folder to write an evaluation into, which takes the earlier one's place on success.

    On success the earlier evaluation's files are removed, its analysis and report too, and the new ones are renamed
    into place; raw scores stay where no new ones are written. After a failure the earlier evaluation is as it was. On
    other storage than disks each file is replaced in one step, but not all together: metrics.json goes first and comes
    last, so that none without it is a whole evaluation.

    Args:
        folder: of the evaluation; made if absent.

    Raises:
        OSError: it cannot be written.
    """
    folder = path_of(folder)
    if isinstance(folder, RemotePath):
        with _replacing_remotely(folder) as new:
            yield new
        return
    folder.mkdir(parents=True, exist_ok=True)
    new = folder
    try:
        new = Path(tempfile.mkdtemp(prefix=".evaluation-", dir=folder))
        yield new
        for path in sorted(_earlier(folder)):
            path.unlink()
        for path in sorted(path for path in new.rglob("*") if path.is_file()):
            target = folder / path.relative_to(new)
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
        for name in _OWN:
            with contextlib.suppress(OSError):  # not empty
                (folder / name).rmdir()
    except OSError as error:
        named = os.fsdecode(error.filename or folder)
        error.filename = named.replace(str(new), str(folder))  # as the user knows it
        raise
    finally:
        if new != folder:
            shutil.rmtree(new, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # where nothing was there before


@contextlib.contextmanager
def _replacing_remotely(folder: RemotePath) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tc3net-") as temporary:
        new = Path(temporary, folder.name)
        new.mkdir()
        yield new
        earlier = list(_earlier(path_of(folder)))
        for path in sorted(earlier, key=lambda path: path.name != METRICS):
            path.unlink(missing_ok=True)
        put_folder(new, folder, last=METRICS)


def _earlier(folder: Path) -> Iterator[Path]:
    """Files of an earlier evaluation, but for raw scores."""
    for name, pattern in _OWN.items():
        for path in (folder / name).glob("*"):
            if path.is_file() and re.fullmatch(pattern, path.name):
                yield path
