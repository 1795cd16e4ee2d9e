"""The commands on remote storage: all of them from raw files to detections, and what they say where one cannot be."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tc3net.terminal.console import COMMANDS
from tc3net.terminal.remote_flags import POSITIONAL, REMOTE
from tests.support import forked_commands
from tests.support.commands import command
from tests.support.gcs_server import BUCKET, cloud_storage
from tests.support.needs import CLOUD_STORAGE, S3, needs
from tests.support.one_process import nothing_named_as_a_scheme
from tests.support.s3_server import simple_storage


def test_everything_runs_in_memory(tmp_path: Path) -> None:
    code = "import sys; from tests.support.remote_case import everything; everything('ram://top')"
    done = forked_commands.run(("-c", code), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def run_beside(server: Callable[[Path], AbstractContextManager[dict[str, str]]], case: str, folder: Path) -> None:
    """Runs a case of `tests.support.remote_case` in a process of its own, beside a server."""
    for name in ("server", "here"):
        (folder / name).mkdir()
    with server(folder / "server") as variables:
        code = f"from tests.support.remote_case import *; {case}"
        done = forked_commands.Command(("-c", code), folder / "here", variables).finish()
    assert done.returncode == 0, done.stdout + done.stderr


@needs(CLOUD_STORAGE)
def test_everything_runs_on_an_object_store(tmp_path: Path) -> None:
    run_beside(cloud_storage, f"everything('gs://{BUCKET}/top', tensorboard=False)", tmp_path)


@needs(S3)
def test_everything_runs_on_s3(tmp_path: Path) -> None:
    run_beside(simple_storage, f"everything('s3://{BUCKET}/top', tensorboard=False)", tmp_path)


# As tensorflow-io of several versions: what the C library calls at the end of a process aborts it.
_ABORTING = """
import ctypes
library = ctypes.CDLL(None)
library.on_exit(library.abort, None)
"""


def test_a_plug_in_that_aborts_at_the_end_does_not_change_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorflow_io.py").write_text(_ABORTING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    plain = subprocess.run([sys.executable, "-c", "import tensorflow_io"])
    assert plain.returncode == -signal.SIGABRT
    arguments = ("tc3net.evaluate", "--run_dir=nosuch://run", "--dataset_dir=nosuch://data")
    done = forked_commands.run(arguments, tmp_path, new_process=True)
    assert done.returncode == 1
    assert "no file system for nosuch:// is installed" in done.stderr


# Every path-like flag of every command that takes none on remote storage, and some of the others.
_REFUSED = (
    ("data_prep.synthetic", "--output_dir"),
    ("data_prep.extract", "--videos"),
    ("data_prep.extract", "--output_dir"),
    ("data_prep.convert", "--videos"),
    ("data_prep.to_json", "--output"),
    ("data_prep.weights", "--cache_dir"),
    ("tc3net.tune", "--output_dir"),
    ("tc3net.ablate", "--output_dir"),
    ("tc3net.compare_methods", "--output_dir"),
    ("tc3net.refine", "--run_dir"),
    ("tc3net.detections_to", "--output_dir"),
    ("tc3net.demo", "--output_dir"),
    ("tc3net.predict", "--video"),
    ("tc3net.predict", "--features_dir"),
    ("tc3net.serving.client", "--output"),
)


@pytest.mark.parametrize(("module", "flag"), _REFUSED)
def test_a_flag_that_takes_none_refuses_a_remote_path(module: str, flag: str, tmp_path: Path) -> None:
    output = command(module, f"{flag}=gs://bucket/x", cwd=tmp_path, expect_failure=True)
    assert f"{flag}=gs://bucket/x: a remote path found; expected one on a disk" in output
    assert "docs/remote-storage.md" in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("tc3net.predict", "--run_dir=ram://r", "--features=ram://f.npy", "--output_dir=out", "--follow"),
        ("tc3net.predict", "--run_dir=ram://r", "--video=film.mp4", "--output_dir=out"),
        ("tc3net.predict", "--run_dir=r", "--dataset_dir=ram://d", "--output_dir=out", "--engine=dask"),
        ("data_prep.convert", "--annotations=a.json", "--features=f", "--output_dir=ram://d", "--engine=beam"),
        ("data_prep.convert", "--annotations=a.json", "--features=f", "--output_dir=ram://d", "--num_workers=2"),
    ],
)
def test_what_makes_no_sense_together_with_a_remote_path_is_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    output = command(*arguments, cwd=tmp_path, expect_failure=True)
    assert "ram://" in output and "found; expected" in output
    assert not list(tmp_path.iterdir())


# Of each command that takes remote paths, a command line with nothing but those.
_TAKEN = {
    "data_prep.convert": "--annotations={x} --features={x} --output_dir={x} --name=n",
    "data_prep.inspect": "{x}",
    "tc3net.train": "--dataset_dir={x} --run_dir={x}",
    "tc3net.evaluate": "--dataset_dir={x} --run_dir={x}",
    "tc3net.predict": "--run_dir={x} --features={x} --output_dir={x}",
    "tc3net.export": "--run_dir={x} --export_dir={x}",
    "tc3net.report.__main__": "{x}",
}


def test_every_command_that_takes_them_is_tried() -> None:
    assert _TAKEN.keys() == REMOTE.keys()
    assert REMOTE.keys() <= {command.module for command in COMMANDS.values()} | {"tc3net.report.__main__"}
    assert all(name == POSITIONAL or not name.startswith("-") for names in REMOTE.values() for name in names)


@pytest.mark.parametrize("module", _TAKEN)
def test_nothing_there_and_an_unknown_scheme_are_a_users_errors(module: str, tmp_path: Path) -> None:
    for url, words in (
        ("nosuch://bucket/x", "no file system for nosuch:// is installed"),
        ("ram://absent/x", "error: "),
    ):
        arguments = _TAKEN[module].format(x=url).split()
        output = command(module.removesuffix(".__main__"), *arguments, cwd=tmp_path, expect_failure=True)
        assert url in output
        assert words in output
        nothing_named_as_a_scheme(tmp_path)
    assert not list(tmp_path.iterdir())
