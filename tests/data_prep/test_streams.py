"""Streams other than rgb and flow: one, or several of unequal size, in every place that files are read from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.features.choices import FeatureChoices
from data_prep.features.layouts import open_features
from data_prep.inputs.options import InputOptions
from data_prep.inspection.findings import inspect_dataset
from tc3net.common.errors import UserError
from tc3net.data.schema import MANIFEST_NAME, load_manifest
from tc3net.data.streams import Streams, parse_streams
from tests.support.conversion import VIDEOS, read_split

SIZES = {"rgb": 4, "flow": 3, "audio": 2}
THREE = "rgb:4,flow:3,audio:2"


def values(video: str, stream: str, rows: int = 10) -> np.ndarray:
    return np.random.default_rng([ord(video[-1]), len(stream)]).random((rows, SIZES.get(stream, 5)), np.float32)


def joint(video: str) -> np.ndarray:
    return np.concatenate([values(video, name) for name in SIZES], axis=1)


def save(folder: Path, name: str, array: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", array)


def lay_out(folder: Path, how: str) -> Path:
    """Three streams of v1 and v2, arranged in some way."""
    folder.mkdir(exist_ok=True)
    for video in ("v1", "v2"):
        for stream in SIZES:
            if how == "folders":
                save(folder / stream, video, values(video, stream))
            elif how == "suffixes":
                save(folder, f"{video}_{stream}", values(video, stream))
            elif how == "prefixes":
                save(folder, f"{stream}_{video}", values(video, stream))
        if how == "keys":
            np.savez(folder / f"{video}.npz", **{stream: values(video, stream) for stream in SIZES})
        if how == "joint":
            save(folder, video, joint(video))
    return folder


@pytest.mark.parametrize("how", ["folders", "suffixes", "prefixes", "keys", "joint"])
def test_three_streams_of_unequal_size_are_read_from_every_arrangement(how: str, tmp_path: Path) -> None:
    reader, words = open_features(lay_out(tmp_path / "f", how), [], FeatureChoices(streams=parse_streams(THREE)))
    assert reader.streams == tuple(SIZES) and reader.video_ids() == ["v1", "v2"] and reader.num_segments("v1") == 10
    for video in reader.video_ids():
        for stream, found in zip(reader.streams, reader.read(video)):
            np.testing.assert_array_equal(found, values(video, stream), err_msg=f"{video} {stream}")
    assert ("divided into rgb 4, then flow 3, then audio 2" in words) == (how == "joint")


@pytest.mark.parametrize("how", ["folders", "suffixes", "prefixes", "keys"])
@pytest.mark.parametrize("streams", ["audio", "flow,audio", "audio:2,rgb"])
def test_streams_that_are_not_asked_for_are_left_alone(how: str, streams: str, tmp_path: Path) -> None:
    layout = f"{'npz' if how == 'keys' else 'npy'}_{how}"  # by name alone, v1_rgb could be a video too
    choices = FeatureChoices(streams=parse_streams(streams), layout=layout)
    reader, _ = open_features(lay_out(tmp_path / "f", how), [], choices)
    for stream, found in zip(reader.streams, reader.read("v2")):
        np.testing.assert_array_equal(found, values("v2", stream))


def test_a_single_stream_is_read_from_plain_arrays_of_any_width(tmp_path: Path) -> None:
    """2048 numbers may be one network's: they are divided only where somebody says so."""
    wide = np.random.default_rng(0).random((6, 2048), np.float32)
    save(tmp_path / "f", "v1", wide)
    reader, words = open_features(tmp_path / "f", [], FeatureChoices(streams=parse_streams("resnet")))
    np.testing.assert_array_equal(reader.read("v1")[0], wide)
    assert "divided" not in words
    with pytest.raises(UserError, match=r"or one stream alone.* --streams=NAME"):
        open_features(tmp_path / "f", [])
    reader, words = open_features(tmp_path / "f", [], FeatureChoices(streams=parse_streams("rgb:1024,flow:1024")))
    assert [part.shape for part in reader.read("v1")] == [(6, 1024)] * 2 and "divided into rgb 1024" in words
    with pytest.raises(UserError, match=r"\(6, 2048\) found, \[segments, 768\] expected"):
        open_features(tmp_path / "f", [], FeatureChoices(streams=parse_streams("mae:768")))[0].read("v1")


