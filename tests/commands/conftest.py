"""What the tests of commands share, and only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import TRAIN, command
from tests.support.once import made_once


def run_once(folder: Path) -> None:
    """raw/ -> dataset/ -> run/, by the commands in processes of their own."""
    sizes = ("--num_train=12", "--num_test=6", "--num_classes=3", "--feature_dim=8", "--median_duration_s=40")
    command("data_prep.synthetic", f"--output_dir={folder / 'raw'}", *sizes, new_process=True)
    raw = (f"--annotations={folder / 'raw' / 'annotations.json'}", f"--features={folder / 'raw' / 'features'}")
    command("data_prep.convert", *raw, f"--output_dir={folder / 'dataset'}", "--name=small", new_process=True)
    data, run = f"--dataset_dir={folder / 'dataset'}", f"--run_dir={folder / 'run'}"
    command(*TRAIN, data, run, "--tensorboard", new_process=True)


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """raw/, dataset/ and run/ of a small simulated data set."""
    yield from made_once(tmp_path_factory, "work", run_once)


@pytest.fixture(scope="session")
def evaluated(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the run's evaluation on the test videos."""

    def evaluate(folder: Path) -> None:
        run, data = f"--run_dir={work / 'run'}", f"--dataset_dir={work / 'dataset'}"
        command("tc3net.evaluate", run, data, f"--output_dir={folder}")

    yield from made_once(tmp_path_factory, "evaluated", evaluate)
