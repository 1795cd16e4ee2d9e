"""Everything from raw files to detections on one kind of storage: what the tests of each kind run, in one process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tc3net.common.storage import RemotePath, path_of
from tc3net.common.storage.copies import local_copy, put_folder
from tc3net.data.record_index import INDEX_NAME
from tc3net.data.schema import load_manifest
from tc3net.training.metrics_log import read_metrics
from tests.support.commands import TRAIN
from tests.support.one_process import nothing_named_as_a_scheme, run_here

_SIZE = ("--num_train=6", "--num_test=4", "--num_classes=2", "--feature_dim=4")


def everything(top: str, tensorboard: bool = True) -> None:
    """Converts, trains, resumes, evaluates, predicts, reports and exports below `top`; asserts what must come out.

    Args:
        top: an empty remote folder; the current folder is an empty one of the disk.
        tensorboard: whether event files are written too.
    """
    here, there = converted(top)
    _train(there, tensorboard)
    _evaluate_and_predict(here, there)
    _export(there)
    nothing_named_as_a_scheme(here)


def converted(top: str) -> tuple[Path, Any]:
    """Converts below `top`, as `everything` does at first; gives the folders on the disk and there."""
    here, there = Path.cwd(), path_of(top)
    assert isinstance(there, RemotePath)
    run_here("data_prep.synthetic", f"--output_dir={here / 'raw'}", *_SIZE)
    put_folder(here / "raw", there / "raw")
    _convert(here, there)
    nothing_named_as_a_scheme(here)
    return here, there


def _convert(here: Path, there: Any) -> None:
    for top in (here, there):
        raw = [f"--annotations={top / 'raw' / 'annotations.json'}", f"--features={top / 'raw' / 'features'}"]
        run_here("data_prep.convert", *raw, f"--output_dir={top / 'data'}", "--name=Tiny", "--videos_per_shard=3")
    local, remote = (load_manifest(top / "data") for top in (here, there))
    assert remote.source["simulated_features"]
    for subset, split in local.splits.items():
        there_too = remote.splits[subset].shards
        assert [shard.sha256 for shard in split.shards] == [shard.sha256 for shard in there_too]
        for shard in there_too:
            assert (there / "data" / shard.file).stat().st_size == shard.bytes
    before = _names(there / "data")
    assert before == {"dataset.json", INDEX_NAME, *(shard.file for s in remote.splits.values() for shard in s.shards)}
    run_here("data_prep.convert", *raw, f"--output_dir={there / 'data'}", "--name=Tiny", "--videos_per_shard=3")
    after = _names(there / "data")  # the same data set beside the earlier one, which then went
    assert len(after) == len(before)
    assert after & before == {"dataset.json", INDEX_NAME}
    run_here("data_prep.inspect", f"--dataset_dir={there / 'data'}", f"--output_dir={there / 'inspection'}")
    assert json.loads((there / "inspection" / "inspection.json").read_text())


def _names(folder: Any) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _train(there: Any, tensorboard: bool) -> None:
    data = (f"--dataset_dir={there / 'data'}", f"--run_dir={there / 'run'}")
    flag = "--tensorboard" if tensorboard else "--notensorboard"
    run_here(*TRAIN, *data, "--batch_size=4", flag)
    output = run_here(*TRAIN, *data, "--batch_size=4", "--iterations=6", flag)
    assert "Resuming after step 4" in output
    assert [e["step"] for e in read_metrics(there / "run") if "evaluation" in e] == [0, 2, 4, 6]
    names = {"flags.cfg", "run.json", "metrics.jsonl", "checkpoints", "best"}
    assert _names(there / "run") == names | ({"tensorboard"} if tensorboard else set()), "no lease is left"
    refused = run_here(*TRAIN, *data, "--batch_size=4", "--learning_rate=1e-2", expect_failure=True)
    assert "holds a run with another training" in refused


def _evaluate_and_predict(here: Path, there: Any) -> None:
    run, data = f"--run_dir={there / 'run'}", f"--dataset_dir={there / 'data'}"
    run_here("tc3net.evaluate", run, data, "--analysis")
    evaluation = there / "run" / "evaluation"
    assert {"metrics.json", "detections.json", "ground_truth.json", "raw_scores.npz", "tables"} <= _names(evaluation)
    run_here("tc3net.evaluate", f"--scores={evaluation / 'raw_scores.npz'}", f"--output_dir={there / 'again'}")
    assert _localization(there / "again") == _localization(evaluation)
    detections = f"--detections={evaluation / 'detections.json'}"
    run_here("tc3net.evaluate", detections, data, f"--output_dir={there / 'of_detections'}")
    assert _localization(there / "of_detections").keys() == _localization(evaluation).keys()
    assert "Written to" in run_here("tc3net.report", str(there / "run"))
    assert (evaluation / "report.html").stat().st_size > 1000

    expected = json.loads((evaluation / "detections.json").read_text())["results"]
    known = f"--annotations={there / 'raw' / 'annotations.json'}"
    for kind, arguments in {
        "of_data": [data],
        "of_files": [f"--features={there / 'raw' / 'features'}", known, "--report"],
    }.items():
        run_here("tc3net.predict", run, *arguments, f"--output_dir={there / kind}")
        found = json.loads((there / kind / "detections.json").read_text())["results"]
        assert {video: len(found[video]) for video in expected} == {v: len(each) for v, each in expected.items()}
    assert (there / "of_files" / "report.html").is_file()
    with local_copy(there / "run") as copy:  # the run as it is on a disk gives the same
        run_here(
            "tc3net.predict", f"--run_dir={copy}", f"--dataset_dir={here / 'data'}", f"--output_dir={here / 'of_data'}"
        )
    of_disk, of_storage = (json.loads((top / "of_data" / "detections.json").read_text()) for top in (here, there))
    assert of_disk["results"] == of_storage["results"]


def _localization(folder: Any) -> Any:
    return json.loads((folder / "metrics.json").read_text())["localization"]


def _export(there: Any) -> None:
    import tensorflow as tf

    for version in ("1", "2"):
        output = run_here("tc3net.export", f"--run_dir={there / 'run'}", f"--export_dir={there / 'exported'}")
        model = there / "exported" / "tc3net" / version
        assert f"SavedModel written to {model}." in output
        assert {"saved_model.pb", "variables", "assets", "assets.extra"} <= _names(model)
    assert {"models.config", "docker-compose.yml", "batching_params.pbtxt", "tc3net"} == _names(there / "exported")
    loaded = tf.saved_model.load(str(model))
    answer = loaded.signatures["serving_default"](features=tf.zeros([1, 20, 8]), lengths=tf.constant([20], tf.int64))
    assert answer
    assert json.loads((model / "assets" / "tc3net.json").read_text())["dataset"].startswith("Tiny")


if __name__ == "__main__":
    everything(sys.argv[1])
