"""What the tests of serving share: servers, and clients of them."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from tc3net.serving.client import Client
from tests.support.needs import MODEL_SERVER
from tests.support.serving_stand_in import StandIn

TRANSPORTS = ("grpc", "rest")
MODEL = "tc3net"


class RealServer:
    """TensorFlow Serving itself, as far as its interface is the stand-in's."""

    def __init__(self, export_dir: Path) -> None:
        ports = []
        for _ in range(2):
            with socket.socket() as taken:
                taken.bind(("localhost", 0))
                ports.append(taken.getsockname()[1])
        self.grpc_address, self.rest_address = (f"localhost:{port}" for port in ports)
        self._command = [
            MODEL_SERVER, f"--port={ports[0]}", f"--rest_api_port={ports[1]}", f"--model_name={MODEL}",
            f"--model_base_path={export_dir / MODEL}",
        ]  # fmt: skip

    def __enter__(self) -> RealServer:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with Client(self.rest_address, transport="rest", attempts=1) as client:
            end = time.monotonic() + 120
            while not client.is_ready():
                assert time.monotonic() < end and self._process.poll() is None, f"{MODEL_SERVER} did not start"
                time.sleep(0.2)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def connect(server: StandIn | RealServer, transport: str, **settings: Any) -> Client:
    address = server.grpc_address if transport == "grpc" else server.rest_address
    return Client(address, transport=transport, **settings)


def video(segments: int = 20, seed: int = 0, dim: int = 4) -> np.ndarray:
    """Features [segments, 2 dim]."""
    return np.random.default_rng(seed).normal(size=(segments, 2 * dim)).astype(np.float32)
