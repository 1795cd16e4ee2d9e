"""Locks where the file system has none: a lease, an object that its holder renews while it works, and that expires.

Object stores have no lock and, through `tf.io.gfile`, no write on a condition. What they have is that whoever lists a
folder after writing an object sees it. So each writes a claim of its own, `<name>.<token>.lease`, and then lists: it
holds the lease if it sees no other living claim. Of two that see each other the first by name goes on, once the other
has withdrawn; one of them at least was listed by the other, so that never both hold it.

A holder that dies leaves its claim; it counts no more when it is older than `LIFE_S`. Clocks of the machines must agree
better than that.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tc3net.common.errors import UserError
from tc3net.common.storage.paths import RemotePath

LEASE = ".lease"  # what the names of claims end in
LIFE_S, RENEWED_S = 120.0, 30.0
_WAIT_S, _ASKED_S = 10.0, 0.2


@dataclass(frozen=True)
class Times:
    """How long a claim lives, and how often its holder renews it, in seconds."""

    life_s: float = LIFE_S
    renewed_s: float = RENEWED_S


class Held:
    """A lease while it is held.

    Attributes:
        path: of the claim.
    """

    def __init__(self, path: RemotePath, times: Times) -> None:
        self.path, self._times = path, times
        self._renewed_at = time.time()
        self._since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_renewing, daemon=True, name=f"lease {path.name}")

    def write(self, state: str) -> None:
        """Writes the claim; "held" or "asked"."""
        now = time.time()
        content = {
            "state": state,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": self._since,
            "renewed_at": now,
            "life_s": self._times.life_s,
        }
        self.path.write_text(json.dumps(content))
        self._renewed_at = now

    def keep(self) -> None:
        """Begins to renew it, in a thread."""
        self.write("held")
        self._thread.start()

    def _keep_renewing(self) -> None:
        while not self._stop.wait(self._times.renewed_s):
            with contextlib.suppress(OSError, UserError):  # `require` says it, where it lasts
                if time.time() - self._renewed_at < self._times.life_s:  # after that it may be another's
                    self.write("held")

    def require(self) -> None:
        """Raises where the lease may be another's by now: before something is written that only its holder may write.

        Raises:
            UserError: it could not be renewed for longer than it lives.
        """
        silent_s = time.time() - self._renewed_at
        if silent_s > self._times.life_s:
            raise UserError(
                f"{self.path.parent}: the lease there could not be renewed for {silent_s:.0f} s and may be another "
                f"process's by now; expected to renew it every {self._times.renewed_s:.0f} s. Nothing more is written. "
                "Check the connection, and run the same command again: it goes on from what is complete."
            )

    def give_back(self) -> None:
        """Ends the renewing and removes the claim."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(OSError):  # it expires
            self.path.unlink(missing_ok=True)


def _claims(folder: RemotePath, name: str, mine: RemotePath) -> dict[str, dict[str, Any]]:
    """The living claims of others, by name; dead ones are removed."""
    found = {}
    for path in folder.glob(f"{name}.*{LEASE}"):
        if path == mine:
            continue
        try:
            content = json.loads(path.read_text())
            age_s, life_s = time.time() - content["renewed_at"], content["life_s"]
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError):  # being written, where writing is not one step
            content, age_s, life_s = {"state": "asked"}, 0.0, LIFE_S
        if age_s > life_s:
            path.unlink(missing_ok=True)
        else:
            found[path.name] = content
    return found


def holder_words(claim: dict[str, Any]) -> str:
    """Who holds a lease, in words."""
    if "pid" not in claim:
        return "another process"
    return f"process {claim['pid']} on {claim['host']} since {claim['since']}"


class TakenError(UserError):
    """Another process holds the lease."""

    def __init__(self, holder: str, cure: str) -> None:
        super().__init__(holder)
        self.holder, self.cure = holder, cure


@contextlib.contextmanager
def lease(folder: RemotePath, name: str, times: Times = Times()) -> Iterator[Held]:
    """Inside, no other process holds the lease of this name in the folder.

    Args:
        folder: made if absent.
        name: of the lease.
        times: of this holder.

    Raises:
        TakenError: another holds it; has in words who, and what to do where that process is dead.
        OSError: the claim cannot be written.
    """
    held = Held(folder / f"{name}.{uuid.uuid4().hex}{LEASE}", times)
    try:
        held.write("asked")
        end = time.monotonic() + _WAIT_S
        while others := _claims(folder, name, held.path):
            first = min(others) < held.path.name
            taken = next((claim for claim in others.values() if claim["state"] == "held"), None)
            if taken is not None or first or time.monotonic() > end:
                claim = taken or others[min(others)]
                raise TakenError(
                    holder_words(claim),
                    f"A process that is dead holds it for {claim.get('life_s', LIFE_S):.0f} s more at most; to be "
                    f"quicker, delete {folder / min(others)}.",
                )
            time.sleep(_ASKED_S)
        held.keep()
        yield held
    finally:
        held.give_back()
