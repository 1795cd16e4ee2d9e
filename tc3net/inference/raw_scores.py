"""Raw scores of videos, in memory and on disk: everything after them can be run again without the model."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path
from tc3net.common.storage import path_of
from tc3net.data.streams import FUSED, RGB_FLOW
from tc3net.intervals.columns import GroundTruth

_FORMAT = 5
_WITHOUT_BOUNDARIES, _WITHOUT_BOTH = (
    4,
    3,
)  # without boundaries, and attention, a file is as it was before there were any
_TCAM = "tcam."  # before the stream's name
_READABLE_FORMATS = (1, 2, 3, 4, 5)  # 1 knew neither the subset nor the streams' T-CAMs; 1 and 2 had rgb and flow


# What NumPy, zip and JSON raise on damaged or foreign files.
_UNREADABLE = (AttributeError, EOFError, KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class RawScores:
    """Scores of V videos with R segments in all.

    Attributes:
        dataset: title of the data set.
        classes: class names.
        video_ids: V names.
        row_splits: [V + 1] int64; video v has the rows row_splits[v] : row_splits[v + 1].
        tcam: [R, C] float32, fused T-CAM.
        pooled: [V, M + 1, C] float32, top-k means of the T-CAM of each of the M streams and of the fused one, or what
            the network pooled itself.
        top_k_divisor: of the top-k means.
        fps, frames_per_segment, stride_frames, duration_s: [V], time base and duration.
        labels: [V, C] multi-hot video-level labels; all zero where unknown.
        ground_truth: annotated instances of the videos that have temporal annotation.
        subset: of the data set; empty where unknown.
        streams: names of the M streams.
        stream_tcams: [R, C] float32 by stream, their T-CAMs; None where they were not kept.
        attention: [R] float32, the network's class-agnostic attention; None where it has none.
        boundaries: [R, A, 2] float32, start and end of the A intervals that the network regresses from each segment, in
            segments; None where it has none.
    """

    dataset: str
    classes: tuple[str, ...]
    video_ids: tuple[str, ...]
    row_splits: np.ndarray
    tcam: np.ndarray
    pooled: np.ndarray
    top_k_divisor: int
    fps: np.ndarray
    frames_per_segment: np.ndarray
    stride_frames: np.ndarray
    duration_s: np.ndarray
    labels: np.ndarray
    ground_truth: GroundTruth
    subset: str = ""
    streams: tuple[str, ...] = RGB_FLOW
    stream_tcams: Mapping[str, np.ndarray] | None = None
    attention: np.ndarray | None = None
    boundaries: np.ndarray | None = None

    def tcam_of(self, video: int) -> np.ndarray:
        """Fused T-CAM [s, C] of one video."""
        return self.tcam[self.row_splits[video] : self.row_splits[video + 1]]

    def ragged_tcams(self, first: int, last: int) -> dict[str, tf.RaggedTensor]:
        """T-CAMs [n, (s), C] of the videos first .. last - 1, by the model's names; of the streams only if kept."""
        splits = self.row_splits[first : last + 1]
        tcams = {"fused": self.tcam, **(self.stream_tcams or {})}
        return {
            f"tcam_{name}": tf.RaggedTensor.from_row_splits(rows[splits[0] : splits[-1]], splits - splits[0])
            for name, rows in tcams.items()
        }

    def outputs(self, first: int, last: int) -> dict[str, Any]:
        """What detection may read of the videos first .. last - 1, by the model's names: `ragged_tcams`,
        `attention_fused` [n, (s), 1] and `boundaries` [n, (s), A, 2] where there are any, `pooled` [n, M + 1, C]."""
        outputs: dict[str, Any] = {**self.ragged_tcams(first, last), "pooled": tf.constant(self.pooled[first:last])}
        like, rows = outputs[f"tcam_{FUSED}"], slice(self.row_splits[first], self.row_splits[last])
        if self.attention is not None:
            outputs[f"attention_{FUSED}"] = like.with_flat_values(tf.constant(self.attention[rows, np.newaxis]))
        if self.boundaries is not None:
            outputs["boundaries"] = like.with_flat_values(tf.constant(self.boundaries[rows]))
        return outputs

    def ragged_tcam(self, first: int, last: int) -> tf.RaggedTensor:
        """Fused T-CAM of the videos first .. last - 1: [n, (s), C]."""
        return self.ragged_tcams(first, last)["tcam_fused"]

    def check_streams(self, needed: bool = True) -> None:
        """Raises UserError if the streams' T-CAMs are needed but were not kept."""
        if needed and self.stream_tcams is None:
            raise UserError(
                "--stream_weights, --rgb_weight and --flow_weight read the T-CAMs of the single streams, which these "
                "raw scores do not hold. Write them again: "
                "python -m tc3net.evaluate --run_dir=... --dataset_dir=... --keep_streams"
            )

    def of_videos(self, video_ids: Collection[str]) -> RawScores:
        """The scores of some of the videos, in their order here; others are left out."""
        chosen = [i for i, video_id in enumerate(self.video_ids) if video_id in video_ids]
        lengths = np.diff(self.row_splits)
        rows = np.isin(np.repeat(np.arange(len(lengths)), lengths), chosen)
        per_video = ("pooled", "fps", "frames_per_segment", "stride_frames", "duration_s", "labels")
        return replace(
            self,
            video_ids=tuple(self.video_ids[i] for i in chosen),
            row_splits=np.concatenate([[0], np.cumsum(lengths[chosen])]).astype(np.int64),
            tcam=self.tcam[rows],
            stream_tcams=self.stream_tcams and {name: tcam[rows] for name, tcam in self.stream_tcams.items()},
            attention=None if self.attention is None else self.attention[rows],
            boundaries=None if self.boundaries is None else self.boundaries[rows],
            ground_truth=self.ground_truth.of_videos(video_ids),
            **{name: getattr(self, name)[chosen] for name in per_video},
        )


