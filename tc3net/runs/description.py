"""What a run is, as `run.json` holds it: written from frozen dataclasses, and read back into the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tc3net.common.extensions import check_extensions
from tc3net.data.sampling import InputConfig
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.evaluation import recorded_signature
from tc3net.losses import LossConfig
from tc3net.model import ModelConfig
from tc3net.model.heads import Head, heads_from_dict
from tc3net.optimization.optimizers import OptimizerConfig
from tc3net.optimization.schedules import ScheduleConfig

_PARTS: dict[str, type] = {
    "inputs": InputConfig, "loss": LossConfig, "optimizer": OptimizerConfig, "schedule": ScheduleConfig,
}  # fmt: skip
# The best checkpoint of a run that says nothing of it: before there was a choice.
_FIRST_PROTOCOL = "the first protocol on the subset evaluated during training"


@dataclass(frozen=True)
class TrainingChoices:
    """Every choice that influences the weights, to recognise the same run on resume.

    In the file they lie side by side under the names of their flags.

    Attributes:
        inputs, loss, optimizer, schedule: with defaults in place of what does not act (`acting`).
        holdout_fraction: part of the training videos that is held out.
        selected_by: what selects the best checkpoint, in words; empty where nothing is evaluated.
        train_subset: subset trained on.
        shards: split -> SHA-256 of its shards.
        terms: choices of further loss terms, by name.
    """

    inputs: InputConfig = InputConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    holdout_fraction: float = 0.0
    selected_by: str = _FIRST_PROTOCOL
    train_subset: str = ""
    shards: Mapping[str, list[str]] = field(default_factory=dict)
    terms: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; further terms are named only where there are any."""
        return {
            **asdict(self.inputs),
            **asdict(self.loss),
            **self.optimizer.recorded(),
            **self.schedule.recorded(),
            "holdout_fraction": self.holdout_fraction,
            "selected_by": self.selected_by,
            "train_subset": self.train_subset,
            "shards": dict(self.shards),
            **({"terms": dict(self.terms)} if self.terms else {}),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> TrainingChoices:
        """Inverse of `as_dict`; what an earlier version did not know is as it was then: the default. A protocol that it
        called otherwise has the name of now.

        Raises:
            TypeError: a choice that is not known here.
            UserError: a value out of its range.
        """
        rest = dict(raw)
        if "selected_by" in rest:
            protocol, measure, where = rest["selected_by"].partition(" mAP@")
            rest["selected_by"] = recorded_signature(protocol) + measure + where
        parts: dict[str, Any] = {}
        for name, kind in _PARTS.items():
            parts[name] = kind(**{item.name: rest.pop(item.name) for item in fields(kind) if item.name in rest})
        return cls(**parts, **rest)


@dataclass(frozen=True)
class RunInfo:
    """Contents of `run.json`.

    Attributes:
        dataset: name of the data set.
        classes: class names, in the order of the model's outputs.
        streams: names and sizes of the streams.
        time_base: of the training features; used for videos that bring none of their own.
        model: architecture.
        detection: how this run turns scores into detections unless told otherwise.
        training: what makes it this run.
        versions: of tc3net, TensorFlow, Keras and Python.
        dataset_checksum: SHA-256 over the checksums of the data set's shards.
        starts: one entry per start of the training command: command line, git revision, versions.
        test_subset: subset evaluated while training, of which nothing may be chosen; None where that is not known.
        extensions: modules of the user's that the run needs.
        heads: choices of the network's heads, by name.
        rescaled_rows: whether the rows of every training video spanned it, so that `time_base` is that of one of them.
        extraction: how `data_prep.extract` made the training features: networks, sampling, flow; empty if not known.
    """

    dataset: str
    classes: tuple[str, ...]
    streams: Streams
    time_base: TimeBase
    model: ModelConfig
    detection: DetectionConfig
    training: TrainingChoices = TrainingChoices()
    versions: Mapping[str, str] = field(default_factory=dict)
    dataset_checksum: str = ""
    starts: tuple[dict[str, Any], ...] = ()
    test_subset: str | None = None
    extensions: tuple[str, ...] = ()
    heads: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    rescaled_rows: bool = False
    extraction: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what a run has nothing of, such as extensions or rescaled rows, is left out."""
        found = {**asdict(self), "streams": self.streams.as_dict(), "training": self.training.as_dict()}
        for name in ("extensions", "heads", "rescaled_rows", "extraction"):
            if not found[name]:
                del found[name]
        return found

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> RunInfo:
        """Inverse of `as_dict`, also for what earlier versions wrote.

        Raises:
            AttributeError, KeyError, TypeError: not such a description.
            UserError: a value out of its range.
        """
        parts: dict[str, Any] = dict(raw)
        parts["time_base"] = TimeBase(**parts["time_base"])
        # Before streams had names there were always rgb and flow of one size.
        old = parts.pop("feature_dim", None)
        parts["streams"] = Streams.of(parts["streams"]) if old is None else Streams.pair(old)
        parts["model"] = ModelConfig(**parts["model"])
        parts["detection"] = DetectionConfig(**parts["detection"])
        parts["training"] = TrainingChoices.from_dict(parts["training"])
        for name in ("classes", "starts", "extensions"):
            parts[name] = tuple(parts.get(name, ())) if name != "classes" else tuple(parts[name])
        return cls(**parts)

    def make_heads(self) -> tuple[Head, ...]:
        """The network's heads.

        Raises:
            UserError: the modules that define them are not loaded.
        """
        check_extensions(self.extensions, "This run")
        return heads_from_dict(dict(self.heads))
