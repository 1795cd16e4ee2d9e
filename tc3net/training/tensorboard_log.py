"""What a training run shows in TensorBoard: event files `train` and `eval` under the run folder's `tensorboard`.

Everything is drawn from what the loop and the evaluation hand over; nothing is scored or trained here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.common.storage import path_of
from tc3net.detection import DetectionConfig, video_scores
from tc3net.evaluation import find_protocol
from tc3net.inference.raw_scores import RawScores
from tc3net.results.assessment import tiou_text
from tc3net.training.event_files import trim_events
from tc3net.training.observers import Evaluation, IntervalFacts, Observer
from tc3net.training.validation import Watched
from tc3net.visualization.curves import CurveSource, video_tracks
from tc3net.visualization.timeline import timeline_png

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet

SELECTION_TAG = "selection"
MAX_CLASSES = 200  # of per-class curves; with more, TensorBoard's page is of no use and slow
MAX_PANELS = 3  # per picture: so many classes of the video, the last panel for the best other one
_MAX_VALUES = 200_000  # per histogram; of more, evenly spread rows
_START_TAGS = ("run/", "_hparams_/")

HyperParameters = Mapping[str, Union[bool, int, float, str]]


@dataclass(frozen=True)
class TensorBoardConfig:
    """How much a run writes for TensorBoard."""

    tensorboard: bool = option(True, "Write event files for TensorBoard.")
    tensorboard_videos: int = option(
        3, "Evaluated videos whose T-CAM is drawn at each evaluation (always the same ones); 0: none."
    )

    def __post_init__(self) -> None:
        if self.tensorboard_videos < 0:
            raise UserError(f"--tensorboard_videos={self.tensorboard_videos}; expected 0 (none) or more.")


@dataclass(frozen=True)
class RunCard:
    """What identifies a run on TensorBoard's pages.

    Attributes:
        texts: Markdown by title, for the page Text.
        hparams: the choices, for the page HParams; they should be the same for runs that are the same.
        metrics: tag of the evaluation -> heading of its column on that page.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    hparams: HyperParameters = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells are shown as they are, an empty one as nothing."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def literal(text: str) -> str:
        return f"`{text}`".replace("|", "\\|").replace("\n", " ") if text else ""

    return "\n".join([line(header), line(["---"] * len(header)), *(line(map(literal, row)) for row in rows)])


def choose_videos(labels: np.ndarray, count: int) -> list[int]:
    """Which videos are drawn: the first that add a class not yet seen, then the first others that have a label.

    Args:
        labels: [V, C] multi-hot.
        count: how many.

    Returns:
        At most `count` indices, ascending.
    """
    seen = np.zeros(labels.shape[1], bool)
    new: list[int] = []
    others: list[int] = []
    for video in np.flatnonzero(labels.any(axis=1)).tolist():
        present = labels[video] > 0
        (new if (present & ~seen).any() else others).append(video)
        seen |= present
    return sorted([*new, *others][:count])


def timeline_of(watched: Watched, source: CurveSource, video: int, title: str) -> bytes:
    """PNG of one video: its first classes, and the most probable other one. The same panels whatever the model says
    of the labelled classes, so that the pictures of all steps have one size."""
    scores, probability = watched.scores, source.probability[video]
    own = scores.labels[video] > 0
    shown = np.flatnonzero(own)[: MAX_PANELS - 1].tolist()
    if not own.all():
        shown.append(int(np.where(own, -np.inf, probability).argmax()))
    truth, instances = scores.ground_truth, None
    if scores.video_ids[video] in truth.video_ids:
        mine = np.flatnonzero(truth.video == truth.video_ids.index(scores.video_ids[video]))
        instances = [(truth.classes[truth.label[i]], truth.start_s[i], truth.end_s[i]) for i in mine]
    tracks = video_tracks(source, video, shown, watched.assessment.detections, instances)
    return timeline_png(title, *tracks)


def class_scalars(watched: Watched) -> dict[str, float]:
    """AP per class, 0 to 1: localization at the first protocol's main tIoU, and classification; none where there are
    more than `MAX_CLASSES`."""
    classes, found = watched.scores.classes, watched.assessment
    group = "per_class/holdout" if watched.held_out else "per_class"
    scalars: dict[str, float] = {}
    if len(classes) > MAX_CLASSES:
        return scalars
    for result in found.localization[:1]:
        row = find_protocol(result.protocol).main_row(result.tious)
        shown = f"{group}/{result.protocol}@{tiou_text(result.tious[row])}"
        scalars.update({f"{shown}/{name}": ap for name, ap in zip(result.classes, result.ap[row])})
    if found.classification is not None:
        named = zip(classes, found.classification.ap)
        scalars.update({f"{group}/classification/{name}": ap for name, ap in named if not np.isnan(ap)})
    return scalars


