"""Options, flags and exit status of the conversion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from absl import flags

from data_prep import convert as command
from data_prep.conversion.engine_workers import convert_on
from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.inputs.options import InputOptions
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.engines.engine import EngineChoice
from tests.support.conversion import write_inputs
from tests.support.forked_commands import run

ROOT = Path(__file__).parents[2]


def test_unknown_counted_class_is_named(tmp_path):
    options = replace(write_inputs(tmp_path), counted_classes=("Run", "Fly"))
    with pytest.raises(UserError, match="counted class 'Fly' is not among the 3 classes"):
        convert(options)
    assert convert(replace(options, counted_classes=("Jump",))).counted_classes == ("Jump",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "--name"),
        ({"videos_per_shard": 0}, "at least 1"),
        ({"num_workers": 0}, "Set --num_workers"),
        ({"feature_dtype": "int8"}, "float32, float16"),
    ],
)
def test_options_are_checked(changes, message):
    with pytest.raises(UserError, match=message):
        replace(ConvertOptions(InputOptions("a", "f"), "o", "n"), **changes)


def parse_flags(*arguments: str) -> ConvertOptions:
    values = flags.FlagValues()
    command.define_flags(values)
    values(["convert", *arguments])
    return command.options_from_flags(values)


def test_an_engine_runs_the_conversion_that_the_flags_describe(monkeypatch):
    values, called = flags.FlagValues(), []
    command.define_flags(values)
    required = ["--annotations=a", "--features=f", "--output_dir=o", "--name=n"]
    values(["convert", *required, "--engine=dask", "--engine_option=address=tcp://a:1"])
    monkeypatch.setattr(command.flags, "FLAGS", values)
    monkeypatch.setattr(command, "convert_on", lambda *arguments: called.append(arguments[:2]))
    command.main([])
    expected = EngineChoice("dask", ("address=tcp://a:1",))
    assert called == [(expected, ConvertOptions(InputOptions("a", "f"), "o", "n"))]
    with pytest.raises(UserError, match="--num_workers=2 found with the engine dask"):
        convert_on(expected, replace(called[0][1], num_workers=2), "")


def test_flags(tmp_path):
    required = ("--annotations=a", "--features=f", "--output_dir=o", "--name=n")
    assert parse_flags(*required) == ConvertOptions(InputOptions("a", "f"), "o", "n")
    options = parse_flags(
        *required, "--fps=10", "--stride_frames=8", "--counted_classes=Run, Jump", "--skip_bad_videos"
    )
    assert options.inputs.time_base == TimeBase(10.0, 16, 8)
    assert options.counted_classes == ("Run", "Jump")
    assert options.skip_bad_videos
    (tmp_path / "list.txt").write_text("Run\n\nClean, and jerk\n")
    np.save(tmp_path / "list.npy", np.array([b"Run", b"Jump"]))
    assert command.read_class_names(str(tmp_path / "list.txt")) == ("Run", "Clean, and jerk")
    assert command.read_class_names(str(tmp_path / "list.npy")) == ("Run", "Jump")
    with pytest.raises(UserError, match="no names found"):
        command.read_class_names(" , ")
    for index, flag in enumerate(("annotations", "features", "output_dir", "name")):
        with pytest.raises(UserError, match=f"--{flag} is not set"):
            parse_flags(*(argument for position, argument in enumerate(required) if position != index))
    with pytest.raises(UserError, match="Set --fps"):
        parse_flags(*required, "--fps=0")


@pytest.mark.parametrize("config", sorted(path.name for path in (ROOT / "configs").glob("convert_*.cfg")))
def test_config_files_parse(config):
    options = parse_flags(
        f"--flagfile={ROOT / 'configs' / config}", "--annotations=a", "--features=f", "--output_dir=o"
    )
    assert options.name
    assert options.inputs.time_base == TimeBase()


def test_command_line_exits_with_1_and_the_message_only(tmp_path):
    options = write_inputs(tmp_path)
    np.save(tmp_path / "features" / "rgb" / "v2.npy", np.full((10, 2), np.nan, np.float32))
    inputs = (f"--annotations={options.inputs.annotations}", f"--features={options.inputs.features}")
    arguments = [*inputs, f"--output_dir={options.output_dir}", f"--name={options.name}"]
    failed = run(["data_prep.convert", *arguments], cwd=tmp_path)
    assert failed.returncode == 1
    assert "error: " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "v2" in failed.stderr
    assert not (tmp_path / "out").exists()
