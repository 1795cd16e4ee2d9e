"""A Google Cloud Storage of this machine, that TensorFlow reaches as gs:// by its own client.

TensorFlow's client knows the addresses of googleapis.com alone. It is led here by what any client has: a proxy (in
`https_proxy`), which answers under these names with a certificate that `CURL_CA_BUNDLE` makes it trust, and hands what
it gets to the emulator `gcp-storage-emulator`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HOSTS = ("www.googleapis.com", "storage.googleapis.com")  # what asks and writes, and what reads
BUCKET = "tests"


# The emulator as it is but for four things: it takes an empty object for no object, believes Content-Length before
# Transfer-Encoding, both of which TensorFlow sends, says that it answers http://, and never says that it waits for the
# body, which TensorFlow's client then holds back for a second.
_EMULATOR = """
import sys
from gcp_storage_emulator import server
from gcp_storage_emulator.__main__ import main

read_data, read_raw_data = server._read_data, server._read_raw_data

def read_chunks_first(handler):
    if "chunked" not in (handler.headers.get("Transfer-Encoding") or ""):
        return read_raw_data(handler)
    del handler.headers["Content-Length"]
    data = read_raw_data(handler)
    handler.rfile.readline()  # the end of the last chunk
    return data

parse_request = server.RequestHandler.parse_request

def parse_and_go_on(handler):
    understood = parse_request(handler)
    if understood and "100-continue" in (handler.headers.get("Expect") or ""):
        handler.wfile.write(b"HTTP/1.1 100 Continue\\r\\n\\r\\n")
    return understood

def read_empty_too(handler, query):
    data = read_data(handler, query)
    return b"" if data is None and query.get("uploadType") == ["media"] else data

server.RequestHandler.parse_request = parse_and_go_on
server._read_data, server._read_raw_data = read_empty_too, read_chunks_first
server.Request.full_url = property(lambda request: request._full_url.replace("http://", "https://", 1))
main(sys.argv[1:])
"""


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, context: ssl.SSLContext, emulator: int) -> None:
    """One connection to the proxy: CONNECT, then TLS, then what the emulator reads and writes."""
    with contextlib.suppress(OSError), client:
        asked = b""
        while b"\r\n\r\n" not in asked:
            more = client.recv(4096)
            if not more:  # gone before it had asked
                return
            asked += more
        if not asked.startswith(tuple(f"CONNECT {host}:443 ".encode() for host in HOSTS)):
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")  # nothing leaves this machine
            return
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        encrypted = context.wrap_socket(client, server_side=True)
        with encrypted as inside, socket.create_connection(("127.0.0.1", emulator)) as outside:
            threading.Thread(target=_pass_on, args=(outside, inside), daemon=True).start()
            _pass_on(inside, outside)


def _accept(server: socket.socket, context: ssl.SSLContext, emulator: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client, context, emulator), daemon=True).start()


@contextlib.contextmanager
def cloud_storage(folder: Path) -> Iterator[dict[str, str]]:
    """A server with the empty bucket `BUCKET`; yields the variables that processes need to reach it.

    Args:
        folder: for its certificate and log.
    """
    import trustme

    authority, port = trustme.CA(), free_port()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(context)
    start = [sys.executable, "-c", _EMULATOR, "start", "--host=127.0.0.1", f"--port={port}", "--in-memory"]
    with (folder / "emulator.log").open("wb") as log, socket.create_server(("127.0.0.1", 0)) as proxy:
        emulator = subprocess.Popen([*start, f"--default-bucket={BUCKET}"], stdout=log, stderr=log)
        try:
            wait_for(port, emulator)
            threading.Thread(target=_accept, args=(proxy, context, port), daemon=True).start()
            yield {
                "https_proxy": f"http://127.0.0.1:{proxy.getsockname()[1]}",
                "CURL_CA_BUNDLE": str(folder / "ca.pem"),
                "NO_GCE_CHECK": "true",
                "GOOGLE_APPLICATION_CREDENTIALS": "",
                "CLOUDSDK_CONFIG": str(folder),
                "GCS_RETRY_CONFIG_MAX_RETRIES": "2",
            }
        finally:
            emulator.terminate()
            emulator.wait(30)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until a server answers at a port."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, "the emulator ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the emulator does not answer")


if __name__ == "__main__":  # python -m tests.support.gcs_server FOLDER COMMAND ...: runs a command beside a server
    with cloud_storage(Path(sys.argv[1])) as variables:
        raise SystemExit(subprocess.call(sys.argv[2:], env={**os.environ, **variables}))
