"""What a task leaves behind: one line of JSON, with its result, or with the error that the user can correct.

An error is such a line too: raised in a worker, an engine would retry it, and wrap the message into its own traceback.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tc3net.common.errors import UserError
from tc3net.common.names import counted


def outcome_line(task: int, work: Callable[[], Any]) -> str:
    """One line of JSON: the task's number with what `work` returns, or with the error that the user can correct."""
    try:
        return json.dumps({"task": task, "result": work()}, allow_nan=False)
    except (UserError, OSError) as error:
        return json.dumps({"task": task, "error": str(error), "is_user_error": isinstance(error, UserError)})


def results(lines: Iterable[str], count: int, where: str) -> Iterator[tuple[int, Any]]:
    """The task numbers and results of outcome lines, each task once, as they come.

    Args:
        lines: in any order; a task that was run twice may have two.
        count: number of tasks.
        where: what ran them, for the message.

    Raises:
        UserError: a worker met one; or tasks left no line although whatever ran them ended without an error.
        OSError: a worker met one.
    """
    found: set[int] = set()
    for line in lines:
        outcome = json.loads(line)
        if "error" in outcome:
            raise (UserError if outcome["is_user_error"] else OSError)(outcome["error"])
        if outcome["task"] not in found:
            found.add(outcome["task"])
            yield outcome["task"], outcome["result"]
    missing = sorted(set(range(count)) - found)
    if missing or len(found) != count:
        first = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise UserError(
            f"{where}: results of {len(found)} of {counted(count, 'task')} found after it had ended without an error "
            f"(missing: {first}); expected all. Run the same command again; see that every worker has the same version "
            "of tc3net and sees the same folders under the same paths."
        )
