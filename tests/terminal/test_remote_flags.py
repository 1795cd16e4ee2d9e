"""Every flag of every command that names a path refuses remote storage, unless the table has it."""

from __future__ import annotations

import re

import pytest
from absl import flags

from tc3net.common.errors import UsageError
from tc3net.terminal.remote_flags import POSITIONAL, REMOTE, refuse_remote
from tests.support.docs import ROOT


def parsed(*arguments: str) -> flags.FlagValues:
    values = flags.FlagValues()
    for name in ("dataset_dir", "output_dir", "video", "engine_option", "address", "name"):
        flags.DEFINE_string(name, None, "", values)
    flags.DEFINE_list("features", [], "", values)
    flags.DEFINE_bool("follow", False, "", values)
    flags.DEFINE_integer("num_workers", 1, "", flag_values=values)
    flags.DEFINE_enum("engine", "local", ["local", "dask"], "", values)
    values(["program", *arguments])
    return values


@pytest.mark.parametrize("url", ["gs://b/x", "s3://b", "ram://x", "GS://b", "nosuch://x"])
def test_a_remote_path_is_taken_where_the_table_says_so(url: str) -> None:
    for name in ("dataset_dir", "output_dir", "features"):
        values = parsed(f"--{name}={'a.npy,' if name == 'features' else ''}{url}")
        refuse_remote("tc3net.predict", (), values)
        with pytest.raises(UsageError, match=rf"--{name}={url}: a remote path found; expected one on a disk"):
            refuse_remote("tc3net.tune", (), values)
    refuse_remote("tc3net.report.__main__", (url,), parsed())
    with pytest.raises(UsageError, match=f"{POSITIONAL}={url}: a remote path"):
        refuse_remote("tc3net.tune", (url,), parsed())


def test_local_paths_addresses_and_names_are_no_remote_paths() -> None:
    refuse_remote("tc3net.tune", ("a", "/b"), parsed("--output_dir=/a/gs:/b", "--features=a,b"))
    refuse_remote("tc3net.tune", (), parsed("--engine_option=address=tcp://h:1", "--address=http://h", "--name=a://b"))
    refuse_remote("tc3net.predict", (), parsed("--video=rtsp://camera/1", "--follow"))
    refuse_remote("tc3net.predict", (), parsed("--video=rtsp://camera/1"))  # the command says what is missing


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--video=gs://b/film.mp4"], "--video=gs://b/film.mp4: a remote path"),
        (["--features=gs://b/a.npy", "--follow"], "with --follow found"),
        (["--output_dir=gs://b/out", "--video=film.mp4"], "with --video found"),
        (["--dataset_dir=gs://b/data", "--engine=dask"], "with --engine=dask found"),
        (["--dataset_dir=ram://data", "--num_workers=2"], "with --num_workers=2 found"),
    ],
)
def test_what_makes_no_sense_together_is_refused(arguments: list[str], found: str) -> None:
    with pytest.raises(UsageError, match=re.escape(found)):
        refuse_remote("tc3net.predict", (), parsed(*arguments))
    refuse_remote("tc3net.predict", (), parsed("--dataset_dir=gs://data", "--num_workers=2"))


def test_the_page_has_the_same_table() -> None:
    page = (ROOT / "docs" / "remote-storage.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| `((?:--|PATH).*)` \|$", page, re.MULTILINE)
    told = {module: {word.removeprefix("--") for word in words.split()} for module, words in rows}
    assert told == {module.removesuffix(".__main__"): set(names) for module, names in REMOTE.items()}
