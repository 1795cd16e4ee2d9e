"""The simulated data set: reproducible, with the stated statistics, in the layouts that users have."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from absl import flags

from data_prep import synthetic
from data_prep.annotations import Instance, VideoRecord, read_annotations
from data_prep.checks.judge import validate
from data_prep.features.layouts import open_features
from data_prep.simulation.simulator import Simulator, SimulatorConfig
from data_prep.synthetic import SyntheticOptions, simulate
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tests.support.folders import snapshot

# Enough dims that a sparse row is never all zero, which the validation would remark.
MODEL = SimulatorConfig(feature_dim=24, median_duration_s=25.0)
SMALL = SyntheticOptions("", num_train=5, num_test=3, num_classes=3, model=MODEL)
LAYOUT_FILES = {
    "activitynet": ("annotations.json", "features"),
    "wtalc": ("annotations", "Simulated-I3D-JOINTFeatures.npy"),
}
CLASSES = tuple(f"Action{index:02d}" for index in range(20))


@pytest.mark.parametrize("layout", sorted(LAYOUT_FILES))
def test_same_seed_same_bytes(tmp_path, layout):
    for name in ("one", "two"):
        simulate(replace(SMALL, output_dir=tmp_path / name, layout=layout))
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    simulate(replace(SMALL, output_dir=tmp_path / "three", layout=layout, model=replace(MODEL, seed=1)))
    one, three = snapshot(tmp_path / "one"), snapshot(tmp_path / "three")
    assert all(one[name] != three[name] for name in one.keys() & three.keys() if "rgb" in name or "JOINT" in name)


def test_layouts_hold_the_same_data_without_findings(tmp_path):
    loaded = {}
    for layout, (annotation_file, feature_file) in LAYOUT_FILES.items():
        written = simulate(replace(SMALL, output_dir=tmp_path / layout, layout=layout))
        annotations, _ = read_annotations(tmp_path / layout / annotation_file)
        assert annotations == written
        video_ids = [video.video_id for video in annotations.videos]
        reader, _ = open_features(tmp_path / layout / feature_file, video_ids)
        assert validate(annotations, reader, dict.fromkeys(video_ids, TimeBase())).problems == ()
        loaded[layout] = [reader.read(video_id) for video_id in video_ids]
    assert [video.subset for video in annotations.videos] == ["validation"] * 5 + ["test"] * 3
    for (rgb, flow), (other_rgb, other_flow) in zip(*loaded.values()):
        np.testing.assert_array_equal(rgb, other_rgb)
        np.testing.assert_array_equal(flow, other_flow)


def test_a_video_does_not_depend_on_the_others(tmp_path):
    simulate(replace(SMALL, output_dir=tmp_path / "few"))
    simulate(replace(SMALL, output_dir=tmp_path / "many", num_train=9))
    few, many = snapshot(tmp_path / "few"), snapshot(tmp_path / "many")
    assert all(many[name] == raw for name, raw in few.items() if name.startswith("features"))


def test_statistics_are_those_of_thumos14():
    simulator = Simulator(SimulatorConfig(), TimeBase())
    videos = [simulator.annotate(f"v{index}", "test", CLASSES[index % 20], CLASSES) for index in range(1500)]
    durations_s = np.array([video.duration_s for video in videos])
    assert 130 < np.median(durations_s) < 155
    assert 190 < durations_s.mean() < 220
    assert durations_s.min() >= 20
    assert durations_s.max() <= 1500
    instances = [item for video in videos for item in video.instances]
    lengths_s = np.array([item.end_s - item.start_s for item in instances])
    assert 2.8 < np.median(lengths_s) < 3.4
    assert (lengths_s > 0).all()
    counts = np.array([len(video.instances) for video in videos])
    assert 12 < counts.mean() < 18
    assert counts.max() > 100
    assert np.median(counts) < 0.75 * counts.mean()
    assert 0.12 < np.mean([len(video.labels) == 2 for video in videos]) < 0.18
    gaps_s = np.array([b.start_s - a.end_s for video in videos for a, b in zip(video.instances, video.instances[1:])])
    assert gaps_s.min() > 0.3
    assert np.mean(gaps_s < 3.1) > 0.5
    assert np.quantile(gaps_s, 0.95) > 15
    assert all(video.instances[0].start_s >= 0 and video.instances[-1].end_s <= video.duration_s for video in videos)
    shares = np.bincount([CLASSES.index(item.labels[0]) for item in videos]) / len(videos)
    np.testing.assert_allclose(shares, 0.05, rtol=0.3)


def test_features_show_scene_and_action():
    """Scene and action shift the mean features by their gains; everything else is switched off or averaged out."""
    default = SimulatorConfig()
    config = replace(
        default,
        feature_dim=960,
        sparsity=-100.0,
        strength_sigma=1e-6,
        motion_per_s=0.0,
        rgb=replace(default.rgb, appearance=0.0),
        flow=replace(default.flow, appearance=0.0),
    )
    simulator = Simulator(config, TimeBase())
    scale = np.sqrt(config.feature_dim / config.latent_dim)  # norm of a latent unit vector in feature space
    action = VideoRecord("v", "test", 1920.0, ("Run",), (Instance(640.0, 1280.0, "Run"),), True)
    scene = replace(action, instances=(Instance(0.0, 0.1, "Run"),))
    nothing = replace(action, labels=(), instances=())
    streams = zip((config.rgb, config.flow), *(simulator.features(record) for record in (action, scene, nothing)))
    for gains, with_action, with_scene, plain in streams:
        inside, outside = with_action[1000:2000], np.concatenate([with_action[:1000], with_action[2000:]])
        rise = np.linalg.norm(inside.mean(0) - outside.mean(0)) / scale
        np.testing.assert_allclose(rise, gains.action, rtol=0.2)
        shift = np.linalg.norm(with_scene.mean(0) - plain.mean(0)) / scale
        np.testing.assert_allclose(shift, gains.scene, rtol=0.2, atol=0.2)
    assert config.rgb.scene > config.flow.scene
    assert config.flow.action > config.rgb.action


def test_features_look_like_pooled_i3d_features():
    simulator = Simulator(SimulatorConfig(), TimeBase())
    video = simulator.annotate("v", "test", "Run", ("Run", "Jump"))
    for features in simulator.features(video):
        assert features.dtype == np.float32
        assert features.shape == (TimeBase().num_segments(video.duration_s), 64)
        assert features.min() == 0
        assert 0.3 < np.mean(features == 0) < 0.8
        centred = features - features.mean(0)
        neighbours = (centred[1:] * centred[:-1]).mean() / (centred**2).mean()
        assert 0.3 < neighbours < 0.9
    short = VideoRecord("s", "test", 0.3, (), (), False)
    assert simulator.features(short)[0].shape == (1, 64)


def test_labels_without_instances_get_hidden_ones():
    """A video labelled but not annotated in time shows the action somewhere, not only its scene."""
    config = replace(SimulatorConfig(), rgb=replace(SimulatorConfig().rgb, scene=0.0))
    simulator = Simulator(config, TimeBase())
    labelled = VideoRecord("v", "test", 100.0, ("Run",), (), False)
    with_action, _ = simulator.features(labelled)
    without, _ = simulator.features(replace(labelled, labels=()))
    assert with_action.shape == without.shape
    assert not np.array_equal(with_action, without)


@pytest.mark.parametrize("layout", sorted(LAYOUT_FILES))
def test_features_for_given_annotations(tmp_path, layout):
    simulate(replace(SMALL, output_dir=tmp_path / "a"))
    path = tmp_path / "a" / "annotations.json"
    annotations = simulate(SyntheticOptions(tmp_path / "b", layout=layout, annotations=path, model=MODEL))
    assert not list((tmp_path / "b").glob("annotations*"))
    reader, _ = open_features(tmp_path / "b" / LAYOUT_FILES[layout][1], [v.video_id for v in annotations.videos])
    for video in annotations.videos:
        rgb, _ = reader.read(video.video_id)
        assert len(rgb) == max(1, TimeBase().num_segments(video.duration_s))


def test_the_same_simulation_is_replaced_and_nothing_else(tmp_path):
    options = replace(SMALL, output_dir=tmp_path / "out")
    simulate(options)
    before = snapshot(tmp_path)
    simulate(options)
    assert snapshot(tmp_path) == before
    with pytest.raises(UserError, match="simulated with other parameters"):
        simulate(replace(options, model=replace(MODEL, seed=9)))
    (tmp_path / "out" / "features" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"features/mine\.txt"):
        simulate(options)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"other: holds files but no simulated\.json"):
        simulate(replace(options, output_dir=tmp_path / "other"))
    (tmp_path / "out" / "features" / "mine.txt").unlink()
    (tmp_path / "other" / "mine.txt").unlink()
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("video_id", "duration_s", "message"),
    [("../v", 9.0, "video id '../v' is not a file name"), ("v", 0.0, "video 'v' has duration 0.0 s")],
)
def test_given_annotations_must_name_files_and_lengths(tmp_path, video_id, duration_s, message):
    entry = {"subset": "test", "duration": duration_s, "labels": ["Run"]}
    (tmp_path / "a.json").write_text(json.dumps({"database": {video_id: entry}}))
    with pytest.raises(UserError) as caught:
        simulate(SyntheticOptions(tmp_path / "out", annotations=tmp_path / "a.json", model=MODEL))
    assert "a.json" in str(caught.value)
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def parse_flags(*arguments: str) -> SyntheticOptions:
    values = flags.FlagValues()
    synthetic.define_flags(values)
    values(["synthetic", *arguments])
    return synthetic.options_from_flags(values)


def test_flags():
    assert parse_flags("--output_dir=o") == SyntheticOptions("o")
    options = parse_flags("--output_dir=o", "--seed=4", "--feature_dim=8", "--median_duration_s=30", "--layout=wtalc")
    assert options == SyntheticOptions("o", layout="wtalc", model=SimulatorConfig(4, 8, 30.0))
    for arguments, message in (
        ((), "--output_dir is not set"),
        (("--output_dir=o", "--annotations=a", "--num_test=3"), "--num_test and --annotations"),
        (("--output_dir=o", "--num_classes=0"), "num_classes is 0"),
        (("--output_dir=o", "--seed=-1"), "seed is -1"),
        (("--output_dir=o", "--feature_dim=0"), "feature_dim is 0"),
    ):
        with pytest.raises(UserError, match=message):
            parse_flags(*arguments)
