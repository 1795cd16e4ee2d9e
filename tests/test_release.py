"""What a release consists of agrees with itself: licence, citation, changelog, version."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

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


def docker_lines() -> list[list[str]]:
    """The instructions of the Dockerfile as words, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_the_dockerfile_copies_what_is_there_and_builds_both_images() -> None:
    lines = docker_lines()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = {word for line in lines if line[0] == "COPY" and "--from=build" not in line for word in line[1:-1]}
    assert copied == allowed and all((ROOT / name).exists() for name in copied)
    read = re.findall(r'ROOT / "([\w.-]+)"|pinned\("(.*?)"\)', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert {name for pair in read for name in pair if name} - {"tc3net"} <= copied  # what the build reads
    extras = [line[1].partition("=")[2].split(",") for line in lines if line[:1] == ["ARG"] and "EXTRAS" in line[1]]
    gpu = re.search(r"EXTRAS=(\S*gpu\S*)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert gpu is not None and extras == [["hdf5", "mat", "video"]]
    declared = set(re.findall(r'^        "(\w+)": ', (ROOT / "setup.py").read_text(encoding="utf-8"), flags=re.M))
    assert {*extras[0], *gpu[1].split(",")} <= declared


def test_the_dockerfile_pins_its_base_and_does_not_run_as_root() -> None:
    lines = docker_lines()
    bases = [line[1] for line in lines if line[0] == "FROM"]
    assert bases and all(":" in base and not base.endswith(":latest") for base in bases)
    order = [line[0] for line in lines]
    assert order.index("USER") > max(place for place, word in enumerate(order) if word == "RUN")
    assert next(line for line in lines if line[0] == "USER")[1] not in ("root", "0")
    assert [" ".join(line[1:]) for line in lines if line[0] == "ENTRYPOINT"] == ['["tc3net"]']
    assert 'console_scripts": ["tc3net = ' in (ROOT / "setup.py").read_text(encoding="utf-8")


def test_constraints_pin_what_is_required_within_its_bounds() -> None:
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()  # type: ignore[union-attr]
            pinned[name.lower()] = version
    required = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for line in required:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), line


def test_the_package_works_where_it_is_installed(tmp_path: Path) -> None:
    """From the source distribution a wheel, from the wheel a folder of packages, and there the console script."""
    pytest.importorskip("setuptools")

    def run(*arguments: object, cwd: Path = tmp_path, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **more}
        return subprocess.run(list(map(str, arguments)), cwd=cwd, env=environment, capture_output=True, text=True)

    to = ("egg_info", "--egg-base", tmp_path, "sdist", "--dist-dir", tmp_path)
    made = run(sys.executable, "setup.py", "-q", *to, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    (source,) = (tmp_path / "unpacked").iterdir()
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    made = run(sys.executable, "-m", "pip", "install", *offline, "--target", tmp_path / "site", source)
    assert made.returncode == 0, made.stderr
    site = tmp_path / "site"
    shipped = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    tracked = [path for package in ("tc3net", "data_prep") for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in tracked if "__pycache__" not in path.parts}
    wanted |= {f"tc3net/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").glob("*.cfg")}
    assert wanted <= shipped
    script, here = site / "bin" / "tc3net", {"PYTHONPATH": str(site)}
    where = run(sys.executable, "-c", "import tc3net; print(tc3net.__file__)", **here)
    assert where.stdout.strip() == str(site / "tc3net" / "__init__.py")
    few = ("--num_train=2", "--num_test=1", "--num_classes=1", "--feature_dim=4")
    raw = ("--annotations=raw/annotations.json", "--features=raw/features")
    for arguments, status, said in (
        (["--version"], 0, f"tc3net {tc3net.__version__}"),
        (["synthetic", "--output_dir=raw", *few], 0, ""),
        # A shipped flagfile that names another one; all flags are understood, and then the data set is asked for.
        (["train", "--flagfile=thumos14.cfg"], 2, "--dataset_dir is missing"),
        (["convert", "--flagfile=convert_simulated.cfg", *raw, "--output_dir=dataset"], 0, "(simulated features)"),
        (["inspect", "dataset", "--output_dir=report"], 0, "inspection.html"),
    ):
        done = run(script, *arguments, **here)
        assert done.returncode == status and said in done.stdout + done.stderr, (arguments, done.stderr)
    assert (tmp_path / "report" / "inspection.html").is_file()
