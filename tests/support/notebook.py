"""Runs the code cells of a notebook one after the other in this process, without Jupyter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def cells_of(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook file."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def run_notebook(path: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the names of a notebook stand for at its end.

    Args:
        path: the notebook.
        parameters: take the place of what the first cell that sets any of them has set; that cell must set all.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    waiting = dict(parameters)
    for number, cell in enumerate(cells_of(path)):
        if cell["cell_type"] != "code":
            continue
        exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
        if set(waiting) & set(names):
            assert set(waiting) <= set(names), f"no parameters of the notebook: {set(waiting) - set(names)}"
            names.update(waiting)
            waiting = {}
    assert not waiting
    return names
