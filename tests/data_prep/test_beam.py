"""The Beam pipeline gives the files of the local conversion; without Beam, its command says what to install."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from data_prep import beam
from data_prep.conversion import engine_workers, workers
from data_prep.conversion.pipeline import convert
from tc3net.common.errors import UserError
from tc3net.data import schema
from tc3net.engines.engine import EngineChoice, open_engine
from tests.support.conversion import write_inputs
from tests.support.forked_commands import run
from tests.support.needs import BEAM, needs


def test_without_beam_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(UserError, match=r"pip install tc3net\[beam\]"):
        beam.convert_on_beam(write_inputs(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["a.json", "features"]


def test_the_number_of_workers_is_the_runners(tmp_path):
    with pytest.raises(UserError, match="--num_workers=2 found"):
        beam.convert_on_beam(replace(write_inputs(tmp_path), num_workers=2))


@needs(BEAM)
@pytest.mark.parametrize("feature_dtype", ["float32", "float16"])
def test_the_direct_runner_gives_the_same_bytes(tmp_path, feature_dtype):
    options = replace(write_inputs(tmp_path), videos_per_shard=1, feature_dtype=feature_dtype)
    local = convert(replace(options, output_dir=tmp_path / "local"))
    manifest = beam.convert_on_beam(options, ["runner=DirectRunner"])
    assert manifest == local
    assert schema.load_manifest(tmp_path / "out") == local
    names = sorted(os.listdir(tmp_path / "local"))
    assert sorted(os.listdir(tmp_path / "out")) == names
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    assert not (tmp_path / "out.partial").exists()


@needs(BEAM)
def test_bad_videos_and_errors_in_workers_name_the_video(tmp_path):
    options = write_inputs(tmp_path)
    np.save(tmp_path / "features" / "rgb" / "v2.npy", np.full((10, 2), np.nan, np.float32))
    with pytest.raises(UserError, match=r"v2: .*NaN") as caught:
        beam.convert_on_beam(options)
    assert "--skip_bad_videos" in str(caught.value)
    manifest = beam.convert_on_beam(replace(options, skip_bad_videos=True))
    assert manifest == convert(replace(options, skip_bad_videos=True))
    on_beam = engine_workers.EngineWorkers(open_engine(EngineChoice("beam"), tmp_path), options.inputs)
    with pytest.raises(UserError, match="video 'v2'"), on_beam as running:
        list(running.run(read_step, ["v1", "v2"]))


def read_step(reader, video_id: str) -> int:
    with workers.named(video_id):
        return len(reader.read(video_id)[0])


@needs(BEAM)
def test_the_command_reaches_other_processes(tmp_path):
    write_inputs(tmp_path)
    flags = [f"--annotations={tmp_path / 'a.json'}", f"--features={tmp_path / 'features'}", "--name=x"]
    flags += ["--beam_option=direct_num_workers=2", "--beam_option=direct_running_mode=multi_processing"]
    done = run(["data_prep.beam", f"--output_dir={tmp_path / 'out'}", *flags])
    assert done.returncode == 0, done.stderr
    assert schema.load_manifest(tmp_path / "out").name == "x"
