"""Values in ActivityNet's JSON: what is a number, an interval, a list of names, a detection, and what is not.

Numbers may be text, if it is a plain number, as in the THUMOS14 file that most code for weakly-supervised localization
brings along.
"""

from __future__ import annotations

import math
import re
from typing import Any

from tc3net.common.errors import UserError

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def names(value: Any, where: str) -> tuple[str, ...]:
    """A list of class names, without the blanks around them.

    Raises:
        UserError: anything else.
    """
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{where} is {value!r}; expected a list of class names. Correct the file.")
    return tuple(name.strip() for name in value)


def detection_problem(entry: Any) -> str:
    """Why a value is no detection; empty if it is one."""
    if not isinstance(entry, dict):
        return f"is {entry!r}, not an object"
    missing = [key for key in ("label", "score", "segment") if key not in entry]
    if missing:
        return f"has no {' and no '.join(missing)}"
    if not isinstance(entry["label"], str):
        return f"label is {entry['label']!r}, not a class name"
    if not is_number(entry["score"]):
        return f"score is {entry['score']!r}, not a finite number"
    return segment_problem(entry["segment"])


def segment_problem(segment: Any, *, possible: bool = True) -> str:
    """Why a value is no interval [start s, end s]; empty if it is one.

    Args:
        segment: the value.
        possible: whether its times have to be finite and in order.
    """
    times = [as_float(value) for value in segment] if isinstance(segment, list) else []
    numbers = [time for time in times if time is not None and (math.isfinite(time) or not possible)]
    if len(numbers) != 2 or len(times) != 2:
        return f"segment is {segment!r}, not [start, end] in seconds"
    return f"segment {segment!r} ends before it starts" if possible and numbers[1] < numbers[0] else ""


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    number = as_float(value)
    return number is not None and math.isfinite(number)


def as_float(value: Any) -> float | None:
    """A JSON number, or one as text, as float; None for anything else, also one beyond what a float holds."""
    written = isinstance(value, str) and _NUMBER.fullmatch(value)
    if not (written or isinstance(value, (int, float))) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
