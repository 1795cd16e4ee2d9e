"""Where training runs: one device, the GPUs of one machine, or several machines, and what their processes agree on.

Every machine of a cluster runs the same command; `TF_CONFIG` tells each which one it is. The first is the chief: it
alone writes the run folder. Nothing here knows the model or the data.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.terminal.devices import say_devices

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
_TF_CONFIG = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}, the same on every '
    "machine except for the index"
)


def read_tf_config(text: str | None) -> dict[str, int]:
    """Checks `TF_CONFIG`, which TensorFlow itself would read without a word about mistakes.

    Args:
        text: value of the environment variable; None where it is not set.

    Returns:
        Number of processes by job, as listed under "cluster": {"worker": 2} or {"chief": 1, "worker": 1}.

    Raises:
        UserError: absent, not JSON, or without a cluster and a task that belong together.
    """

    def wrong(found: str) -> UserError:
        return UserError(f"The environment variable TF_CONFIG {found}; --strategy=multi_worker expects {_TF_CONFIG}.")

    if not text:
        raise wrong("is not set")
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise wrong(f"is not JSON ({error})") from None
    cluster, task = (config.get(key) if isinstance(config, dict) else None for key in ("cluster", "task"))
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise wrong(f'has no "cluster" or no "task" ({text})')
    jobs = {}
    for job, hosts in cluster.items():
        if job not in ("chief", "worker"):
            raise wrong(f'names a job {job!r} in "cluster", expected "worker" (and at most one "chief")')
        if not isinstance(hosts, list) or not all(isinstance(h, str) and ":" in h for h in hosts):
            raise wrong(f'lists {hosts!r} under {job!r}, expected ["host:port", ...]')
        jobs[job] = len(hosts)
    kind, index = task.get("type"), task.get("index")
    if not isinstance(index, int) or not 0 <= index < jobs.get(kind, 0):
        raise wrong(f'says "task" is {task}, which "cluster" {jobs} does not list')
    return jobs


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy for `--strategy`; call it before any TensorFlow operation runs.

    MirroredStrategy spans the GPUs or, where there are none, the logical CPU devices. `auto` follows a TF_CONFIG that
    names several processes: without it each would train alone, in the same run folder.

    Raises:
        UserError: multi_worker without a usable TF_CONFIG.
    """
    text = os.environ.get("TF_CONFIG")
    if name == "multi_worker" or (name == "auto" and text and sum(read_tf_config(text).values()) > 1):
        read_tf_config(text)
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        say_devices()
        return strategy
    say_devices()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _resolver(strategy: tf.distribute.Strategy) -> Any:
    return strategy.cluster_resolver if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else None


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Processes that train together."""
    resolver = _resolver(strategy)
    return sum(map(len, resolver.cluster_spec().as_dict().values())) if resolver else 1


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run folder: the job "chief" or, without one, worker 0."""
    resolver = _resolver(strategy)
    if resolver is None or resolver.task_type == "chief":
        return True
    return resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs


@contextlib.contextmanager
def all_present(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Around work that needs every worker.

    Raises:
        UserError: another one is gone. It takes seconds to be noticed.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        if num_workers(strategy) == 1:
            raise
        raise UserError(
            f"Another worker is gone ({type(error).__name__}); if it failed, its own message says why. Start the "
            "command on all machines again: the run resumes from its newest checkpoint."
        ) from None


def from_chief(strategy: tf.distribute.Strategy, value: int) -> int:
    """The chief's value, in every process; also a barrier, which none passes before all have reached it.

    Args:
        strategy: of the run. All of its processes must make the call.
        value: read in the chief's process only.

    Raises:
        UserError: another worker is gone.
    """
    if num_workers(strategy) == 1:
        return value

    def share() -> tf.Tensor:
        replica = tf.distribute.get_replica_context()
        # Replicas are numbered from the chief's first.
        mine = tf.where(tf.equal(replica.replica_id_in_sync_group, 0), value, 0)
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(mine, tf.int64))

    with all_present(strategy):
        shared = tf.function(lambda: strategy.run(share), autograph=False)()
    return int(strategy.experimental_local_results(shared)[0])
