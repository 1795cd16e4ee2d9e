"""A folder that a benchmark fills and removes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tc3net.common.errors import UserError


@contextlib.contextmanager
def work_folder(work_dir: str | None) -> Iterator[Path]:
    """The folder `--work_dir`, made if need be, and removed with everything in it at the end.

    Raises:
        UserError: not given, or it holds files.
    """
    if not work_dir:
        raise UserError("--work_dir is not set; expected a folder that may be written. Add --work_dir=...")
    work = Path(work_dir)
    if work.exists() and any(work.iterdir()):
        raise UserError(f"{work}: holds files; expected an empty folder or none, since it is emptied. Give another.")
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield work
    finally:
        shutil.rmtree(work)
