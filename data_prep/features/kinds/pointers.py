"""Files that are there by name only: links of git-annex or DVC without their content, and pointers of Git LFS."""

from __future__ import annotations

import os
from pathlib import Path

from tc3net.common.storage import is_remote

_LFS = b"version https://git-lfs.github.com/spec/"


def pointer_cure(path: Path) -> str:
    """What is found in place of a file's content, and how to get it; empty where the content is there."""
    if path.is_symlink() and not path.exists():
        target = os.readlink(path)
        if "annex" in Path(target).parts:
            tool, cure = "of git-annex ", "git annex get"
        elif "dvc" in target.lower():
            tool, cure = "of DVC ", "dvc pull"
        else:
            return f"a link to {target}, which is not there; expected a file. Mount or fetch it, or correct the link."
        return f"a link {tool}whose content is not here; expected a file. Fetch it: {cure} {path}"
    if is_remote(path):
        return ""  # nothing there has links or Git's pointers, and asking costs a request for each file
    try:
        with open(path, "rb") as file:
            is_pointer = file.read(len(_LFS)) == _LFS
    except OSError:
        return ""
    return (
        "a pointer of Git LFS, whose content is not here; expected a file. Fetch it: git lfs pull" if is_pointer else ""
    )
