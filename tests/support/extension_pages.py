"""Modules as docs/extending.md shows them, so that what is tested is what a reader copies."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tc3net.common import extensions

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def module_of(section: str) -> str:
    """The one Python block of a section of the page, by its heading."""
    text = PAGE.read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    (code,) = re.findall(r"^```python\n(.*?)^```$", body, re.DOTALL | re.MULTILINE)
    return str(code)


@contextlib.contextmanager
def loaded(folder: Path, name: str, code: str) -> Iterator[None]:
    """Writes a module and loads it as `--extensions` does; forgotten afterwards, but not what it added to tables."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    with mock.patch.object(extensions, "_loaded", []), mock.patch.object(sys, "path", [str(folder), *sys.path]):
        try:
            extensions.load_extensions([name])
            yield
        finally:
            sys.modules.pop(name, None)
