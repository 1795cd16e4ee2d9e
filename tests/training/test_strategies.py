"""Which devices a run uses, what TF_CONFIG may say, and which shares of a batch each worker reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.pipeline import InputConfig, training_batches
from tc3net.data.split import open_split
from tc3net.training.strategies import from_chief, is_chief, make_strategy, num_workers, read_tf_config


def tf_config(cluster: object, task: object) -> str:
    return json.dumps({"cluster": cluster, "task": task})


def test_a_correct_tf_config_is_accepted() -> None:
    two = {"worker": ["a:1", "b:1"]}
    assert read_tf_config(tf_config(two, {"type": "worker", "index": 1})) == {"worker": 2}
    with_chief = {"chief": ["a:1"], "worker": ["b:1"]}
    assert read_tf_config(tf_config(with_chief, {"type": "chief", "index": 0})) == {"chief": 1, "worker": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not set"),
        ("", "is not set"),
        ("{worker", "is not JSON"),
        ("[]", 'has no "cluster"'),
        (tf_config({"worker": ["a:1"]}, None), 'has no "cluster" or no "task"'),
        (tf_config({"ps": ["a:1"]}, {"type": "ps", "index": 0}), "names a job 'ps'"),
        (tf_config({"worker": ["a"]}, {"type": "worker", "index": 0}), "lists"),
        (tf_config({"worker": "a:1"}, {"type": "worker", "index": 0}), "lists 'a:1'"),
        (tf_config({"worker": ["a:1"]}, {"type": "worker", "index": 1}), "does not list"),
        (tf_config({"worker": ["a:1"]}, {"type": "worker", "index": "0"}), "does not list"),
        (tf_config({"worker": ["a:1"]}, {"type": "chief", "index": 0}), "does not list"),
    ],
)
def test_a_wrong_tf_config_is_refused_with_an_example(text: str | None, message: str) -> None:
    with pytest.raises(UserError, match="TF_CONFIG") as error:
        read_tf_config(text)
    assert message in str(error.value)
    assert '"cluster": {"worker": ["host0:2222", "host1:2222"]}' in str(error.value)


def test_multi_worker_needs_tf_config_and_auto_obeys_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="is not set"):
        make_strategy("multi_worker")
    assert make_strategy("auto").num_replicas_in_sync == 1
    # Two processes that train alone would write the same run folder: a TF_CONFIG is never passed over in silence.
    monkeypatch.setenv("TF_CONFIG", '{"cluster"')
    with pytest.raises(UserError, match="is not JSON"):
        make_strategy("auto")
    assert make_strategy("one_device").num_replicas_in_sync == 1


def test_mirrored_spans_the_logical_devices() -> None:
    assert make_strategy("mirrored").num_replicas_in_sync == len(tf.config.list_logical_devices("CPU"))


def test_a_lone_process_is_the_chief() -> None:
    strategy = make_strategy("one_device")
    assert (num_workers(strategy), is_chief(strategy), from_chief(strategy, 7)) == (1, True, 7)


@pytest.mark.parametrize(("replicas", "workers"), [(2, 1), (2, 2), (4, 2), (4, 4)])
def test_the_workers_shares_make_up_the_global_batch_in_order(dataset_dir: Path, replicas: int, workers: int) -> None:
    """Crops included: they depend on the position in the global batch."""
    split = open_split(dataset_dir, "validation")
    config = InputConfig(batch_size=8, crop_segments=5)
    steps, local = 5, replicas // workers
    whole = list(training_batches(split, config, start_step=3).take(steps))
    parts = [
        list(
            training_batches(split, config, start_step=3, num_replicas=replicas, worker=(w, workers)).take(
                steps * local
            )
        )
        for w in range(workers)
    ]
    for step in range(steps):
        shares = [share for part in parts for share in part[step * local : (step + 1) * local]]
        assert [len(share["video"]) for share in shares] == [8 // replicas] * replicas
        for name in ("video", "labels", "counts", "counts_known", "full_length"):
            np.testing.assert_array_equal(tf.concat([s[name] for s in shares], 0), whole[step][name])
        rows = tf.concat([s["features"].flat_values for s in shares], 0)
        np.testing.assert_array_equal(rows, whole[step]["features"].flat_values)
