"""Which networks extract a run's streams, and the errors where none fit: before anything is extracted."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from data_prep.extraction import i3d, weights
from data_prep.extraction.backbones import Backbone
from data_prep.extraction.flow import FlowParameters
from data_prep.extraction.sampling import Sampling
from data_prep.extraction.weight_cache import store_weights
from tc3net.common.errors import UserError
from tc3net.data.streams import Streams
from tc3net.data.timebase import TimeBase
from tc3net.prediction.video_networks import VideoChoices, open_networks, time_base_of
from tests.support.export_cases import RUN
from tests.support.narrow_i3d import PLAN, some_weights
from tests.support.toy_backbone import SAMPLING

TOY = "tests.support.toy_backbone:means"
BASE = TimeBase()
D = PLAN.feature_dim


def run_of(sizes: dict[str, int], extraction: dict[str, Any] | None = None) -> Any:
    return replace(RUN, streams=Streams.of(sizes), time_base=BASE, extraction=extraction or {})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Weights of a narrow rgb network; the flow network's are absent."""
    monkeypatch.setattr(weights, "PLANS", {"i3d_rgb": PLAN, "i3d_flow": replace(PLAN, in_channels=2)})
    for module in (i3d, __import__("data_prep.extraction.weight_cache", fromlist=["x"])):
        monkeypatch.setattr(module, "PLANS", weights.PLANS)
    store_weights(tmp_path, "i3d_rgb", some_weights(PLAN), "test", "made by the test")
    return VideoChoices(cache_dir=str(tmp_path))


def record(networks: dict[str, Any], sampling: Sampling = Sampling(), flow: Any = None) -> dict[str, Any]:
    return {"version": 1, "networks": networks, "sampling": asdict(sampling), "flow": flow}


def test_a_network_of_ones_own_is_the_runs(cache):
    toy = {"rgb": {"network": TOY, "weights": "means and spread, version 1"}}
    sampling = replace(SAMPLING, crops=10)
    found = open_networks(run_of({"videomae": 9}, record(toy, sampling)), TimeBase(12.5, 16, 8))
    assert found.sources == {"videomae": "rgb"}
    expected = replace(sampling, fps=12.5, stride_frames=8)
    assert (found.extraction.sampling, found.extraction.batch_size) == (expected, 8)
    found.check_sizes()
    rows = np.ones((3, 9), np.float32)
    assert found.joined({"rgb": rows}) is not None and found.joined({"rgb": rows}).shape == (3, 9)
    with pytest.raises(UserError, match="gives 9 features per segment; the run's stream videomae has 8"):
        open_networks(run_of({"videomae": 8}, record(toy)), BASE).check_sizes()
    with pytest.raises(UserError, match=r"the run's features are of .*version 0; found .*version 1"):
        old = {"rgb": {"network": TOY, "weights": "means and spread, version 0"}}
        open_networks(run_of({"rgb": 9}, record(old)), BASE)
    with pytest.raises(UserError, match=r"--backbone=other:one found; the run's features are of tests\.support"):
        open_networks(run_of({"rgb": 9}, record(toy)), BASE, VideoChoices(backbone="other:one"))
    with pytest.raises(UserError, match="--random_weights with a network of your own"):
        open_networks(run_of({"rgb": 9}, record(toy)), BASE, VideoChoices(random_weights=True))
    told = open_networks(run_of({"rgb": 9}), BASE, VideoChoices(backbone=TOY))
    assert "does not say how its features were extracted" in told.words[-1]


def test_streams_without_weights_are_refused_or_zero(cache):
    both = run_of({"rgb": D, "flow": D})
    with pytest.raises(UserError) as refused:
        open_networks(both, BASE, cache)
    for part in ("no weights of i3d_flow", "--network=i3d_flow --from=FILE", "--missing_stream=zero"):
        assert part in str(refused.value)
    found = open_networks(both, BASE, cache, "zero")
    assert (found.sources, list(found.extraction.backbones)) == ({"rgb": "rgb", "flow": None}, ["rgb"])
    assert "flow: no weights of i3d_flow, taken as zero (--missing_stream=zero)" in found.words
    joined = found.joined({"rgb": np.ones((2, D), np.float32)})
    assert joined[:, :D].all() and not joined[:, D:].any() and joined.shape == (2, 2 * D)
    networks = {"rgb": {"network": "i3d_rgb", "weights": found.extraction.backbones["rgb"].weights}}
    zero = open_networks(run_of({"rgb": D, "flow": D}, record(networks)), BASE, cache)
    assert (zero.sources["flow"], zero.words[0]) == (None, "flow: zero, as in training")
    with pytest.raises(UserError, match="the run reads video 4, then audio 4; expected rgb and flow of I3D"):
        open_networks(run_of({"video": 4, "audio": 4}), BASE, cache)
    with pytest.raises(UserError, match=r"no weights of i3d_rgb are in .*Run `python -m data_prep\.weights"):
        open_networks(run_of({"rgb": D}), BASE, VideoChoices(cache_dir=f"{cache.cache_dir}/absent"))
    with pytest.raises(UserError, match="found i3d_rgb, SHA-256"):
        other = {"rgb": {"network": "i3d_rgb", "weights": "SHA-256 0"}}
        open_networks(run_of({"rgb": D}, record(other)), BASE, cache)


def test_flow_is_computed_as_the_runs(cache):
    made_up = replace(cache, random_weights=True)
    flow = FlowParameters(warps=1).describe()
    names = {stream: {"network": f"i3d_{stream}", "weights": "x"} for stream in ("rgb", "flow")}
    with pytest.raises(UserError, match="RANDOM WEIGHTS"):  # are not the run's
        open_networks(run_of({"rgb": D, "flow": D}, record(names, flow=flow)), BASE, made_up)
    label = open_networks(run_of({"rgb": D, "flow": D}), BASE, made_up).extraction.backbones["flow"].weights
    names = {stream: {"network": f"i3d_{stream}", "weights": label} for stream in ("rgb", "flow")}
    found = open_networks(run_of({"rgb": D, "flow": D}, record(names, flow=flow)), BASE, made_up)
    assert found.extraction.flow == FlowParameters(warps=1)
    assert found.sources == {"rgb": "rgb", "flow": "flow"}
    assert all(isinstance(one, Backbone) for one in found.extraction.backbones.values())


def test_videos_are_extracted_at_the_rate_of_the_features_and_not_of_the_data_sets_default() -> None:
    sampling = Sampling(fps=12.5, frames_per_segment=8, stride_frames=4)
    assert time_base_of(run_of({"rgb": D}, record({}, sampling))) == TimeBase(12.5, 8, 4)
    assert time_base_of(run_of({"rgb": D})) == BASE
