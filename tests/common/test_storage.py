"""Remote paths answer as pathlib does; objects are replaced whole; nothing remote lands on the disk."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError, user_error_of
from tc3net.common.files import atomic_path, encoding_of, read_json, sha256_of, write_json
from tc3net.common.storage import (
    RemotePath,
    copies,
    is_remote,
    local_copy,
    matching,
    path_of,
    remove_tree,
    walk,
    written_remotely,
)  # fmt: skip
from tc3net.common.storage.copies import put_folder


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory that no other test uses."""
    folder = path_of(f"ram://{tmp_path.name}-storage")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    remove_tree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("gs://bucket/a", True), ("s3://b", True), ("ram://x", True), ("GS://b/a", True), ("a/b", False), ("", False),
        ("/a", False), ("file:///a/b", False), ("a:b", False), ("c:/a", False), ("x=gs://a", False),
    ],
)  # fmt: skip
def test_a_scheme_makes_a_path_remote(text: str, remote: bool) -> None:
    assert is_remote(text) == remote
    assert isinstance(path_of(text), RemotePath) == remote


def test_a_local_path_is_pathlibs_own(tmp_path: Path) -> None:
    assert type(path_of(str(tmp_path))) is type(tmp_path)
    assert path_of(tmp_path) == tmp_path
    assert path_of(f"file://{tmp_path}") == tmp_path


_NAMES = st.text(st.sampled_from("ab.-_ é"), min_size=1, max_size=6).filter(lambda name: name.strip(".") == name != "")


@given(st.lists(_NAMES, min_size=1, max_size=4), _NAMES)
def test_names_are_taken_apart_as_pathlib_does(parts: list[str], other: str) -> None:
    remote, local = path_of("ram://top"), Path("/top")
    for part in parts:
        remote, local = remote / part, local / part
    for name in ("name", "stem", "suffix"):
        assert getattr(remote, name) == getattr(local, name)
    for of_remote, of_local in (
        (remote, local),
        (remote.parent, local.parent),
        (remote.with_name(other), local.with_name(other)),
        (remote.with_suffix(".x"), local.with_suffix(".x")),
        (remote / other / "c", local / other / "c"),
    ):
        assert str(of_remote) == f"ram:/{of_local}"
    assert remote.relative_to(path_of("ram://top")) == local.relative_to("/top")
    assert path_of(str(remote)) == remote
    assert hash(path_of(str(remote))) == hash(remote)
    assert remote != local
    assert sorted([remote, remote.parent]) == [remote.parent, remote]


def test_a_path_below_none_is_refused() -> None:
    for other in (path_of("ram://other"), path_of("gs://top"), Path("/top")):
        with pytest.raises(ValueError):
            path_of("ram://top/a").relative_to(other)


def test_a_url_stays_itself_below_a_folder() -> None:
    assert str(path_of("gs://bucket/a") / "gs://other/b") == "gs://other/b"


def outcome(ask: Callable[[Path], object], path: Path) -> object:
    """What is answered of a path, or the kind of error."""
    try:
        found = ask(path)
    except OSError as error:
        return type(error)
    return found


_TREE = ("a.txt", "b/c.txt", "b/d/e.npy", "b/d/f.txt", "g/h.txt")


def _filled(folder: Path) -> Path:
    for name in _TREE:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(f"content of {name}\n", encoding="utf-8")
    return folder


def test_the_same_questions_have_the_answers_of_a_disk(tmp_path: Path, top: Path) -> None:
    local, remote = _filled(tmp_path / "top"), _filled(top)
    for name in (*_TREE, "b", "b/d", "absent", "b/absent", "absent/absent"):
        for ask in (
            lambda path: path.exists(),
            lambda path: path.is_file(),
            lambda path: path.is_dir(),
            lambda path: path.stat().st_size if not path.is_dir() else None,
            lambda path: path.read_text(encoding="utf-8") if not path.is_dir() else None,
            lambda path: path.open("rb").read() if not path.is_dir() else None,
            lambda path: path.open(encoding="utf-8").readlines() if not path.is_dir() else None,
            lambda path: sorted(each.name for each in path.iterdir()) if not path.is_file() else None,
            lambda path: sorted(each.name for each in path.glob("*.txt")),
            lambda path: sorted(each.name for each in path.rglob("*.txt")),
            lambda path: sha256_of(path) if not path.is_dir() else None,
            lambda path: encoding_of(path) if not path.is_dir() else None,
        ):
            assert outcome(ask, remote / name) == outcome(ask, local / name), name
    found = [
        [(folder.relative_to(base).as_posix(), sorted(folders), sorted(names)) for folder, folders, names in walk(base)]
        for base in (local, remote)
    ]
    assert sorted(found[0]) == sorted(found[1])
    assert [path.name for path in matching(f"{top}/b/*")] == [path.name for path in matching(f"{local}/b/*")]


