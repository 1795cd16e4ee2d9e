"""A lease is held by one at a time, outlives no dead process, and is noticed where it is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tc3net.common.errors import UserError
from tc3net.common.storage import RemotePath, leases, path_of, remove_tree
from tc3net.common.storage.leases import Held, TakenError, Times, lease

QUICK = Times(life_s=1.0, renewed_s=0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RemotePath]:
    path = path_of(f"ram://{tmp_path.name}-lease")
    assert isinstance(path, RemotePath)
    yield path
    remove_tree(path, ignore_errors=True)  # type: ignore[arg-type]


def _claims(folder: RemotePath) -> list[dict]:
    return [json.loads(path.read_text()) for path in folder.glob("job.*.lease")]


def test_a_second_one_is_refused_with_the_holder_and_the_cure(folder: RemotePath) -> None:
    with lease(folder, "job"):
        (claim,) = _claims(folder)
        with pytest.raises(TakenError) as caught, lease(folder, "job"):
            raise AssertionError
        assert caught.value.holder == f"process {claim['pid']} on {claim['host']} since {claim['since']}"
        assert "holds it for 120 s more at most" in caught.value.cure
        assert f"delete {folder}/job." in caught.value.cure
        assert len(_claims(folder)) == 1
        with lease(folder, "other"):
            pass
    assert _claims(folder) == []
    with lease(folder, "job"):
        pass


def test_it_is_given_back_after_an_error(folder: RemotePath) -> None:
    with pytest.raises(ValueError), lease(folder, "job"):
        raise ValueError
    assert _claims(folder) == []


def test_a_dead_process_holds_it_until_it_expires(folder: RemotePath) -> None:
    dead = Held(folder / "job.0.lease", QUICK)
    dead.write("held")  # and is never renewed
    with pytest.raises(TakenError), lease(folder, "job"):
        raise AssertionError
    claim = json.loads(dead.path.read_text())
    dead.path.write_text(json.dumps({**claim, "renewed_at": time.time() - 1.1}))
    with lease(folder, "job"):
        assert not dead.path.exists()


def test_a_living_holder_renews_it_longer_than_it_lives(folder: RemotePath) -> None:
    with lease(folder, "job", Times(life_s=0.4, renewed_s=0.05)) as held:
        for _ in range(4):
            time.sleep(0.2)
            held.require()
            with pytest.raises(TakenError), lease(folder, "job"):
                raise AssertionError


def test_a_holder_that_cannot_renew_it_is_stopped(folder: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    with lease(folder, "job", Times(life_s=0.2, renewed_s=0.05)) as held:
        with monkeypatch.context() as patched:

            def fail(self: RemotePath, text: str) -> None:
                raise OSError("no connection")

            patched.setattr(RemotePath, "write_text", fail)
            time.sleep(0.4)
            with pytest.raises(UserError, match=r"could not be renewed for .* s and may be another process's by now"):
                held.require()
        time.sleep(0.1)
        with pytest.raises(UserError):  # it stays lost: another may have worked meanwhile
            held.require()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "held"}'])
def test_a_claim_that_is_being_written_counts(
    folder: RemotePath, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "job.0.lease").write_text(content)
    with pytest.raises(TakenError, match="another process"), lease(folder, "job"):
        raise AssertionError


def test_of_two_that_ask_at_once_one_goes_on(folder: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has written its claim before either lists: the first by name waits for the other to withdraw."""
    monkeypatch.setattr(leases, "_ASKED_S", 0.01)
    both = threading.Barrier(2, timeout=20)
    list_claims = leases._claims
    asked = threading.local()

    def meet(*arguments: object) -> dict:
        if not getattr(asked, "once", False):
            asked.once = True
            both.wait()
        return list_claims(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(leases, "_claims", meet)
    held, refused, inside = [], [], []

    def ask(number: int) -> None:
        try:
            with lease(folder, "job"):
                inside.append(number)
                held.append(number)
                time.sleep(0.05)
                inside.remove(number)
        except TakenError:
            refused.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(held) == len(refused) == 1
    assert _claims(folder) == []


def test_many_that_ask_are_never_inside_together(folder: RemotePath) -> None:
    inside, most, held = 0, 0, 0
    count = threading.Lock()

    def ask() -> None:
        nonlocal inside, most, held
        for _ in range(5):
            try:
                with lease(folder, "job"):
                    with count:
                        inside, held = inside + 1, held + 1
                        most = max(most, inside)
                    time.sleep(0.005)
                    with count:
                        inside -= 1
            except TakenError:
                time.sleep(0.005)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1
    assert held >= 1
    assert _claims(folder) == []
