"""The one exception type that a user's input can cause: several as one message, and the system's errors in its words.

An error message here always states what was found, what was expected, and the cure, and names the file or video.
Anything else that is raised is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

MISTAKES_SHOWN = 20
# What TensorFlow puts around its messages for its own developers: nodes of graphs, names of operations.
_OF_TENSORFLOW = re.compile(r"\[\[\{\{.*?\}\}\]\]|\{\{.*?\}\}|\[Op:[^\]]*\](\s*name:\s*)?", re.DOTALL)
_STACKS = re.compile(r"(Original stack trace|Stack trace for op).*", re.DOTALL)
# Where in our code a node was made; what went wrong may stand before or after it.
_MADE = r"Graph execution error:|Detected at node .*|\d+ root error\(s\) found\.|Node: .*|<stack traces unavailable>"
_MADE_LINES = re.compile(rf"^({_MADE}|\s+File \".*)$", re.MULTILINE)


class UserError(ValueError):
    """Input, configuration or files that the user can correct."""


class UsageError(UserError):
    """A command line that cannot be understood, before anything is done: exit status 2."""


class Mistakes:
    """The mistakes of one file, gathered, so that a user corrects all of them at once.

    Args:
        path: the file or folder.
    """

    def __init__(self, path: object) -> None:
        self._path = str(path)
        self.messages: list[str] = []

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """Keeps a `UserError` inside for later; what the block would have given is missing then."""
        try:
            yield
        except _ManyError as error:
            self.messages += error.messages
        except UserError as error:
            self.messages.append(str(error))

    def add(self, message: str) -> None:
        """Keeps one more message."""
        self.messages.append(message)

    def raise_if_any(self) -> None:
        """Ends the gathering.

        Raises:
            UserError: something was gathered; one message as it was, several below each other, up to a limit.
        """
        if self.messages:
            raise _ManyError(self._path, list(dict.fromkeys(self.messages)))


class _ManyError(UserError):
    """Several messages; gathered again, they stay apart."""

    def __init__(self, path: str, messages: list[str]) -> None:
        self.messages = messages
        super().__init__(messages[0] if len(messages) == 1 else _listed(path, messages))


def _listed(path: str, messages: list[str]) -> str:
    lines = [f"{path}: {len(messages)} mistakes found; expected none."]
    lines += [f"  {message}" for message in messages[:MISTAKES_SHOWN]]
    if len(messages) > MISTAKES_SHOWN:
        lines.append(f"  ... and {len(messages) - MISTAKES_SHOWN} more")
    return "\n".join(lines)


def plain_text(text: str) -> str:
    """A message of TensorFlow, in one line and without the names of its nodes and operations."""
    return " ".join(_OF_TENSORFLOW.sub("", _MADE_LINES.sub("", _STACKS.sub("", text))).split())


def plain_message(error: Exception) -> str:
    """What an exception of TensorFlow says, as `plain_text`."""
    return plain_text(str(getattr(error, "message", None) or error)) or type(error).__name__


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
# What TensorFlow says of object stores names one.
_OF_STORAGE = re.compile(r"\b(gs|s3|az|hdfs|viewfs)://|\.googleapis\.com/|\.amazonaws\.com/")
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
        message = str(getattr(error, "message", error))
        number, path = _of_tensorflow(message)
        if number is None and _OF_STORAGE.search(message):
            where = " or ".join(places) or "remote storage"
            return UserError(
                f"{where}: {plain_text(message)} found; expected storage that answers. Check the connection and the "
                f"credentials, and run it again. {_UNCHANGED}"
            )
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
