"""How every picture looks and is written."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from tc3net.common.files import atomic_path
from tc3net.common.storage import path_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of some inches; not pyplot's, which would open a display, and leave figures open."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@contextlib.contextmanager
def _drawn(name: str, draw: Callable[..., Figure], *arguments: Any) -> Iterator[Figure]:
    """The figure `draw(*arguments)` in the common style; what is saved depends on numbers alone."""
    common = {"svg.hashsalt": name, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(common):
        yield draw(*arguments)


def save(folder: str | Path, name: str, draw: Callable[..., Figure], *arguments: Any) -> None:
    """Writes the figure `draw(*arguments)` as PNG and SVG, atomically."""
    with _drawn(name, draw, *arguments) as figure:
        for ending in FORMATS:
            with atomic_path(path_of(folder) / f"{name}.{ending}") as temporary:
                metadata = {"Date": None} if ending == "svg" else None
                figure.savefig(temporary, format=ending, dpi=110, metadata=metadata)


def svg(name: str, draw: Callable[..., Figure], *arguments: Any) -> bytes:
    """The figure `draw(*arguments)` as an SVG document."""
    file = io.BytesIO()
    with _drawn(name, draw, *arguments) as figure:
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