def test_what_cannot_be_divided_or_is_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "f", "joint")
    choices = FeatureChoices(layout="npy_joint", streams=parse_streams("rgb,flow,audio"))
    with pytest.raises(UserError, match=r"expected their sizes, by which it is divided.*rgb:D,flow:D,audio:D"):
        open_features(folder, [], choices)
    reader, _ = open_features(folder, [], replace(choices, streams=parse_streams("rgb:4,flow:3,audio:3")))
    with pytest.raises(UserError, match=r"\[segments, 10\] expected \(rgb 4, flow 3, audio 3\): --streams says so"):
        reader.read("v1")
    reader, _ = open_features(
        lay_out(tmp_path / "g", "folders"), [], FeatureChoices(streams=parse_streams("rgb:9,audio"))
    )
    with pytest.raises(UserError, match=r"\[segments, 9\] of rgb expected: --streams says so"):
        reader.read("v1")
    with pytest.raises(UserError, match=r"no folder depth with files found.*say --streams=rgb if"):
        open_features(tmp_path / "g", [], FeatureChoices(streams=parse_streams("rgb,depth")))
    with pytest.raises(UserError, match="--channel_order; expected those for --streams=rgb,flow alone"):
        FeatureChoices(streams=parse_streams("rgb,audio"), channel_order="flow_first")


@pytest.mark.parametrize("text", ["", "rgb,rgb", "RGB", "fused", "rgb:0", "rgb:x", "rgb:-3", "a b", "rgb:1024:2"])
def test_streams_that_cannot_be_named_so_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected"):
        parse_streams(text)


def test_a_stream_may_be_missing_only_where_that_is_said(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "f", "folders")
    (folder / "audio" / "v1.npy").unlink()
    reader, _ = open_features(folder, [], FeatureChoices(streams=parse_streams("rgb,audio")))
    with pytest.raises(UserError, match="video 'v1': no audio features found"):
        reader.read("v1")
    for streams in ("rgb,audio", "rgb,audio:2"):
        choices = FeatureChoices(streams=parse_streams(streams), missing_stream="zero")
        reader, words = open_features(folder, [], choices)
        assert "audio zero in 1 of 2 videos, which have none" in words
        rgb, audio = reader.read("v1")
        np.testing.assert_array_equal(rgb, values("v1", "rgb"))
        assert audio.shape == (10, 2) and not audio.any() and audio.dtype == rgb.dtype
        assert reader.num_segments("v1") == 10 and reader.read("v2")[1].any()


def test_all_streams_are_cut_to_the_shortest(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "f", "folders")
    save(folder / "flow", "v1", values("v1", "flow", 9))
    save(folder / "audio", "v1", values("v1", "audio", 11))
    choices = FeatureChoices(streams=parse_streams(THREE))
    with pytest.raises(UserError, match=r"rgb is \[10, 4\], flow is \[9, 3\], audio is \[11, 2\].*--cut_streams"):
        open_features(folder, [], choices)[0].read("v1")
    reader, words = open_features(folder, [], replace(choices, cut_streams=True))
    assert [len(part) for part in reader.read("v1")] == [9] * 3 and reader.num_segments("v1") == 9
    assert "1 of 2 videos cut to the shorter stream (1 by 2 rows)" in words


@pytest.mark.parametrize("streams", ["videomae", THREE])
def test_a_data_set_holds_its_streams(streams: str, tmp_path: Path) -> None:
    """Converted by one process and by several to the same bytes, and described and verified as it is."""
    names = [name for name, _ in parse_streams(streams)]
    for video in VIDEOS:
        for name in names:
            save(tmp_path / "features" / (name if len(names) > 1 else ""), video, values(video, name))
    (tmp_path / "a.json").write_text(json.dumps({"database": VIDEOS}))
    inputs = InputOptions(tmp_path / "a.json", tmp_path / "features", streams=streams)
    options = ConvertOptions(inputs, tmp_path / "out", "Tiny")
    manifest = convert(options)
    assert manifest.streams == Streams(tuple((name, SIZES.get(name, 5)) for name in names))
    assert load_manifest(tmp_path / "out") == manifest
    assert json.loads((tmp_path / "out" / MANIFEST_NAME).read_text())["streams"] == manifest.streams.as_dict()
    for subset in manifest.splits:
        for record in read_split(tmp_path / "out", subset):
            for name in names:
                np.testing.assert_array_equal(record[name], values(record["id"].decode(), name))
    assert not inspect_dataset(tmp_path / "out").errors()
    several = convert(replace(options, output_dir=tmp_path / "several", num_workers=2))
    assert several.splits == manifest.splits


def test_a_data_set_of_the_first_schema_is_read(tmp_path: Path) -> None:
    """Its records are the same; only the manifest did not name the streams."""
    for video in VIDEOS:
        for name in ("rgb", "flow"):
            save(tmp_path / "features" / name, video, values(video, "rgb"))
    (tmp_path / "a.json").write_text(json.dumps({"database": VIDEOS}))
    manifest = convert(
        ConvertOptions(InputOptions(tmp_path / "a.json", tmp_path / "features"), tmp_path / "out", "Tiny")
    )
    path = tmp_path / "out" / MANIFEST_NAME
    raw = json.loads(path.read_text())
    del raw["streams"]
    path.write_text(json.dumps({**raw, "schema_version": 1, "feature_dim": 4}))
    assert load_manifest(tmp_path / "out") == manifest
    assert not inspect_dataset(tmp_path / "out").errors()
