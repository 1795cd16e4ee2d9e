"""The one exception type that a user's input can cause, and the system's errors in its words.

An error message here always states what was found, what was expected, and the cure, and names the file or video.
Anything else that is raised is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path


class UserError(ValueError):
    """Input, configuration or files that the user can correct."""


_UNCHANGED = "What was complete before is unchanged."
_FULL = f"expected room for what is written. Free some space, or give another folder, and run it again. {_UNCHANGED}"
_FORBIDDEN = f"expected a path that may be read, or written where results go. Change its rights, or give another path. \
{_UNCHANGED}"
_NO_FOLDER = f"expected a folder, or nothing yet. Give another path, or move that file away. {_UNCHANGED}"
_BROKEN = f"expected a disk that answers. Check the disk or its connection, and run it again. {_UNCHANGED}"
_MANY = "expected fewer open files at once. Raise the limit (ulimit -n), or close other programs."
# What the system may find wrong that is no bug of ours: what was expected, and the cure.
_OF_THE_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.EISDIR: f"expected a file. Give the path of a file. {_UNCHANGED}",
    errno.ENOENT: f"expected it to be there. Check the path; was it removed meanwhile? {_UNCHANGED}",
    errno.ENAMETOOLONG: "expected a shorter name. Give another path.",
    errno.EIO: _BROKEN,
    errno.ESTALE: _BROKEN,
    errno.EMFILE: _MANY,
    errno.ENFILE: _MANY,
}
_TEXTS = {os.strerror(number): number for number in _OF_THE_SYSTEM}


def user_error_of(error: BaseException, places: Sequence[str] = ()) -> UserError | None:
    """The system's complaint about a disk or path, or about memory, as a user's error; None for anything else.

    Args:
        error: an OSError, or what TensorFlow makes of one.
        places: the folders and files that the command was given, named where the error names none.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError):
        number, named = error.errno, error.filename
        path = os.fsdecode(named) if isinstance(named, (str, bytes, os.PathLike)) else ""
        if number is None and re.search(r"\d+ requested and \d+ written", str(error)):  # NumPy, of a full disk
            number = errno.ENOSPC
    elif any(kind.__name__ == "OpError" and kind.__module__.startswith("tensorflow") for kind in type(error).__mro__):
        number, path = _of_tensorflow(str(getattr(error, "message", error)))
    else:
        return None
    if number not in _OF_THE_SYSTEM:
        return None
    if number in (errno.ENOTDIR, errno.EEXIST):
        path = next((str(part) for part in (Path(path), *Path(path).parents) if part.is_file()), path)
    where = path or " or ".join(places) or "a file"
    return UserError(f"{where}: {os.strerror(number).lower()} found; {_OF_THE_SYSTEM[number]}")


def _of_tensorflow(message: str) -> tuple[int | None, str]:
    """Error number and path of a message such as "run/checkpoints/step-4_temp/part-0; No space left on device"."""
    found = re.search(rf"(?:(\S+); )?({'|'.join(map(re.escape, _TEXTS))})", message)
    return (_TEXTS[found[2]], found[1] or "") if found else (None, "")
