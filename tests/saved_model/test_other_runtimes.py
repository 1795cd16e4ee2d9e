"""The network in ONNX and TFLite: the SavedModel's numbers for videos of any length; what cannot be is said clearly."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.detection import DetectionConfig
from tc3net.export import export
from tc3net.model import Attention, Pooling
from tc3net.saved_model.other_runtimes import check_formats, one_video, write_formats
from tc3net.saved_model.portable_rule import Rule
from tests.support.docs import code_blocks
from tests.support.export_cases import CLASSES, DIM, MOST, RUN, call, make_model, padded_features, service
from tests.support.needs import ONNX, TFLITE, needs

LENGTHS = (1, 2, 7, 33, 300)
Runner = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def onnx_runner(path: Path) -> Runner:
    session = importlib.import_module("onnxruntime").InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return lambda features: dict(zip(names, session.run(None, {"features": features})))


def tflite_runner(path: Path) -> Runner:
    runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner()
    return lambda features: runner(features=features)


@pytest.fixture(scope="module")
def written(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version's folder with what can be written here, but for the SavedModel itself."""
    folder = tmp_path_factory.mktemp("runtimes") / "models" / "tc3net" / "1"
    shutil.copytree(exported / "assets", folder / "assets")
    there = [name for name, need in (("onnx", ONNX), ("tflite", TFLITE)) if need.here]
    write_formats(("savedmodel", *there), make_model(), folder)
    assert {path.name for path in folder.iterdir()} == {
        "assets", *(f"model.{name}" for name in there), *(["portable_rule.py"] if there else []),
    }  # fmt: skip
    return folder


