"""The network for other runtimes than TensorFlow: ONNX, and TFLite (LiteRT), of one video at a time.

Both hold the network alone, from features to T-CAMs; `portable_rule`, which is written beside them, makes detections of
these with NumPy. Ragged batches, requests and their checks stay with the SavedModel.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.streams import FUSED
from tc3net.detection import DetectionConfig
from tc3net.saved_model import portable_rule

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet

SAVED_MODEL = "savedmodel"
ONNX_OPSET = 17
RULE_FILE = "portable_rule.py"
KEPT = ("tcam_", "pooled_", f"attention_{FUSED}")  # of the network's outputs, what detection may read


def one_video(model: ThreeCNet) -> Any:
    """The network on one video, as a graph.

    Args:
        model: built.

    Returns:
        A `tf.function`: `features` [s, ΣD] float32, s at least 1 -> `tcam_fused`, `tcam_<stream>` [s, C], and where the
        network has them `attention_fused` [s, 1], `pooled_<stream>`, `pooled_fused` [1, C].
    """
    spec = tf.TensorSpec([None, model.stream_sizes.width], tf.float32, name="features")

    def network(features: tf.Tensor) -> dict[str, tf.Tensor]:
        splits = tf.stack([tf.constant(0, tf.int64), tf.shape(features, tf.int64)[0]])
        outputs = model(tf.RaggedTensor.from_row_splits(features, splits, validate=False), training=False)
        chosen = {name: value for name, value in outputs.items() if name.startswith(KEPT)}
        return {name: getattr(value, "flat_values", value) for name, value in chosen.items()}

    return tf.function(network, input_signature=[spec], autograph=False)


def check_formats(
    formats: Sequence[str], model: ThreeCNet | None = None, detection: DetectionConfig | None = None
) -> None:
    """Raises UserError if a format is unknown, its converter is absent, or it cannot hold the model or its rule.

    Args:
        formats: `savedmodel`, and any of `WRITERS`.
        model, detection: what will be exported, where it is known.
    """
    unknown = [name for name in formats if name not in (SAVED_MODEL, *WRITERS)]
    if unknown or SAVED_MODEL not in formats:
        raise UserError(
            f"--formats={','.join(formats)}; expected {SAVED_MODEL}, and beside it any of {', '.join(WRITERS)}."
        )
    if detection is not None and detection.needs_boundaries and len(formats) > 1:
        raise UserError(
            f"--formats={','.join(formats)} with --proposals=boundaries, which the rule beside other formats does not "
            f"have; expected --formats={SAVED_MODEL}, which has it, or --proposals=runs."
        )
    if "onnx" in formats:
        _converter_to_onnx()
    if "tflite" in formats:
        _tflite()
        if model is not None and "pooling" in model.heads:
            raise UserError(
                "--formats=tflite found with a network that pools video-level scores by itself (--pooling_head), whose "
                "operations TFLite does not have; expected one without. Leave tflite out: onnx can hold it."
            )


def write_formats(formats: Sequence[str], model: ThreeCNet, folder: Path) -> None:
    """Writes the model in the formats beside the SavedModel, and the detection rule for them.

    Args:
        formats: see `check_formats`.
        model: built.
        folder: of the SavedModel; gets `model.onnx`, `model.tflite`, `portable_rule.py`.

    Raises:
        UserError: see `check_formats`; or the converter does not know an operation of a head.
    """
    check_formats(formats, model)
    others = [name for name in WRITERS if name in formats]
    if not others:
        return
    function = one_video(model)
    for name in others:
        try:
            WRITERS[name](function, folder / f"model.{name}")
        except UserError:
            raise
        except Exception as error:  # converters raise whatever they like
            last = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(
                f"The model could not be converted to {name} ({last[-1]}); expected a network of operations that it "
                f"has. Leave {name} out of --formats."
            ) from error
    shutil.copyfile(portable_rule.__file__, folder / RULE_FILE)


def _converter_to_onnx() -> Any:
    try:
        import tf2onnx
    except ModuleNotFoundError as error:
        raise UserError(
            f"--formats=onnx needs tf2onnx, and {error.name} is not installed. Install it: pip install 'tc3net[onnx]'."
        ) from None
    return tf2onnx


def _tflite() -> Any:
    if getattr(getattr(tf, "lite", None), "TFLiteConverter", None) is None:
        raise UserError(
            "--formats=tflite needs tf.lite.TFLiteConverter, which this TensorFlow does not have; expected one that "
            "has it. Install that of requirements.txt: pip install 'tensorflow>=2.21,<2.22'."
        )
    return tf.lite


def _write_onnx(function: Any, path: Path) -> None:
    _converter_to_onnx().convert.from_function(
        function, input_signature=function.input_signature, opset=ONNX_OPSET, output_path=str(path)
    )


def _write_tflite(function: Any, path: Path) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # The runtime has no variables of its own: as constants they are part of the file.
    concrete = function.get_concrete_function()
    frozen = convert_variables_to_constants_v2(concrete)
    names = sorted(concrete.structured_outputs)
    wrapped = tf.function(
        lambda features: dict(zip(names, frozen(features))), input_signature=function.input_signature, autograph=False
    )
    holder = tf.Module()
    converter = _tflite().TFLiteConverter.from_concrete_functions([wrapped.get_concrete_function()], holder)
    path.write_bytes(converter.convert())


Writer = Callable[[Any, Path], None]
WRITERS: dict[str, Writer] = {"onnx": _write_onnx, "tflite": _write_tflite}
