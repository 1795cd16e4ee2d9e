"""Where a result comes from: versions, git revision, command line, and the data's checksum."""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

import tc3net
from tc3net.data.schema import Manifest


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "tc3net": tc3net.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }


def git_state(folder: str | Path) -> dict[str, Any]:
    """Revision of the git checkout whose top is `folder`, and whether its files differ from it; empty without one.

    A repository further up does not count: it is that of the project in which tc3net is installed.
    """

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top, revision = git("rev-parse", "--show-toplevel"), git("rev-parse", "HEAD")
    if not top or not revision or Path(top).resolve() != Path(folder).resolve():
        return {}
    return {"git_revision": revision, "git_dirty": git("status", "--porcelain") != ""}


def start_record() -> dict[str, Any]:
    """What `run.json` keeps of each start of the training command."""
    program = "refine" if Path(sys.argv[0]).stem == "refine" else "train"
    command = shlex.join(["python", "-m", f"tc3net.{program}", *sys.argv[1:]])
    return {"command_line": command, **git_state(Path(tc3net.__file__).resolve().parent.parent), **versions()}


def dataset_checksum(manifest: Manifest) -> str:
    """SHA-256 over the checksums of all shards, by subset name, in the manifest's order."""
    digest = hashlib.sha256()
    for name in sorted(manifest.splits):
        for shard in manifest.splits[name].shards:
            digest.update(bytes.fromhex(shard.sha256))
    return digest.hexdigest()
