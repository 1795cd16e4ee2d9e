"""Shared set-up: four logical CPU devices (replicas without GPUs), and a small data set on disk."""

from __future__ import annotations

import gc
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a job in the background of a script; commands inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # expectations below are about CPU arithmetic and CPU replicas

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.left_out import (  # noqa: F401
    pytest_make_collect_report,
    pytest_runtest_makereport,
    pytest_terminal_summary,
)
from tests.support.once import made_once
from tests.support.slow import (  # noqa: F401
    pytest_collection_modifyitems,
    pytest_runtest_logreport,
    pytest_sessionfinish,
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Sets TensorFlow up where tests run; the process of pytest-xdist that only hands them out need not wait for it."""
    if session.config.pluginmanager.has_plugin("dsession"):
        return
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)


def pytest_collection_finish() -> None:
    """Looks for garbage rarely: what is imported stays, and tracing makes objects that it would look at in vain."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 20)


@pytest.fixture
def dataset_dir(tmp_path: Path) -> Path:
    """10 training and 6 test videos of 3 to 40 segments; `counted_classes` are the first two of three."""
    from tests.support.data import make_video, write_dataset

    lengths = [3, 40, 9, 17, 8, 25, 12, 30, 5, 21]
    train = [make_video(i, "validation", s) for i, s in enumerate(lengths)]
    test = [make_video(i, "test", s) for i, s in enumerate(lengths[:6])]
    return write_dataset(tmp_path / "dataset", {"validation": train, "test": test})


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Version 1 of the exported `export_cases.make_model`, in a folder named as `serving_cases.MODEL`."""
    from tests.support import export_cases
    from tests.support.serving_cases import MODEL

    folders = made_once(tmp_path_factory, "export", lambda folder: export_cases.export_model(folder / MODEL))
    for folder in folders:
        yield folder / MODEL / "1"
