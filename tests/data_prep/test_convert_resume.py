"""A conversion that is killed goes on where it was, and ends with the bytes of an uninterrupted one."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data_prep.conversion import shards, writer
from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.conversion.workers import LocalWorkers
from data_prep.conversion.writer import Rounding, rounding_of
from data_prep.inputs.options import InputOptions
from data_prep.output import staging
from tc3net.common.errors import UserError
from tc3net.data import schema
from tests.support import worker_steps
from tests.support.conversion import VIDEOS, write_inputs
from tests.support.folders import snapshot
from tests.support.forked_commands import Command

NO_READER: Any = None  # what runs in other processes needs none here


def many_inputs(folder: Path, videos: int, segments: int = 400, dims: int = 128) -> ConvertOptions:
    """`videos` videos of 400 KB each, one in ten of them for testing."""
    database = {
        f"v{index:03d}": {
            "subset": "test" if index % 10 == 9 else "training",
            "duration": segments * 0.64,
            "labels": ["Run"],
        }
        for index in range(videos)
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.json").write_text(json.dumps({"database": database}))
    rng = np.random.default_rng(5)
    for stream in ("rgb", "flow"):
        (folder / "features" / stream).mkdir(parents=True)
        for name in database:
            np.save(folder / "features" / stream / f"{name}.npy", rng.random((segments, dims), np.float32))
    inputs = InputOptions(folder / "a.json", folder / "features")
    return ConvertOptions(inputs, folder / "out", "Many", videos_per_shard=2)


def command(options: ConvertOptions, **changes: object) -> list[str]:
    values = {
        "annotations": options.inputs.annotations,
        "features": options.inputs.features,
        "output_dir": options.output_dir,
        "name": options.name,
        "videos_per_shard": options.videos_per_shard,
        "num_workers": options.num_workers,
        **changes,
    }
    return ["data_prep.convert", *(f"--{name}={value}" for name, value in values.items())]


def wait_for(condition, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def finished_shards(options: ConvertOptions) -> int:
    return len(list((Path(options.output_dir).parent / "out.partial" / "done").glob("*.tfrecord.json")))


def test_killed_at_random_moments_and_run_again_gives_the_same_bytes(tmp_path):
    options = many_inputs(tmp_path, videos=60)
    expected = convert(replace(options, output_dir=tmp_path / "uninterrupted"))
    rng = random.Random()  # new moments every time: they must not matter
    progress = [0]
    for num_workers in (1, 2, 1):
        process = Command(command(replace(options, num_workers=num_workers)))
        # A few shards on: somewhere in the reading, the writing, or the bookkeeping of the next ones.
        goal = progress[-1] + rng.randrange(1, 4)
        wait_for(lambda goal=goal, process=process: finished_shards(options) >= goal or process.poll() is not None)
        time.sleep(rng.random() * 0.02)
        writers = children_of(process)
        process.kill()
        process.wait()
        assert process.returncode == -signal.SIGKILL, "it was to be killed in the middle"
        assert not (tmp_path / "out").exists()
        wait_for(lambda writers=writers: not any(is_running(writer) for writer in writers))
        progress.append(finished_shards(options))
    assert progress == sorted(set(progress)), "every attempt must have gone on from the one before"
    assert convert(options) == expected
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "uninterrupted")
    assert not (tmp_path / "out.partial").exists()


def children_of(process: Command) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_any_number_of_workers_gives_the_same_bytes(tmp_path):
    options = many_inputs(tmp_path, videos=9, segments=5, dims=2)
    convert(replace(options, output_dir=tmp_path / "one"))
    convert(replace(options, num_workers=2))
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "one")
    assert not multiprocessing.active_children()


def test_an_error_in_a_worker_names_the_video(tmp_path):
    options = many_inputs(tmp_path, videos=2, segments=3, dims=2)
    (tmp_path / "features" / "flow" / "v001.npy").write_bytes(b"")
    with LocalWorkers(2, options.inputs, NO_READER) as pool:
        with pytest.raises(UserError, match=r"video 'v001': .*v001\.npy"):
            list(pool.run(worker_steps.read_step, ["v000", "v001"]))
        with pytest.raises(RuntimeError, match="video 'v000': ZeroDivisionError"):
            list(pool.run(worker_steps.faulty_step, ["v000"]))
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_is_an_error_and_not_a_wait(tmp_path):
    options = many_inputs(tmp_path, videos=1, segments=3, dims=2)
    with LocalWorkers(2, options.inputs, NO_READER) as pool, pytest.raises(UserError, match="ended from outside"):
        list(pool.run(worker_steps.dying_step, ["v000"]))


class Stop(BaseException):
    """Stands for a kill: nothing may clean up after it."""


def interrupted_after(shard_number: int, options: ConvertOptions, monkeypatch) -> None:
    """Converts until that many shards are finished."""
    count = 0
    finish = staging.Staging.finish

    def finish_then_stop(self, name, record) -> None:
        nonlocal count
        finish(self, name, record)
        count += 1
        if count == shard_number:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(staging.Staging, "finish", finish_then_stop)
        convert(options)


def count_calls(monkeypatch, module, name: str) -> list:
    calls = []
    function = getattr(module, name)

    def counted(*arguments, **keywords):
        calls.append(arguments)
        return function(*arguments, **keywords)

    monkeypatch.setattr(module, name, counted)
    return calls


def test_finished_shards_and_checks_are_kept_and_damaged_ones_written_again(tmp_path, monkeypatch, capsys):
    options = replace(write_inputs(tmp_path), videos_per_shard=1)
    convert(replace(options, output_dir=tmp_path / "whole"))
    interrupted_after(2, options, monkeypatch)
    written, examined = (
        count_calls(monkeypatch, shards, "write_shard"),
        count_calls(monkeypatch, shards, "examine_video"),
    )
    partial = tmp_path / "out.partial"
    first, second = sorted((partial / "data").iterdir())
    first.write_bytes(first.read_bytes()[:-1] + b"\x00")  # as long as before
    with (partial / "checked.jsonl").open("a") as file:
        file.write('{"video": "v1", "fac')  # killed in the middle of a line
    (partial / "data" / ".dataset.json.x.json").write_text("killed while the manifest was written")
    (partial / "work" / "training-00001-of-00002.tfrecord").write_text("killed while this shard was written")
    capsys.readouterr()
    convert(options)
    assert "going on, 1 of 3 shards are finished" in capsys.readouterr().out
    assert [arguments[0].stem for arguments in written] == [first.name, "test-00000-of-00001.tfrecord"]
    assert second.name == "training-00001-of-00002.tfrecord"
    assert examined == []
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
    assert not partial.exists()


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("dtype", "settings"),
        ("annotations", "files"),
        ("features", "files"),
        ("time base", "time_base"),
        ("damage", ""),
    ],
)
def test_another_plan_starts_over(tmp_path, monkeypatch, capsys, kind, named):
    options = replace(write_inputs(tmp_path), videos_per_shard=1)
    interrupted_after(2, options, monkeypatch)
    if kind == "dtype":
        options = replace(options, feature_dtype="float16")
    elif kind == "annotations":
        (tmp_path / "a.json").write_text((tmp_path / "a.json").read_text() + " ")
    elif kind == "features":
        np.save(tmp_path / "features" / "rgb" / "v1.npy", np.full((10, 2), 7, np.float32))
    elif kind == "time base":
        base = replace(options.inputs.time_base, fps=24.0)
        options = replace(options, inputs=replace(options.inputs, time_base=base))
    else:
        (tmp_path / "out.partial" / "plan.json").write_text("{")
    written = count_calls(monkeypatch, shards, "write_shard")
    capsys.readouterr()
    convert(options)
    printed = capsys.readouterr().out
    assert "an unfinished conversion with another plan" in printed
    assert named in printed
    assert len(written) == 3
    convert(replace(options, output_dir=tmp_path / "whole"))
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_killed_between_the_two_renames_the_earlier_data_set_comes_back(tmp_path, monkeypatch):
    options = write_inputs(tmp_path)
    convert(options)
    before = snapshot(tmp_path / "out")
    interrupted_after(1, options, monkeypatch)
    os.rename(tmp_path / "out", tmp_path / "out.partial" / "earlier")
    (tmp_path / "features" / "rgb" / "v1.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"v1\.npy"):
        convert(options)
    assert snapshot(tmp_path / "out") == before
    # And killed right after them, the new one stays.
    np.save(tmp_path / "features" / "rgb" / "v1.npy", np.ones((10, 2), np.float32))
    interrupted_after(1, options, monkeypatch)
    (tmp_path / "out.partial" / "earlier").mkdir()
    convert(options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "features", "out"]


def test_two_at_once_are_refused(tmp_path, monkeypatch):
    """The lock belongs to the open file, so that a second conversion in this process stands for another process."""
    options = write_inputs(tmp_path)
    write_shard, refused = writer.write_shard, []

    def write_while_another_starts(*arguments):
        with pytest.raises(UserError, match=r"out\.partial: locked, another process is converting") as caught:
            convert(options)
        refused.append(str(caught.value))
        return write_shard(*arguments)

    monkeypatch.setattr(shards, "write_shard", write_while_another_starts)
    manifest = convert(options)
    assert len(refused) == 2
    assert schema.load_manifest(tmp_path / "out") == manifest


def test_features_that_change_after_the_check_are_refused_by_name(tmp_path, monkeypatch):
    options = write_inputs(tmp_path)
    examine_video = shards.examine_video

    def examine_then_change(video_id, *arguments):
        result = examine_video(video_id, *arguments)
        for stream in ("rgb", "flow"):
            np.save(tmp_path / "features" / stream / f"{video_id}.npy", np.ones((9, 2), np.float32))
        return result

    monkeypatch.setattr(shards, "examine_video", examine_then_change)
    with pytest.raises(UserError, match=r"video 'v1': rgb features of shape \[9, 2\] found; expected \[10, 2\]"):
        convert(options)


def test_rounding_in_closed_form():
    """float16 has 11 significant bits: 1 + 2^-11 is a tie and goes to 1; below 2^-14 numbers are subnormal."""
    values = np.array([0, 1, 1 + 2**-11, -2, 2**-15, 2**-25, 3 * 2**-25, 65504], np.float32)
    rounding = rounding_of(values, values.astype(np.float16))
    assert rounding.largest_relative_error == pytest.approx(2**-11 / (1 + 2**-11), rel=1e-6)
    assert rounding.underflowed_values == 2  # 2^-15 is exact; 2^-25 and 3 * 2^-25 are not
    assert rounding_of(values, values) == Rounding()
    half = values.astype(np.float16)
    assert rounding_of(half, half.astype(np.float32)) == Rounding()
    tiny = np.array([1e-310, 0.1], np.float64)
    assert rounding_of(tiny, tiny.astype(np.float32)) == Rounding(abs(float(np.float32(0.1)) - 0.1) / 0.1, 1)
    assert Rounding(0.5, 2).merged(Rounding(0.25, 3)) == Rounding(0.5, 5)


@given(arrays.arrays(np.float32, (4, 3), elements=st.floats(-65000, 65000, width=32)))
def test_rounding_to_float16_is_within_half_a_unit(values):
    stored = values.astype(np.float16)
    rounding = rounding_of(values, stored)
    exact = [
        abs(float(a) - float(b)) / abs(float(b)) for a, b in zip(stored.ravel(), values.ravel()) if abs(b) >= 2**-14
    ]
    assert rounding.largest_relative_error == pytest.approx(max(exact, default=0.0), rel=1e-6)
    assert rounding.largest_relative_error <= 2**-11
    small = [(a, b) for a, b in zip(stored.ravel(), values.ravel()) if abs(b) < 2**-14]
    assert rounding.underflowed_values == sum(float(a) != float(b) for a, b in small)


def test_the_manifest_states_the_rounding(tmp_path):
    options = write_inputs(tmp_path, {name: VIDEOS[name] for name in ("v1", "v3")})
    assert convert(options).source["rounding"] == {"largest_relative_error": 0.0, "underflowed_values": 0}
    for stream in ("rgb", "flow"):
        for video in ("v1", "v3"):
            np.save(tmp_path / "features" / stream / f"{video}.npy", np.arange(20, dtype=np.float32).reshape(10, 2))
    np.save(tmp_path / "features" / "flow" / "v3.npy", np.full((10, 2), 2049, np.float32))  # a tie: stored as 2048
    np.save(tmp_path / "features" / "rgb" / "v1.npy", np.full((10, 2), 2.0**-26, np.float32))  # stored as 0
    manifest = convert(replace(options, feature_dtype="float16"))
    assert manifest.source["rounding"] == {
        "largest_relative_error": pytest.approx(1 / 2049, rel=1e-6),
        "underflowed_values": 20,
    }
