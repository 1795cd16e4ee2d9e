"""A worker reads from the shards what it trains on, and nothing of the others' videos: counted by the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tc3net.data.pipeline import InputConfig, training_batches
from tc3net.data.split import open_split
from tests.support.data import make_video, write_dataset

VIDEOS, BATCH_SIZE, EPOCHS = 16, 4, 8


def bytes_read() -> int:
    """By this process until now, from files: what read calls gave it, wherever the bytes came from."""
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counters["rchar"])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of one size, so that every worker's share is the same."""
    videos = [make_video(index, "validation", 200) for index in range(VIDEOS)]
    return write_dataset(tmp_path_factory.mktemp("reads") / "dataset", {"validation": videos})


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts of what a process reads: Linux only")
@pytest.mark.parametrize(("worker", "workers"), [(0, 1), (1, 2), (3, 4)])
def test_a_worker_reads_its_share_of_the_data_set_per_epoch(dataset: Path, worker: int, workers: int) -> None:
    total = sum(path.stat().st_size for path in dataset.glob("*.tfrecord"))
    split, steps = open_split(dataset, "validation"), EPOCHS * VIDEOS // BATCH_SIZE
    # Crops do not matter: a record is read whole, for its checksum.
    config = InputConfig(batch_size=BATCH_SIZE, crop_segments=100)
    before = bytes_read()
    batches = iter(training_batches(split, config, num_replicas=workers, worker=(worker, workers)))
    for _ in range(steps):
        next(batches)
    share = (bytes_read() - before) / (EPOCHS * total)
    # Above the share: batches that are read ahead.
    assert 0.98 / workers <= share <= 1.5 / workers, share
