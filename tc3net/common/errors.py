"""The one exception type that a user's input can cause, and how several of them become one message.

An error message here always states what was found, what was expected, and the cure, and names the file or video.
Anything else that is raised is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

MISTAKES_SHOWN = 20
# What TensorFlow puts around its messages for its own developers: nodes of graphs, names of operations.
_OF_TENSORFLOW = re.compile(r"\[\[\{\{.*?\}\}\]\]|\{\{.*?\}\}|\[Op:[^\]]*\](\s*name:\s*)?", re.DOTALL)
_STACKS = re.compile(r"(Detected at node|Original stack trace|Stack trace for op).*", re.DOTALL)


class UserError(ValueError):
    """Input, configuration or files that the user can correct."""


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
    return " ".join(_OF_TENSORFLOW.sub("", _STACKS.sub("", text)).split())


def plain_message(error: Exception) -> str:
    """What an exception of TensorFlow says, as `plain_text`."""
    return plain_text(str(getattr(error, "message", None) or error)) or type(error).__name__
