"""One training per run folder, and the lock of a process that died is free."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
from pathlib import Path

import pytest

from tc3net.common.errors import UserError
from tc3net.runs.lock import LOCK, is_lock, training_lock
from tests.support.memory import memory_folder


def test_a_second_training_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    with training_lock(run), pytest.raises(UserError) as refused, training_lock(run):
        raise AssertionError("not reached")
    told = str(refused.value)
    assert told.startswith(f"{run} is being trained in by process {os.getpid()} on {socket.gethostname()} since 20")
    assert "expected no other training there. Wait for it" in told
    with training_lock(run):  # free again
        pass
    assert (run / LOCK).read_text() == ""


def test_another_folder_is_another_lock(tmp_path: Path) -> None:
    with training_lock(tmp_path / "a"), training_lock(tmp_path / "b"):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with training_lock(tmp_path):
                os.write(write, b"x")
                signal.pause()
        finally:
            os._exit(1)
    os.read(read, 1)
    with pytest.raises(UserError, match=f"process {child} on"), training_lock(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with training_lock(tmp_path):
        pass


def test_a_disk_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    number = errno.ENOLCK
    with training_lock(tmp_path):
        pass
    assert "this disk has no locks" in capsys.readouterr().err
    number = errno.EIO
    with pytest.raises(OSError), training_lock(tmp_path):
        pass


def test_a_holder_that_has_not_written_who_it_is(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="by another process; expected"), training_lock(tmp_path):
            pass


def test_on_other_storage_than_disks_it_is_a_lease() -> None:
    with memory_folder() as top:
        run = top / "runs" / "a"
        with training_lock(run) as require, pytest.raises(UserError) as refused, training_lock(run):
            raise AssertionError("not reached")
        told = str(refused.value)
        assert told.startswith(f"{run} is being trained in by process {os.getpid()} on {socket.gethostname()} since 20")
        assert "choose another --run_dir. A process that is dead holds it for 120 s more at most" in told
        require()
        assert list(run.iterdir()) == []
        with training_lock(run):  # free again
            (name,) = (path.name for path in run.iterdir())
        assert is_lock(name) and is_lock(LOCK)
        assert not any(map(is_lock, ("run.json", f"{LOCK}.old", "a.lease", f"my.{name}")))
