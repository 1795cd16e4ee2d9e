"""From video files to features that the conversion reads: whole folders, killed runs, bad files, other networks."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import shutil
import sys
import time
from dataclasses import replace
from unittest import mock

import keras
import numpy as np
import pytest

from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.extraction import extracting, weights
from data_prep.extraction.backbones import Backbone, load_backbone, with_sampling
from data_prep.extraction.extracting import Extraction, Extractor
from data_prep.extraction.flow import FlowParameters
from data_prep.extraction.i3d import open_i3d
from data_prep.extraction.outcome import describe_seconds
from data_prep.extraction.progress import PARTIAL, opened
from data_prep.extraction.sampling import Sampling
from data_prep.extraction.videos import list_videos, videos_of_part
from data_prep.extraction.weight_cache import cache_folder, load_weights, store_weights
from data_prep.inputs.options import InputOptions, open_inputs
from tc3net.common.errors import UserError
from tc3net.data.parts import Part
from tc3net.data.timebase import TimeBase
from tc3net.engines.engine import EngineChoice
from tests.support.cluster_extraction import check_extraction
from tests.support.clusters import Cluster
from tests.support.commands import command
from tests.support.conversion import read_split
from tests.support.docs import code_blocks, write_module
from tests.support.folders import snapshot
from tests.support.forked_commands import Command
from tests.support.narrow_i3d import PLAN, some_weights
from tests.support.needs import (
    BEAM,
    I3D_WEIGHTS,
    OPTICAL_FLOW,
    PUBLISHED,
    PUBLISHED_DETECTIONS,
    REAL_FILES,
    REAL_VIDEOS,
    VIDEO,
    needs,
)  # fmt: skip
from tests.support.toy_backbone import MEANS, SAMPLING, means
from tests.support.video_files import grey_levels, texture, write_video

pytestmark = needs(VIDEO)
TOY = "tests.support.toy_backbone:means"
FAST_FLOW = FlowParameters(warps=1, scales=2)


@pytest.fixture
def videos(tmp_path):
    """40 and 70 frames at 25 fps, one of them in a sub-folder."""
    folder = tmp_path / "videos"
    (folder / "more").mkdir(parents=True)
    write_video(folder / "long.mp4", grey_levels(70))
    write_video(folder / "more" / "short.avi", grey_levels(40))
    return folder


def extract(place, output_dir, backbones=None, **choices):
    """The outcome of an extraction with the toy network."""
    extraction = Extraction(backbones or {"rgb": MEANS}, FAST_FLOW, **choices)
    return Extractor(extraction, output_dir).run(list_videos(place))


def greys(frames):
    """What `grey_levels` become, in [-1, 1]."""
    return (10 + 3 * np.asarray(frames)) / 127.5 - 1


def test_rows_are_those_of_their_frames_and_side_files_say_how(videos, tmp_path):
    outcome = extract(videos, tmp_path / "out")
    assert (outcome.segments, outcome.failed, outcome.incomplete) == ({"long": 4, "short": 2}, {}, {})
    rows = np.load(tmp_path / "out" / "rgb" / "long.npy")
    assert (rows.shape, rows.dtype) == ((4, 9), np.float32)
    np.testing.assert_allclose(rows[:, 0], [greys(range(16 * i, 16 * i + 16)).mean() for i in range(4)], atol=0.02)
    np.testing.assert_allclose(rows[:, 3], greys([0, 16, 32, 48]), atol=0.02)
    note = json.loads((tmp_path / "out" / "long.json").read_text())
    assert note["video"] == "long.mp4"
    assert [note[name] for name in ("fps", "frames_per_segment", "stride_frames")] == [25.0, 16, 16]
    assert note["duration_s"] == pytest.approx(70 / 25)
    assert (note["decoded"]["frames"], note["decoded"]["is_whole"], note["shapes"]) == (70, True, {"rgb": [4, 9]})
    assert note["settings"]["networks"] == {"rgb": {"network": "means", "weights": "version 1"}}
    assert note["decoder"].startswith("PyAV ")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["long.json", "rgb", "short.json"]


def test_stride_and_rate_change_which_frames_there_are(videos, tmp_path):
    other = with_sampling({"rgb": MEANS}, {"stride_frames": 8, "fps": 12.5})
    extract(videos / "long.mp4", tmp_path / "out", other)
    rows = np.load(tmp_path / "out" / "rgb" / "long.npy")
    # 70 frames become 35: every second one, after the first the later of two that are rounded to one tick
    assert rows.shape == (TimeBase(12.5, 16, 8).num_segments(70 / 25), 9) == (3, 9)
    np.testing.assert_allclose(rows[:, 3], greys([0, 16, 32]), atol=0.03)


@needs(OPTICAL_FLOW)
def test_workers_batches_and_tasks_change_nothing(videos, tmp_path):
    both = {"rgb": MEANS, "flow": replace(MEANS, name="means of flow")}
    assert not extract(videos, tmp_path / "one", both).failed
    extract(videos, tmp_path / "many", both, batch_size=3, num_workers=3, flow_workers=2)
    assert snapshot(tmp_path / "many") == snapshot(tmp_path / "one")
    rgb, flow = (np.load(tmp_path / "one" / stream / "short.npy") for stream in ("rgb", "flow"))
    assert (rgb.shape, flow.shape) == ((2, 9), (2, 6))
    assert len(snapshot(tmp_path / "one")) == 6
    for index in range(2):
        extraction = Extraction({"rgb": MEANS})
        Extractor(extraction, tmp_path / "tasks").run(videos_of_part(list_videos(videos), Part(index, 2)))
    extract(videos, tmp_path / "whole")
    assert snapshot(tmp_path / "tasks") == snapshot(tmp_path / "whole")


@needs(OPTICAL_FLOW)
def test_a_still_scene_gives_no_flow_and_motion_its_displacement(tmp_path):
    picture = texture(64, 64 + 80)
    write_video(tmp_path / "videos_still.mkv", [picture[:, :64]] * 20, codec="ffv1")
    write_video(tmp_path / "videos_moving.mkv", [picture[:, 60 - 2 * n : 124 - 2 * n] for n in range(20)], codec="ffv1")
    network = replace(MEANS, sampling=Sampling(short_side=64, size=48))
    for name in ("still", "moving"):
        extraction = Extraction({"flow": network}, FlowParameters(warps=2))
        assert not Extractor(extraction, tmp_path / "out").run(list_videos(tmp_path / f"videos_{name}.mkv")).failed
    still, moving = (np.load(tmp_path / "out" / "flow" / f"videos_{name}.npy") for name in ("still", "moving"))
    assert not still.any()
    np.testing.assert_allclose(moving[0, :2] * 20, [2, 0], atol=0.15)


def test_ten_crops_are_averaged(tmp_path):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:16, :16] = 255  # seen by the crop at the top left and its mirror image
    write_video(tmp_path / "corner.mkv", [picture] * 16, codec="ffv1")
    values = []
    for count in (1, 10):
        network = with_sampling({"rgb": MEANS}, {"crops": count, "short_side": 64, "size": 32})
        extract(tmp_path / "corner.mkv", tmp_path / f"out_{count}", network)
        values.append(np.load(tmp_path / f"out_{count}" / "rgb" / "corner.npy")[0, 0])
    np.testing.assert_allclose(values, [-1, -1 + 2 * 0.25 * 2 / 10], atol=0.01)


class Stopped(BaseException):
    """As an interrupt from the keyboard."""


def test_long_videos_are_heard_of(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extracting, "_TELL_S", -1.0)
    extract(videos / "long.mp4", tmp_path / "out")
    assert capsys.readouterr().out.splitlines() == [
        *(f"long: {count} segments so far" for count in range(1, 5)), "long: 4 segments",
    ]  # fmt: skip


def test_a_video_goes_on_where_it_was_interrupted(videos, tmp_path):
    extract(videos, tmp_path / "whole")
    seen = []

    def stops(clips):
        if len(seen) == 2:
            raise Stopped
        seen.append(len(clips))
        return means(clips)

    with pytest.raises(Stopped):
        extract(videos / "long.mp4", tmp_path / "out", {"rgb": replace(MEANS, function=stops)})
    assert [path.stat().st_size for path in (tmp_path / "out" / PARTIAL / "long").glob("*.f32")] == [2 * 9 * 4]
    assert not (tmp_path / "out" / "long.json").exists()
    counted = []

    def counts(clips):
        counted.append(len(clips))
        return means(clips)

    outcome = extract(videos, tmp_path / "out", {"rgb": replace(MEANS, function=counts)})
    assert (sum(counted), outcome.segments) == (2 + 2, {"long": 4, "short": 2})  # two of `long` were there
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
    again = extract(videos, tmp_path / "out")
    assert (again.segments, sorted(again.skipped)) == ({}, ["long", "short"])
    shutil.copytree(tmp_path / "out" / "rgb", tmp_path / "out" / PARTIAL / "long")  # killed after the last file
    extract(videos, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
    # Rows of other settings, and the half of a row, are not taken over.
    with opened(tmp_path / "part", "long", {"other": 1}, ["rgb"]) as progress:
        progress.add({"rgb": np.ones((3, 9), np.float32)})
        progress.flush()
    with open(tmp_path / "part" / PARTIAL / "long" / "rgb.9.f32", "ab") as file:
        file.write(b"abcde")
    with opened(tmp_path / "part", "long", {"other": 1}, ["rgb"]) as progress:
        assert progress.rows == 3
    extract(videos, tmp_path / "part")
    assert snapshot(tmp_path / "part") == snapshot(tmp_path / "whole")


def test_a_killed_command_resumes_to_the_same_bytes(videos, tmp_path):
    """`short` is killed while `long` is finished, or the other way round."""
    slow = (
        "from tests.support.toy_backbone import *\nimport time\n\n@backbone(SAMPLING, 'means and spread, version 1')\n"
    )
    slow += "def slow(clips):\n    time.sleep(0.3)\n    return means(clips)\n"
    (tmp_path / "slow_network.py").write_text(slow)
    paths = {"PYTHONPATH": f"{tmp_path}"}
    arguments = ["data_prep.extract", f"--videos={videos}", "--backbone=slow_network:slow", "--batch_size=1"]
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import runpy; sys.argv = sys.argv[1:]; "
    code += "runpy.run_module('data_prep.extract', run_name='__main__', alter_sys=True)"
    out = tmp_path / "out"
    running = Command(["-c", code, *arguments, f"--output_dir={out}"], environment=paths)
    deadline = time.monotonic() + 120
    while not list(out.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.kill()
    assert running.wait() == -9
    assert len(list(out.glob("*.json"))) == 1
    done = Command(["-c", code, *arguments, f"--output_dir={out}"], environment=paths).finish()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 videos extracted" in done.stdout
    assert "skipped, finished before" in done.stdout
    extract(videos, tmp_path / "whole")
    for name in ("long", "short"):
        assert (out / "rgb" / f"{name}.npy").read_bytes() == (tmp_path / "whole" / "rgb" / f"{name}.npy").read_bytes()


@needs(BEAM)
def test_beam_gives_the_same_files(tmp_path):
    choice = EngineChoice("beam", ("runner=DirectRunner",))
    check_extraction(Cluster(choice, [], lambda: None), tmp_path)


@needs(OPTICAL_FLOW)
def test_flows_are_computed_in_threads_where_no_processes_may_be_started(videos, tmp_path, monkeypatch):
    both = {"rgb": MEANS, "flow": replace(MEANS, name="means of flow")}
    extract(videos, tmp_path / "processes", both, flow_workers=2)
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # as of Dask's nanny
    with pytest.raises(AssertionError, match="daemonic"):
        multiprocessing.Process().start()
    extract(videos, tmp_path / "threads", both, flow_workers=2)
    assert snapshot(tmp_path / "threads") == snapshot(tmp_path / "processes")


def test_a_video_under_way_elsewhere_is_left_alone(videos, tmp_path):
    with opened(tmp_path / "out", "long", {}, ["rgb"]):
        outcome = extract(videos, tmp_path / "out")
    assert outcome.skipped == {"long": "another process works on it"}
    assert outcome.segments == {"short": 2}


def test_bad_files_are_named_and_the_others_go_on(videos, tmp_path):
    whole = write_video(videos / "cut.mp4", [texture(64, 64, number) for number in range(60)]).read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (videos / "text.mkv").write_text("no video")
    write_video(videos / "brief.mp4", grey_levels(9))
    outcome = extract(videos, tmp_path / "out", num_workers=2)
    assert sorted(outcome.segments) == ["cut", "long", "short"]
    assert sorted(outcome.failed) == ["brief", "text"]
    assert "0.36 s found, less than one segment of 16 frames at 25 fps" in outcome.failed["brief"]
    assert " of 2.40 s" in outcome.incomplete["cut"]
    note = json.loads((tmp_path / "out" / "cut.json").read_text())
    assert note["decoded"]["is_whole"] is False
    shutil.copy(videos / "long.mp4", videos / "brief.mp4")  # the file changed: it is extracted, and then is finished
    shutil.copy(videos / "long.mp4", videos / "cut.mp4")
    outcome = extract(videos, tmp_path / "out")
    assert outcome.segments == {"brief": 4, "cut": 4}
    assert "100.0 s: network 40 %, waiting for clips 50 %, writing 0 %; beside it: decoding 30 %" in describe_seconds(
        {"all": 100.0, "network": 40.0, "waiting for clips": 50.0, "decoding": 30.0}
    )


def test_features_of_other_settings_are_never_mixed(videos, tmp_path):
    extract(videos, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    for network, changed in (
        (replace(MEANS, weights="version 2"), "networks"),
        (replace(MEANS, sampling=replace(SAMPLING, fps=30.0)), "sampling"),
    ):
        with pytest.raises(UserError, match=rf"with other settings found \(other: {changed}\)"):
            extract(videos, tmp_path / "out", {"rgb": network})
    assert snapshot(tmp_path / "out") == before


def test_mistakes_in_a_network_of_ones_own(videos, tmp_path):
    for function, message in (
        (lambda clips: clips, r"\[1, 16, 24, 24, 3\] found for 1 clips; expected \[clips, D\]"),
        (lambda clips: np.full((len(clips), 2), np.nan), "NaN or infinity"),
    ):
        with pytest.raises(UserError, match=message):
            extract(videos, tmp_path / "out", {"rgb": Backbone("mine", function, SAMPLING)})
    for name, message in (
        ("no_such_module:f", "cannot be imported"),
        ("tests.support.toy_backbone:none", "cannot be imported"),
        ("tests.support.toy_backbone", "no function found"),
        ("tests.support.toy_backbone:SAMPLING", "no function found"),
    ):
        with pytest.raises(UserError, match=message):
            load_backbone(name)
    assert load_backbone(TOY).sampling == SAMPLING
    assert load_backbone("numpy:mean").sampling == Sampling()


def test_which_videos(tmp_path, videos):
    assert list(list_videos(videos)) == ["long", "short"]
    (videos / "._long.mp4").touch()
    (videos / "notes.txt").touch()
    assert list(list_videos(videos)) == ["long", "short"]
    names = {str(number): videos for number in range(7)}
    parts = [list(videos_of_part(names, Part(index, 3))) for index in range(3)]
    assert (sorted(itertools.chain(*parts)), [len(part) for part in parts]) == (list(names), [2, 2, 3])
    (videos / "more" / "long.avi").touch()
    (tmp_path / "empty").mkdir()
    for place, message in (
        (videos, r"expected one file for video 'long'"),
        (tmp_path / "empty", r"no videos there \(endings: no files\)"),
        (tmp_path / "absent", "no such file or folder"),
    ):
        with pytest.raises(UserError, match=message):
            list_videos(place)
    with pytest.raises(UserError, match="--task_index=3 with --num_tasks=3"):
        Part(3, 3)


def test_the_conversion_reads_features_and_time_base(videos, tmp_path):
    extract(videos, tmp_path / "out", with_sampling({"rgb": MEANS}, {"fps": 12.5, "stride_frames": 8}))
    (tmp_path / "labels.csv").write_text("video,class\nlong,Run\nshort,Run\n")
    out = tmp_path / "out"
    options = InputOptions(tmp_path / "labels.csv", out, streams="rgb", time_base_file=out)  # for want of flow
    inputs = open_inputs(options)
    assert inputs.time_bases == {name: TimeBase(12.5, 16, 8) for name in ("long", "short")}
    convert(ConvertOptions(options, tmp_path / "dataset", "Mine"))
    durations = {
        example["id"].decode(): example["duration"] for example in read_split(tmp_path / "dataset", "training")
    }
    assert durations == {"long": pytest.approx(2.8), "short": pytest.approx(1.6)}
    shutil.copytree(out / "rgb", out / "flow")
    assert open_inputs(replace(options, streams="rgb,flow")).reader.num_segments("long") == 3
    (tmp_path / "labels.csv").write_text("video,class\nlong,Run\nother,Run\n")
    with pytest.raises(UserError, match=r"no side files of 1 of 2 annotated videos \(other\)"):
        open_inputs(options)
    (out / "other.json").write_text("{}")
    with pytest.raises(UserError, match=r"other\.json: .*expected positive numbers"):
        open_inputs(options)


def test_the_command_with_i3d(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(weights.PLANS, "i3d_rgb", PLAN)
    flow_plan = replace(PLAN, in_channels=2)
    monkeypatch.setitem(weights.PLANS, "i3d_flow", flow_plan)
    with pytest.raises(UserError, match=r"no weights of i3d_rgb found.*data_prep\.weights --network=i3d_rgb"):
        open_i3d(tmp_path / "cache", None)
    store_weights(tmp_path / "cache", "i3d_rgb", some_weights(), "made up", "the test")
    alone = open_i3d(tmp_path / "cache", None)
    assert list(alone) == ["rgb"]
    assert "flow: no weights of i3d_flow" in capsys.readouterr().out
    with pytest.raises(UserError, match="no weights of i3d_flow found"):
        open_i3d(tmp_path / "cache", ["rgb", "flow"])
    with pytest.raises(UserError, match="--streams: 'depth' found"):
        open_i3d(tmp_path / "cache", ["depth"])
    store_weights(tmp_path / "cache", "i3d_flow", some_weights(flow_plan), "made up", "the test")
    assert list(open_i3d(tmp_path / "cache", None)) == ["rgb", "flow"]
    small = with_sampling(alone, {"short_side": 48, "size": 32})
    extract(videos, tmp_path / "out", small, batch_size=3)
    extract(videos, tmp_path / "single", small)
    several, single = (np.load(tmp_path / name / "rgb" / "long.npy") for name in ("out", "single"))
    assert several.shape == (4, PLAN.feature_dim)
    np.testing.assert_allclose(several, single, rtol=1e-5, atol=1e-6)
    note = json.loads((tmp_path / "out" / "long.json").read_text())
    stored = load_weights(tmp_path / "cache", "i3d_rgb")
    assert note["settings"]["networks"]["rgb"] == {"network": "i3d_rgb", "weights": f"SHA-256 {stored.sha256}"}
    made_up = open_i3d(tmp_path / "absent", ["rgb"], use_random_weights=True)
    extract(videos, tmp_path / "random", with_sampling(made_up, {"short_side": 48, "size": 32}))
    assert "RANDOM WEIGHTS" in (tmp_path / "random" / "long.json").read_text()
    with pytest.raises(UserError, match="with other settings"):
        extract(videos, tmp_path / "out", with_sampling(made_up, {"short_side": 48, "size": 32}))


def test_the_command_says_what_it_did(videos, tmp_path):
    (videos / "text.mkv").write_text("no video")
    output = command(
        "data_prep.extract", f"--videos={videos}", f"--output_dir={tmp_path / 'out'}", f"--backbone={TOY}",
        "--stride_frames=8", expect_failure=True,
    )  # fmt: skip
    assert "rgb: tests.support.toy_backbone:means, means and spread, version 1" in output
    assert "2 videos extracted (11 segments), 0 skipped, 1 failed, 0 of the extracted ones incomplete" in output
    assert "network" in output and "decoding" in output
    assert "error: 1 videos could not be extracted:\n  text: " in output
    assert json.loads((tmp_path / "out" / "long.json").read_text())["stride_frames"] == 8


def test_an_image_network_frame_by_frame(videos, tmp_path):
    """As the guide's example, with a network whose rows can be told."""
    inputs = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(inputs))
    image_network = keras.Model(inputs, pooled)

    def frame_features(clips):
        return image_network(clips.reshape(-1, *clips.shape[2:])).numpy().reshape(*clips.shape[:2], -1).mean(1)

    sampling = Sampling(fps=5.0, frames_per_segment=4, stride_frames=4, short_side=36, size=32, low=0.0, high=255.0)
    extract(videos, tmp_path / "out", {"rgb": Backbone("images", frame_features, sampling, "made by the test")})
    rows = np.load(tmp_path / "out" / "rgb" / "long.npy")
    assert rows.shape == (3, 4)
    # At 5 fps the ticks 0, 1, 2, 3 have the latest of the frames whose times are rounded to them.
    pictures = [np.full((1, 32, 32, 3), 10 + 3 * number, np.float32) for number in (2, 7, 12, 17)]
    expected = np.mean([image_network(picture).numpy()[0] for picture in pictures], axis=0)
    np.testing.assert_allclose(rows[0], expected, rtol=0.03, atol=0.5)


