"""What a command computes on, in one line of ours in place of TensorFlow's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tensorflow as tf

from tc3net.common.names import counted

_DRIVER = Path("/proc/driver/nvidia/version")
_state = {"is_told": True}  # until a command runs: a library prints nothing


def tell_once() -> None:
    """From here on the first `say_devices` of this process says it; for whoever runs commands."""
    _state["is_told"] = False


def say_devices() -> None:
    """Says on standard error what TensorFlow computes on; in a command, once. Call it before anything is computed."""
    if not _state["is_told"]:
        _state["is_told"] = True
        print(_devices(), file=sys.stderr, flush=True)


def _devices() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        names = [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)) for gpu in gpus]
        return f"Computing on {counted(len(gpus), 'GPU')}: {', '.join(names)}"
    cpus = f"Computing on {counted(len(os.sched_getaffinity(0)), 'CPU')}"
    if _DRIVER.exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "0") not in ("", "-1"):
        return f"{cpus}: NVIDIA's driver is there, but TensorFlow finds no GPU (pip install 'tc3net[gpu]')"
    return f"{cpus}: TensorFlow finds no GPU"
