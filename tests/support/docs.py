"""Code that stands in the documentation, for tests that run it as it is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def code_blocks(page: str, section: str, language: str = "python") -> list[str]:
    """The code blocks of one section of a page in docs/, in order.

    Args:
        page: file name.
        section: its heading, without the marks.
        language: after the fence.
    """
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    body = re.split(r"^## ", text, flags=re.M)
    (chosen,) = [part for part in body if part.partition("\n")[0] == section]
    return re.findall(rf"^```{language}\n(.*?)^```", chosen, flags=re.M | re.S)


def write_module(folder: Path, name: str, source: str) -> str:
    """Writes `folder/my_package/<name>.py`; returns its module name."""
    package = folder / "my_package"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    (package / f"{name}.py").write_text(source, encoding="utf-8")
    return f"my_package.{name}"
