"""How far long work is: one line that is written over, on a terminal only, never in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TextIO, TypeVar

T = TypeVar("T")
_EVERY_S = 0.2
_FIRST_AFTER_S = 0.5  # short work shows nothing


class Progress:
    """Shows `what: done/total` on standard error while inside; nothing where that is no terminal.

    Args:
        what: in words ("scoring").
        total: how much there is.
        unit: of it ("videos").
        stream: instead of standard error.
    """

    def __init__(self, what: str, total: int, unit: str, stream: TextIO | None = None) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._stream = stream or sys.stderr
        self._shows = bool(getattr(self._stream, "isatty", lambda: False)())
        self._done, self._next_s, self._width = 0, time.monotonic() + _FIRST_AFTER_S, 0

    def __enter__(self) -> Progress:
        return self

    def add(self, number: int = 1) -> None:
        """So many more are done."""
        self._done += number
        if self._shows and time.monotonic() >= self._next_s:
            line = f"{self._what}: {self._done}/{self._total} {self._unit}"
            self._stream.write(f"\r{line:<{self._width}}")
            self._stream.flush()
            self._width, self._next_s = len(line), time.monotonic() + _EVERY_S

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._width:
            self._stream.write(f"\r{'':<{self._width}}\r")
            self._stream.flush()


def counted_off(items: Iterable[T], what: str, total: int, unit: str) -> Iterator[T]:
    """The items, with a `Progress` of them."""
    with Progress(what, total, unit) as progress:
        for item in items:
            yield item
            progress.add()