FORMATS = [
    pytest.param("onnx", onnx_runner, marks=needs(ONNX)),
    pytest.param("tflite", tflite_runner, marks=needs(TFLITE)),
]


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize(("name", "runner"), FORMATS)
def test_tcams_and_detections_are_the_saved_models(
    name: str, runner: Callable[[Path], Runner], exported: Path, written: Path
) -> None:
    run, rule = runner(written / f"model.{name}"), Rule.of_export(written)
    loaded = tf.saved_model.load(str(exported))
    for length in LENGTHS:
        features = padded_features([length], seed=length)
        outputs = run(features[0])
        assert set(outputs) == {"tcam_fused", "tcam_rgb", "tcam_flow"}
        served = call(loaded, "serving_default", features=features, lengths=np.array([length]))
        np.testing.assert_allclose(outputs["tcam_fused"], served["tcam"][0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(rule.video_scores(outputs), served["video_scores"][0], rtol=1e-4, atol=1e-4)
        found, number = rule.detect(outputs), int(served["num_detections"][0])
        assert len(found) == number <= MOST and (number > 0 or length == 1)
        labels = [RUN.classes[int(label)] for label in served["detection_classes"][0, :number]]
        assert [one["label"] for one in found] == labels
        scores, times = [one["score"] for one in found], np.reshape([one["segment"] for one in found], (-1, 2))
        np.testing.assert_allclose(scores, served["detection_scores"][0, :number], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(times, served["detection_segments"][0, :number], atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize(("name", "runner"), FORMATS)
def test_what_heads_add_is_there(name: str, runner: Callable[[Path], Runner], tmp_path: Path) -> None:
    """Attention in both; learned pooling where the runtime has its operations."""
    heads = (Attention("conv", 4), *((Pooling("attention"),) if name == "onnx" else ()))
    model = make_model(heads=heads)
    write_formats(("savedmodel", name), model, tmp_path)
    features = padded_features([9])[0]
    expected, outputs = one_video(model)(features), runner(tmp_path / f"model.{name}")(features)
    assert set(outputs) == set(expected) and outputs["attention_fused"].shape == (9, 1)
    for key, value in expected.items():
        np.testing.assert_allclose(outputs[key], value, rtol=1e-4, atol=1e-4, err_msg=key)
    assert name == "tflite" or outputs["pooled_fused"].shape == (1, CLASSES)


@needs(ONNX)
def test_the_example_of_the_documentation_runs(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_block, tflite_block = code_blocks("export.md", "Other runtimes")
    monkeypatch.chdir(written.parents[2])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "portable_rule", raising=False)
    np.save("a.npy", padded_features([40])[0])
    names: dict[str, Any] = {}
    exec(onnx_block, names)
    sys.modules.pop("portable_rule")
    assert len(names["detections"]) == MOST and names["scores"].shape == (CLASSES,)
    before = names["outputs"]
    if importlib.util.find_spec("ai_edge_litert") is not None:
        exec(tflite_block, names)
        np.testing.assert_allclose(names["outputs"]["tcam_fused"], before["tcam_fused"], rtol=1e-4, atol=1e-4)


class Archive:
    """In place of Keras's, which takes seconds to trace what is not looked at here."""

    def track(self, model: Any) -> None:
        del model

    def add_endpoint(self, **endpoint: Any) -> None:
        del endpoint

    def write_out(self, folder: str) -> None:
        Path(folder).mkdir()


def exported_by_stand_in(folder: Path, formats: tuple[str, ...]) -> Path:
    with mock.patch.object(keras.export, "ExportArchive", Archive):
        return export(service(make_model()), RUN, folder, formats)


def test_the_default_writes_no_other_format(tmp_path: Path) -> None:
    path = exported_by_stand_in(tmp_path, ("savedmodel",))
    assert {p.name for p in path.iterdir()} == {"assets", "assets.extra"}


@needs(TFLITE)
def test_an_export_holds_model_rule_and_settings_in_one_folder(tmp_path: Path) -> None:
    path = exported_by_stand_in(tmp_path, ("savedmodel", "tflite"))
    assert {p.name for p in path.iterdir()} == {"assets", "assets.extra", "model.tflite", "portable_rule.py"}
    rule = Rule.of_export(path)
    assert (rule.classes, rule.streams, rule.max_detections) == (RUN.classes, ("rgb", "flow"), MOST)
    assert dict(rule.settings) == vars(DetectionConfig()) and dict(rule.time_base) == vars(RUN.time_base)


@pytest.mark.parametrize("formats", [("onnx",), ("savedmodel", "coreml"), ()])
def test_unknown_formats_are_refused(formats: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"expected savedmodel, and beside it any of onnx, tflite\."):
        check_formats(formats)


def test_an_absent_converter_says_what_to_install_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(UserError, match=r"tf2onnx is not installed. Install it: pip install 'tc3net\[onnx\]'"):
        exported_by_stand_in(tmp_path, ("savedmodel", "onnx"))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tf, "lite", None, raising=False)
    with pytest.raises(UserError, match="which this TensorFlow does not have"):
        check_formats(("savedmodel", "tflite"))


def test_a_rule_that_the_file_beside_other_formats_does_not_have_is_refused() -> None:
    bounded = DetectionConfig(proposals="boundaries")
    check_formats(("savedmodel",), detection=bounded)
    with pytest.raises(UserError, match=r"--formats=savedmodel,onnx with --proposals=boundaries.*or --proposals=runs"):
        check_formats(("savedmodel", "onnx"), detection=bounded)


def test_what_tflite_cannot_hold_is_refused_before_it_is_tried() -> None:
    model = make_model(heads=(Pooling("selection"),))
    with pytest.raises(UserError, match=r"--pooling_head.*Leave tflite out: onnx can hold it"):
        check_formats(("savedmodel", "tflite"), model)


@needs(TFLITE)
def test_an_operation_that_a_converter_does_not_know_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = make_model()
    lost = tf.function(
        lambda features: {"tcam_fused": tf.strings.length(tf.strings.as_string(features))},
        input_signature=[tf.TensorSpec([None, 2 * DIM], tf.float32, name="features")],
    )
    monkeypatch.setattr("tc3net.saved_model.other_runtimes.one_video", lambda _: lost)
    with pytest.raises(UserError, match=r"could not be converted to tflite .*Leave tflite out of --formats"):
        write_formats(("savedmodel", "tflite"), model, tmp_path)
    assert list(tmp_path.iterdir()) == []
