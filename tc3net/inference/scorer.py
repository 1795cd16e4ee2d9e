"""From a trained model and videos to raw scores, which are kept on disk: everything after can be re-run without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tc3net.data.pipeline import evaluation_batches
from tc3net.data.split import Split, readable
from tc3net.data.streams import FUSED
from tc3net.inference.raw_scores import RawScores
from tc3net.intervals.from_dataset import ground_truth_of
from tc3net.ops import ragged
from tc3net.terminal.progress import progress_bar

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet

ATTENTION, BOUNDARIES = f"attention_{FUSED}", "boundaries"  # of heads, what detection reads by segment


def pooled_top_k(outputs: dict[str, tf.RaggedTensor], streams: Sequence[str], divisor: int) -> tf.Tensor:
    """Top-k means of each stream's T-CAM and the fused one, from which video-level scores are made (Sec. 3.2).

    Where a head pools by itself (`pooled_<T-CAM>`), what it says takes their place.

    Args:
        outputs: what the model returned.
        streams: their names, M.
        divisor: k = ⌈s / divisor⌉.

    Returns:
        [N, M + 1, C], the fused one last.
    """
    pooled = [
        outputs[f"pooled_{name}"]
        if f"pooled_{name}" in outputs
        else ragged.top_k_mean(outputs[f"tcam_{name}"], divisor=divisor)
        for name in (*streams, FUSED)
    ]
    return tf.stack(pooled, axis=1)


def attention_of(rows: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The attention among rows of `Scorer.with_streams`, as raw scores hold it: [R], or None where there is none."""
    return rows[ATTENTION][:, 0] if ATTENTION in rows else None


def boundaries_of(rows: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The boundaries among them, [R, A, 2], or None where there are none."""
    return rows.get(BOUNDARIES)


class Scorer:
    """Runs the model on batches; keep one, it holds the traced graph.

    Args:
        model: built model.
        top_k_divisor: k = ⌈s / divisor⌉ (Sec. 3.2).
    """

    def __init__(self, model: ThreeCNet, top_k_divisor: int = 8) -> None:
        self.top_k_divisor, self.streams = top_k_divisor, model.stream_sizes.names
        spec = tf.RaggedTensorSpec([None, None, model.stream_sizes.width], tf.float32, ragged_rank=1)

        @tf.function(input_signature=[spec], autograph=False)
        def score(features: tf.RaggedTensor) -> dict[str, tf.Tensor]:
            outputs = model(features, training=False)
            names = [f"tcam_{name}" for name in (FUSED, *self.streams)]
            rows = {name: outputs[name].flat_values for name in (*names, ATTENTION, BOUNDARIES) if name in outputs}
            return {**rows, "pooled": pooled_top_k(outputs, self.streams, top_k_divisor)}

        self._score = score

    def with_streams(self, features: tf.RaggedTensor) -> dict[str, np.ndarray]:
        """Features [N, (s), ΣD] -> rows [R, C] of `tcam_fused`, `tcam_<stream>`, and `pooled` [N, M + 1, C]; [R, 1] of
        `attention_fused` and [R, A, 2] of `boundaries` where the network has them."""
        return {name: value.numpy() for name, value in self._score(features).items()}

    def __call__(self, features: tf.RaggedTensor) -> tuple[np.ndarray, np.ndarray]:
        """Features [N, (s), ΣD] -> fused T-CAM rows [R, C] and top-k means [N, M + 1, C]."""
        scores = self.with_streams(features)
        return scores["tcam_fused"], scores["pooled"]


def score_videos(
    scorer: Scorer,
    split: Split,
    batch_size: int = 8,
    *,
    keep_streams: bool = False,
    videos: range | None = None,
) -> RawScores:
    """Scores every video of a subset.

    Args:
        scorer: the model.
        split: the videos.
        batch_size: videos per call of the model.
        keep_streams: whether to keep the T-CAMs of the single streams too.
        videos: only those at these positions in the subset, at least one.

    Raises:
        UserError: a record is damaged.
    """
    classes = split.manifest.classes
    kept = (FUSED, *scorer.streams) if keep_streams else (FUSED,)
    wanted = ("pooled", ATTENTION, BOUNDARIES, *(f"tcam_{name}" for name in kept))
    scored: dict[str, list[np.ndarray]] = {}
    lengths = []
    columns: dict[str, list[Any]] = {}
    batches = readable(evaluation_batches(split, batch_size, videos), split)
    number = -(-(split.num_videos if videos is None else len(videos)) // batch_size)
    for batch in progress_bar(batches, "scoring", f"batch of {batch_size}", total=number):
        part = scorer.with_streams(batch["features"])
        for name in wanted:
            if name in part:
                scored.setdefault(name, []).append(part[name])
        lengths.append(batch["features"].row_lengths().numpy())
        for name, value in batch.items():
            if name != "features":
                rows = value.to_list() if isinstance(value, tf.RaggedTensor) else list(value.numpy())
                columns.setdefault(name, []).extend(rows)
    rows_of = {name: np.concatenate(parts) for name, parts in scored.items()}
    video_ids = tuple(video_id.decode() for video_id in columns["id"])
    return RawScores(
        dataset=split.manifest.title,
        classes=classes,
        video_ids=video_ids,
        row_splits=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        top_k_divisor=scorer.top_k_divisor,
        fps=np.asarray(columns["fps"]),
        frames_per_segment=np.asarray(columns["frames_per_segment"]),
        stride_frames=np.asarray(columns["stride_frames"]),
        duration_s=np.asarray(columns["duration"]),
        labels=np.asarray(columns["labels"], np.float32),
        ground_truth=ground_truth_of(classes, columns),
        subset=split.subset,
        pooled=rows_of["pooled"],
        tcam=rows_of["tcam_fused"],
        streams=scorer.streams,
        stream_tcams={name: rows_of[f"tcam_{name}"] for name in scorer.streams} if keep_streams else None,
        attention=attention_of(rows_of),
        boundaries=boundaries_of(rows_of),
    )
