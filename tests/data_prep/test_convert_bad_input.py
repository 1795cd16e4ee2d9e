"""Bad input stops the conversion with its message, and nothing on disk is ever lost."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.conversion import writer
from data_prep.conversion.pipeline import ConvertOptions, convert
from tc3net.common.errors import UserError
from tc3net.data import schema
from tests.support.conversion import VIDEOS, read_split, write_inputs
from tests.support.folders import snapshot


def bad_inputs(folder: Path, kind: str) -> ConvertOptions:
    """Inputs in which exactly v2 is bad (or an extra file is there)."""
    videos = {name: dict(entry) for name, entry in VIDEOS.items()}
    extra = {}
    if kind == "starts_after_video":
        videos["v2"]["annotations"] = [{"label": "Run", "segment": [7, 8]}]
    elif kind == "bad_interval":
        videos["v2"]["annotations"] = [{"label": "Run", "segment": [2, 1]}]
    elif kind == "unknown_class":
        videos["v2"]["labels"] = ["Fly"]
        extra["classes"] = ["Run", "Jump", "Swim"]
    elif kind == "bad_duration":
        videos["v2"]["duration"] = float("nan")
    elif kind == "unsafe_name":
        videos["v2"]["subset"] = "../training"
    options = write_inputs(folder, videos, **extra)
    rgb = folder / "features" / "rgb"
    if kind == "no_features":
        (rgb / "v2.npy").unlink()
        (folder / "features" / "flow" / "v2.npy").unlink()
    elif kind == "no_annotation":
        for stream in ("rgb", "flow"):
            np.save(folder / "features" / stream / "v4.npy", np.ones((10, 2), np.float32))
    elif kind == "feature_dim":
        for stream in ("rgb", "flow"):
            np.save(folder / "features" / stream / "v2.npy", np.ones((10, 3), np.float32))
    elif kind == "nan":
        np.save(rgb / "v2.npy", np.full((10, 2), np.nan, np.float32))
    elif kind == "lengths":
        np.save(rgb / "v2.npy", np.ones((9, 2), np.float32))
    elif kind == "truncated":
        (rgb / "v2.npy").write_bytes((rgb / "v2.npy").read_bytes()[:-1])
    elif kind == "duplicate_id":
        text = (folder / "a.json").read_text()
        (folder / "a.json").write_text(text.replace('"v3":', '"v2":'))
        for stream in ("rgb", "flow"):
            (folder / "features" / stream / "v3.npy").unlink()
    return options


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("starts_after_video", "v2: instance 0 ('Run', 7 to 8 s) starts at or after the end of the video (6.40 s)"),
        ("bad_interval", "v2: instance 0 ('Run', 2 to 1 s) is not an interval"),
        ("unknown_class", "v2: class 'Fly' is not in the class list"),
        ("bad_duration", "v2: duration is nan s"),
        ("unsafe_name", "v2: subset '../training'"),
        ("no_features", "v2: no features found for this annotated video"),
        ("no_annotation", "v4: has features but is not in the annotations"),
        ("feature_dim", "v2: 3 dims per stream; expected 2"),
        ("nan", "rgb/v2.npy: NaN or Inf in 10 segments, the first is 0"),
        ("lengths", "v2.npy: rgb is [9, 2], flow is [10, 2]"),
        ("truncated", "v2.npy: not a complete .npy file"),
        ("duplicate_id", "v2: the id occurs 2 times; expected once"),
    ],
)
def test_bad_videos_stop_the_conversion_or_are_left_out(tmp_path, capsys, kind, message):
    good = write_inputs(tmp_path)
    convert(good)
    earlier = snapshot(tmp_path / "out")
    options = bad_inputs(tmp_path, kind)
    with pytest.raises(UserError) as caught:
        convert(options)
    assert message in str(caught.value)
    assert "--skip_bad_videos" in str(caught.value)
    assert snapshot(tmp_path / "out") == earlier
    assert not list(tmp_path.glob("*.partial*"))
    capsys.readouterr()

    manifest = convert(replace(options, skip_bad_videos=True))
    bad = message[:2] if message[2] == ":" else "v2"
    (left_out,) = manifest.left_out
    assert left_out["video"] == bad
    assert message.split(": ", 1)[1] in left_out["reason"]
    assert f"]: {bad}" in capsys.readouterr().out
    kept = [example["id"].decode() for subset in manifest.splits for example in read_split(tmp_path / "out", subset)]
    assert kept == [name for name in (["v1"] if kind == "duplicate_id" else ["v1", "v2", "v3"]) if name != bad]


def test_many_problems_are_shortened(tmp_path):
    videos = {f"v{index:02d}": {"subset": "test", "duration": -1, "labels": ["Run"]} for index in range(25)}
    videos["v00"]["annotations"] = [{"label": "Run", "segment": [2, 1]}] * 3
    options = write_inputs(tmp_path, videos)
    with pytest.raises(UserError) as caught:
        convert(options)
    text = str(caught.value)
    assert "28 problems in 25 videos" in text
    assert "v00: instance 0 ('Run', 2 to 1 s) is not an interval (2 more like it)" in text
    assert "v18: " in text
    assert "v19: " not in text
    assert "... and 6 more problems" in text
    with pytest.raises(UserError, match="none of the 25 videos can be converted"):
        convert(replace(options, skip_bad_videos=True))


def test_the_same_data_set_is_replaced(tmp_path):
    options = write_inputs(tmp_path)
    convert(options)
    for stream in ("rgb", "flow"):
        np.save(tmp_path / "features" / stream / "v3.npy", np.full((10, 2), 7, np.float32))
    convert(replace(options, videos_per_shard=1))
    (third,) = read_split(tmp_path / "out", "test")
    assert (third["rgb"] == 7).all()
    assert len(list((tmp_path / "out").glob("training-*-of-00002.tfrecord"))) == 2
    assert len(list((tmp_path / "out").iterdir())) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "features", "out"]


def test_an_empty_folder_is_used(tmp_path):
    options = write_inputs(tmp_path)
    (tmp_path / "out").mkdir()
    convert(options)
    assert len(read_split(tmp_path / "out", "training")) == 2


def occupied(folder: Path, kind: str) -> str:
    """Puts something else into the output folder; returns what the message says about it."""
    if kind == "other name":
        convert(replace(write_inputs(folder), name="Other"))
        return "holds the data set 'Other'"
    if kind == "other source":
        convert(replace(write_inputs(folder / "elsewhere"), output_dir=folder / "out"))
        return "converted from other files"
    if kind == "other manifest":
        (folder / "out").mkdir()
        (folder / "out" / "dataset.json").write_text('["something else"]')
        return "expected a JSON object"
    if kind == "own file added":
        convert(write_inputs(folder))
        (folder / "out" / "notes.txt").write_text("mine")
        return "holds 'notes.txt' that an earlier run did not write"
    if kind == "foreign files":
        (folder / "out").mkdir()
        (folder / "out" / "thesis.tex").write_text("mine")
        return "holds files but no dataset.json"
    if kind == "file":
        (folder / "out").write_text("mine")
        return "out: a file; expected a folder"
    (folder / "out.partial").mkdir()
    (folder / "out.partial" / "thesis.tex").write_text("mine")
    return "'thesis.tex' found; expected nothing, or what an interrupted conversion"


def test_what_a_killed_making_of_the_index_left_is_not_in_the_way(tmp_path):
    options = write_inputs(tmp_path)
    convert(options)
    (tmp_path / "out" / ".dataset.index.x1y2.index").write_bytes(b"half")
    (tmp_path / "out" / "dataset.index").unlink()
    convert(options)
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if "tfrecord" not in path.name) == [
        "dataset.index",
        "dataset.json",
    ]


@pytest.mark.parametrize(
    "kind",
    ["other name", "other source", "other manifest", "own file added", "foreign files", "file", "own partial"],
)
def test_anything_else_in_the_output_folder_is_left_alone(tmp_path, kind):
    message = occupied(tmp_path, kind)
    options = write_inputs(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(UserError) as caught:
        convert(options)
    assert message in str(caught.value)
    assert str(tmp_path / "out") in str(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), UserError("gone")])
def test_a_failure_while_writing_keeps_the_earlier_data_set(tmp_path, monkeypatch, failure):
    options = write_inputs(tmp_path)
    convert(options)
    before = snapshot(tmp_path)
    encode = writer.encode

    def encode_then_fail(video: schema.VideoExample) -> bytes:
        if video.video_id == "v3":
            raise failure
        return encode(video)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "encode", encode_then_fail)
        expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else UserError
        with pytest.raises(expected) as caught:
            convert(options)
    if isinstance(failure, OSError):
        assert "No space left on device" in str(caught.value)
        assert "what was there is unchanged" in str(caught.value)
        assert "out.partial: the same command goes on from there" in str(caught.value)
    assert {name: data for name, data in snapshot(tmp_path).items() if not name.startswith("out.partial")} == before
    # The shard of the other subset is finished, and the next attempt leaves nothing behind.
    assert (tmp_path / "out.partial" / "data" / "training-00000-of-00001.tfrecord").is_file()
    convert(options)
    assert snapshot(tmp_path) == before


def test_a_failure_while_replacing_keeps_the_earlier_data_set(tmp_path, monkeypatch):
    options = write_inputs(tmp_path)
    convert(options)
    before = snapshot(tmp_path)
    rename = os.rename

    def refuse_new(source, target) -> None:
        if Path(source).name == "data":
            raise OSError(16, "Device or resource busy")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse_new)
        with pytest.raises(UserError, match="Device or resource busy"):
            convert(options)
    assert {name: data for name, data in snapshot(tmp_path).items() if not name.startswith("out.partial")} == before
    convert(options)
    assert snapshot(tmp_path) == before


def test_a_folder_that_fills_up_meanwhile_is_left_alone(tmp_path, monkeypatch):
    options = write_inputs(tmp_path)
    encode = writer.encode

    def encode_slowly(video: schema.VideoExample) -> bytes:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "theirs.txt").write_text("theirs")
        return encode(video)

    monkeypatch.setattr(writer, "encode", encode_slowly)
    with pytest.raises(UserError, match=r"holds files but no dataset\.json"):
        convert(options)
    assert snapshot(tmp_path / "out") == {"theirs.txt": b"theirs"}
