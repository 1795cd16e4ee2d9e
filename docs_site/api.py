"""The pages of the API: every public function and class with its docstring, read from the source without importing it.

One page per stage of the pipeline. Docstrings are set as they are written, with their sections (Args, Returns, Raises,
Attributes) as lists; each entry leads to its line of the source, which is part of the site.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Stage:
    """One page: packages that belong together."""

    name: str
    title: str
    packages: tuple[str, ...]


STAGES = (
    Stage(
        "data_prep",
        "Data preparation",
        (
            "data_prep.annotations", "data_prep.features", "data_prep.inputs", "data_prep.checks",
            "data_prep.conversion", "data_prep.inspection", "data_prep.simulation", "data_prep.output",
            "data_prep.pickles",
        ),
    ),
    Stage("extraction", "Features of videos", ("data_prep.extraction",)),
    Stage("data", "Data and intervals", ("tc3net.data", "tc3net.intervals")),
    Stage("model", "Model", ("tc3net.model", "tc3net.inference", "tc3net.ops")),
    Stage("losses", "Losses", ("tc3net.losses",)),
    Stage("training", "Training", ("tc3net.optimization", "tc3net.training", "tc3net.runs", "tc3net.refinement")),
    Stage("detection", "Detection", ("tc3net.detection",)),
    Stage("evaluation", "Evaluation", ("tc3net.evaluation", "tc3net.results", "tc3net.experiments")),
    Stage("engines", "Engines for clusters", ("tc3net.engines",)),
    Stage("pictures", "Pictures and reports", ("tc3net.visualization", "tc3net.report")),
    Stage("serving", "Prediction, export, serving", ("tc3net.prediction", "tc3net.saved_model", "tc3net.serving")),
    Stage("common", "Common parts", ("tc3net.common", "tc3net.terminal")),
)  # fmt: skip

Function = (ast.FunctionDef, ast.AsyncFunctionDef)
TITLES = ("Args", "Returns", "Raises", "Yields", "Attributes")


@dataclass(frozen=True)
class Entry:
    """A public function or class.

    Attributes:
        name: its full name, which is also its anchor.
        page: of the site, from docs/.
        module: it is defined in.
        node: its definition.
        members: public methods with a docstring, of a class.
    """

    name: str
    page: str
    module: str
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    members: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Module:
    """A module and its entries, in the order of the source."""

    name: str
    path: Path
    docstring: str
    entries: tuple[Entry, ...] = field(default=())


def _public(name: str) -> bool:
    return not name.startswith("_")


def _entry(node: ast.stmt, prefix: str, page: str, module: str) -> Iterator[Entry]:
    if not isinstance(node, (*Function, ast.ClassDef)) or not _public(node.name) or not ast.get_docstring(node):
        return
    name = f"{prefix}.{node.name}"
    inside = [entry for part in node.body for entry in _entry(part, name, page, module)]
    members = inside if isinstance(node, ast.ClassDef) else []
    yield Entry(name, page, module, node, tuple(members))


def modules_of(stage: Stage, root: Path = ROOT) -> list[Module]:
    """The modules of a stage that define something public."""
    found = []
    for package in stage.packages:
        for path in sorted((root / package.replace(".", "/")).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if any(part.startswith("_") and part != "__init__" for part in parts):
                continue
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            page = f"api/{stage.name}.md"
            entries = tuple(entry for node in tree.body for entry in _entry(node, name, page, name))
            if entries:
                found.append(Module(name, path, ast.get_docstring(tree) or "", entries))
    return found


def all_modules(root: Path = ROOT) -> dict[str, list[Module]]:
    """The modules of every stage, by its name."""
    return {stage.name: modules_of(stage, root) for stage in STAGES}


def index_of(stages: Mapping[str, list[Module]]) -> dict[str, Entry]:
    """Entries and their methods, by full name."""
    found: dict[str, Entry] = {}
    for modules in stages.values():
        for module in modules:
            for entry in module.entries:
                found[entry.name] = entry
                found.update({member.name: member for member in entry.members})
    return found


def source_page(module: str) -> str:
    """Where a module's source lies in the site."""
    return f"source/{module}.html"


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """`def name(...) -> ...`, one argument a line where it is long."""
    given, parts = node.args, []
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    pairs = [*zip(plain, defaults)]
    if pairs and pairs[0][0].arg in ("self", "cls"):
        pairs = pairs[1:]
    parts += [_argument(argument, default) for argument, default in pairs]
    if given.posonlyargs:
        parts.insert(len(given.posonlyargs), "/")
    if given.vararg:
        parts.append("*" + ast.unparse(given.vararg))
    elif given.kwonlyargs:
        parts.append("*")
    parts += [_argument(argument, default) for argument, default in zip(given.kwonlyargs, given.kw_defaults)]
    if given.kwarg:
        parts.append("**" + ast.unparse(given.kwarg))
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({', '.join(parts)}){returns}"
    if len(line) <= 100:
        return line
    return f"{node.name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = ast.unparse(argument)
    if default is None:
        return text
    return f"{text} = {ast.unparse(default)}" if argument.annotation else f"{text}={ast.unparse(default)}"


