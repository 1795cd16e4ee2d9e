"""Open a run, and score a subset with it: what evaluating, tuning, ablating, predicting and exporting begin with."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tc3net.common.config import option
from tc3net.common.extensions import load_extensions
from tc3net.data.split import Split, open_split
from tc3net.detection import DetectionConfig, check_network
from tc3net.inference.raw_scores import RawScores
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.runs.description import RunInfo
from tc3net.runs.folder import CheckpointChoice, check_same_classes, checkpoint_of, load_model, load_run
from tc3net.terminal.devices import say_devices

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet


@dataclass(frozen=True)
class OpenedRun:
    """A trained model with its description.

    Attributes:
        run_dir: run folder.
        info: what the run is.
        choice: which of its weights.
    """

    run_dir: str
    info: RunInfo
    choice: CheckpointChoice

    @functools.cached_property
    def _loaded(self) -> tuple[ThreeCNet, str]:
        """Read when it is first needed: what else a command was given is checked before, without TensorFlow."""
        model, _, source = load_model(self.run_dir, self.choice.checkpoint, self.choice.weights)
        say_devices()
        return model, source

    @property
    def model(self) -> ThreeCNet:
        """With the weights that were asked for."""
        return self._loaded[0]

    @property
    def source(self) -> str:
        """Where those are from, in words."""
        return self._loaded[1]

    @functools.cached_property
    def scorer(self) -> Scorer:
        """The model's traced graph, with the run's own k of the top-k means."""
        return Scorer(self.model, self.info.training.loss.top_k_divisor)

    def open_split(self, dataset_dir: str, subset: str) -> Split:
        """A subset of a data set that fits the model.

        Raises:
            UserError: no such subset, or another data set's classes or features.
        """
        split = open_split(dataset_dir, subset)
        check_same_classes(self.run_dir, self.info, dataset_dir, split.manifest)
        return split

    def check_detection(self, config: DetectionConfig) -> None:
        """Raises UserError if detection reads what the network does not compute; before its weights are read."""
        check_network(self.info.make_heads(), config)

    def score(self, split: Split, *, keep_streams: bool = False) -> RawScores:
        """Raw scores of a subset.

        Args:
            split: of `open_split`.
            keep_streams: whether to keep the T-CAMs of the single streams too.
        """
        return score_videos(self.scorer, split, keep_streams=keep_streams)


def open_run(run_dir: str, choice: CheckpointChoice = CheckpointChoice()) -> OpenedRun:
    """A run folder whose model is loaded when it is first used.

    Args:
        run_dir: run folder.
        choice: which of its weights.

    Raises:
        UserError: no run there, no such checkpoint, or modules that it needs are not loaded.
    """
    info = load_run(run_dir)
    info.make_heads()
    checkpoint_of(run_dir, choice.checkpoint)
    return OpenedRun(str(run_dir), info, choice)


@dataclass(frozen=True)
class DatasetChoice:
    """Which videos are scored."""

    dataset_dir: str = option("", "A folder written by data_prep.convert, instead of feature files.")
    subset: str = option("test", "Subset of --dataset_dir.")


@dataclass(frozen=True)
class Opened:
    """What a process needs to work on tasks.

    Attributes:
        scorer: the model.
        split: the videos.
        source: where the weights are from, in words.
    """

    scorer: Scorer
    split: Split
    source: str


@dataclass(frozen=True)
class Scoring:
    """What is scored with what, by path, so that it can be sent to processes which open it for themselves.

    Attributes:
        run_dir: run folder of the model.
        choice: which of its weights.
        videos: the data set.
        detection: detection choices.
        extensions: modules that the run needs, for processes that load them themselves.
    """

    run_dir: str
    choice: CheckpointChoice
    videos: DatasetChoice
    detection: DetectionConfig
    extensions: tuple[str, ...] = ()

    def open(self) -> Opened:
        """Loads the model and opens the data set.

        Raises:
            UserError: no run, checkpoint or subset there, or the model is of other classes or features.
        """
        load_extensions(self.extensions)
        run = open_run(self.run_dir, self.choice)
        run.check_detection(self.detection)
        split = run.open_split(self.videos.dataset_dir, self.videos.subset)
        return Opened(run.scorer, split, run.source)
