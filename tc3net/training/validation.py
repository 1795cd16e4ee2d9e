"""What is measured while training: held-out training videos, the test subset, and which of it selects a checkpoint.

Both are scored whole and without dropout, by the averaged weights where training keeps an average. The loss of the
held-out videos is Eq. 1 over all of them at once, multi-label videos included whatever the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.pipeline import evaluation_batches
from tc3net.data.split import Split, readable
from tc3net.detection import DetectionConfig
from tc3net.evaluation import find_protocol
from tc3net.inference.raw_scores import RawScores
from tc3net.inference.scorer import Scorer, score_videos
from tc3net.losses import Term
from tc3net.results.assessment import Assessment, assess, selection_tag
from tc3net.training.observers import Evaluation

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet

HELD_OUT_TAG = "holdout/"
_CLASSIFICATION, _LOSS = "classification/mAP", "loss"


@dataclass(frozen=True)
class Watched:
    """One subset at one evaluation, as `Evaluation.details` hands it on.

    Attributes:
        held_out: whether these are the held-out training videos, not the test subset.
        scores: raw scores.
        assessment: what follows from them.
    """

    held_out: bool
    scores: RawScores
    assessment: Assessment


def describe_selection(selection: str, protocol: str, held_out: bool, test_subset: str) -> str:
    """By what the best checkpoint is chosen, in words, for the terminal and the run's description.

    Args:
        selection: "localization", "classification" or "loss".
        protocol: first of `--protocols`.
        held_out: whether there are held-out videos.
        test_subset: name of the subset that is used without them.
    """
    of, tag = find_protocol(protocol), selection_tag(protocol)
    names = {
        "classification": "classification mAP",
        "localization": f"{of.signature} {tag.removeprefix(f'{of.name}/')}",
    }
    where = "the held-out training videos" if held_out else f"the test subset {test_subset!r}"
    return f"{names.get(selection, selection)} on {where}"


class LossMeter:
    """The loss (Eq. 1) of all videos of a split together, without dropout; keep one, it holds the traced graph.

    Args:
        model: built model with its `objective`.
        split: the videos.
    """

    def __init__(self, model: ThreeCNet, split: Split) -> None:
        self._split, self._objective = split, model.objective

        @tf.function(input_signature=[evaluation_batches(split).element_spec], autograph=False)
        def terms_of(batch: dict[str, Any]) -> dict[str, Term]:
            whole = tf.ones([tf.shape(batch["labels"])[0]], tf.bool)
            outputs = model(batch["features"], training=False)
            inputs = model.loss_inputs({**batch, "full_length": whole}, outputs, tf.int64.max)
            return {term.name: term.compute(inputs) for term in model.objective.terms}

        self._terms_of = terms_of

    def __call__(self) -> float:
        """The loss now."""
        sums: dict[str, Any] = {}
        powers: dict[str, int] = {}
        for batch in readable(evaluation_batches(self._split), self._split):
            for name, term in self._terms_of(batch).items():
                sums[name] = sums.get(name, 0.0) + np.array([term.total, term.weight], np.float64)
                powers[name] = int(term.power)
        values = {name: total / weight ** powers[name] if weight else 0.0 for name, (total, weight) in sums.items()}
        return sum(term.coefficient * float(values.get(term.name, 0.0)) for term in self._objective.terms)


class Validation:
    """Called by the trainer: measures the model as it is.

    Args:
        model: the compiled model in training.
        detection: detection choices.
        protocols: evaluation protocols; the first selects.
        test: test subset, if it is watched.
        held_out: held-out training videos, if there are any; then these select.
        selection: "localization", "classification" or "loss" (which needs held-out videos).
    """

    def __init__(
        self,
        model: ThreeCNet,
        detection: DetectionConfig,
        protocols: Sequence[str],
        *,
        test: Split | None,
        held_out: Split | None,
        selection: str,
    ) -> None:
        self._model, self._detection, self._protocols = model, detection, protocols
        self._scored = model
        if model.average is not None:
            # A second model, not the first with other weights for a while: an interruption can confuse nothing.
            self._scored = type(model).from_config(model.get_config())
            self._scored.loss_config, self._scored.objective = model.loss_config, model.objective
        self._scorer = Scorer(self._scored, model.loss_config.top_k_divisor)
        self._test, self._held_out = test, held_out
        self._loss = LossMeter(self._scored, held_out) if held_out is not None else None
        self._selection = selection
        self.selected_by = describe_selection(
            selection, protocols[0], held_out is not None, test.subset if test is not None else ""
        )

    def _assess(self, split: Split) -> Watched:
        """Localization where the videos have annotated instances, classification always."""
        scores = score_videos(self._scorer, split, keep_streams=self._detection.needs_streams)
        protocols = self._protocols if len(scores.ground_truth) else ()
        return Watched(split is self._held_out, scores, assess(scores, self._detection, protocols))

    def __call__(self) -> Evaluation:
        """Measures, and picks the value that selects.

        Raises:
            UserError: it is localization that should select, and no instances are annotated.
        """
        if self._model.average is not None:
            targets = self._scored.named_variables()
            for name, variable in {**self._model.named_variables(), **self._model.average.variables}.items():
                targets[name].assign(tf.convert_to_tensor(variable))
        scalars, parts, watched = {}, [], []
        if self._held_out is not None and self._loss is not None:
            watched.append(self._assess(self._held_out))
            found, loss = watched[-1].assessment, self._loss()
            scalars = {HELD_OUT_TAG + tag: value for tag, value in {_LOSS: loss, **found.scalars()}.items()}
            parts.append(f"held-out videos: loss {loss:.4g}; {found.summary()}")
        if self._test is not None:
            watched.append(self._assess(self._test))
            found = watched[-1].assessment
            scalars.update(found.scalars())
            parts.append(f"test subset: {found.summary()}")
        value = scalars.get(self._selecting_tag())
        if value is None:
            raise UserError(
                f"The best checkpoint is to be selected by {self.selected_by}, which has no annotated instances. Give "
                "--selection=classification" + (" or loss." if self._held_out is not None else ".")
            )
        best_is_high = -value if self._selection == "loss" else value
        return Evaluation(scalars, best_is_high, " | ".join(parts), self.selected_by, tuple(watched))

    def _selecting_tag(self) -> str:
        """Name of the scalar that selects."""
        tags = {"loss": _LOSS, "classification": _CLASSIFICATION, "localization": selection_tag(self._protocols[0])}
        return (HELD_OUT_TAG if self._held_out is not None else "") + tags[self._selection]
