"""One stream and three of unequal size go the whole way: simulated, converted, trained, resumed, used and served."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tc3net.data.schema import encode_request
from tc3net.data.streams import Streams
from tc3net.inference.raw_scores import load_scores
from tc3net.serving.client import Client
from tests.support.commands import TRAIN, command
from tests.support.serving_stand_in import StandIn

SMALL = ("--num_train=10", "--num_test=4", "--num_classes=2", "--median_duration_s=30")
CASES = {
    "one": ("videomae:6", ""),
    "three": ("rgb:8,flow:5,audio:3", "audio:0.5,flow:1.0"),
}


@pytest.fixture(params=CASES)
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Streams, str]:
    """raw/, dataset/ and run/; the streams, and weights for detection."""
    text, weights = CASES[request.param]
    streams = Streams.of({name: int(size) for name, size in (part.split(":") for part in text.split(","))})
    command("data_prep.synthetic", f"--output_dir={tmp_path / 'raw'}", *SMALL, f"--streams={text}")
    raw = (f"--annotations={tmp_path / 'raw' / 'annotations.json'}", f"--features={tmp_path / 'raw' / 'features'}")
    screen = command("data_prep.convert", *raw, f"--output_dir={tmp_path / 'dataset'}", f"--streams={text}", "--name=x")
    assert f"streams {streams.words()}" in screen
    data, run = f"--dataset_dir={tmp_path / 'dataset'}", f"--run_dir={tmp_path / 'run'}"
    held_out = ("--holdout_fraction=0.3", "--hidden_dim=4", "--eval_every=4")
    command(*TRAIN, data, run, *held_out)
    if len(streams) > 1:
        command(*TRAIN, data, run, *held_out, "--iterations=6")  # resumed
    return tmp_path, streams, weights


def test_the_whole_way(trained: tuple[Path, Streams, str]) -> None:
    folder, streams, weights = trained
    info = json.loads((folder / "run" / "run.json").read_text())
    assert info["streams"] == streams.as_dict() and info["model"]["hidden_dim"] == 4
    logged = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[-2])
    classified = {name for name in logged if name.startswith("classification_")}
    assert classified == {
        f"classification_{n}" for n in ((*streams.names, "fused") if len(streams) > 1 else ("fused",))
    }
    assert {f"center_{name}" for name in streams.names} <= set(logged)

    run, data = f"--run_dir={folder / 'run'}", f"--dataset_dir={folder / 'dataset'}"
    chosen = (f"--stream_weights={weights}",) if weights else ()
    out = folder / "evaluation"
    command("tc3net.evaluate", run, data, "--keep_streams", f"--output_dir={out}", *chosen)
    scores = load_scores(out / "raw_scores.npz")
    assert scores.streams == tuple(scores.stream_tcams) == streams.names
    assert scores.pooled.shape[1] == len(streams) + 1
    expected = json.loads((out / "detections.json").read_text())["results"]

    screen = command("tc3net.tune", run, data, f"--output_dir={folder / 'tuned'}", "--budget=4")
    assert ("streams" in screen.partition("Tuning on")[2].partition("\n")[0]) == (len(streams) > 1)
    command(
        "tc3net.evaluate", run, data, f"--flagfile={folder / 'tuned' / 'detection.cfg'}", f"--output_dir={folder / 'e'}"
    )

    raw = folder / "raw" / "features"
    command("tc3net.predict", run, f"--features={raw}", f"--output_dir={folder / 'prediction'}", *chosen)
    found = json.loads((folder / "prediction" / "detections.json").read_text())["results"]
    for video, detections in expected.items():
        assert [one["segment"] for one in found[video]] == [one["segment"] for one in detections]
    refused = command(
        "tc3net.predict", run, f"--rgb={raw}", f"--flow={raw}", f"--output_dir={folder / 'x'}", expect_failure=True
    )
    assert f"the model reads the streams {streams.words()}" in refused

    command("tc3net.export", run, f"--export_dir={folder / 'export'}", *chosen)
    video = next(iter(expected))
    rows = {name: np.load(raw / name / f"{video}.npy") for name in streams.names}
    joint = np.concatenate(list(rows.values()), axis=1)
    loaded = tf.saved_model.load(str(folder / "export" / "tc3net" / "1"))
    by_example = loaded.signatures["examples"](examples=tf.constant([encode_request(video, rows)]))
    by_tensor = loaded.signatures["serving_default"](features=joint[np.newaxis], lengths=np.array([len(joint)]))
    np.testing.assert_array_equal(by_example["detection_segments"], by_tensor["detection_segments"])
    one = loaded.signatures["streams"](stream_ids=tf.constant([len(streams) - 1], tf.int64))
    assert one["stream_names"].numpy().tolist() == [streams.names[-1].encode()]
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected ids from 0"):
        loaded.signatures["streams"](stream_ids=tf.constant([9], tf.int64))

    with StandIn(folder / "export") as server:
        for transport, address in (("grpc", server.grpc_address), ("rest", server.rest_address)):
            with Client(address, transport=transport) as client:
                assert client.streams() == streams and client.feature_width() == streams.width
                answers = client.localize(joint)
                times_s = [[one.start_s, one.end_s] for one in answers[:3]]
                np.testing.assert_allclose(times_s, [one["segment"] for one in expected[video][:3]], atol=2e-3)
                embedding = client.embed(joint)
                assert {name: part.shape for name, part in embedding.streams.items()} == {
                    name: (len(joint), 4) for name in streams.names
                }
