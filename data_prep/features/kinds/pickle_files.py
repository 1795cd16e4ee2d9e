"""Pickles (.pkl) and PyTorch's files (.pt, .pth) of arrays or dictionaries of arrays; nothing in them is executed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_prep.features.kinds.container import Arrays, Container, Leaf, Location, Tree, leaves_of, naming
from data_prep.pickles.arrays import load_content
from data_prep.pickles.tensors import load_tensors


@functools.lru_cache(maxsize=2)  # a file for each stream: a data set in one file is not described anew for every video
def _leaves(load: Callable[[Path], Any], path: Path, size: int, changed_ns: int) -> dict[str, Leaf]:
    del size, changed_ns  # a file that changed is another one
    return leaves_of(load(path))


def _tree(load: Callable[[Path], Any], kind: str, location: Location) -> Tree:
    with naming(location, kind):
        status = location.path.stat()
        return Tree(_leaves(load, location.path, status.st_size, status.st_mtime_ns), location.node)


def _kind(name: str, suffixes: tuple[str, ...], first_bytes: bytes | None, load: Callable[[Path], Any]) -> Container:
    kind = suffixes[0]

    @contextlib.contextmanager
    def opened(location: Location) -> Iterator[Arrays]:
        tree = _tree(load, kind, location)
        with naming(location, kind):
            yield tree

    def members(path: Path) -> dict[str, bool]:
        return _tree(load, kind, Location(path)).members()

    return Container(name, suffixes, first_bytes, opened, members=members, is_common=False)


PKL = _kind("pkl", (".pkl", ".pickle"), b"\x80", load_content)
TORCH = _kind("pt", (".pt", ".pth"), None, load_tensors)
