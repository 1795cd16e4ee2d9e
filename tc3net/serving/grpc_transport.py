"""Calls to a model server over gRPC. The only module that needs the package tensorflow-serving-api."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.serving.calls import CallFailed, ClientConfig, Deadline, Reply

try:
    import grpc
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )
except ImportError as error:
    raise UserError(
        f"--transport=grpc needs the packages grpcio and tensorflow-serving-api, which cannot be imported ({error}). "
        "Install them (pip install tc3net[serving]), or use --transport=rest, which needs neither."
    ) from None

_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),  # the default of 4 MB is 500 segments
    ("grpc.max_receive_message_length", -1),
    # How soon the channel itself tries to connect again; with its default of a second, our early attempts after a
    # refused connection would fail without having tried.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


def _credentials(config: ClientConfig) -> grpc.ChannelCredentials:
    def content(path: str) -> bytes | None:
        return Path(path).read_bytes() if path else None

    try:
        return grpc.ssl_channel_credentials(
            root_certificates=content(config.ca_file),
            private_key=content(config.key_file),
            certificate_chain=content(config.cert_file),
        )
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); expected a PEM file.") from None


def _fill(proto: Any, value: np.ndarray | Sequence[bytes]) -> None:
    """Writes a value into a TensorProto; bytes go in as they are, without an array of strings between."""
    if isinstance(value, np.ndarray):
        proto.dtype = tf.as_dtype(value.dtype).as_datatype_enum
        proto.tensor_content = np.ascontiguousarray(value).tobytes()
    else:
        proto.dtype = tf.string.as_datatype_enum
        proto.string_val.extend(value)
    for size in value.shape if isinstance(value, np.ndarray) else (len(value),):
        proto.tensor_shape.dim.add().size = size


class GrpcTransport:
    """See `tc3net.serving.calls.Transport`.

    Args:
        config: whom to ask.

    Raises:
        UserError: a certificate file cannot be read.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._model = config.model_name
        self._version = config.version
        if config.tls:
            self._channel = grpc.secure_channel(config.address, _credentials(config), options=_CHANNEL_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(config.address, options=_CHANNEL_OPTIONS)
        self._predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray | Sequence[bytes]],
        outputs: Sequence[str],
        version: int,
        deadline: Deadline,
    ) -> Reply:
        """Runs a signature; the other outputs are not sent back."""
        request = predict_pb2.PredictRequest()
        self._address(request, version)
        request.model_spec.signature_name = signature
        request.output_filter.extend(outputs)
        for name, value in inputs.items():
            _fill(request.inputs[name], value)
        response = self._call(self._predict.Predict, request, deadline)
        found = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
        return Reply(found, response.model_spec.version.value)

    def states(self, deadline: Deadline) -> dict[int, str]:
        """State by version."""
        request = get_model_status_pb2.GetModelStatusRequest()
        self._address(request, self._version)
        response = self._call(self._models.GetModelStatus, request, deadline)
        name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {status.version: name(status.state) for status in response.model_version_status}

    def feature_width(self, deadline: Deadline) -> int:
        """2D, from the signature of the model."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request, self._version)
        response = self._call(self._predict.GetModelMetadata, request, deadline)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return signatures.signature_def["serving_default"].inputs["features"].tensor_shape.dim[2].size

    def _address(self, request: Any, version: int) -> None:
        request.model_spec.name = self._model
        if version:
            request.model_spec.version.value = version

    @staticmethod
    def _call(method: Any, request: Any, deadline: Deadline) -> Any:
        try:
            return method(request, timeout=deadline.left_s())
        except grpc.RpcError as error:
            raise CallFailed(error.code().name, error.details() or "no details") from None