def test_the_same_changes_leave_what_they_leave_on_a_disk(tmp_path: Path, top: Path) -> None:
    left = []
    for folder in (_filled(tmp_path / "top"), _filled(top)):
        answers = [
            outcome(lambda top: (top / "absent").unlink(), folder),
            outcome(lambda top: (top / "absent").unlink(missing_ok=True), folder),
            outcome(lambda top: (top / "a.txt").unlink(), folder),
            outcome(lambda top: (top / "b" / "c.txt").rename(top / "moved.txt").name, folder),
            outcome(lambda top: (top / "b").rmdir(), folder),
            outcome(lambda top: (top / "b").mkdir(), folder),
            outcome(lambda top: (top / "b").mkdir(exist_ok=True), folder),
            outcome(lambda top: (top / "new").mkdir(), folder),
            outcome(lambda top: (top / "new").rmdir(), folder),
            outcome(lambda top: remove_tree(top / "g"), folder),
            outcome(lambda top: remove_tree(top / "absent", ignore_errors=True), folder),
            outcome(lambda top: write_json(top / "x" / "value.json", {"ö": 1}), folder),
        ]
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        left.append((answers, files, read_json(folder / "x/value.json", "")))
    assert left[0] == left[1]


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=3000), st.lists(st.tuples(st.integers(0, 3200), st.integers(0, 900)), max_size=8))
def test_a_remote_file_is_read_from_any_place(data: bytes, reads: list[tuple[int, int]]) -> None:
    path = path_of("ram://anyplace/file.bin")
    assert isinstance(path, RemotePath)
    path.write_bytes(data)
    expected = io.BytesIO(data)
    with path.open("rb") as file:
        for at, count in reads:
            assert file.seek(at) == expected.seek(at)
            assert file.read(count) == expected.read(count)
            assert file.tell() == expected.tell()
        assert file.seek(0, io.SEEK_END) == len(data)


