"""The table of Eq. 1: every equation has one definition, and a term from outside is a term like any other."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf

import tc3net.losses
from tc3net.common.errors import UserError
from tc3net.losses import LossConfig, LossInputs, LossTerm, Term, add_term, make_objective
from tc3net.losses.objective import ADDED
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import OptimizerConfig, make_optimizer
from tests.support.replicas import strategy_of

ROOT = Path(__file__).parents[2]


def equations() -> dict[int, str]:
    """Equation -> function, from the table of docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return {int(number): name for number, name in re.findall(r"^\| Eq\. (\d+), .* \| `([\w.]+)` \|$", text, flags=re.M)}


def resolve(name: str) -> Any:
    """The object of a dotted name."""
    module, _, rest = name.partition("tc3net.losses.")[2].partition(".")
    found: Any = importlib.import_module(f"tc3net.losses.{module}")
    for part in rest.split("."):
        found = getattr(found, part)
    return found


def test_every_equation_has_one_function_which_names_it() -> None:
    table = equations()
    assert list(table) == list(range(1, 11))
    assert len(set(table.values())) == 10
    for number, name in table.items():
        assert re.search(rf"Eq\. {number}\b", resolve(name).__doc__), f"{name} does not name Eq. {number}"


def test_the_package_lists_the_equations_with_their_files() -> None:
    listed = dict(re.findall(r"^Eq\. (\d+) .*? (\w+)\.py ", tc3net.losses.__doc__ or "", flags=re.M))
    assert {int(n): f"tc3net.losses.{file}" for n, file in listed.items()} == {
        n: ".".join(name.split(".")[:3]) for n, name in equations().items()
    }


@dataclass(frozen=True)
class Height(LossTerm):
    """Mean square of the fused T-CAM, over videos with a first label only: a batch may have none."""

    height_weight: float = 0.5
    name: ClassVar[str] = "height"
    seen_as: ClassVar[str] = "height_videos"

    @property
    def coefficient(self) -> float:
        return self.height_weight

    def share(self, step: Any) -> Any:
        return tf.cast(tf.cast(step, tf.float32) >= 1.0, tf.float32)

    def compute(self, inputs: LossInputs) -> Term:
        tcam, chosen = inputs.outputs["tcam_fused"], inputs.batch["labels"][:, 0]
        per_video = tf.reduce_mean(tf.square(tcam), axis=[1, 2])
        return Term(tf.reduce_sum(chosen * per_video), tf.reduce_sum(chosen))


def batch(first: bool) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    labels = np.eye(3, dtype=np.float32)[[0, 1, 0, 2]] if first else np.eye(3, dtype=np.float32)[[1, 1, 2, 2]]
    return {
        "features": tf.RaggedTensor.from_row_lengths(tf.constant(rng.random((20, 8)), tf.float32), [3, 6, 4, 7]),
        "labels": tf.constant(labels), "counts": tf.constant(labels), "counts_known": tf.ones([4, 3], tf.bool),
        "full_length": tf.ones([4], tf.bool),
    }  # fmt: skip


def compiled(terms: tuple[LossTerm, ...]) -> ThreeCNet:
    model = ThreeCNet(3, 4, ModelConfig(dropout=0.0))
    model.compile(make_optimizer(0.1, OptimizerConfig(optimizer="sgd")), terms=terms, weight_decay=0.0)
    return model


def test_a_term_from_outside_acts_in_time_and_is_averaged_over_its_own_batches() -> None:
    plain, model = compiled(()), compiled((Height(),))
    assert model.term_names()[-1] == "height" and model.objective.seen_as["height"] == "height_videos"
    first, without = model.update(batch(True)), plain.update(batch(True))
    assert float(first["loss"]) == pytest.approx(float(without["loss"]))  # its share is 0 in step 0
    assert float(first["height"]) > 0 and float(first["height_videos"]) == 2
    second, without = model.update(batch(True)), plain.update(batch(True))
    difference = float(second["loss"]) - float(without["loss"])
    assert difference == pytest.approx(0.5 * float(second["height"]), rel=1e-4)
    with_none = model.update(batch(False))
    assert float(with_none["height"]) == 0 and float(with_none["height_videos"]) == 0
    model.train_step(batch(False))
    assert float(model.loss_trackers["height"].result()) == 0
    shown = model.train_step(batch(True))["height"]
    assert float(shown) == pytest.approx(float(model.loss_trackers["height"].result())) and float(shown) > 0


def test_a_term_from_outside_gives_the_same_on_two_replicas() -> None:
    found = []
    for replicas in (1, 2):
        strategy = strategy_of(replicas)
        with strategy.scope():
            model = compiled((Height(),))
        data = batch(True)
        size = 4 // replicas

        def part(context: Any, size: int = size, data: dict[str, Any] = data) -> dict[str, Any]:
            at = size * context.replica_id_in_sync_group
            return {name: value[at : at + size] for name, value in data.items()}

        for _ in range(3):
            if replicas == 1:
                values = model.update(data)
            else:
                shares = strategy.experimental_distribute_values_from_function(part)
                values = tf.function(lambda s: strategy.run(model.update, args=(s,)))(shares)  # noqa: B023
                values = {k: strategy.experimental_local_results(v)[0] for k, v in values.items()}
        found.append((float(values["height"]), {n: v.numpy() for n, v in model.named_variables().items()}))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    for name, value in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_name_can_be_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tc3net.losses.objective.ADDED", {})
    assert add_term(Height) is Height and add_term(Height) is Height  # a module that is imported again

    for taken in ("height", "count_positive", "center_flow", "loss"):
        again = type("Again", (LossTerm,), {"name": taken})
        with pytest.raises(UserError, match=f"Two loss terms are named '{taken}'"):
            add_term(again)


def test_inactive_terms_are_left_out_and_nothing_is_added_by_default() -> None:
    off = type("Off", (Height,), {"active": property(lambda self: False)})
    assert make_objective(LossConfig(), (off(),)) == make_objective(LossConfig())
    every = tuple(kind() for kind in ADDED.values())
    assert every and make_objective(LossConfig(), every) == make_objective(LossConfig())
