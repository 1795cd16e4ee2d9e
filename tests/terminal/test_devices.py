"""One line says what is computed on: in a command, once, and nothing where tc3net is a library."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tc3net.terminal import devices


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A machine with as many GPUs, and a driver or not."""
    monkeypatch.setattr(devices, "_state", {"is_told": True})
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: {0, 1})

    def make(gpus: int, driver: bool = False) -> None:
        (tmp_path / "version").touch() if driver else None
        monkeypatch.setattr(devices, "_DRIVER", tmp_path / "version")
        details = SimpleNamespace(get_device_details=lambda gpu: {"device_name": f"NVIDIA {gpu.name}"})
        found = [SimpleNamespace(name=f"GPU:{number}") for number in range(gpus)]
        config = SimpleNamespace(list_physical_devices=lambda _: found, experimental=details)
        monkeypatch.setattr(devices, "tf", SimpleNamespace(config=config))

    return make


def said(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_a_library_says_nothing(machine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    machine(0)
    devices.say_devices()
    assert said(capsys) == ""


def test_a_command_says_it_once(machine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    machine(0)
    devices.tell_once()
    devices.say_devices()
    devices.say_devices()
    assert said(capsys) == "Computing on 2 CPUs: TensorFlow finds no GPU\n"


def test_gpus_are_named(machine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    machine(2)
    devices.tell_once()
    devices.say_devices()
    assert said(capsys) == "Computing on 2 GPUs: NVIDIA GPU:0, NVIDIA GPU:1\n"


def test_a_driver_without_a_gpu_gets_the_cure_unless_gpus_are_hidden(
    machine: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(0, driver=True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    devices.tell_once()
    devices.say_devices()
    assert "NVIDIA's driver is there, but TensorFlow finds no GPU (pip install 'tc3net[gpu]')" in said(capsys)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    devices.tell_once()
    devices.say_devices()
    assert said(capsys) == "Computing on 2 CPUs: TensorFlow finds no GPU\n"