def test_the_example_of_the_guide(videos, tmp_path):
    (code,) = code_blocks("own-videos.md", "A network of your own")
    assert 'weights="imagenet")' in code
    module = write_module(tmp_path, "networks", code.replace('weights="imagenet")', "weights=None)"))
    with mock.patch.object(sys, "path", [str(tmp_path), *sys.path]):
        network = load_backbone(f"{module}:frame_features")
    assert (network.sampling.fps, network.weights) == (5.0, "MobileNetV2, imagenet")
    outcome = extract(videos / "long.mp4", tmp_path / "out", {"rgb": network})
    assert outcome.segments == {"long": 14 // 4}  # 2.8 s
    assert np.load(tmp_path / "out" / "rgb" / "long.npy").shape == (3, 1280)


@needs(REAL_FILES)
def test_real_videos_go_the_whole_way(tmp_path):
    outcome = extract(REAL_VIDEOS, tmp_path / "out", num_workers=2)
    # 355 frames at 19.62 fps are 452 at 25, 420 at 30 are 350
    assert outcome.segments == {"v_GGSY1Qvo990": 452 // 16, "v_ZNVhz7ctTq0": 350 // 16}
    assert not outcome.incomplete


@needs(I3D_WEIGHTS)
@needs(PUBLISHED_DETECTIONS)
def test_published_features_of_the_published_clip(tmp_path):
    """Four segments, whose class is the classifier of their features, since 16 frames are one window of it."""
    backbones = with_sampling(open_i3d(cache_folder(), ["rgb"]), {"short_side": 224})
    place = PUBLISHED / "v_CricketShot_g04_c01_rgb.gif"
    outcome = extract(place, tmp_path / "out", backbones)
    assert list(outcome.segments.values()) == [4]
    rows = np.load(tmp_path / "out" / "rgb" / f"{place.stem}.npy")
    arrays = load_weights(cache_folder(), "i3d_rgb").arrays
    logits = rows @ arrays["Logits/Conv3d_0c_1x1/kernel"][0, 0, 0] + arrays["Logits/Conv3d_0c_1x1/bias"]
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = (PUBLISHED / "label_map.txt").read_text(encoding="utf-8").splitlines()
    np.testing.assert_allclose(chances[:, names.index("playing cricket")], [0.956, 0.928, 0.891, 0.853], atol=1e-3)
