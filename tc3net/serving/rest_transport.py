"""Calls to a model server over its REST API, with nothing but the standard library."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from tc3net.common.errors import UserError
from tc3net.serving.calls import AVAILABLE, CallFailed, ClientConfig, Deadline, Reply

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",  # from a proxy: the body is too large
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _tls_context(config: ClientConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.ca_file or None)
        if config.cert_file:
            context.load_cert_chain(config.cert_file, config.key_file)
        return context
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(name for name in (config.ca_file, config.cert_file, config.key_file) if name)
        raise UserError(f"{files}: cannot be read ({error}); expected PEM files. Check the paths.") from None


def _json_value(value: np.ndarray | Sequence[bytes]) -> list[Any]:
    if isinstance(value, np.ndarray):
        return value.tolist()  # a float32 becomes a float64 of the same value, of which JSON keeps every digit
    return [{"b64": base64.b64encode(item).decode("ascii")} for item in value]


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _failure(error: urllib.error.HTTPError) -> CallFailed:
    body = error.read().decode("utf-8", "replace")
    try:
        details = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):  # a proxy's page, or the server's own escapes, which JSON does not know
        details = " ".join(body.split())[:500]
    return CallFailed(_CODES.get(error.code, "INTERNAL"), f"{details or error.reason} (HTTP {error.code})")


class RestTransport:
    """See `tc3net.serving.calls.Transport`.

    Args:
        config: whom to ask.

    Raises:
        UserError: a certificate file cannot be read.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._version = config.version
        scheme = "https" if config.tls else "http"
        self._url = f"{scheme}://{config.address}/v1/models/{quote(config.model_name)}"
        handlers = [urllib.request.HTTPSHandler(context=_tls_context(config))] if config.tls else []
        self._opener = urllib.request.build_opener(*handlers)

    def close(self) -> None:
        """Nothing to end: each call has its own connection."""

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray | Sequence[bytes]],
        outputs: Sequence[str],
        version: int,
        deadline: Deadline,
    ) -> Reply:
        """Runs a signature. REST sends back every output, asked for or not.

        A REST answer does not say which version made it, so the newest one is looked up first and then asked by number.
        """
        chosen = version or self._newest(deadline)
        body = {"signature_name": signature, "inputs": {name: _json_value(value) for name, value in inputs.items()}}
        try:
            found = self._ask(f"/versions/{chosen}:predict", deadline, body)["outputs"]
        except CallFailed as failure:
            if failure.code == "NOT_FOUND" and not version:
                raise CallFailed("UNAVAILABLE", f"version {chosen} was unloaded just now") from None
            raise
        if not isinstance(found, dict):  # of a signature with one output, REST leaves out the name
            found = {outputs[0]: found}
        return Reply({name: _array(found[name]) for name in outputs}, chosen)

    def states(self, deadline: Deadline) -> dict[int, str]:
        """State by version."""
        found = self._ask(f"/versions/{self._version}" if self._version else "", deadline)
        return {int(status["version"]): status["state"] for status in found["model_version_status"]}

    def feature_width(self, deadline: Deadline) -> int:
        """2D, from the signature of the model."""
        found = self._ask(f"/versions/{self._version}/metadata" if self._version else "/metadata", deadline)
        signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
        return int(signature["inputs"]["features"]["tensor_shape"]["dim"][2]["size"])

    def _newest(self, deadline: Deadline) -> int:
        states = self.states(deadline)
        loaded = [version for version, state in states.items() if state == AVAILABLE]
        if not loaded:
            raise CallFailed("NOT_FOUND", f"no version is loaded: {states}")
        return max(loaded)

    def _ask(self, path: str, deadline: Deadline, body: Any = None) -> Any:
        """One HTTP request; the deadline bounds each wait for the network, not their sum."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=deadline.left_s()) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise _failure(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, socket.timeout):
                raise CallFailed("DEADLINE_EXCEEDED", "no answer in time") from None
            code = "UNAUTHENTICATED" if isinstance(reason, ssl.SSLError) else "UNAVAILABLE"
            raise CallFailed(code, str(reason) or type(reason).__name__) from None
        except ValueError as error:
            raise CallFailed("INTERNAL", f"the answer is no JSON ({error})") from None