def _class_lines(node: ast.ClassDef) -> str:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    made = next((n for n in node.body if isinstance(n, Function) and n.name == "__init__"), None)
    head = f"class {node.name}({bases})" if bases else f"class {node.name}"
    return head if made is None else f"{head}\n{signature(made).replace('__init__', node.name, 1)}"


def _fields(node: ast.ClassDef) -> list[tuple[str, str]]:
    """(field with type and default, what it is said to be) of dataclasses and named tuples."""
    found = []
    for part in node.body:
        if not (isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and _public(part.target.id)):
            continue
        head, value, text = f"{part.target.id}: {ast.unparse(part.annotation)}", part.value, ""
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "option":
            (value, *rest) = value.args
            text = str(ast.literal_eval(rest[0])) if rest and isinstance(rest[0], ast.Constant) else ""
        found.append((head if value is None else f"{head} = {ast.unparse(value)}", text))
    return found


def _starts_anew(line: str) -> bool:
    """Whether a line begins an item of a list, or a section."""
    return line.startswith("- ") or (line.endswith(":") and line[:-1] in TITLES)


def _plain(text: str) -> str:
    return re.sub(r"(?<![\w*])\*(\w+)\*(?![\w*])", r"<em>\1</em>", html.escape(text, quote=False))


class Writer:
    """Writes docstrings as HTML; names of entries lead to them.

    Args:
        index: all entries.
        page: that is written.
    """

    def __init__(self, index: Mapping[str, Entry], page: str) -> None:
        self.index, self.page = index, page

    def inline(self, text: str, module: str) -> str:
        """Escaped text, with what stands in backticks as code."""
        parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
        return "".join(self._code(part[1:-1], module) if part[:1] == "`" else _plain(part) for part in parts)

    def _code(self, text: str, module: str) -> str:
        shown = f"<code>{html.escape(text)}</code>"
        entry = self.index.get(text) or self.index.get(f"{module}.{text}")
        if entry is None:
            return shown
        page = "" if entry.page == self.page else Path(entry.page).name.replace(".md", ".html")
        return f'<a href="{page}#{entry.name}">{shown}</a>'

    def docstring(self, text: str, module: str) -> str:
        """Paragraphs, code, and sections of a docstring."""
        made = []
        for block in re.split(r"\n\s*\n", text):
            lines = block.splitlines()
            while lines:
                title = lines[0].strip().rstrip(":")
                if title in TITLES and lines[0] == f"{title}:":
                    inside = [line for line in lines[1:] if line.startswith("    ")]
                    made.append(self._section(title, [line[4:] for line in inside], module))
                    lines = lines[1 + len(inside) :]
                elif lines[0].startswith("    "):
                    made.append(f"<pre>{html.escape(chr(10).join(lines))}</pre>")
                    lines = []
                else:
                    end = next((i for i, line in enumerate(lines) if i and _starts_anew(line)), len(lines))
                    text, tag = " ".join(lines[:end]), "p"
                    if text.startswith("- "):
                        text, tag = text[2:], "li"
                    made.append(f"<{tag}>{self.inline(text, module)}</{tag}>")
                    lines = lines[end:]
        return "".join(made)

    def _section(self, title: str, lines: list[str], module: str) -> str:
        if title in ("Returns", "Yields"):
            return f"<p><strong>{title}</strong> {self.inline(' '.join(lines), module)}</p>"
        items: list[str] = []
        for line in lines:
            if line.startswith(" ") and items:
                items[-1] += f" {line}"
            else:
                items.append(line)
        rows = []
        for item in items:
            name, colon, meaning = item.partition(": ")
            row = f"<code>{html.escape(name)}</code>: {self.inline(meaning, module)}" if colon else None
            rows.append(f"<li>{row or self.inline(item, module)}</li>")
        return f"<p><strong>{title}</strong></p><ul>{''.join(rows)}</ul>"

    def entry(self, entry: Entry) -> list[str]:
        """The lines of a function or class."""
        node, name = entry.node, entry.name.rpartition(".")[2]
        code = _class_lines(node) if isinstance(node, ast.ClassDef) else signature(node)
        lines = [f"### {name} {{#{entry.name}}}", "", f"<div><pre><code>{html.escape(code)}</code></pre>"]
        lines.append(_source_link(entry))
        lines.append(self.docstring(ast.get_docstring(node) or "", entry.module))
        if isinstance(node, ast.ClassDef) and (fields := _fields(node)):
            rows = [
                f"<li><code>{html.escape(head)}</code>{': ' if text else ''}{self.inline(text, entry.module)}</li>"
                for head, text in fields
            ]
            lines.append(f"<p><strong>Fields</strong></p><ul>{''.join(rows)}</ul>")
        for member in entry.members:
            lines.append(self._member(member))
        return [*lines, "</div>", ""]

    def _member(self, member: Entry) -> str:
        node, short = member.node, member.name.rpartition(".")[2]
        is_property = any(ast.unparse(d).endswith("property") for d in node.decorator_list)
        if isinstance(node, ast.ClassDef):
            told = f"class {short}"
        elif is_property:
            told = f"{short} -> {ast.unparse(node.returns)}" if node.returns else short
        else:
            told = signature(node)
        text = self.docstring(ast.get_docstring(node) or "", member.module)
        return f'<h4 id="{member.name}"><code>{html.escape(told)}</code></h4>{_source_link(member)}{text}'


