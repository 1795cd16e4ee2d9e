"""How every picture looks and is written."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from tc3net.common.files import atomic_path

FORMATS = ("png", "svg")


@contextlib.contextmanager
def _drawn(name: str, draw: Callable[..., Figure], *arguments: Any) -> Iterator[Figure]:
    """The figure `draw(*arguments)` in the common style, closed afterwards; what is saved depends on numbers alone."""
    with plt.rc_context({"svg.hashsalt": name, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = draw(*arguments)
        try:
            yield figure
        finally:
            plt.close(figure)


def save(folder: str | Path, name: str, draw: Callable[..., Figure], *arguments: Any) -> None:
    """Writes the figure `draw(*arguments)` as PNG and SVG, atomically."""
    with _drawn(name, draw, *arguments) as figure:
        for ending in FORMATS:
            with atomic_path(Path(folder) / f"{name}.{ending}") as temporary:
                metadata = {"Date": None} if ending == "svg" else None
                figure.savefig(temporary, format=ending, dpi=110, metadata=metadata)


def svg(name: str, draw: Callable[..., Figure], *arguments: Any) -> bytes:
    """The figure `draw(*arguments)` as an SVG document."""
    file = io.BytesIO()
    with _drawn(name, draw, *arguments) as figure:
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
