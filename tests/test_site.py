"""The documentation builds as a site without a warning: every page, link and anchor leads somewhere."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tc3net import losses
from tc3net.detection import detector, proposals, suppression, tracks
from tc3net.losses.objective import ADDED, ROWS
from tc3net.terminal.console import COMMANDS
from tests.support.needs import MKDOCS, needs

ROOT = Path(__file__).resolve().parent.parent


def load_api() -> ModuleType:
    """docs_site/api.py, which is no package."""
    spec = importlib.util.spec_from_file_location("docs_site_api", ROOT / "docs_site" / "api.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def api() -> ModuleType:
    return load_api()


@pytest.fixture(scope="module")
def index(api: ModuleType) -> dict[str, Any]:
    return api.index_of(api.all_modules())


def test_every_page_of_docs_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": ([\w-]+\.md)$", nav, flags=re.M)  # those of the API lie in a folder
    made = {"index.md", "build-notes.md", "changelog.md"}
    assert len(listed) == len(set(listed))
    assert set(listed) == made | {path.name for path in (ROOT / "docs").glob("*.md")}


@needs(MKDOCS)
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    # Not --quiet: with it, warnings do not count.
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in COMMANDS:
        assert "<code>--" in (site / "commands" / f"{name}.html").read_text(encoding="utf-8")
    assert "Find when actions happen" in (site / "index.html").read_text(encoding="utf-8")
    notebook = (site / "notebooks" / "first_run.html").read_text(encoding="utf-8")
    assert 'href="first_run.ipynb"' in notebook and (site / "notebooks" / "first_run.ipynb").is_file()
    assert 'href="notebooks/first_run.html"' in (site / "index.html").read_text(encoding="utf-8")
    entry = "api/losses.html#tc3net.losses.center.center_loss"
    for page in ("methods.html", "architecture.html"):  # names lead to their entries, whose text leads to the source
        assert f'href="{entry}"' in (site / page).read_text(encoding="utf-8")
    for page in (site / "api").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        for target, line in re.findall(r'href="\.\./source/([\w.]+)#(line-\d+)"', text):
            assert f'id="{line}"' in (site / "source" / target).read_text(encoding="utf-8")
        assert page.name == "index.html" or len(re.findall(r'href="\.\./source/', text)) > 10


def test_every_package_is_on_one_page_of_the_api(api: ModuleType) -> None:
    placed = [package for stage in api.STAGES for package in stage.packages]
    packages = [
        f"{top}.{path.parent.name}" for top in ("tc3net", "data_prep") for path in (ROOT / top).glob("*/__init__.py")
    ]
    assert sorted(placed) == sorted(packages)
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert re.findall(r"^ +- (.+): api/(\w+)\.md$", nav, flags=re.M) == [(s.title, s.name) for s in api.STAGES]


def test_the_api_has_what_is_public_with_its_signature_and_its_line(api: ModuleType, index: dict[str, Any]) -> None:
    entry = index["tc3net.losses.center.center_loss"]
    lines = inspect.getsource(sys.modules["tc3net.losses.center"]).splitlines()
    assert lines[entry.node.lineno - 1] == "def center_loss("
    page = "\n".join(api.Writer(index, "api/losses.md").entry(entry))
    assert "use_multi_label: tf.Tensor | bool = True," in page and ") -&gt; CenterLoss" in page
    assert "<li><code>labels</code>: [N, C] multi-hot.</li>" in page
    assert '<a href="#tc3net.losses.center.update_centers"><code>update_centers</code></a>' in page
    assert f'href="../source/tc3net.losses.center.html#line-{entry.node.lineno}"' in page
    assert not [name for name in index if any(part.startswith("_") for part in name.split("."))]
    config = "\n".join(api.Writer(index, "api/losses.md").entry(index["tc3net.losses.config.LossConfig"]))
    assert "<code>alpha: float = 0.001</code>: Weight of the center loss (Eq. 1)" in config
    members = {member.name for member in index["tc3net.losses.term.LossTerm"].members}
    assert "tc3net.losses.term.LossTerm.compute" in members


def test_signatures_are_those_of_the_functions(api: ModuleType) -> None:
    text = "def f(a, /, b: int = 1, *more: str, c: float = 2.0, d=None, **rest: int) -> dict[str, int]: ..."
    assert f"def {api.signature(ast.parse(text).body[0])}: ..." == text
    text = "async def f(*, a: int) -> None: ..."
    assert api.signature(ast.parse(text).body[0]) == "f(*, a: int) -> None"
    text = "class A:\n    def f(self, a: int) -> None: ..."
    assert api.signature(ast.parse(text).body[0].body[0]) == "f(a: int) -> None"


def test_docstrings_keep_their_text_and_markup_in_them_is_text(api: ModuleType) -> None:
    text = (
        "A <b>, [N, C](x) and `y < z`.\n\nArgs:\n    a, b: one\n        and more.\n\n- first\n- second\n\n    code  *"
    )
    assert api.Writer({}, "").docstring(text, "m") == (
        "<p>A &lt;b&gt;, [N, C](x) and <code>y &lt; z</code>.</p>"
        "<p><strong>Args</strong></p><ul><li><code>a, b</code>: one and more.</li></ul>"
        "<li>first</li><li>second</li><pre>    code  *</pre>"
    )


def test_names_in_code_blocks_and_links_stay(api: ModuleType, index: dict[str, Any]) -> None:
    name = "`tc3net.losses.center.center_loss`"
    text = f"{name} [{name}](x.md)\n```\n{name}\n```\n`tc3net.no.such`"
    link = f"[{name}](api/losses.md#tc3net.losses.center.center_loss)"
    assert api.linked(text, index, "methods.md") == text.replace(name, link, 1)


def test_methods_has_every_term_and_the_detection_rule_and_no_name_that_is_not_there(index: dict[str, Any]) -> None:
    named = set(
        re.findall(r"`((?:tc3net|data_prep)\.[\w.]+)`", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"))
    )
    assert named <= set(index)
    config, streams = losses.LossConfig(), ("rgb", "flow")
    terms = {type(term) for row in ROWS for term in row(config, streams)}
    terms |= {term for term in ADDED.values() if term.__module__.startswith("tc3net.")}
    assert {f"{term.__module__}.{term.__qualname__}" for term in terms} <= named
    equations = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(tc3net\.losses\.[\w.]+)`", equations)) <= named
    rule = [
        detector.detect_in, detector.class_score, detector.to_seconds, proposals.runs, proposals.local_score,
        suppression.hard_nms, suppression.soft_nms, tracks.class_gate, tracks.smooth, tracks.upsample,
        tracks.thresholds, tracks.video_scores,
    ]  # fmt: skip
    assert {f"{function.__module__}.{function.__name__}" for function in rule} <= named