def test_numpy_reads_a_remote_archive(top: Path) -> None:
    values = {"a": np.arange(20_000.0), "b": np.eye(3)}
    with atomic_path(top / "x.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **values)
    with (top / "x.npz").open("rb") as file, np.load(file) as archive:
        assert all(np.array_equal(archive[name], values[name]) for name in values)


def test_what_takes_a_remote_path_for_one_of_the_disk_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = path_of("gs://bucket/folder")
    for wrong in (Path, open, lambda path: np.load(path), lambda path: Path("/a") / path):
        with pytest.raises(UserError, match="gs://bucket/folder: a remote path found; expected one on a disk"):
            wrong(path)
    with pytest.raises(io.UnsupportedOperation):
        path.open("w")
    assert not list(tmp_path.iterdir())


def test_a_path_travels_to_other_processes() -> None:
    path = path_of("gs://bucket/folder/file")
    assert pickle.loads(pickle.dumps(path)) == path


@pytest.mark.parametrize("old", [None, "old"])
def test_an_upload_that_fails_midway_leaves_the_old_object_whole(
    top: Path, monkeypatch: pytest.MonkeyPatch, old: str | None
) -> None:
    target = top / "file.txt"
    if old is not None:
        target.write_text(old)

    def half(source: str, destination: str, overwrite: bool = False) -> None:
        with tf.io.gfile.GFile(destination, "wb") as file:
            file.write(Path(source).read_bytes()[:2])
        raise tf.errors.UnavailableError(None, None, "connection reset")

    with monkeypatch.context() as patched:
        patched.setattr(tf.io.gfile, "copy", half)
        said = pytest.raises(OSError, match=r"ram://.*file.txt: the storage answers 'connection reset'; expected")
        with said, atomic_path(target) as temporary:
            temporary.write_text("new content")
    assert [path.name for path in top.iterdir()] == (["file.txt"] if old else [])
    assert old is None or target.read_text() == old


def test_an_upload_that_comes_out_short_is_not_taken_for_the_file(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "file.txt").write_text("old")

    def short(source: str, destination: str, overwrite: bool) -> None:
        with tf.io.gfile.GFile(destination, "w") as file:
            file.write("n")

    monkeypatch.setattr(tf.io.gfile, "copy", short)
    with pytest.raises(UserError, match="another size found"), atomic_path(top / "file.txt") as temporary:
        temporary.write_text("new")
    assert (top / "file.txt").read_text() == "old"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_here_uploads_nothing(top: Path, error: type[BaseException]) -> None:
    (top / "file.txt").write_text("old")
    with pytest.raises(error), atomic_path(top / "file.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert (top / "file.txt").read_text() == "old"
    assert [path.name for path in top.iterdir()] == ["file.txt"]


def test_a_scheme_without_its_plug_in_is_told_with_the_cure() -> None:
    for ask in (lambda path: path.exists(), lambda path: path.read_text(), lambda path: path.write_text("x")):
        with pytest.raises(OSError) as caught:
            ask(path_of("nosuch://bucket/file"))
        message = str(user_error_of(caught.value))
        assert message.startswith("nosuch://bucket/")
        assert "no file system for nosuch:// is installed; expected one of" in message
        assert "pip install tensorflow-io" in message
        assert "ram://" in message


@pytest.mark.parametrize("kind", [tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError])
def test_refused_access_is_told_with_the_cure(
    top: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def refuse(path: str) -> None:
        raise kind(None, None, "403 Forbidden")

    monkeypatch.setattr(tf.io.gfile, "stat", refuse)
    with pytest.raises(UserError, match=r"access refused \(403 Forbidden\); expected credentials"):
        (top / "file.txt").is_file()


def test_a_copy_names_the_remote_file_and_is_fetched_once(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    fetch = copies.fetch
    monkeypatch.setattr(copies, "fetch", lambda path, local: (fetched.append(str(path)), fetch(path, local)))
    path = top / "data.csv"
    path.write_text("a,b")
    for _ in range(2):
        with local_copy(path) as local, local_copy(path) as again:
            assert local == again
            assert (local.name, local.read_text()) == ("data.csv", "a,b")
    assert fetched == [str(path)]
    path.write_text("a,b,c")
    with local_copy(path) as local:
        assert local.read_text() == "a,b,c"
    with pytest.raises(UserError, match=rf"^{path}:3: wrong"), local_copy(path) as local:
        raise UserError(f"{local}:3: wrong")
    with pytest.raises(OSError) as caught, local_copy(path) as local:
        (local / "x").read_text()
    assert caught.value.filename == f"{path}/x"


def test_copies_that_nobody_uses_go_where_they_take_too_much(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "IDLE_BYTES", 5)
    kept = []
    for name in "abc":
        (top / name).write_text("1234")
        with local_copy(top / name) as local:
            kept.append(local)
        assert [path.exists() for path in kept] == [False] * (len(kept) - 1) + [True]
    with local_copy(top / "a") as first, local_copy(top / "b") as second:  # more than may be idle, while used
        assert (first.read_text(), second.read_text()) == ("1234", "1234")


def test_a_folder_is_copied_and_a_file_with_those_it_is_read_with(top: Path) -> None:
    _filled(top)
    with local_copy(top) as local:
        assert sorted(path.relative_to(local).as_posix() for path in local.rglob("*") if path.is_file()) == [*_TREE]
    with local_copy(top / "b" / "c.txt", beside=("absent", "d")) as local:
        assert [path.name for path in local.parent.iterdir()] == ["c.txt"]
    with local_copy(top / "b" / "d" / "f.txt", beside=("e.npy",)) as local:
        assert sorted(path.name for path in local.parent.iterdir()) == ["e.npy", "f.txt"]
    with local_copy(top / "absent") as local:
        assert not local.exists()


def test_a_local_path_needs_no_copy(tmp_path: Path) -> None:
    with local_copy(tmp_path) as local, written_remotely(tmp_path) as folder:
        assert local == folder == tmp_path


def test_the_file_that_names_the_others_comes_last(tmp_path: Path, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, order = RemotePath.put, []
    monkeypatch.setattr(RemotePath, "put", lambda self, local: (order.append(self.name), put(self, local)))
    with written_remotely(top / "out", last="a.json") as folder:
        (folder / "b").mkdir()
        for name in ("a.json", "b/c.txt", "z.txt"):
            (folder / name).write_text(json.dumps(name))
        assert not (top / "out").exists()
    assert order == ["c.txt", "z.txt", "a.json"]
    assert sorted(path.name for path in (top / "out").iterdir()) == ["a.json", "b", "z.txt"]
    order.clear()
    with pytest.raises(ValueError), written_remotely(top / "out") as folder:
        (folder / "new").write_text("x")
        raise ValueError
    assert not order
    assert isinstance(top, RemotePath)
    put_folder(tmp_path, top)  # an empty folder
    assert not order
