"""Dataclass fields as flags, what they refuse, and what the shipped flagfiles say."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from absl import flags

from data_prep import convert
from tc3net.common.config import define_flags, from_flags, option
from tc3net.common.errors import UserError
from tc3net.data.pipeline import InputConfig
from tc3net.data.timebase import TimeBase
from tc3net.detection import DetectionConfig
from tc3net.losses import LossConfig
from tc3net.losses.objective import ADDED
from tc3net.model import ModelConfig
from tc3net.model.heads import HEADS
from tc3net.optimization.optimizers import OptimizerConfig
from tc3net.optimization.schedules import ScheduleConfig
from tc3net.refinement.choice import PseudoConfig
from tc3net.training.selection import SelectionConfig
from tc3net.training.tensorboard_log import TensorBoardConfig
from tc3net.training.trainer import TrainerConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = (
    InputConfig, ModelConfig, LossConfig, OptimizerConfig, ScheduleConfig, SelectionConfig, TrainerConfig,
    DetectionConfig, TensorBoardConfig,
)  # fmt: skip
FLAGFILES = sorted(path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.cfg"))
CONVERSION_FLAGFILES = [name for name in FLAGFILES if name.startswith("convert_")]
TRAINING_FLAGFILES = [name for name in FLAGFILES if name not in CONVERSION_FLAGFILES]
NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True)
class Sample:
    number: int = option(3, "How many.")
    rate: float = option(0.5, "How fast.")
    loud: bool = option(True, "Whether to shout.")
    word: str = option("plain", "Any word.")
    colour: str = option("red", "One of three.", choices=("red", "green", "blue"))

    def __post_init__(self) -> None:
        if self.number < 0:
            raise UserError(f"--number={self.number} is negative.")


def parsed(config_class: type, *arguments: str) -> flags.FlagValues:
    values = flags.FlagValues()
    define_flags(config_class, values)
    values(["program", *arguments])
    return values


def test_flags_have_the_fields_names_defaults_and_help() -> None:
    values = parsed(Sample)
    assert {name: values[name].value for name in values} == dataclasses.asdict(Sample())
    assert values["rate"].help == "How fast."
    assert from_flags(Sample, values) == Sample()


def test_values_are_parsed_to_the_type_of_the_default() -> None:
    values = parsed(Sample, "--number=7", "--rate=2", "--noloud", "--word=7", "--colour=blue")
    found = from_flags(Sample, values)
    assert found == Sample(7, 2.0, False, "7", "blue")
    assert [type(value) for value in vars(found).values()] == [int, float, bool, str, str]


@pytest.mark.parametrize(
    "argument", ["--number=2.5", "--rate=fast", "--loud=perhaps", "--colour=pink", "--colours=red"]
)
def test_misspelt_names_and_impossible_values_are_refused(argument: str) -> None:
    with pytest.raises(flags.Error, match=argument.lstrip("-").split("=")[0]):
        parsed(Sample, argument)


def test_validation_runs_on_parsed_flags() -> None:
    with pytest.raises(UserError, match="--number=-1"):
        from_flags(Sample, parsed(Sample, "--number=-1"))


def test_a_base_stands_for_the_flags_that_were_not_given() -> None:
    base = Sample(9, 0.25, False, "other", "green")
    assert from_flags(Sample, parsed(Sample), base) == base
    assert from_flags(Sample, parsed(Sample, "--rate=4"), base) == dataclasses.replace(base, rate=4.0)


def test_a_flag_given_with_its_default_value_overrides_the_base() -> None:
    base = Sample(9, 0.25, False, "other", "green")
    given = parsed(Sample, "--number=3", "--loud", "--colour=red")
    assert from_flags(Sample, given, base) == Sample(3, 0.25, True, "other", "red")


def test_a_flag_given_in_a_flagfile_overrides_the_base(tmp_path: Path) -> None:
    flagfile = tmp_path / "some.cfg"
    flagfile.write_text("# a comment\n--number=3\n")
    found = from_flags(Sample, parsed(Sample, f"--flagfile={flagfile}"), Sample(9, word="other"))
    assert found == Sample(3, word="other")


BAD_VALUES = [
    (InputConfig, "batch_size", [0, -1]),
    (InputConfig, "crop_segments", [0, -1]),
    (InputConfig, "max_segments", [-1]),
    (InputConfig, "seed", [-1, 2**31]),
    (LossConfig, "classification_weight", [-1e-3, NAN, INF]),
    (LossConfig, "alpha", [-1e-3, NAN, INF]),
    (LossConfig, "beta", [-1.0, NAN, INF]),
    (LossConfig, "count_negative_weight", [-1e-3, NAN, INF]),
    (LossConfig, "top_k_divisor", [0, -8]),
    (LossConfig, "center_multi_label_from_step", [-1]),
    (LossConfig, "count_temperature", [0.0, -0.1, 1.5, NAN]),
    (LossConfig, "count_smoothing", [-1.0, 17.0, NAN, INF]),
    (LossConfig, "count_length", [0, -1, 65]),
    (LossConfig, "count_tolerance", [-0.1, 0.1, NAN, INF]),
    (LossConfig, "count_start_step", [-1]),
    (LossConfig, "count_ramp_steps", [-1]),
    (LossConfig, "center_learning_rate", [0.0, -0.1, 1.5, NAN, INF]),
    (ModelConfig, "dropout", [-0.1, 1.0, NAN]),
    (OptimizerConfig, "learning_rate", [0.0, -1e-4, NAN, INF]),
    (OptimizerConfig, "weight_decay", [-5e-3, NAN, INF]),
    (OptimizerConfig, "clip_norm", [-1.0, NAN, INF]),
    (OptimizerConfig, "ema_decay", [-0.1, 1.0, NAN]),
    (OptimizerConfig, "optimizer", ["adamx", "Adam"]),
    (ScheduleConfig, "warmup_steps", [-1]),
    (ScheduleConfig, "decay_steps", [-1]),
    (ScheduleConfig, "learning_rate_decay", [-0.1, 1.1, NAN]),
    (SelectionConfig, "holdout_fraction", [-0.1, 1.0, NAN]),
    (SelectionConfig, "selection", ["loss"]),
    (TrainerConfig, "early_stopping_patience", [-1]),
    (TrainerConfig, "iterations", [0]),
    (TrainerConfig, "log_every", [0]),
    (TrainerConfig, "eval_every", [-1]),
    (TrainerConfig, "checkpoint_every", [0]),
    (TrainerConfig, "keep_checkpoints", [0]),
    (DetectionConfig, "score_gamma", [NAN, INF, -INF]),
    (DetectionConfig, "min_segments", [0, -1]),
    (DetectionConfig, "fused_weight", [NAN, INF]),
    (DetectionConfig, "rgb_weight", [NAN]),
    (DetectionConfig, "flow_weight", [-INF]),
    (DetectionConfig, "max_classes", [-1]),
    (DetectionConfig, "min_probability", [-0.1, 1.1, NAN]),
    (DetectionConfig, "smoothing_segments", [0.0, -1.0, 17.0, NAN, INF]),
    (DetectionConfig, "upsampling", [0, 65]),
    (DetectionConfig, "threshold_levels", ["a", "1", "0.5,0.5", "0.5,0.2", "-0.1", "nan"]),
    (DetectionConfig, "contrast_border", [0.0, -1.0, NAN, INF]),
    (DetectionConfig, "nms_tiou", [-0.1, 1.1, NAN]),
    (DetectionConfig, "nms_sigma", [0.0, -1.0, NAN, INF]),
]


@pytest.mark.parametrize(
    ("config_class", "name", "value"), [(c, name, value) for c, name, values in BAD_VALUES for value in values]
)
def test_an_impossible_setting_is_refused_by_the_name_of_its_flag(config_class: type, name: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"--{name}={value}\b"):
        config_class(**{name: value})


def test_settings_that_only_clash_together_are_refused_too() -> None:
    for choices in ({"smoothing": "savgol", "smoothing_segments": 1.5}, {"threshold_levels": ""}):
        with pytest.raises(UserError, match=f"--{list(choices)[-1]}=.*; expected"):
            DetectionConfig(**choices)


LIMITS = [
    InputConfig(batch_size=1, crop_segments=1, max_segments=0, seed=2**31 - 1),
    LossConfig(alpha=0.0, beta=0.0, count_negative_weight=0.0, top_k_divisor=1, center_learning_rate=1.0),
    ModelConfig(dropout=0.0),
    OptimizerConfig(weight_decay=0.0),
    TrainerConfig(iterations=1, log_every=1, eval_every=0, checkpoint_every=1, keep_checkpoints=1),
    DetectionConfig(score_gamma=0.0, min_segments=1),
]


@pytest.mark.parametrize("config", LIMITS, ids=lambda config: type(config).__name__)
def test_the_limits_themselves_can_be_given_as_flags(config: Any) -> None:
    arguments = [f"--{name}={value}" for name, value in vars(config).items()]
    assert from_flags(type(config), parsed(type(config), *arguments)) == config


def test_no_two_stages_use_the_same_flag() -> None:
    every = (*CONFIGS, *ADDED.values(), *HEADS.values())
    names = [field.name for config in every for field in dataclasses.fields(config)]
    assert len(names) == len(set(names))


@pytest.fixture(scope="module")
def flagfiles() -> dict[str, dict[str, Any]]:
    """All flags of the training command under each shipped flagfile, read by the command's own parser."""
    script = """
import copy, json, sys
from absl import flags
from tc3net import train
from tc3net.training.settings import CONFIGS, Settings
from tc3net.losses.objective import ADDED
from tc3net.model.heads import HEADS
from tc3net.common.config import define_flags, from_flags
from tc3net.refinement.choice import PseudoConfig
from tc3net.refinement.rounds import RoundsConfig
train.register_flags()
values = {}
for name in ["", *sys.argv[1:]]:
    copied = copy.deepcopy(flags.FLAGS)
    refines = name in ("refine.cfg", "thumos14_best.cfg")
    more = (PseudoConfig, RoundsConfig) if refines else ()  # of the command tc3net.refine
    for config in more:
        define_flags(config, copied)
    copied(["train", *([f"--flagfile=configs/{name}"] if name else [])])
    parts = {part: from_flags(config, copied) for part, config in CONFIGS.items()}
    terms, heads = (tuple(from_flags(kind, copied) for kind in table.values()) for table in (ADDED, HEADS))
    Settings("validation", "test", ("thumos14",), **parts, terms=terms, heads=heads)
    for config in more:
        from_flags(config, copied)
    modules = ("tc3net.train", "tc3net.common.config")
    own = {flag.name for module in modules for flag in copied.get_flags_for_module(module)}
    values[name] = {flag: copied[flag].value for flag in sorted(own)}
print(json.dumps(values))
"""
    result = subprocess.run(
        [sys.executable, "-c", script, *TRAINING_FLAGFILES],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", TRAINING_FLAGFILES)
def test_every_flagfile_is_understood_and_validates(flagfiles: dict[str, dict[str, Any]], name: str) -> None:
    fields = {field.name for config in CONFIGS for field in dataclasses.fields(config)}
    assert fields | {"train_subset", "test_subset", "protocols", "dataset_dir", "run_dir"} <= set(flagfiles[name])


@pytest.mark.parametrize("name", ["paper.cfg", "thumos14.cfg"])
def test_the_defaults_are_the_papers_choices_for_thumos14(flagfiles: dict[str, dict[str, Any]], name: str) -> None:
    """Sec. 3 and 4.1; also spelled out in the flagfiles, which must therefore agree with the defaults."""
    paper = {
        "batch_size": 32,
        "batches": "alternate",
        "learning_rate": 1e-4,
        "weight_decay": 0.005,
        "classification_weight": 1.0,
        "alpha": 1e-3,
        "beta": 1.0,
        "count_negative_weight": 1e-3,
        "center_learning_rate": 0.1,
        "top_k_divisor": 8,
        "attention_axis": "time",
        "attention_threshold": "median",
        "center_normalization": "videos",
        "center_multi_label_from_step": 0,
        "count_positives": "all",
        "count_error": "relative",
        "count_estimator": "attention",
        "count_start_step": 0,
        "count_ramp_steps": 0,
        "classification_tcams": "all",
        "center_streams": "all",
        "temporal_conv": False,
        "class_filter": "positive",
        "proposals": "runs",
        "threshold": "midpoint",
        "detection_top_k": "ceil",
        "video_scores": "fused",
        "score_gamma": 1.0,
        "min_segments": 1,
        "fused_weight": 1.0,
        "rgb_weight": 0.0,
        "flow_weight": 0.0,
        "stream_weights": "",
        "max_classes": 0,
        "min_probability": 0.0,
        "best_class": False,
        "probability": "softmax",
        "segment_scores": "none",
        "track": "tcam",
        "score_track": "tcam",
        "class_scores": "tcam",
        "attention_head": "none",
        "background_class": False,
        "boundary_head": False,
        "pooling_head": "none",
        "smoothing": "none",
        "upsampling": 1,
        "score": "peak",
        "score_scale": "none",
        "score_class": "top_k_mean",
        "nms": "none",
        "max_segments": 0,
        # Not stated in the paper; the reference code's.
        "crop_segments": 750,
        "dropout": 0.7,
        "iterations": 50_000,
        "eval_every": 500,
    }
    for source in ("", name):
        assert {flag: flagfiles[source][flag] for flag in paper} == paper


def test_paper_cfg_spells_out_every_choice_that_changes_a_loss_or_a_detection() -> None:
    given = {
        line.lstrip("-").split("=")[0]
        for name in ("paper.cfg", "thumos14.cfg")
        for line in (ROOT / "configs" / name).read_text().splitlines()
        if line.startswith("--")
    }
    choices = {field.name for config in (LossConfig, OptimizerConfig, DetectionConfig) for field in
               dataclasses.fields(config)}  # fmt: skip
    assert choices <= given


def test_the_reference_flagfile_differs_in_exactly_the_documented_choices(
    flagfiles: dict[str, dict[str, Any]],
) -> None:
    paper, reference = flagfiles["thumos14.cfg"], flagfiles["thumos14_reference.cfg"]
    assert {flag: value for flag, value in reference.items() if value != paper[flag]} == {
        "attention_threshold": "mean",
        "center_normalization": "pairs_squared",
        "center_multi_label_from_step": 5000,
        "weight_decay": 0.0005,
        "count_positives": "below_length",
        "class_filter": "half_of_best",
        "video_scores": "sum",
        "min_segments": 2,
        "detection_top_k": "floor",
        "max_segments": 2800,
    }


def test_the_activitynet_flagfile_differs_in_exactly_the_documented_choices(
    flagfiles: dict[str, dict[str, Any]],
) -> None:
    thumos, activitynet = flagfiles["thumos14.cfg"], flagfiles["activitynet12.cfg"]
    assert {flag: value for flag, value in activitynet.items() if value != thumos[flag]} == {
        "train_subset": "training",
        "test_subset": "validation",
        "beta": 0.1,
        "temporal_conv": True,
        "threshold": "zero",
        "crop_segments": 200,
        "max_segments": 400,
        "protocols": ["activitynet", "reference"],
    }


def test_the_plus_flagfile_says_every_detection_setting_and_nothing_else() -> None:
    """So that every command that detects accepts it."""
    lines = (ROOT / "configs" / "thumos14_plus.cfg").read_text().splitlines()
    given = [line.lstrip("-").split("=")[0] for line in lines if line.startswith("--")]
    assert given == [field.name for field in dataclasses.fields(DetectionConfig)]


def test_the_counting_flagfile_changes_the_counting_loss_alone(flagfiles: dict[str, dict[str, Any]]) -> None:
    paper, plus = flagfiles["thumos14.cfg"], flagfiles["thumos14_plus.cfg"]
    counting = flagfiles["thumos14_counting.cfg"]
    detection = {field.name for field in dataclasses.fields(DetectionConfig)}
    assert all(counting[name] == plus[name] for name in detection)
    changed = {name: value for name, value in counting.items() if value != paper[name] and name not in detection}
    assert changed == {
        "beta": 10.0, "count_estimator": "peaks", "count_length": 0, "count_error": "log", "count_tolerance": 0.25,
        "count_negative_weight": 0.0, "count_start_step": 2000,
    }  # fmt: skip


def test_the_refining_flagfile_says_every_choice_of_pseudo_segments_as_it_is_by_default(
    flagfiles: dict[str, dict[str, Any]],
) -> None:
    lines = (ROOT / "configs" / "refine.cfg").read_text().splitlines()
    given = {line.lstrip("-").split("=")[0] for line in lines if line.startswith("--")}
    pseudo = {field.name for field in dataclasses.fields(PseudoConfig)}
    probabilities = {
        "segment_scores", "score_track", "score_scale", "threshold", "threshold_levels", "min_segments",
        "min_probability", "max_classes", "rgb_weight", "flow_weight",
    }  # fmt: skip
    assert given == {"flagfile", "beta", "rounds", "first_detection", *pseudo, *probabilities}
    found, plus = flagfiles["refine.cfg"], flagfiles["thumos14_plus.cfg"]
    assert (
        PseudoConfig(**{field.name: found[field.name] for field in dataclasses.fields(PseudoConfig)}) == PseudoConfig()
    )
    assert found["beta"] == 0
    changed = {field.name for field in dataclasses.fields(DetectionConfig) if found[field.name] != plus[field.name]}
    assert changed == probabilities
    best = flagfiles["thumos14_best.cfg"]
    first = flagfiles["thumos14.cfg"]
    assert all(best[name] in (found[name], first.get(name)) for name in best)


@pytest.mark.parametrize("name", CONVERSION_FLAGFILES)
def test_every_conversion_flagfile_gives_valid_options(name: str) -> None:
    values = flags.FlagValues()
    convert.define_flags(values)
    required = ["--annotations=a", "--features=f", "--output_dir=o"]
    values(["convert", f"--flagfile={ROOT / 'configs' / name}", *required])
    options = convert.options_from_flags(values)
    assert options.name
    assert options.inputs.time_base == TimeBase(25.0, 16, 16)  # the published features, and the simulated ones


@pytest.mark.parametrize("name", FLAGFILES)
def test_a_flagfile_begins_with_the_command_that_uses_it(name: str) -> None:
    lines = (ROOT / "configs" / name).read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert lines[: len(comments)] == comments
    command = "data_prep.convert" if name in CONVERSION_FLAGFILES else "tc3net.train"
    commands = {
        "thumos14_plus.cfg": "tc3net.evaluate",
        "ablation.cfg": "tc3net.ablate",
        "thumos14_best.cfg": "tc3net.refine",
        "refine.cfg": "tc3net.refine --flagfile=configs/thumos14.cfg",  # it changes the choices of another one
    }
    if name != "paper.cfg":  # which is only used by others
        assert f"python -m {commands.get(name, command)} --flagfile=configs/{name} " in "\n".join(comments)
