"""Code that stands in the documentation, for tests that run it as it is."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tc3net.common import extensions
from tc3net.terminal.console import COMMANDS

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


PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))


def python_blocks(page: str) -> list[str]:
    """The Python code of a page.

    Args:
        page: path from the top folder.
    """
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)


def shell_lines(page: str) -> list[str]:
    """What a page says to type: the lines of its `sh` blocks, continued ones joined, without comments.

    Args:
        page: path from the top folder.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, flags=re.M | re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines) if line]


def module_commands(page: str) -> list[list[str]]:
    """The `python -m MODULE ...` and `tc3net COMMAND ...` lines of a page, as [MODULE, argument, ...]."""
    lines = [shlex.split(line.partition(" > ")[0]) for line in shell_lines(page)]
    return [
        words[2:] if words[:2] == ["python", "-m"] else [COMMANDS[words[1]].module, *words[2:]]
        for words in lines
        if words[:2] == ["python", "-m"] or (words[0] == "tc3net" and not words[1].startswith("--"))
    ]


def write_module(folder: Path, name: str, source: str) -> str:
    """Writes `folder/my_package/<name>.py`; returns its module name."""
    package = folder / "my_package"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    (package / f"{name}.py").write_text(source, encoding="utf-8")
    return f"my_package.{name}"


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
