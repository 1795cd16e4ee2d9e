"""A stand-in for TensorFlow Serving, for tests: the same SavedModel, executed in this process behind the same two APIs.

It imitates what the client relies on: gRPC's Predict, GetModelStatus and GetModelMetadata, and REST's `:predict`
(rows and columns, b64), status and metadata; how versions are chosen and replaced; status codes and texts of errors;
typed tensor fields in gRPC's answers, and REST's decimals of nine digits. It is not TensorFlow Serving: no batching, no
warm-up, no labels, and tests can make it fail, be slow, or be loading.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

HTTP_OF = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
CODES = {code.value[0]: code.name for code in grpc.StatusCode}  # TensorFlow's numbers are gRPC's
PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(:predict|/metadata)?")


class Refused(Exception):  # noqa: N818
    """An answer that is an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Version:
    """One loaded SavedModel."""

    def __init__(self, folder: Path) -> None:
        self.model = tf.saved_model.load(str(folder))
        proto = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.signatures = proto.meta_graphs[0].signature_def

    def inputs(self, signature: str) -> Any:
        if signature not in self.signatures:
            raise Refused("INVALID_ARGUMENT", f'Serving signature name: "{signature}" not found in signature def')
        return self.signatures[signature].inputs

    def run(self, signature: str, values: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
        expected = self.inputs(signature)
        if set(values) != set(expected):
            raise Refused("INVALID_ARGUMENT", f"inputs {sorted(values)} found, {sorted(expected)} expected")
        for name, value in values.items():
            if value.dtype != tf.as_dtype(expected[name].dtype):
                raise Refused("INVALID_ARGUMENT", f"{name}: {value.dtype} found, another dtype expected")
        try:
            outputs = self.model.signatures[signature](**values)
        except tf.errors.OpError as error:
            raise Refused(CODES[error.error_code], error.message) from None
        except Exception as error:
            raise Refused("INTERNAL", str(error)) from None
        return {name: value.numpy() for name, value in outputs.items()}


class StandIn:
    """Serves the newest versions of every model in a folder.

    Args:
        export_dir: `<model>/<version>/` inside.
        num_versions: how many of the newest versions stay loaded.
        key_and_certificate: PEM, for TLS.

    Attributes:
        grpc_address, rest_address: host:port.
        asked: (signature, version) of every prediction that was made, in order.
        failures: (code, message) that the next predictions answer instead.
        delay_s: before each prediction.
        loading: whether no version has finished loading yet.
    """

    def __init__(
        self, export_dir: Path, num_versions: int = 1, key_and_certificate: tuple[Path, Path] | None = None
    ) -> None:
        self.export_dir, self.num_versions = export_dir, num_versions
        self.asked: list[tuple[str, int]] = []
        self.failures: list[tuple[str, str]] = []
        self.delay_s, self.loading = 0.0, False
        self._loaded: dict[str, dict[int, Version]] = {}
        self._ended: dict[str, set[int]] = {}
        self._lock = threading.Lock()
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._grpc = grpc.server(ThreadPoolExecutor(8), options=unlimited)
        service = _GrpcService(self)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, self._grpc)
        handler = type("Handler", (_RestHandler,), {"stand_in": self})
        self._http = ThreadingHTTPServer(("localhost", 0), handler)
        if key_and_certificate is None:
            port = self._grpc.add_insecure_port("localhost:0")
        else:
            key, certificate = key_and_certificate
            pair = (key.read_bytes(), certificate.read_bytes())
            port = self._grpc.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.grpc_address, self.rest_address = f"localhost:{port}", f"localhost:{self._http.server_port}"

    def __enter__(self) -> StandIn:
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()

    def versions(self, name: str) -> dict[int, Version]:
        """Loaded versions of a model; looks at the folder, as the server does every second."""
        with self._lock:
            folders = (self.export_dir / name).glob("*")
            newest = sorted((int(p.name) for p in folders if p.name.isdigit()), reverse=True)[: self.num_versions]
            loaded = self._loaded.setdefault(name, {})
            for version in newest:
                if version not in loaded:
                    loaded[version] = Version(self.export_dir / name / str(version))
            for version in set(loaded) - set(newest):
                del loaded[version]
                self._ended.setdefault(name, set()).add(version)
            return dict(loaded)

    def states(self, name: str, wanted: int | None) -> dict[int, str]:
        available = "LOADING" if self.loading else "AVAILABLE"
        states = {version: available for version in self.versions(name)}
        states.update({version: "END" for version in self._ended.get(name, set()) - set(states)})
        if not states:
            raise Refused("NOT_FOUND", f"Could not find any versions of model {name}")
        if wanted is not None and wanted not in states:
            raise Refused("NOT_FOUND", f"Could not find version {wanted} of model {name}")
        return states if wanted is None else {wanted: states[wanted]}

    def version(self, name: str, wanted: int | None) -> tuple[int, Version]:
        loaded = {} if self.loading else self.versions(name)
        number = max(loaded, default=None) if wanted is None else wanted
        if number not in loaded:
            request = f"Latest({name})" if wanted is None else f"Specific({name}, {wanted})"
            raise Refused("NOT_FOUND", f"Servable not found for request: {request}")
        return number, loaded[number]

    def predict(
        self, name: str, wanted: int | None, signature: str, convert: Any, only: list[str]
    ) -> tuple[int, dict[str, np.ndarray]]:
        """Runs a signature; `convert` makes its input tensors of the signature's input descriptions."""
        time.sleep(self.delay_s)
        if self.failures:
            raise Refused(*self.failures.pop(0))
        number, version = self.version(name, wanted)
        outputs = version.run(signature, convert(version.inputs(signature)))
        if set(only) - set(outputs):
            raise Refused("INVALID_ARGUMENT", f"output tensor alias not found in signature: {only}")
        self.asked.append((signature, number))
        return number, {key: value for key, value in outputs.items() if not only or key in only}


