"""The detection rule that an ONNX or TFLite model is used with: NumPy alone, and the library's numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig, detect_in, evidence_of, to_seconds, video_scores
from tc3net.saved_model import portable_rule
from tc3net.saved_model.portable_rule import Rule
from tests.support import detection_oracle as oracle
from tests.support.detection_settings import ALL, EXACT
from tests.support.tcams import tcams

BASE = TimeBase(fps=30.0, frames_per_segment=16, stride_frames=8)
STREAMS = ("rgb", "flow")


def rule(config: DetectionConfig, classes: int, divisor: int = 8, most: int = 10_000) -> Rule:
    names = tuple(f"c{number}" for number in range(classes))
    return Rule(names, STREAMS, vars(BASE), vars(config), divisor, most)


def assert_oracles(tcam: np.ndarray, config: DetectionConfig, divisor: int) -> None:
    found = rule(config, tcam.shape[1], divisor).detect({"tcam_fused": tcam})
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    expected = []
    for label, start, end, score in oracle.detections(tcam, config, divisor):
        times = [(cell * 8 / config.upsampling + 4) / 30 for cell in (start, end)]
        expected.append((f"c{label}", *np.round(times, 9), score))
    mine = sorted((one["label"], *np.round(one["segment"], 9), one["score"]) for one in found)
    assert [one[:3] for one in mine] == [one[:3] for one in sorted(expected)]
    np.testing.assert_allclose([one[3] for one in mine], [one[3] for one in sorted(expected)], rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(tcams(max_videos=1), st.builds(DetectionConfig, **EXACT), st.sampled_from([1, 2, 4, 8]))
def test_detections_are_the_oracles_ties_and_plateaus_included(
    videos: list[np.ndarray], config: DetectionConfig, divisor: int
) -> None:
    assert_oracles(videos[0], config, divisor)


@settings(deadline=None, max_examples=60)
@given(tcams(max_videos=1), st.builds(DetectionConfig, **ALL), st.integers(1, 9))
def test_detections_are_the_oracles_under_every_setting(
    videos: list[np.ndarray], config: DetectionConfig, divisor: int
) -> None:
    assume(oracle.closest_tie(videos[0], config, divisor) > 1e-5)
    assert_oracles(videos[0], config, divisor)


READ = {
    "streams": DetectionConfig(
        rgb_weight=0.5, stream_weights="flow:2.0", class_filter="all", threshold="quantile",
        threshold_levels="0.3,0.5,0.9", score="contrast", nms="soft", video_scores="sum",
    ),
    "ham": DetectionConfig(
        track="attention", class_scores="product", class_filter="all", min_probability=0.2, best_class=True,
        threshold="value", threshold_levels="0.3,0.5,0.7", score="contrast", score_track="product",
        score_class="probability", score_gamma=0.2, nms="soft",
    ),
    "stpn": DetectionConfig(
        fused_weight=0.0, rgb_weight=0.5, flow_weight=0.5, segment_scores="sigmoid", track="product",
        class_scores="pooled", probability="sigmoid", class_filter="all", min_probability=0.1, threshold="value",
        threshold_levels="0.15", score="mean", score_track="product", score_gamma=0.0, nms="hard",
    ),
    "untrimmed": DetectionConfig(
        segment_scores="softmax", class_filter="all", threshold="range", threshold_levels="0.5", score="mean",
        score_track="thresholded", score_class="log_probability", score_gamma=0.2, upsampling=3, smoothing="savgol",
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", READ)
def test_everything_that_detection_can_read_is_read_as_the_library_reads_it(method: str) -> None:
    rng, config, classes = np.random.default_rng(3), READ[method], 3
    outputs: dict[str, np.ndarray] = {
        f"tcam_{name}": rng.normal(size=(40, classes)).astype(np.float32) for name in (*STREAMS, "fused")
    }
    outputs["attention_fused"] = rng.random((40, 1), np.float32)
    outputs.update({f"pooled_{name}": rng.normal(size=(1, classes)).astype(np.float32) for name in (*STREAMS, "fused")})
    rows = {name: tf.RaggedTensor.from_row_lengths(o, [40]) for name, o in outputs.items() if name[:6] != "pooled"}
    pooled = np.stack([outputs[f"pooled_{name}"] for name in (*STREAMS, "fused")], axis=1)
    columns = detect_in(evidence_of({**rows, "pooled": pooled}, STREAMS, config, 8), config)
    base = {name: np.array([value]) for name, value in vars(BASE).items()}
    expected = to_seconds(
        {name: column.numpy() for name, column in columns.items()},
        video_ids=["v"], **base, cells_per_segment=config.upsampling,
    )  # fmt: skip
    order = (-expected.score).argsort(kind="stable")
    found = rule(config, classes).detect(outputs)
    assert len(found) == len(expected) > 2
    assert [one["label"] for one in found] == [f"c{label}" for label in expected.label[order]]
    np.testing.assert_allclose([one["score"] for one in found], expected.score[order], rtol=1e-5, atol=1e-6)
    times = np.stack([expected.start_s, expected.end_s], axis=1)[order]
    np.testing.assert_allclose([one["segment"] for one in found], times)
    assert rule(config, classes, most=2).detect(outputs) == found[:2]
    scores = rule(config, classes).video_scores(outputs)
    np.testing.assert_allclose(scores, video_scores(tf.constant(pooled), config)[0], rtol=1e-5)


def test_a_time_base_of_the_video_takes_the_place_of_the_exports() -> None:
    tcam = np.array([[0.0], [1.0], [1.0], [0.0]], np.float32)
    made = rule(DetectionConfig(class_filter="all"), 1)
    assert made.detect({"tcam_fused": tcam})[0]["segment"] == [(8 + 4) / 30, (24 + 4) / 30]
    assert made.detect({"tcam_fused": tcam}, fps=10.0, stride_frames=16)[0]["segment"] == [1.6, 4.8]
    assert made.detect({"tcam_fused": tcam[:0]}) == []


def test_an_attention_that_is_read_and_not_there_is_asked_for() -> None:
    tcam = np.ones((3, 2), np.float32)
    for choices in ({"track": "attention"}, {"class_scores": "product"}, {"score_track": "product"}):
        with pytest.raises(ValueError, match="no attention_fused among the outputs"):
            rule(DetectionConfig(**choices), 2).detect({"tcam_fused": tcam})


ALONE = """
import json, sys
for name in ("tensorflow", "keras", "tc3net", "data_prep", "absl"):
    sys.modules[name] = None  # importing it fails
import numpy as np
from portable_rule import Rule
tcam = np.array([[0.0, 0.5], [1.0, -0.5], [1.0, 0.0]], np.float32)
print(json.dumps(Rule.of_export("models").detect({"tcam_fused": tcam})))
"""


def test_a_copy_of_the_file_works_where_numpy_alone_is_installed(tmp_path: Path) -> None:
    shutil.copyfile(portable_rule.__file__, tmp_path / "portable_rule.py")
    (tmp_path / "models" / "assets").mkdir(parents=True)
    told: dict[str, Any] = {
        "classes": ["Run", "Jump"], "streams": {"rgb": 2, "flow": 2}, "time_base": vars(BASE),
        "detection": vars(DetectionConfig()), "top_k_divisor": 8, "max_detections": 5,
    }  # fmt: skip
    (tmp_path / "models" / "assets" / "tc3net.json").write_text(json.dumps(told))
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["label"] for one in found] == ["Run", "Jump"]
    np.testing.assert_allclose(found[0]["segment"], [12 / 30, 28 / 30])
    np.testing.assert_allclose([one["score"] for one in found], [2.0, 1.0])
