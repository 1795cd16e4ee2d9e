"""SIGTERM and SIGINT as requests to stop: the run ends after its current step, with everything saved."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):  # not an Exception: code that handles errors must not take it for one
    """Raised by a request to stop while `Interruptions.immediate` allows it."""


class Interruptions:
    """Context in which the two signals are noted instead of ending the process; a second one acts as usual.

    Outside the main thread (Python delivers signals there only) it does nothing.

    Attributes:
        received: the signal that came first, if any.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._immediate = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruptions:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self.__exit__()
        if self._immediate:
            raise Interrupted

    @contextlib.contextmanager
    def immediate(self) -> Iterator[None]:
        """Inside, a signal raises `Interrupted` at once: for long work that is repeated on resume and loses nothing.

        Raises:
            Interrupted: also where the signal came before.
        """
        self._immediate = True
        try:
            if self.received:
                raise Interrupted
            yield
        finally:
            self._immediate = False
