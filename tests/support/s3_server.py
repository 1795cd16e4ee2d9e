"""An Amazon S3 of this machine, moto's, that tensorflow-io reaches as s3://."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.gcs_server import BUCKET, free_port, wait_for


@contextlib.contextmanager
def simple_storage(folder: Path) -> Iterator[dict[str, str]]:
    """A server with the empty bucket `BUCKET`; yields the variables that processes need to reach it.

    Args:
        folder: for its log.
    """
    port = free_port()
    start = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("wb") as log:
        server = subprocess.Popen(start, stdout=log, stderr=log)
        try:
            wait_for(port, server)
            key = {"Authorization": "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request"}
            made = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT", headers=key)
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(made, timeout=30).close()
            yield {
                "S3_ENDPOINT": f"http://127.0.0.1:{port}",
                "S3_USE_HTTPS": "0",
                "S3_VERIFY_SSL": "0",
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "tests",
                "AWS_SECRET_ACCESS_KEY": "tests",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":  # python -m tests.support.s3_server FOLDER COMMAND ...: runs a command beside a server
    with simple_storage(Path(sys.argv[1])) as variables:
        raise SystemExit(subprocess.call(sys.argv[2:], env={**os.environ, **variables}))
