"""A folder in TensorFlow's ram:// that no other test uses."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from tc3net.common.storage import path_of, remove_tree


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """Made, and removed at the end."""
    folder = path_of(f"ram://{uuid.uuid4().hex}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        remove_tree(folder, ignore_errors=True)