def save_scores(path: str | Path, scores: RawScores) -> None:
    """Writes raw scores as one compressed `.npz`, atomically; plain arrays only, nothing pickled."""
    without = _WITHOUT_BOTH if scores.attention is None else _WITHOUT_BOUNDARIES
    arrays: dict[str, Any] = {
        "format": np.asarray(without if scores.boundaries is None else _FORMAT),
        "dataset": np.asarray(scores.dataset),
        "subset": np.asarray(scores.subset),
        "top_k_divisor": np.asarray(scores.top_k_divisor),
    }
    for prefix, source in (("", scores), ("ground_truth.", scores.ground_truth)):
        for item in fields(source):
            value = getattr(source, item.name)
            if isinstance(value, np.ndarray):
                arrays[prefix + item.name] = value
            elif isinstance(value, tuple):
                arrays[prefix + item.name] = np.frombuffer(json.dumps(value).encode(), np.uint8)
    arrays.update({f"{_TCAM}{name}": tcam for name, tcam in (scores.stream_tcams or {}).items()})
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _stream_keys(names: Iterable[str]) -> dict[str, str]:
    """Stream -> key of its T-CAM, also as formats 1 and 2 have them."""
    old = {f"tcam_{name}": name for name in RGB_FLOW}
    new = {key: key[len(_TCAM) :] for key in names if key.startswith(_TCAM)}
    return {name: key for key, name in {**old, **new}.items() if key in set(names)}


def load_scores(path: str | Path) -> RawScores:
    """Reads what `save_scores` wrote.

    Raises:
        UserError: not such a file, truncated, or of another format version.
    """
    try:
        with path_of(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            raw = {name: archive[name] for name in archive.files}
        if int(raw.pop("format")) not in _READABLE_FORMATS:
            raise KeyError("format")
        text = ("classes", "video_ids", "streams", "ground_truth.classes", "ground_truth.video_ids")
        tcams = {name: raw.pop(key) for name, key in _stream_keys(raw).items()}
        values: dict[str, Any] = {n: tuple(json.loads(v.tobytes())) if n in text else v for n, v in raw.items()}
        prefix = "ground_truth."
        truth = GroundTruth(**{n[len(prefix) :]: values.pop(n) for n in list(values) if n.startswith(prefix)})
        scores = RawScores(ground_truth=truth, stream_tcams=tcams or None, **values)
        if tcams and set(tcams) != set(scores.streams):
            raise KeyError("T-CAMs of the streams")
        return replace(
            scores,
            dataset=str(scores.dataset),
            subset=str(scores.subset),
            top_k_divisor=int(scores.top_k_divisor),
        )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected raw scores written by tc3net.evaluate.") from None
    except _UNREADABLE as error:
        raise UserError(
            f"{path}: expected raw scores written by tc3net.evaluate (format {_FORMAT}), found something else or a "
            f"truncated file ({error}). Run `python -m tc3net.evaluate --run_dir=...` again."
        ) from None