def _some_rows(table: Any, columns: int | None = None) -> Any:
    """Every k-th row of an array or tensor, so that at most `_MAX_VALUES` values remain.

    Args:
        table: [n, ...].
        columns: values that belong to a row; default: those in the table.
    """
    values = int(np.prod(table.shape[1:])) if columns is None else columns
    return table[:: max(1, -(-table.shape[0] * values // _MAX_VALUES))]


def score_values(scores: RawScores, detection: DetectionConfig) -> dict[str, np.ndarray]:
    """Values for histograms: fused T-CAM and video-level scores, of the labelled classes apart from the others.

    Returns:
        1-D arrays by tag; none that is empty.
    """
    rows = _some_rows(np.arange(len(scores.tcam)), scores.tcam.shape[1])
    owner = np.searchsorted(scores.row_splits, rows, side="right") - 1
    video = video_scores(tf.constant(scores.pooled), detection).numpy()
    tables = {"tcam_fused": (scores.tcam[rows], scores.labels[owner]), "video_scores": (video, scores.labels)}
    values = {}
    for name, (table, labels) in tables.items():
        values[f"{name}/labelled_classes"], values[f"{name}/other_classes"] = table[labels > 0], table[labels <= 0]
    return {tag: array for tag, array in values.items() if array.size}


class TensorBoardLog(Observer):
    """Writes nothing before the run starts; then drops what an earlier part wrote after the step it resumes at.

    Args:
        run_dir: folder of the run.
        model: the model in training, whose kernels are shown as they are in that step (not their averages).
        detection: detection choices of the evaluation.
        config: how much to write.
        card: texts, hyperparameters, metrics.
    """

    def __init__(
        self,
        run_dir: str | Path,
        model: ThreeCNet,
        detection: DetectionConfig = DetectionConfig(),
        config: TensorBoardConfig = TensorBoardConfig(),
        card: RunCard = RunCard(),
    ) -> None:
        self._folder = path_of(run_dir) / "tensorboard"
        self._model, self._detection, self._config, self._card = model, detection, config, card

    def on_start(self, step: int, checkpoint: str | None) -> None:
        """Texts and hyperparameters, once per run: a resumed run replaces them."""
        trim_events(self._folder, step if checkpoint is not None else -1, _START_TAGS)
        self._train, self._eval = (
            tf.summary.create_file_writer(str(self._folder / name)) for name in ("train", "eval")
        )
        with self._train.as_default(0):
            for title, text in self._card.texts.items():
                tf.summary.text(f"run/{title}", text)
        if self._card.hparams:
            with self._eval.as_default(0):
                from tensorboard.plugins.hparams import api as hp  # needs TensorFlow

                metrics = [hp.Metric(tag, display_name=shown) for tag, shown in self._card.metrics.items()]
                hp.hparams_config(hparams=[hp.HParam(name) for name in self._card.hparams], metrics=metrics)
                hp.hparams(dict(self._card.hparams), trial_id=str(self._folder.parent))
        self._flush()

    def on_log(self, facts: IntervalFacts) -> None:
        """`loss`, `loss/<term>`, `optimization/...`, and `speed/...`."""
        scalars = {name if name == "loss" else f"loss/{name}": value for name, value in facts.means.items()}
        scalars.update({f"optimization/{name}": value for name, value in facts.others.items()})
        for name in ("steps_per_second", "segments_per_second", "input_wait_share"):
            scalars[f"speed/{name}"] = getattr(facts, name)
        with self._train.as_default(facts.step):
            for tag, value in scalars.items():
                tf.summary.scalar(tag, value)
        self._flush()

    def on_evaluation(self, step: int, evaluation: Evaluation, best: bool) -> None:
        """Every scalar and the one that selects, AP per class, histograms, timelines."""
        watched: Sequence[Watched] = evaluation.details
        scalars = {SELECTION_TAG: evaluation.selection, **evaluation.scalars}
        for subset in watched:
            scalars.update(class_scalars(subset))
        with self._eval.as_default(step):
            for tag, value in scalars.items():
                tf.summary.scalar(tag, value)
            for subset in watched[-1:]:  # the test subset, where it is watched
                for tag, values in score_values(subset.scores, self._detection).items():
                    tf.summary.histogram(tag, values)
                self._draw(step, subset)
        with self._train.as_default(step):
            for name, variable in self._model.network_variables().items():
                if len(variable.shape) > 1:  # kernels
                    tf.summary.histogram(f"weights/{name}", _some_rows(tf.convert_to_tensor(variable)))
        self._flush()

    def _draw(self, step: int, watched: Watched) -> None:
        scores = watched.scores
        where = f"{scores.dataset}, {scores.subset}{', held out' if watched.held_out else ''}"
        source = CurveSource(scores, self._detection)
        for video in choose_videos(scores.labels, self._config.tensorboard_videos):
            title = f"{scores.video_ids[video]} ({where}), step {step}"
            png = timeline_of(watched, source, video, title)
            image = tf.io.decode_png(png, channels=3)
            tf.summary.image(f"timeline/{scores.video_ids[video]}", image[tf.newaxis])

    def on_end(self, step: int) -> None:
        """Closes the files."""
        self._train.close()
        self._eval.close()

    def _flush(self) -> None:
        """At once: a point that `metrics.jsonl` has would otherwise be lost with the process."""
        self._train.flush()
        self._eval.flush()
