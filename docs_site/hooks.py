"""What the site has beyond the pages of docs/: those of the top folder, notebooks, one per command (from its flags),
and the API (from docstrings, by `api`)."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import api  # beside this file, where MkDocs lets hooks import from
from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"index.md": "README.md", "build-notes.md": "BUILD_NOTES.md", "changelog.md": "CHANGELOG.md"}
# In a process of its own: defining the flags of all commands leaves traces in absl.
TELL = """
import json
from absl import flags
from tc3net.common.extensions import define_extensions_flag
from tc3net.terminal.console import COMMANDS, flags_definer
from tc3net.terminal.help import grouped, own_flags
define_extensions_flag()
found = {}
for name, command in COMMANDS.items():
    define, before = flags_definer(name), set(flags.FLAGS)
    define()
    groups = {title: [[f.written, f.text, f.default] for f in told] for title, told in grouped(own_flags()).items()}
    found[name] = {"module": command.module, "summary": command.summary, "groups": groups}
    for flag in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, flag)
print(json.dumps(found))
"""


def from_the_top(name: str) -> str:
    """A page of the top folder, with its links as they are from docs/."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for page, source in PAGES.items():
        text = text.replace(f"]({source}", f"]({page}")
    return text


def notebook_page(path: Path) -> str:
    """A notebook as a page: its text, its code, and where it lies to be run."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    parts.insert(1, f"To run it: [the notebook]({path.name}).")
    text = "\n\n".join(parts) + "\n"
    for page, source in PAGES.items():
        text = text.replace(f"](../../{source}", f"](../{page}")
    return text.replace("](../docs/", "](../")


def command_page(name: str, told: dict[str, Any]) -> str:
    """The page of a command."""
    summary = told["summary"]
    lines = [
        f"# tc3net {name}",
        "",
        f"{summary[0].upper()}{summary[1:]}. The same as `python -m {told['module']}`.",
        "",
    ]
    for title, members in told["groups"].items():
        lines += [f"## {title.capitalize()}", "", "| flag | |", "|---|---|"]
        lines += [f"| `{_cell(written)}` | {_cell(text)} |" for written, text, _ in members]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return re.sub(r"<(\w+)", r"&lt;\1", " ".join(text.split()).replace("|", "\\|"))


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", TELL], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"The commands' flags cannot be told:\n{done.stderr}")
    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=from_the_top(source)))
    commands = json.loads(done.stdout.splitlines()[-1])
    for name, told in commands.items():
        page = f"commands/{name}.md"  # reached from the page of all commands
        files.append(
            File.generated(config, page, content=command_page(name, told), inclusion=InclusionLevel.NOT_IN_NAV)
        )
    stages, index = _stages(), _index()
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=notebook_page(path)))
    files.append(File.generated(config, "api/index.md", content=api.overview_page(stages)))
    for stage in api.STAGES:
        content = api.stage_page(stage, stages[stage.name], index)
        files.append(File.generated(config, f"api/{stage.name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links out of docs/ lead to the pages made of those files; commands link to their pages, names to the API."""
    if page.file.src_uri == "commands.md":
        known = {Path(file.src_uri).stem for file in files if file.src_uri.startswith("commands/")}
        links = " · ".join(f"[{name}](commands/{name}.md)" for name in sorted(known))
        markdown += f"\n\n## All flags\n\n{links}\n"
    for target, source in PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({target}")
    if not page.file.src_uri.startswith("notebooks/"):
        markdown = re.sub(r"\]\((notebooks/\w+)\.ipynb\)", r"](\1.md)", markdown)
    uri = page.file.src_uri
    return markdown if uri.startswith("api/") else api.linked(markdown, _index(), uri)


@functools.cache
def _stages() -> dict[str, list[api.Module]]:
    return api.all_modules()


@functools.cache
def _index() -> dict[str, api.Entry]:
    return api.index_of(_stages())


def on_post_build(config: Any) -> None:
    """Writes the source that entries of the API lead to, one page per module."""
    for modules in _stages().values():
        for module in modules:
            target = Path(config.site_dir) / api.source_page(module.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(api.source_text(module), encoding="utf-8")
