"""The exported SavedModel: the library's numbers, without tc3net, through Python and through the C API."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import prediction_log_pb2

from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig, detect, detect_videos, mixed_tcam, to_seconds, video_scores
from tc3net.export import export
from tc3net.inference.new_videos import score_features
from tc3net.inference.scorer import Scorer
from tc3net.model import Attention, Boundaries, Pooling, ThreeCNet
from tc3net.prediction.follow import StreamDetector
from tc3net.saved_model.signatures import Service
from tc3net.saved_model.warmup import PATH as WARMUP_PATH
from tests.support.export_cases import CLASSES, DIM, MOST, RUN, call, example_of, make_model, padded_features, service
from tests.support.forked_commands import run

LENGTHS = [20, 1, 0, 33]
LOCALIZED = {
    "video_scores", "tcam", "detection_segments", "detection_classes", "detection_scores", "num_detections",
}  # fmt: skip
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
    return make_model()


@pytest.fixture(scope="module")
def loaded(exported: Path) -> Any:
    return tf.saved_model.load(str(exported))


def test_every_output_is_dense_float32_with_the_batch_first(loaded: Any) -> None:
    facts = {"class_names", "streams"}
    assert set(loaded.signatures) == {"serving_default", "with_time_base", "examples", "embed", *facts}
    for name, signature in loaded.signatures.items():
        outputs = signature.structured_outputs
        for spec in [*outputs.values(), *signature.structured_input_signature[1].values()]:
            assert isinstance(spec, tf.TensorSpec) and spec.shape.rank >= 1 and spec.shape[0] is None
        if name in facts:
            continue
        assert {spec.dtype for spec in outputs.values()} == {tf.float32}
        assert set(outputs) == ({"embedding_rgb", "embedding_flow"} if name == "embed" else LOCALIZED)


def test_a_process_without_tc3net_gets_the_models_numbers(model: ThreeCNet, exported: Path, tmp_path: Path) -> None:
    features = padded_features(LENGTHS)
    np.savez(tmp_path / "in.npz", features=features, lengths=np.array(LENGTHS, np.int64))
    arguments = [str(exported), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = run(["-c", CALLER, *arguments], cwd=tmp_path)
    assert done.returncode == 0, done
    assert_served(np.load(tmp_path / "out.npz"), model, features, RUN.detection)


def run_by_c(exported: Path, folder: Path, *requests: dict[str, np.ndarray]) -> str:
    """What requests through TensorFlow's C API print, in a process that imports no TensorFlow.

    The outputs of the first are in 0/out.npz, and so on.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    definition = saved.meta_graphs[0].signature_def["serving_default"]
    names = {side: {n: t.name for n, t in getattr(definition, side).items()} for side in ("inputs", "outputs")}
    (folder / "names.json").write_text(json.dumps(names))
    folders = [folder / str(number) for number in range(len(requests))]
    for place, inputs in zip(folders, requests):
        place.mkdir()
        np.savez(place / "in.npz", **inputs)
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "support" / "saved_model_by_c.py"),
        tf.sysconfig.get_lib(),
    ]
    arguments = map(str, (exported, folder / "names.json", *folders))
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def test_the_c_api_gives_the_models_numbers_and_passes_on_what_is_wrong_with_a_request(
    model: ThreeCNet, exported: Path, tmp_path: Path
) -> None:
    features = padded_features(LENGTHS, fill=np.nan)
    # A placeholder of known width is no protection there: only the graph's own check sees it.
    wide = {"features": np.zeros((1, 3, 2 * DIM + 1), np.float32), "lengths": np.array([3], np.int64)}
    good = {"features": features, "lengths": np.array(LENGTHS, np.int64)}
    printed = run_by_c(exported, tmp_path, wide, good)
    assert printed.startswith("3 ")  # INVALID_ARGUMENT
    assert f"rows of {2 * DIM + 1} numbers found; expected {2 * DIM}" in printed
    assert not (tmp_path / "0" / "out.npz").exists()
    assert_served(np.load(tmp_path / "1" / "out.npz"), model, features, RUN.detection)


