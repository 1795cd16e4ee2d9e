"""Flagfiles by path and by name, flagfiles within flagfiles, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from absl import flags

from tc3net.common.errors import UsageError
from tc3net.terminal.flagfiles import expanded, find_flagfile, shipped_flagfiles, shipped_folder

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.cfg"))


def test_every_config_is_found_by_its_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(shipped_flagfiles()) == NAMES
    for name in NAMES:
        assert find_flagfile(name) == find_flagfile(f"configs/{name}") == shipped_folder() / name
        assert not any("flagfile" in argument for argument in expanded([f"--flagfile={name}"]))


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_those_that_absl_reads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout, where absl too finds the files that they name."""
    monkeypatch.chdir(shipped_folder().parent)
    arguments = ["--alpha=1", f"--flagfile=configs/{name}", "--beta", "2", "--", "--flagfile=x"]
    assert expanded(arguments) == flags.FlagValues().read_flags_from_files(arguments, force_gnu=False)


def test_a_users_own_file_comes_before_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("thumos14.cfg").write_text("# mine\n\n--beta=7\n")
    assert expanded(["--flagfile", "thumos14.cfg"]) == ["--beta=7"]
    # A shipped file means the shipped one beside it.
    assert "--beta=7" not in expanded(["--flagfile=thumos14_plus.cfg", "--flagfile=thumos14_reference.cfg"])


def test_files_that_a_users_file_names_are_found_from_the_working_directory_or_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.cfg").write_text("--flagfile=more.cfg\n--flagfile=demo.cfg\n--seed=3\n")
    (tmp_path / "mine" / "more.cfg").write_text("\ufeff// signs of an editor\n--log_every=9\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = expanded(["--flagfile=mine/run.cfg", "--seed=4"])
    assert found[0] == "--log_every=9" and "--iterations=400" in found and found[-2:] == ["--seed=3", "--seed=4"]


def test_what_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.cfg").write_text("--flagfile=b.cfg\n")
    Path("b.cfg").write_text("--flagfile=a.cfg\n")
    Path("binary.cfg").write_bytes(b"\xff\xfe\x00\xd8")
    for name, said in (
        ("a.cfg", "names itself, over b.cfg"), ("binary.cfg", "cannot be read"),
        ("thumos15.cfg", "no such file; .* Did you mean thumos14.cfg?"), ("other/thumos14.cfg", "no such file"),
        ("", "without a file"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            expanded([f"--flagfile={name}"])
