"""The documentation builds as a site without a warning: every page, link and anchor leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tc3net.terminal.console import COMMANDS
from tests.support.needs import MKDOCS, needs

ROOT = Path(__file__).resolve().parent.parent


def test_every_page_of_docs_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": ([\w-]+\.md)$", nav, flags=re.M)
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