def _typed(value: np.ndarray) -> Any:
    """A TensorProto in the typed fields that TensorFlow Serving answers with."""
    proto = tf.make_tensor_proto(value)
    if value.dtype == np.float32:
        proto.ClearField("tensor_content")
        proto.ClearField("float_val")
        proto.float_val.extend(value.ravel().tolist())
    return proto


class _GrpcService:
    """Both gRPC services."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    @staticmethod
    def _wanted(request: Any) -> tuple[str, int | None]:
        spec = request.model_spec
        return spec.name, spec.version.value if spec.HasField("version") else None

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        def convert(inputs: Any) -> dict[str, tf.Tensor]:
            return {key: tf.constant(tf.make_ndarray(tensor)) for key, tensor in request.inputs.items()}

        name, wanted = self._wanted(request)
        signature = request.model_spec.signature_name or "serving_default"
        try:
            number, outputs = self._stand_in.predict(name, wanted, signature, convert, list(request.output_filter))
        except Refused as refused:
            context.abort(getattr(grpc.StatusCode, refused.code), str(refused))
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = name, signature
        response.model_spec.version.value = number
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(_typed(value))
        return response

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            states = self._stand_in.states(*self._wanted(request))
        except Refused as refused:
            context.abort(getattr(grpc.StatusCode, refused.code), str(refused))
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state in states.items():
            response.model_version_status.add(
                version=version, state=get_model_status_pb2.ModelVersionStatus.State.Value(state)
            )
        return response

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            _, version = self._stand_in.version(*self._wanted(request))
        except Refused as refused:
            context.abort(getattr(grpc.StatusCode, refused.code), str(refused))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(
            get_model_metadata_pb2.SignatureDefMap(signature_def=version.signatures)
        )
        return response

    def __getattr__(self, name: str) -> Any:  # the services' other methods
        def unimplemented(request: Any, context: Any) -> None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{name}: not part of the stand-in")

        return unimplemented


def _from_json(value: Any, info: Any) -> tf.Tensor:
    def plain(item: Any) -> Any:
        if isinstance(item, list):
            return [plain(inner) for inner in item]
        return base64.b64decode(item["b64"]) if isinstance(item, dict) else item

    dtype = tf.as_dtype(info.dtype)
    try:
        if dtype == tf.string:
            return tf.constant(plain(value), tf.string)
        return tf.constant(np.asarray(value, dtype.as_numpy_dtype))
    except (ValueError, TypeError) as error:
        raise Refused("INVALID_ARGUMENT", f"JSON Value is not of expected type: {dtype.name} ({error})") from None


def _to_json(value: np.ndarray) -> Any:
    if value.dtype == object:
        return [item.decode() for item in value.ravel()]
    if value.dtype.kind == "f":  # nine digits tell every float32 from all others
        rounded = np.array([float(f"{item:.9g}") for item in value.ravel().tolist()])
        return rounded.reshape(value.shape).tolist()
    return value.tolist()


class _RestHandler(BaseHTTPRequestHandler):
    """REST API of one stand-in."""

    stand_in: StandIn

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, make: Any) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        try:
            status, content = 200, make(body)
        except Refused as refused:
            status, content = HTTP_OF.get(refused.code, 500), {"error": str(refused)}
        answer = json.dumps(content, indent=1).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _parts(self) -> tuple[str, int | None, str]:
        match = PATH.fullmatch(self.path)
        if not match:
            raise Refused("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
        return match[1], int(match[2]) if match[2] else None, match[3] or ""

    def _get(self, body: bytes) -> Any:
        name, wanted, kind = self._parts()
        if kind == "/metadata":
            number, version = self.stand_in.version(name, wanted)
            message = get_model_metadata_pb2.SignatureDefMap(signature_def=version.signatures)
            signatures = json_format.MessageToDict(message, preserving_proto_field_name=True)
            return {"model_spec": {"name": name, "version": str(number)}, "metadata": {"signature_def": signatures}}
        status = {"error_code": "OK", "error_message": ""}
        return {
            "model_version_status": [
                {"version": str(version), "state": state, "status": status}
                for version, state in self.stand_in.states(name, wanted).items()
            ]
        }

    def _post(self, body: bytes) -> Any:
        name, wanted, kind = self._parts()
        if kind != ":predict":
            raise Refused("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
        try:
            request = json.loads(body)
        except ValueError as error:
            raise Refused("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
        rows = "instances" in request

        def convert(inputs: Any) -> dict[str, tf.Tensor]:
            given = request["instances"] if rows else request.get("inputs")
            if rows and len(inputs) > 1:
                given = {key: [row[key] for row in given] for key in given[0]}
            elif not isinstance(given, dict):
                given = {next(iter(inputs)): given}
            if set(given) != set(inputs):
                raise Refused("INVALID_ARGUMENT", f"inputs {sorted(given)} found, {sorted(inputs)} expected")
            return {key: _from_json(value, inputs[key]) for key, value in given.items()}

        signature = request.get("signature_name", "serving_default")
        _, outputs = self.stand_in.predict(name, wanted, signature, convert, [])
        found = {key: _to_json(value) for key, value in outputs.items()}
        if not rows:
            return {"outputs": found if len(found) > 1 else next(iter(found.values()))}
        if len(found) == 1:
            return {"predictions": next(iter(found.values()))}
        return {"predictions": [dict(zip(found, row)) for row in zip(*found.values())]}
