"""Kinetics' classes of segments: the list, its order, and what the published network says of the published clip."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.extraction.kinetics.classes import chances, class_names, describe, stretches
from data_prep.extraction.weight_cache import cache_folder, load_weights
from tc3net.data.timebase import TimeBase
from tests.support.needs import I3D_WEIGHTS, PUBLISHED, PUBLISHED_DETECTIONS, VIDEO, needs


def test_the_list_is_kinetics():
    names = class_names()
    assert len(names) == len(set(names)) == 400
    assert (names[0], names[399]) == ("abseiling", "zumba")
    assert names.index("playing cricket") == 227


@needs(PUBLISHED_DETECTIONS)
def test_the_order_is_the_published_one():
    assert class_names() == tuple((PUBLISHED / "label_map.txt").read_text(encoding="utf-8").splitlines())


def test_neighbours_with_the_same_class_are_one_stretch():
    found = np.array([[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    first, second, third = stretches(found, ("a", "b", "c"), TimeBase(16.0), 2)
    assert (first.start_s, first.end_s, second.end_s, third.end_s) == (0, 2, 3, 4)
    assert [name for name, _ in first.best] == ["a", "b"]
    assert [share for _, share in first.best] == pytest.approx([0.7, 0.2])
    assert third.best[0] == ("a", 0.5)


def test_chances_are_the_classifiers(tmp_path):
    rng = np.random.default_rng(0)
    features, kernel, bias = rng.normal(size=(3, 4)), rng.normal(size=(1, 1, 1, 4, 400)), rng.normal(size=400)
    arrays = {"Logits/Conv3d_0c_1x1/kernel": kernel, "Logits/Conv3d_0c_1x1/bias": bias}
    found = chances(features, arrays)
    assert found.sum(axis=1) == pytest.approx(np.ones(3))
    logits = np.array(
        [[sum(f[d] * kernel[0, 0, 0, d, c] for d in range(4)) + bias[c] for c in range(400)] for f in features]
    )
    np.testing.assert_allclose(np.log(found / found[:, :1]), logits - logits[:, :1], atol=1e-9)
    np.save(tmp_path / "v.npy", features)
    lines = describe(tmp_path / "v.npy", arrays, TimeBase(), 2)
    assert all(" s to " in line and line.count(" %") == 2 for line in lines)


@needs(I3D_WEIGHTS)
@needs(PUBLISHED_DETECTIONS)
@needs(VIDEO)
def test_the_published_clip_shows_cricket(tmp_path):
    """Its first segment."""
    from data_prep.extraction.backbones import with_sampling
    from data_prep.extraction.clips import Stopwatch, segment_clips
    from data_prep.extraction.decoding import VideoFile
    from data_prep.extraction.i3d import open_i3d

    backbone = with_sampling(open_i3d(cache_folder(), ["rgb"]), {"short_side": 224})["rgb"]
    with VideoFile(PUBLISHED / "v_CricketShot_g04_c01_rgb.gif") as video:
        clip = next(segment_clips(video, backbone.sampling, ["rgb"], None, 0, Stopwatch()))
    np.save(tmp_path / "v.npy", backbone.features(clip["rgb"][None]))
    (line,) = describe(tmp_path / "v.npy", load_weights(cache_folder(), "i3d_rgb").arrays, TimeBase(), 1)
    assert line == "     0.00 s to    0.64 s   playing cricket 96 %"
