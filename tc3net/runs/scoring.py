"""Open a run and score a subset."""

from __future__ import annotations

from dataclasses import dataclass

from tc3net.common.config import option
from tc3net.data.split import Split, open_split
from tc3net.detection import DetectionConfig
from tc3net.inference.scorer import Scorer
from tc3net.runs.folder import CheckpointChoice, check_same_classes, load_model


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
    """

    run_dir: str
    choice: CheckpointChoice
    videos: DatasetChoice
    detection: DetectionConfig

    def open(self) -> Opened:
        """Loads the model and opens the data set.

        Raises:
            UserError: no run, checkpoint or subset there, or the model is of other classes or features.
        """
        model, run, source = load_model(self.run_dir, self.choice.checkpoint, self.choice.weights)
        split = open_split(self.videos.dataset_dir, self.videos.subset)
        check_same_classes(self.run_dir, run, self.videos.dataset_dir, split.manifest)
        return Opened(Scorer(model, run.training["top_k_divisor"]), split, source)
