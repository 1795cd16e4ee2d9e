"""Writing files so that an interrupted write never replaces what is already on disk."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tc3net.common.errors import UserError
from tc3net.common.storage import is_remote, path_of


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it is renamed to `path`, on failure it is removed.

    For a remote `path` the temporary one lies on this machine, and becomes the object as a whole.

    Args:
        path: the file to create or replace. Its folder is made if absent.

    Raises:
        OSError: it cannot be written; the error names `path`, not the temporary one.
    """
    target, temporary = path_of(path), None
    if is_remote(target):
        with tempfile.TemporaryDirectory(prefix="tc3net-") as folder:
            temporary = Path(folder, f".{target.name}.partial{target.suffix}")
            yield temporary
            target.put(temporary)  # type: ignore[attr-defined]
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        ours = error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(f".{target.name}.")
        if ours and error.errno is not None:  # without a number, the message is all that is shown
            error.filename, error.filename2 = str(target), None
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as indented JSON, atomically. NaN and Inf are refused (they are not JSON)."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Reads a JSON file, which may begin with a byte order mark.

    Args:
        path: the file.
        what: what the file should be, for the error message ("annotation file").

    Raises:
        UserError: the file is absent or is not JSON.
    """
    try:
        return json.loads(path_of(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected the {what}. Check the path.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: expected a JSON {what}, found something else ({error}). Write the file again."
        ) from None


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, as hex digits."""
    digest = hashlib.sha256()
    with path_of(path).open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def encoding_of(path: str | os.PathLike[str]) -> str:
    """How a text file is written down, by its byte order mark: UTF-16 (as spreadsheets export it), else UTF-8.

    Raises:
        OSError: it cannot be read.
    """
    with path_of(path).open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
