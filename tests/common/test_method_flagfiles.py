"""The flagfiles of other methods: which terms they switch on, and how they begin."""

from __future__ import annotations

from pathlib import Path

import pytest
from absl import flags

from tc3net.common.config import define_flags, from_flags
from tc3net.losses import LossConfig
from tc3net.losses.objective import ADDED
from tc3net.model.heads import HEADS
from tc3net.training.settings import CONFIGS, Settings

ROOT = Path(__file__).resolve().parents[2]
# Flagfile -> the terms it adds, with their weights.
TERMS = {
    "w_talc": {"co_activity": 0.5},
    "autoloc": {"boundary": 1.0},
    "cola": {"snippet_contrast": 0.01},
    "um": {"feature_magnitude": 5e-4, "uniform_background": 1.0},
}


def settings_of(flagfile: str) -> Settings:
    """What `tc3net.train` makes of a flagfile; call in the repository, where flagfiles name others."""
    values = flags.FlagValues()
    for kind in (*CONFIGS.values(), *ADDED.values(), *HEADS.values()):
        define_flags(kind, values)
    for name in ("train_subset", "test_subset"):
        flags.DEFINE_string(name, "", "As in tc3net.train.", flag_values=values)
    flags.DEFINE_list("protocols", [], "As in tc3net.train.", flag_values=values)
    values(["train", f"--flagfile={flagfile}"])
    return Settings(
        train_subset=values.train_subset,
        test_subset=values.test_subset,
        protocols=tuple(values.protocols),
        terms=tuple(from_flags(kind, values) for kind in ADDED.values()),
        heads=tuple(from_flags(kind, values) for kind in HEADS.values()),
        **{name: from_flags(kind, values) for name, kind in CONFIGS.items()},
    )


@pytest.mark.parametrize("name", TERMS)
def test_a_method_is_its_terms_beside_the_classification_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    settings = settings_of(f"configs/methods/{name}.cfg")
    assert {term.name: term.coefficient for term in settings.terms if term.active} == TERMS[name]
    loss = settings.loss
    assert loss.beta == loss.alpha == 0
    assert loss.classification_weight == (0.5 if name == "w_talc" else 1.0)
    plain = {"alpha", "beta", "classification_weight", "top_k_divisor"}
    assert {n for n, v in vars(loss).items() if v != getattr(LossConfig(), n)} <= plain


@pytest.mark.parametrize("name", TERMS)
def test_a_methods_flagfile_begins_with_command_runtime_and_expected_score(name: str) -> None:
    lines = (ROOT / "configs" / "methods" / f"{name}.cfg").read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert lines[: len(comments)] == comments
    assert f"python -m tc3net.train --flagfile=configs/methods/{name}.cfg " in comments[1]
    assert [line.split(":")[0] for line in comments[1:4]] == ["# Command", "# Runtime", "# Expected"]
