"""A run folder says which code, which command and which data made it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tc3net.data import schema
from tc3net.runs.provenance import dataset_checksum, git_state, start_record
from tests.support.data import make_video, write_dataset

GIT = {f"GIT_{role}_{what}": "x@y.example" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **GIT}).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "inner").mkdir(parents=True)
    git(folder, "init")
    (folder / "code.py").write_text("a")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


def test_git_state_gives_revision_and_whether_files_differ(checkout: Path) -> None:
    revision = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout) == {"git_revision": revision, "git_dirty": False}
    (checkout / "code.py").write_text("b")
    assert git_state(checkout) == {"git_revision": revision, "git_dirty": True}


def test_without_a_checkout_of_its_own_there_is_no_git_state(checkout: Path, tmp_path: Path) -> None:
    assert git_state(checkout / "inner") == {}  # installed inside somebody else's repository
    (tmp_path / "plain").mkdir()
    assert git_state(tmp_path / "plain") == {}
    git(tmp_path / "plain", "init")
    assert git_state(tmp_path / "plain") == {}  # no commit yet


def test_without_git_there_is_no_git_state(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) == {}


def test_the_command_line_can_be_pasted_into_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--run_dir=my runs/1", "--beta=0"])
    record = start_record()
    assert record["command_line"] == "python -m tc3net.train '--run_dir=my runs/1' --beta=0"
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_dataset_checksum_is_that_of_the_shards_checksums(dataset_dir: Path) -> None:
    shards = sorted(dataset_dir.glob("test-*.tfrecord")) + sorted(dataset_dir.glob("validation-*.tfrecord"))
    digests = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in shards)
    before = dataset_checksum(schema.load_manifest(dataset_dir))
    assert before == hashlib.sha256(digests).hexdigest()
    videos = [make_video(i, "test", 4) for i in range(3)]
    write_dataset(dataset_dir, {"test": videos})
    assert dataset_checksum(schema.load_manifest(dataset_dir)) != before
