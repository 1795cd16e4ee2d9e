"""Client of a served model: detections of a video from its features, over gRPC or REST. Also a command:

    python -m tc3net.serving.client --address=localhost:8500 --features=a.npy,b.npy --output=detections.json
    python -m tc3net.serving.client --address=localhost:8501 --transport=rest --health

From Python:

    with Client("localhost:8500") as client:
        detections = client.localize(features)  # [segments, ΣD], the streams side by side (rgb, then flow)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError, UserError
from tc3net.data.streams import Streams
from tc3net.intervals.detections_json import save_detections
from tc3net.prediction.feature_files import FeatureFiles, FileChoices, read_videos
from tc3net.serving.answers import Detection, Embedding, as_columns
from tc3net.serving.calls import (
    AVAILABLE,
    CallFailed,
    ClientConfig,
    Deadline,
    Reply,
    ServingError,
    Transport,
    explain,
    with_retries,
)
from tc3net.serving.features import as_tensors, checked_features, groups, request
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
T = TypeVar("T")
# What is asked for: without the T-CAM, which is most of an answer.
_OUTPUTS = ("video_scores", "detection_segments", "detection_classes", "detection_scores", "num_detections")


def _connect(config: ClientConfig) -> Transport:
    if config.transport == "rest":
        from tc3net.serving.rest_transport import RestTransport

        return RestTransport(config)
    from tc3net.serving.grpc_transport import GrpcTransport  # only here: it needs packages that REST does not

    return GrpcTransport(config)


class Client:
    """A connection to a served model; may be shared by threads.

    Args:
        address: host:port.
        model_name: name of the served model.
        transport: grpc, or rest.
        version: version of the model; None is the newest one that is loaded, also after it changed.
        deadline_s: seconds for one request, with all its attempts.
        attempts: most attempts per request; only an unreachable or overloaded server is asked again.
        tls: encrypted connection.
        ca_file, cert_file, key_file: PEM files; certificates to trust, own certificate and its key.

    Raises:
        UserError: impossible settings, or a package is missing.
    """

    def __init__(
        self,
        address: str,
        model_name: str = "tc3net",
        *,
        transport: str = "grpc",
        version: int | None = None,
        deadline_s: float = ClientConfig.deadline_s,
        attempts: int = ClientConfig.attempts,
        tls: bool = False,
        ca_file: str = "",
        cert_file: str = "",
        key_file: str = "",
    ) -> None:
        self.config = ClientConfig(
            address, model_name, transport, version or 0, deadline_s, attempts, tls, ca_file, cert_file, key_file
        )
        self._transport = _connect(self.config)
        self._names: dict[int, tuple[str, ...]] = {}  # by model version; a version's never change
        self._streams: Streams | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def localize(self, features: np.ndarray, *, fps: float | None = None, stride: int | None = None) -> list[Detection]:
        """Detections of one video, best first.

        Args:
            features: [s, ΣD], the streams side by side.
            fps: frames per second they were extracted at; default: the model's.
            stride: frames from one row to the next; default: the model's.

        Raises:
            UserError: features that cannot be sent (`checked_features`).
            ServingError: the server refused or did not answer.
        """
        return self._localize([checked_features(features, "features")], fps, stride)[0]

    def localize_batch(
        self, videos: Sequence[np.ndarray], *, fps: float | None = None, stride: int | None = None
    ) -> list[list[Detection]]:
        """Detections of several videos, in their order; in one request, or as few as their size allows.

        Args:
            videos: features [s, ΣD] of each, of any lengths.
            fps, stride: as for `localize`, of all of them.

        Raises:
            UserError, ServingError: as for `localize`.
        """
        checked = [checked_features(features, f"videos[{place}]") for place, features in enumerate(videos)]
        widths = sorted({features.shape[1] for features in checked})
        if len(widths) > 1:
            raise UserError(f"videos of {widths} values per segment found; expected one width, the model's. Sort them.")
        return [found for group in groups(checked) for found in self._localize(checked[group], fps, stride)]

    def embed(self, features: np.ndarray) -> Embedding:
        """The learned features of one video (x in Sec. 3.1), [s, E] per stream.

        Args:
            features: [s, ΣD], the streams side by side.

        Raises:
            UserError, ServingError: as for `localize`.
        """
        checked = checked_features(features, "features")
        inputs = as_tensors(checked)
        names = {name: f"embedding_{name}" for name in self.streams().names}
        outputs = tuple(names.values())
        reply = self._ask(lambda deadline: self._predict("embed", inputs, outputs, deadline), _size([checked]))
        return Embedding({name: reply.outputs[output][0] for name, output in names.items()})

    def health(self) -> dict[int, str]:
        """State (LOADING, AVAILABLE, ...) by version; of the asked version alone where there is one. One attempt.

        Raises:
            ServingError: no server, or no such model.
        """
        return self._ask(self._transport.states, "state of the model", attempts=1)

    def is_ready(self) -> bool:
        """Whether the model (in the asked version) would answer now. One attempt, no error."""
        try:
            return AVAILABLE in self.health().values()
        except ServingError:
            return False

    def feature_width(self) -> int:
        """ΣD, the width of the features that the model was exported for.

        Raises:
            ServingError: the server refused or did not answer.
        """
        return self._ask(self._transport.feature_width, "signature of the model")

    def streams(self) -> Streams:
        """Names and sizes of the model's streams, asked once: another model behind the address needs another client.

        Raises:
            ServingError: the server refused or did not answer.
        """
        if self._streams is None:
            self._streams = self._ask(self._stream_sizes, "streams of the model")
        return self._streams

    def _stream_sizes(self, deadline: Deadline) -> Streams:
        outputs = ("stream_names", "stream_sizes")
        try:
            reply = self._predict("streams", {"stream_ids": np.full(1, -1, np.int64)}, outputs, deadline)
        except CallFailed as failure:
            if failure.may_pass or "streams" not in failure.details:
                raise
            # A model that was exported before streams had names: rgb and flow of one size.
            return Streams.pair(self._transport.feature_width(deadline) // 2)
        names, sizes = (reply.outputs[name] for name in outputs)
        texts = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
        return Streams(tuple(zip(texts, map(int, sizes))))

    def _localize(self, videos: Sequence[np.ndarray], fps: float | None, stride: int | None) -> list[list[Detection]]:
        tensors = self.config.transport == "grpc"
        signature, inputs = request(videos, fps, stride, tensors=tensors, streams=self.streams)

        def once(deadline: Deadline) -> tuple[Reply, tuple[str, ...]]:
            reply = self._predict(signature, inputs, _OUTPUTS, deadline)
            return reply, self._class_names(reply, deadline)

        reply, names = self._ask(once, _size(videos))
        columns = (reply.outputs[name] for name in _OUTPUTS[1:])
        return [
            [
                Detection(names[int(label)], float(start_s), float(end_s), float(score))
                for (start_s, end_s), label, score in zip(segments[: int(number)], labels, scores)
            ]
            for segments, labels, scores, number in zip(*columns)
        ]

    def _predict(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray | Sequence[bytes]],
        outputs: Sequence[str],
        deadline: Deadline,
    ) -> Reply:
        return self._transport.predict(signature, inputs, outputs, self.config.version, deadline)

    def _class_names(self, reply: Reply, deadline: Deadline) -> tuple[str, ...]:
        """Names of all classes of the version that made a reply."""
        if reply.version not in self._names:  # two threads may both ask, and get the same answer
            inputs = {"class_ids": np.arange(reply.outputs["video_scores"].shape[1], dtype=np.int64)}
            try:
                found = self._transport.predict("class_names", inputs, ("class_names",), reply.version, deadline)
            except CallFailed as failure:
                if failure.code == "NOT_FOUND" and not self.config.version:
                    raise CallFailed("UNAVAILABLE", f"version {reply.version} was unloaded just now") from None
                raise
            names = found.outputs["class_names"]
            self._names[reply.version] = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names)
        return self._names[reply.version]

    def _ask(self, once: Callable[[Deadline], T], sent: str, attempts: int | None = None) -> T:
        try:
            return with_retries(once, attempts=attempts or self.config.attempts, deadline_s=self.config.deadline_s)
        except CallFailed as failure:
            raise explain(failure, self.config, sent) from None


def _size(videos: Sequence[np.ndarray]) -> str:
    segments = sum(len(features) for features in videos)
    return f"{len(videos)} video(s), {segments} segments x {videos[0].shape[1]} values"


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    define_flags(ClientConfig)
    define_flags(FileChoices)
    flags.DEFINE_list("features", [], "Files with both streams, such as [segments, 2D]; or folders, patterns, lists.")
    flags.DEFINE_string("output", None, "Where the detections go, in ActivityNet's JSON format.")
    flags.DEFINE_float("fps", None, "Frames per second the features were extracted at; default: the model's.")
    flags.DEFINE_integer("stride_frames", None, "Frames from one row to the next; default: the model's.")
    flags.DEFINE_bool("health", False, "Only tell which versions are loaded; fails unless one can answer.")
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def main(argv: Sequence[str]) -> None:
    """Tells the state of the served model, or asks it for the detections of the files."""
    del argv
    with Client(**vars(from_flags(ClientConfig))) as client:
        if FLAGS.health:
            states = client.health()
            for version, state in sorted(states.items()):
                print(f"version {version}: {state}")
            if AVAILABLE not in states.values():
                raise UserError(f"{client.config.address}: no version of {client.config.model_name!r} is loaded yet.")
            return
        if not FLAGS.features:
            raise UsageError("--features is missing: feature files [segments, 2D], comma separated (or --health).")
        videos = read_videos(FeatureFiles(joint=FLAGS.features), client.streams(), from_flags(FileChoices))
        found = {
            video_id: client.localize(features, fps=FLAGS.fps, stride=FLAGS.stride_frames)
            for video_id, features in videos.items()
        }
    for video_id, detections in found.items():
        print(f"\n{video_id}: {len(detections)} detections")
        for one in detections[:5]:
            print(f"  {one.class_name:24s} {one.start_s:8.2f} s to {one.end_s:8.2f} s   score {one.score:.3f}")
    if FLAGS.output:
        save_detections(FLAGS.output, *as_columns(found))
        print(f"\nWritten to {FLAGS.output}")


if __name__ == "__main__":
    run_main(main, register_flags)
