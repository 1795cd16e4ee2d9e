"""How many bytes each of several workers reads for an epoch, over the bytes of the data set.

    python -m benchmarks.worker_reads --work_dir=/tmp/benchmark_reads --workers=1,2,4

Workers are processes of this machine that train together over loopback (`--strategy=multi_worker`), on random features.
What a process has read is counted by the kernel (`rchar` of /proc/self/io: bytes that read calls gave it, from the disk
or from the page cache; sockets do not count). Every worker is run for 1 and for 1 + --epochs epochs: the difference is
what the epochs alone cost, without imports, manifest, and the frames of the records. Linux only.

The last line is one JSON object:

share: by number of workers, for each of them the bytes read per epoch over the bytes of the data set.
before_first_epoch_mb: the largest difference between what a worker had read at the end of one epoch and its epoch's
    bytes: Python, TensorFlow, the frames of the records, and batches that were read ahead.
dataset_mb: the shards.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.train_pipeline import SUBSET, write_shards
from benchmarks.work_folder import work_folder
from tc3net import __version__
from tc3net.common.errors import UserError
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
ROOT = Path(__file__).resolve().parents[1]
# Runs a module as `python -m` does, then says how much this process has read.
COUNTED = """
import json, runpy, sys
path, sys.argv = sys.argv[1], sys.argv[2:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    with open("/proc/self/io") as counters, open(path, "w") as file:
        json.dump({name: int(value) for name, value in (line.split(": ") for line in counters)}, file)
"""


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("work_dir", None, "Folder for the shards; emptied at the end.")
    flags.DEFINE_list("workers", ["1", "2", "4"], "Numbers of processes; each must divide --batch_size.")
    flags.DEFINE_integer("epochs", 4, "Epochs that are counted.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 8, "Videos per global batch; must divide --videos.", lower_bound=1)
    flags.DEFINE_integer("videos", 64, "Videos of the data set.", lower_bound=1)
    flags.DEFINE_integer("feature_dim", 256, "D of one stream.", lower_bound=1)


def tf_configs(workers: int) -> list[str]:
    """A value of TF_CONFIG for each process, on free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    hosts = [f"127.0.0.1:{server.getsockname()[1]}" for server in sockets]
    for server in sockets:
        server.close()
    tasks = [{"type": "worker", "index": index} for index in range(workers)]
    return [json.dumps({"cluster": {"worker": hosts}, "task": task}) for task in tasks]


def bytes_read(work: Path, workers: int, epochs: int) -> list[int]:
    """Trains so many epochs; the bytes that each worker's process has read, from its start to its end.

    Raises:
        UserError: a worker failed; its own message is on the screen.
    """
    steps = epochs * FLAGS.videos // FLAGS.batch_size
    name = f"{workers}_workers_{epochs}_epochs"
    command = [
        "tc3net.train", f"--dataset_dir={work / 'dataset'}", f"--run_dir={work / name}", f"--train_subset={SUBSET}",
        "--test_subset=", "--notensorboard", "--strategy=multi_worker", f"--batch_size={FLAGS.batch_size}",
        f"--iterations={steps}", f"--log_every={steps}", f"--checkpoint_every={steps}",
    ]  # fmt: skip
    counts = [work / f"{name}_{index}.json" for index in range(workers)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTED, str(path), *command],
            cwd=ROOT, env={**os.environ, "TF_CONFIG": config}, stdout=subprocess.DEVNULL,
        )
        for path, config in zip(counts, tf_configs(workers))
    ]  # fmt: skip
    if any([process.wait() for process in processes]):
        raise UserError(f"A worker of {workers} failed: see its message above.")
    return [json.loads(path.read_text())["rchar"] for path in counts]


def run(work: Path) -> dict[str, Any]:
    """All numbers of workers."""
    write_shards(work / "dataset", "float32", FLAGS.videos, FLAGS.feature_dim, num_classes=20)
    total = sum(path.stat().st_size for path in (work / "dataset").glob("*.tfrecord"))
    share, before = {}, 0.0
    for workers in map(int, FLAGS.workers):
        once, often = bytes_read(work, workers, 1), bytes_read(work, workers, 1 + FLAGS.epochs)
        epoch = [(b - a) / FLAGS.epochs for a, b in zip(once, often)]
        before = max(before, *(a - one for a, one in zip(once, epoch)))
        share[workers] = [round(one / total, 3) for one in epoch]
        print(f"{workers} workers: {share[workers]} of {total / 1e6:.1f} MB per epoch", flush=True)
    return {
        "version": __version__,
        "share": share,
        "before_first_epoch_mb": round(before / 1e6, 1),
        "dataset_mb": round(total / 1e6, 1),
    }


def main(argv: Sequence[str]) -> None:
    """Counts and prints the result."""
    del argv
    if not Path("/proc/self/io").exists():
        raise UserError("/proc/self/io is not there; expected Linux, whose kernel counts what a process reads.")
    if FLAGS.videos % FLAGS.batch_size:
        raise UserError(f"--videos={FLAGS.videos} is no multiple of --batch_size={FLAGS.batch_size}: give one.")
    with work_folder(FLAGS.work_dir) as work:
        result = run(work)
    print(json.dumps(result))


if __name__ == "__main__":
    run_main(main, register_flags)
