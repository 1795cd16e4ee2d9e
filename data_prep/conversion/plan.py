"""What a conversion is made from, as JSON: two conversions with the same plan give the same bytes.

Annotations and other small files count by their contents. Feature files count by size and time of change: reading
them to find out whether they may be left unread would defeat the purpose.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from data_prep.inputs.options import InputOptions
from tc3net import __version__
from tc3net.common.extensions import loaded_extensions
from tc3net.common.files import sha256_of
from tc3net.common.storage import path_of, walk

# Of `InputOptions`, those that name files: by contents, or by size and time of change.
_BY_CONTENTS = ("annotations", "time_base_file", "class_list")
_BY_TIME = ("features", "flow_features", "videos")


def input_fingerprints(options: InputOptions) -> dict[str, str]:
    """SHA-256 per option that names a file or folder; "" where it is not given."""
    prints = {}
    for names, describe in ((_BY_CONTENTS, sha256_of), (_BY_TIME, _size_and_time)):
        for name in names:
            path = getattr(options, name)
            digest = hashlib.sha256()
            for file in _files(path_of(path)) if path is not None else ():
                digest.update(f"{file}\0{describe(file)}\n".encode(errors="surrogateescape"))
            prints[name] = digest.hexdigest() if path is not None else ""
    return prints


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in walk(path):
        folders.sort()
        for name in sorted(names):
            yield folder / name


def _size_and_time(path: Path) -> str:
    status = path.stat() if path.exists() else path.lstat()  # a link without its content
    return f"{status.st_size} {status.st_mtime_ns}"


def make_plan(inputs: InputOptions, settings: dict[str, Any]) -> dict[str, Any]:
    """The plan.

    Args:
        inputs: where the inputs lie and how to read them.
        settings: the other options that have a say in the output, as JSON values.

    Raises:
        OSError: an input cannot be read.
    """
    stated = {field.name: getattr(inputs, field.name) for field in fields(inputs)}
    time_base = vars(stated.pop("time_base"))
    return {
        "made_by": "python -m data_prep.convert",
        "versions": {"tc3net": __version__, "tensorflow": _tensorflow_version(), "numpy": np.__version__},
        "extensions": list(loaded_extensions()),
        "inputs": {name: None if value is None else str(value) for name, value in stated.items()},
        "time_base": dict(time_base),
        "files": input_fingerprints(inputs),
        "settings": settings,
    }


def _tensorflow_version() -> str:
    """Of the distribution that is installed under that name; importing TensorFlow takes seconds."""
    try:
        return importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:  # tensorflow-cpu, tf-nightly
        return tf.__version__
