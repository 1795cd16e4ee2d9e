"""What a release consists of agrees with itself: licence, citation, changelog, version."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import yaml

import tc3net

ROOT = Path(__file__).resolve().parent.parent


def test_the_licence_is_apache_2_0_to_the_letter() -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert 'license="Apache-2.0"' in (ROOT / "setup.py").read_text(encoding="utf-8")


def test_the_citation_names_the_paper_the_licence_and_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["cff-version"], cited["version"], cited["license"]) == ("1.2.0", tc3net.__version__, "Apache-2.0")
    paper = cited["preferred-citation"]
    assert paper["title"] == "3C-Net: Category Count and Center Loss for Weakly-Supervised Action Localization"
    assert [author["family-names"] for author in paper["authors"]] == ["Narayan", "Cholakkal", "Khan", "Shao"]


def test_the_changelog_has_a_section_of_this_version() -> None:
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    assert sections[0] == "Unreleased" and tc3net.__version__ in sections


def test_pages_beside_the_readme_point_to_files_that_exist() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8")):
            assert "://" in link or (ROOT / link).exists(), f"{page}: {link}"
