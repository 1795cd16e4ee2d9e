"""The SavedModel: the same numbers as the model, in a process that cannot import tc3net."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.detection import DetectionConfig, detect, mixed_tcam, to_seconds, video_scores
from tc3net.export import export
from tc3net.inference import Scorer
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.runs import RunInfo
from tc3net.timebase import TimeBase

CLASSES, DIM, MOST = 3, 4, 6
RUN = RunInfo(
    dataset="d",
    classes=("a", "b", "c"),
    feature_dim=DIM,
    time_base=TimeBase(fps=30.0, frames_per_segment=16, stride_frames=8),
    model=ModelConfig(temporal_conv=True, temporal_conv_relu=False),
    detection=DetectionConfig(),
    training={"top_k_divisor": 8},
)
LENGTHS = [20, 1, 0, 33]

CALLER = """
import sys
sys.modules["tc3net"] = sys.modules["data_prep"] = None  # importing either fails
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
inputs = np.load(sys.argv[2])
outputs = model.signatures["serving_default"](
    features=tf.constant(inputs["features"]), lengths=tf.constant(inputs["lengths"]))
np.savez(sys.argv[3], **{name: value.numpy() for name, value in outputs.items()})
"""


@pytest.fixture(scope="module")
def model() -> ThreeCNet:
    made = ThreeCNet(CLASSES, DIM, RUN.model, seed=2)
    rng = np.random.default_rng(0)
    for variable in made.named_variables().values():
        variable.assign(rng.normal(size=variable.shape))
    return made


@pytest.fixture(scope="module")
def exported(model: ThreeCNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(model, RUN, tmp_path_factory.mktemp("export") / "tc3net", RUN.detection, MOST)


def padded_features(fill: float) -> np.ndarray:
    """[4, 33, 2D]; rows beyond each length hold `fill`."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(len(LENGTHS), max(LENGTHS), 2 * DIM)).astype(np.float32)
    for row, length in zip(features, LENGTHS):
        row[length:] = fill
    return features


def test_a_process_without_tc3net_gets_the_models_numbers(model: ThreeCNet, exported: Path, tmp_path: Path) -> None:
    features = padded_features(0.0)
    np.savez(tmp_path / "in.npz", features=features, lengths=np.array(LENGTHS, np.int64))
    arguments = [str(exported), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, "-c", CALLER, *arguments], check=True, cwd=tmp_path, timeout=120)
    found = np.load(tmp_path / "out.npz")

    ragged = tf.RaggedTensor.from_tensor(features, lengths=LENGTHS)
    rows, pooled = Scorer(model)(ragged)
    tcam = tf.RaggedTensor.from_row_lengths(rows, LENGTHS)
    np.testing.assert_allclose(found["tcam"], tcam.to_tensor(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["video_scores"], video_scores(pooled, RUN.detection), rtol=1e-5)
    assert_detections(found, model, ragged, RUN.detection)


def test_every_refinement_is_exported_too(model: ThreeCNet, tmp_path: Path) -> None:
    config = DetectionConfig(
        rgb_weight=0.5,
        class_filter="all",
        max_classes=2,
        smoothing="savgol",
        smoothing_segments=2.0,
        upsampling=3,
        threshold="quantile",
        threshold_levels="0.3,0.5,0.7",
        score="contrast",
        score_scale="range",
        score_class="probability",
        nms="soft",
    )
    serve = tf.saved_model.load(str(export(model, RUN, tmp_path / "tc3net", config, MOST))).signatures[
        "serving_default"
    ]
    features = padded_features(np.nan)
    found = serve(features=tf.constant(features), lengths=tf.constant(LENGTHS, tf.int64))
    found = {name: value.numpy() for name, value in found.items()}
    assert_detections(found, model, tf.RaggedTensor.from_tensor(features, lengths=LENGTHS), config)


def assert_detections(found: Any, model: ThreeCNet, features: tf.RaggedTensor, config: DetectionConfig) -> None:
    """The served detections are those of the library, best first."""
    tcam = mixed_tcam(model(features, training=False), config)
    columns = {name: column.numpy() for name, column in detect(tcam, config).items()}
    base = {name: np.full(len(LENGTHS), value) for name, value in vars(RUN.time_base).items()}
    expected = to_seconds(columns, video_ids=["w", "x", "y", "z"], **base, cells_per_segment=config.upsampling)
    assert len(expected) > MOST  # the limit is exercised
    for video in range(len(LENGTHS)):
        mine = [i for i in (-expected.score).argsort(kind="stable") if expected.video[i] == video][:MOST]
        assert found["num_detections"][video] == len(mine)
        kept = slice(0, len(mine))
        np.testing.assert_array_equal(found["detection_classes"][video, kept], expected.label[mine])
        np.testing.assert_allclose(found["detection_scores"][video, kept], expected.score[mine], rtol=1e-4, atol=1e-5)
        times = np.stack([expected.start_s[mine], expected.end_s[mine]], axis=1)
        np.testing.assert_allclose(found["detection_segments"][video, kept], times, rtol=1e-5)
        assert not found["detection_scores"][video, len(mine) :].any()


@pytest.mark.parametrize("fill", [7.0, np.nan, np.inf])
def test_rows_beyond_the_length_never_matter(exported: Path, fill: float) -> None:
    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    lengths = tf.constant(LENGTHS, tf.int64)
    expected = serve(features=tf.constant(padded_features(0.0)), lengths=lengths)
    found = serve(features=tf.constant(padded_features(fill)), lengths=lengths)
    for name, value in expected.items():
        assert np.all(np.isfinite(value)), name
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize(("lengths", "message"), [([34], "beyond"), ([-1], "negative")])
def test_impossible_lengths_are_refused(exported: Path, lengths: list[int], message: str) -> None:
    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(features=tf.zeros([1, 33, 2 * DIM]), lengths=tf.constant(lengths, tf.int64))


def test_versions_count_up_and_the_description_is_readable(model: ThreeCNet, tmp_path: Path) -> None:
    paths = [export(model, RUN, tmp_path / "m", RUN.detection, MOST) for _ in range(2)]
    assert [path.name for path in paths] == ["1", "2"]
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "2"]  # nothing temporary is left
    description = json.loads((paths[1] / "assets" / "tc3net.json").read_text())
    assert description["classes"] == ["a", "b", "c"]
    assert description["time_base"] == {"fps": 30.0, "frames_per_segment": 16, "stride_frames": 8}