def _source_link(entry: Entry) -> str:
    first = min([entry.node.lineno, *(d.lineno for d in entry.node.decorator_list)])
    return f'<p><a href="../{source_page(entry.module)}#line-{first}">Source</a></p>'


def source_text(module: Module) -> str:
    """The source of a module as a page of HTML, every line with an anchor."""
    lines = html.escape(module.path.read_text(encoding="utf-8"), quote=False).splitlines()
    rows = "\n".join(
        f'<a id="line-{number}" href="#line-{number}">{number:4}</a> {line}' for number, line in enumerate(lines, 1)
    )
    look = "a{color:#999;text-decoration:none}:target{background:#fd6;color:#000}pre{font-size:14px;line-height:1.4}"
    head = f'<!doctype html><meta charset="utf-8"><title>{module.name}</title><style>{look}</style>'
    return f"{head}<h1>{module.name}</h1><pre>{rows}</pre>\n"


def stage_page(stage: Stage, modules: list[Module], index: Mapping[str, Entry]) -> str:
    """The page of a stage, in Markdown."""
    writer = Writer(index, f"api/{stage.name}.md")
    lines = [f"# {stage.title}", ""]
    for module in modules:
        lines += [f"## {module.name} {{#{module.name}}}", ""]
        lines += ["<div>", writer.docstring(module.docstring, module.name), "</div>", ""]
        for entry in module.entries:
            lines += writer.entry(entry)
    return "\n".join(lines)


def overview_page(stages: Mapping[str, list[Module]]) -> str:
    """The first page of the API: what is where."""
    lines = [
        "# API",
        "",
        "Public functions and classes, by the stages of the pipeline, with their docstrings. Commands have [pages of "
        "their own](../commands.md); how packages depend on one another: [architecture](../architecture.md). Equations "
        "stand beside their functions in [methods](../methods.md).",
        "",
        "| | packages | entries |",
        "|---|---|---:|",
    ]
    for stage in STAGES:
        number = sum(len(module.entries) for module in stages[stage.name])
        names = ", ".join(f"`{package}`" for package in stage.packages)
        lines.append(f"| [{stage.title}]({stage.name}.md) | {names} | {number} |")
    return "\n".join([*lines, ""])


def linked(markdown: str, index: Mapping[str, Entry], page: str) -> str:
    """Markdown in which full names of entries in backticks lead to them; not in code blocks, nor where a link is.

    Args:
        markdown: of a page.
        index: all entries.
        page: its place, from docs/.
    """
    up = "../" * page.count("/")

    def link(match: re.Match[str]) -> str:
        entry = index.get(match[1])
        return match[0] if entry is None else f"[{match[0]}]({up}{entry.page}#{entry.name})"

    parts = re.split(r"(^ *```.*?^ *```)", markdown, flags=re.M | re.S)
    return "".join(
        part if number % 2 else re.sub(r"(?<!\[)`((?:tc3net|data_prep)\.[\w.]+)`", link, part)
        for number, part in enumerate(parts)
    )
