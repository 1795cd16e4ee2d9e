"""What a call to a model server is, whatever carries it: settings, one attempt's failure, deadline, retries, errors."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from tc3net.common.config import option
from tc3net.common.errors import UserError, plain_text

T = TypeVar("T")

AVAILABLE = "AVAILABLE"  # a model version that answers
# Another attempt can help: nothing listens yet, the connection broke, or the server has too much to do.
_RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0


@dataclass(frozen=True)
class ClientConfig:
    """Where a model is served, and how patiently to ask."""

    address: str = option("localhost:8500", "host:port of the model server; usually 8500 for gRPC, 8501 for REST.")
    model_name: str = option("tc3net", "Name of the served model.")
    transport: str = option("grpc", "How to talk to the server.", choices=("grpc", "rest"))
    version: int = option(0, "Version of the model; 0: the newest one that is loaded.")
    deadline_s: float = option(120.0, "Seconds for one request, with all its attempts.")
    attempts: int = option(5, "Most attempts per request; only an unreachable or overloaded server is asked again.")
    tls: bool = option(False, "Encrypted connection.")
    ca_file: str = option("", "Certificates to trust with --tls, in PEM; default: the system's.")
    cert_file: str = option("", "Own certificate with --tls, in PEM, for a server that asks for one.")
    key_file: str = option("", "Key of --cert_file, in PEM.")

    def __post_init__(self) -> None:
        plain = "://" not in self.address and self.address.rpartition(":")[2].isdigit()
        self._require("address", plain, "host:port, like localhost:8500, without http:// (--tls encrypts)")
        self._require("model_name", bool(self.model_name) and "/" not in self.model_name, "a plain name")
        self._require("transport", self.transport in ("grpc", "rest"), "grpc or rest")
        self._require("version", self.version >= 0, "a version number, or 0 for the newest")
        self._require("deadline_s", 0 < self.deadline_s < math.inf, "a positive number of seconds")
        self._require("attempts", self.attempts >= 1, "1 or more")
        self._require("key_file", bool(self.key_file) == bool(self.cert_file), "--cert_file and --key_file together")
        self._require("tls", self.tls or not (self.ca_file or self.cert_file), "--tls with --ca_file or --cert_file")

    def _require(self, name: str, fulfilled: bool, expected: str) -> None:
        if not fulfilled:
            raise UserError(f"--{name}={getattr(self, name)}; expected {expected}.")


class CallFailed(Exception):  # noqa: N818 - it says what happened to one attempt
    """One attempt that brought no answer.

    Attributes:
        code: gRPC's name of the status (UNAVAILABLE, INVALID_ARGUMENT, ...), also over REST.
        details: the server's or the network's words, without the names of the server's graph.
        attempts: how many attempts were made.
    """

    def __init__(self, code: str, details: str) -> None:
        self.code, self.details, self.attempts = code, plain_text(details), 1
        super().__init__(f"{code}: {self.details}")

    @property
    def may_pass(self) -> bool:
        """Whether another attempt can help. A message that is too large stays too large."""
        return self.code in _RETRIED and "larger than max" not in self.details


class ServingError(UserError):
    """A request that a model server refused or did not answer.

    Attributes:
        code: gRPC's name of the status, also over REST (UNAVAILABLE, DEADLINE_EXCEEDED, INVALID_ARGUMENT, ...).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Deadline:
    """A point in time.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds until then; a millisecond when it has passed, since a timeout of 0 means none to some libraries."""
        return max(0.001, self._end - time.monotonic())


@dataclass(frozen=True)
class Reply:
    """Outputs of one call by name, and the model version that made them."""

    outputs: dict[str, np.ndarray]
    version: int


class Transport(Protocol):
    """A connection to a model server. Every method makes one attempt, raises CallFailed, and may run in any thread."""

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray | Sequence[bytes]],
        outputs: Sequence[str],
        version: int,
        deadline: Deadline,
    ) -> Reply:
        """Runs a signature of the model; version 0 is the newest one."""

    def states(self, deadline: Deadline) -> dict[int, str]:
        """State (START, LOADING, AVAILABLE, UNLOADING, END) of each version that the server knows."""

    def feature_width(self, deadline: Deadline) -> int:
        """2D, the width of the features that the model was exported for."""

    def close(self) -> None:
        """Ends the connection."""


def with_retries(once: Callable[[Deadline], T], *, attempts: int, deadline_s: float) -> T:
    """Makes attempts, with growing random pauses between them, until one succeeds or another cannot help.

    Args:
        once: makes one attempt; must not take longer than the deadline it is given.
        attempts: most attempts.
        deadline_s: for all of them together.

    Raises:
        CallFailed: of the last attempt.
    """
    deadline = Deadline(deadline_s)
    for attempt in range(1, attempts + 1):
        try:
            return once(deadline)
        except CallFailed as failure:
            failure.attempts = attempt
            # Random, so that many clients of a server that was restarted do not come back at the same moment.
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
            if not failure.may_pass or attempt == attempts or wait_s >= deadline.left_s():
                raise
            time.sleep(wait_s)
    raise AssertionError("unreachable")


def explain(failure: CallFailed, config: ClientConfig, sent: str) -> ServingError:
    """A failure in words: what was found, what was expected, what to do.

    Args:
        failure: of the last attempt.
        config: whom was asked.
        sent: the request, in a few words.
    """
    version = f"version {config.version}" if config.version else "newest version"
    model = f"{config.address}: model {config.model_name!r} ({version})"
    found = f"{failure.code}: {failure.details}"
    if failure.code == "NOT_FOUND":
        cure = (
            "is not served there. Correct --model_name or --version, or add the model to the server's models.config; "
            "a version that is still loading is found as soon as it is ready."
        )
    elif failure.code == "DEADLINE_EXCEEDED":
        cure = (
            f"did not answer within {config.deadline_s:g} s. Set a longer --deadline_s; over REST the server has a "
            "limit of its own, its flag --rest_api_timeout_in_ms."
        )
    elif failure.code == "UNAVAILABLE":
        cure = (
            f"cannot be reached ({failure.attempts} attempts). Start the server, or correct --address and --transport: "
            "gRPC usually answers on port 8500, REST on 8501; a server with TLS needs --tls."
        )
    elif failure.code == "RESOURCE_EXHAUSTED":
        cure = (
            f"has too much to do, or takes no message of this size ({failure.attempts} attempts). Ask again later, "
            "send fewer videos at once, or give the server more memory."
        )
    elif failure.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"):
        cure = (
            "refused the request. Send features of the width and kind that the model was trained on; if a signature "
            "is missing, export the model again with this version of tc3net (python -m tc3net.export)."
        )
    else:
        cure = "failed. See the server's log."
    return ServingError(failure.code, f"{model} {cure} Request: {sent}. Answer: {found}")
