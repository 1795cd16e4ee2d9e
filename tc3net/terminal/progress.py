"""How far long work is: a bar on a terminal, and nothing in a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(items: Iterable[Any] | None, what: str, unit: str, *, total: int | None = None, done: int = 0) -> tqdm:
    """A bar on standard error, if that is a terminal.

    Args:
        items: to go through with the bar; None: the caller adds what is done with `update`, inside of `with`.
        what: is done with them ("scoring").
        unit: one of them ("video").
        total: how many there are; of `items` without a length too.
        done: how many were done before.
    """
    from tqdm import tqdm  # here, since help and refused input need no bar

    # None: switched off where the output is no terminal. Short work shows nothing, and what is done leaves nothing.
    return tqdm(items, desc=what, unit=unit, total=total, initial=done, disable=None, delay=0.5, leave=False)
