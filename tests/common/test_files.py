"""Files appear whole or not at all, and unreadable ones are named."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path, read_json, sha256_of, write_json


def test_the_file_appears_only_on_success_in_a_folder_made_for_it(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == ".txt"  # writers that look at the ending see the right one
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_a_failure_the_old_file_stays_and_no_temporary_is_left(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_others_may_read_the_file(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("x")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) & 0o444 == 0o444


def test_a_bare_name_is_written_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json("bare.json", [1])
    assert [path.name for path in tmp_path.iterdir()] == ["bare.json"]


def test_json_round_trip_keeps_floats_and_unicode(tmp_path: Path) -> None:
    value = {"η": [0.1 + 0.2, 5e-324, 1e300], "name": "Größe ⌈s/8⌉", "none": None, "yes": True}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json", "value") == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_is_not_json_is_refused_and_the_old_file_stays(tmp_path: Path, value: object) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"new": value})
    assert read_json(path, "value") == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_byte_order_mark_is_no_part_of_json(tmp_path: Path) -> None:
    (tmp_path / "marked.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "marked.json", "value") == {"a": 1}


@pytest.mark.parametrize("content", [None, b"", b"{", b"not json", b'{"a": 1} trailing', b"\xff\xfe\x00"])
def test_an_unreadable_json_file_is_named_with_what_it_should_be(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(path, "annotation file")
    assert str(path) in str(error.value)
    assert "annotation file" in str(error.value)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 12345])
def test_checksum_is_sha256_across_block_borders(tmp_path: Path, size: int) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