def test_every_refinement_is_served_too(model: ThreeCNet) -> None:
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
    serve, specs = service(model, config).signatures()["serving_default"]
    features = padded_features(LENGTHS, fill=np.nan)
    found = tf.function(serve, input_signature=specs, autograph=False)(features, np.array(LENGTHS, np.int64))
    assert_served({name: value.numpy() for name, value in found.items()}, model, features, config)


METHODS = {
    "ham": DetectionConfig(
        track="attention", class_scores="product", class_filter="all", min_probability=0.4, best_class=True,
        threshold="value", threshold_levels="0.3,0.5,0.7", score="contrast", score_track="product",
        score_class="probability", score_gamma=0.2, nms="soft",
    ),
    "autoloc": DetectionConfig(
        proposals="boundaries", class_filter="all", threshold="range", threshold_levels="0.1", smoothing="gaussian",
        score_class="probability", score_gamma=0.2, nms="hard", nms_tiou=0.4,
    ),
    "stpn": DetectionConfig(
        fused_weight=0.0, rgb_weight=0.5, flow_weight=0.5, segment_scores="sigmoid", track="product",
        class_scores="pooled", probability="sigmoid", class_filter="all", min_probability=0.1, threshold="value",
        threshold_levels="0.15", score="mean", score_track="product", score_gamma=0.0, nms="hard",
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_model_with_attention_is_served_as_predict_and_a_growing_file_have_it(method: str) -> None:
    heads = (Attention("conv", 4), Boundaries(True, "1,2,4", 5), Pooling("attention"))
    model, config = make_model(heads=heads), METHODS[method]
    serve, specs = service(model, config).signatures()["serving_default"]
    lengths = [20, 1, 33]
    features = padded_features(lengths, fill=np.nan)
    found = tf.function(serve, input_signature=specs, autograph=False)(features, np.array(lengths, np.int64))
    found = {name: value.numpy() for name, value in found.items()}
    new = {f"v{i}": rows[:length] for i, (rows, length) in enumerate(zip(features, lengths))}
    scores = score_features(Scorer(model), new, RUN.classes, RUN.time_base)
    expected = detect_videos(scores, config)
    assert scores.attention is not None and len(expected) > MOST
    for video in range(len(lengths)):
        assert_detections(found, video, expected, video)
    np.testing.assert_allclose(found["video_scores"], video_scores(tf.constant(scores.pooled), config), rtol=1e-5)
    follow = StreamDetector(Scorer(model), RUN.classes, RUN.time_base, config)
    followed = [*follow.push(new["v2"]), *follow.finish()]
    first = expected.video == 2
    assert {(one.label, round(one.start_s, 4)) for one in followed} <= {
        (RUN.classes[label], round(start, 4)) for label, start in zip(expected.label[first], expected.start_s[first])
    }
    assert followed


def assert_served(found: Any, model: ThreeCNet, features: np.ndarray, config: DetectionConfig) -> None:
    """All outputs are the library's; detections best first."""
    ragged = tf.RaggedTensor.from_tensor(features, lengths=LENGTHS)
    rows, pooled = Scorer(model)(ragged)
    tcam = tf.RaggedTensor.from_row_lengths(rows, LENGTHS)
    np.testing.assert_allclose(found["tcam"], tcam.to_tensor(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["video_scores"], video_scores(pooled, config), rtol=1e-5)
    columns = detect(mixed_tcam(model(ragged, training=False), config), config)
    base = {name: np.full(len(LENGTHS), value) for name, value in vars(RUN.time_base).items()}
    expected = to_seconds(
        {name: column.numpy() for name, column in columns.items()},
        video_ids=["w", "x", "y", "z"],
        **base,
        cells_per_segment=config.upsampling,
    )
    assert len(expected) > MOST  # the limit is exercised
    for video in range(len(LENGTHS)):
        assert_detections(found, video, expected, video)


def assert_detections(found: Any, row: int, expected: Any, video: int) -> None:
    """Row of the outputs against a video of `Detections`."""
    mine = [i for i in (-expected.score).argsort(kind="stable") if expected.video[i] == video][:MOST]
    assert found["num_detections"][row] == len(mine)
    kept = slice(0, len(mine))
    np.testing.assert_array_equal(found["detection_classes"][row, kept], expected.label[mine])
    np.testing.assert_allclose(found["detection_scores"][row, kept], expected.score[mine], rtol=1e-5, atol=1e-5)
    times = np.stack([expected.start_s[mine], expected.end_s[mine]], axis=1)
    np.testing.assert_allclose(found["detection_segments"][row, kept], times, rtol=1e-5)
    assert not found["detection_scores"][row, len(mine) :].any()


@pytest.mark.parametrize("videos", [1, 2, 33, 64])  # the last two exceed what is joined with other requests
def test_requests_of_any_size_get_what_predict_gives(model: ThreeCNet, loaded: Any, videos: int) -> None:
    lengths = [40, 1, 7, 16][:videos] * (videos // 4 or 1) + [5] * (videos % 4 if videos > 4 else 0)
    features = padded_features(lengths, fill=3.0)
    found = call(loaded, "serving_default", features=features, lengths=np.array(lengths))
    new = {f"v{i:02d}": rows[:length] for i, (rows, length) in enumerate(zip(features, lengths))}
    expected = detect_videos(score_features(Scorer(model), new, RUN.classes, RUN.time_base), RUN.detection)
    assert len(lengths) == videos and len(expected) > 0
    for video in range(videos):
        assert_detections(found, video, expected, video)


@pytest.mark.parametrize(("lengths", "rows"), [([0], 5), ([0, 0], 0), ([1], 1)])
def test_videos_of_no_or_one_segment(loaded: Any, lengths: list[int], rows: int) -> None:
    features = padded_features(lengths, rows=rows)
    for signature in ("serving_default", "embed"):
        found = call(loaded, signature, features=features, lengths=np.array(lengths))
        assert all(np.isfinite(value).all() for value in found.values())
        assert all(value.shape[0] == len(lengths) for value in found.values())
    found = call(loaded, "serving_default", features=features, lengths=np.array(lengths))
    assert found["tcam"].shape == (len(lengths), rows, CLASSES)
    assert not found["num_detections"].any()  # one value is not above its own midpoint
    np.testing.assert_allclose(found["video_scores"].sum(axis=1), 1, rtol=1e-5)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.integers(0, 3),
    st.sampled_from([0.0, 1e30, np.nan, np.inf, -np.inf, None]),
)
def test_rows_beyond_the_length_never_matter(
    loaded: Any, lengths: list[int], further_rows: int, fill: float | None
) -> None:
    rows = max(lengths) + further_rows
    clean = padded_features(lengths, rows=rows)
    first = float(clean.ravel()[0]) if clean.size else 0.0  # TF Serving pads with the first element
    dirty = padded_features(lengths, fill=first if fill is None else fill, rows=rows)
    for signature in ("serving_default", "embed"):
        expected = call(loaded, signature, features=clean, lengths=np.array(lengths))
        found = call(loaded, signature, features=dirty, lengths=np.array(lengths))
        for name, value in expected.items():
            assert np.isfinite(value).all(), name
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_request_may_bring_its_own_time_base(loaded: Any) -> None:
    inputs = {"features": padded_features(LENGTHS), "lengths": np.array(LENGTHS)}
    plain = call(loaded, "serving_default", **inputs)
    fps, stride = np.array([30.0, 30.0, 30.0, 25.0], np.float32), np.array([8, 8, 8, 16])
    timed = call(loaded, "with_time_base", **inputs, fps=fps, stride=stride)
    for name in LOCALIZED - {"detection_segments"}:
        np.testing.assert_array_equal(timed[name], plain[name])
    np.testing.assert_array_equal(timed["detection_segments"][:3], plain["detection_segments"][:3])
    kept = slice(0, int(plain["num_detections"][3]))
    segments = (plain["detection_segments"][3, kept] * 30 - 4) / 8  # cells begin (16 - 8) / 2 frames late
    np.testing.assert_allclose(timed["detection_segments"][3, kept], segments * 16 / 25, rtol=1e-5, atol=1e-5)


def test_examples_are_read_as_data_prep_writes_them(loaded: Any) -> None:
    features = padded_features(LENGTHS)
    other = TimeBase(25.0, 16, 16)
    examples = [example_of(rows[:length]) for rows, length in zip(features, LENGTHS)]
    examples[3] = example_of(features[3], other)
    found = call(loaded, "examples", examples=np.array(examples, object))
    inputs = {"features": features, "lengths": np.array(LENGTHS)}
    fps, stride = np.array([30.0, 30.0, 30.0, 25.0], np.float32), np.array([8, 8, 8, 16])
    expected = call(loaded, "with_time_base", **inputs, fps=fps, stride=stride)
    for name in LOCALIZED:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_examples_of_both_dtypes_share_a_request(loaded: Any) -> None:
    features = padded_features([9, 4, 0, 12]).astype(np.float16)
    parts = [rows[:length] for rows, length in zip(features, [9, 4, 0, 12])]
    single = [example_of(rows) for rows in parts]
    mixed = [example_of(rows, dtype="float16" if i % 2 else "float32") for i, rows in enumerate(parts)]
    expected = call(loaded, "examples", examples=np.array(single, object))
    found = call(loaded, "examples", examples=np.array(mixed, object))
    for name in LOCALIZED:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_embeddings_are_what_the_classifiers_read(model: ThreeCNet, loaded: Any) -> None:
    features = padded_features(LENGTHS)
    found = call(loaded, "embed", features=features, lengths=np.array(LENGTHS))
    outputs = model(tf.RaggedTensor.from_tensor(features, lengths=LENGTHS), training=False)
    for stream in ("rgb", "flow"):
        expected = outputs[f"features_{stream}"].to_tensor()
        np.testing.assert_allclose(found[f"embedding_{stream}"], expected, rtol=1e-5, atol=1e-6)


def test_class_names_by_id(loaded: Any) -> None:
    names = call(loaded, "class_names", class_ids=np.array([2, 0]))["class_names"]
    assert [name.decode() for name in names] == ["ç", "a"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"class_ids: \[0 3\] found; expected ids from 0 to 2"):
        call(loaded, "class_names", class_ids=np.array([0, 3]))


def test_warm_up_requests_are_readable_by_tf_serving_and_run(exported: Path, loaded: Any) -> None:
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(exported / WARMUP_PATH))]
    asked = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert {request.model_spec.name for request in asked} == {"tc3net"}
    assert {request.model_spec.signature_name for request in asked} == set(loaded.signatures)
    for request in asked:
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        call(loaded, request.model_spec.signature_name, **inputs)


def test_versions_count_up_and_the_description_is_readable(
    model: ThreeCNet, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exported.name == "1" and [path.name for path in exported.parent.iterdir()] == ["1"]
    names = service(model).signatures()["class_names"]
    monkeypatch.setattr(Service, "signatures", lambda self: {"class_names": names})  # quick
    folder = tmp_path / "m"
    (folder / "7").mkdir(parents=True)
    (folder / "7" / "kept").touch()
    (folder / "not a version").mkdir()
    assert export(service(model), RUN, folder).name == "8"
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:  # another export was quicker
        if target.name == "9" and not target.exists():
            target.mkdir()
            (target / "its model").touch()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    path = export(service(model), RUN, folder)
    assert path.name == "10"
    assert sorted(p.name for p in folder.iterdir()) == ["10", "7", "8", "9", "not a version"]  # nothing temporary
    description = json.loads((path / "assets" / "tc3net.json").read_text(encoding="utf-8"))
    assert description["classes"] == ["a", "b", "ç"]
    assert description["time_base"] == {"fps": 30.0, "frames_per_segment": 16, "stride_frames": 8}
    assert description["versions"]["tc3net"] and description["max_detections"] == MOST
